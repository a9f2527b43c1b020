"""The decisions of a run. Each is recorded here and nowhere else: report, journal, log and metrics all follow."""

from __future__ import annotations

import logging
from collections.abc import Callable

from lucca_provider.closing.journal import Journal
from lucca_provider.outcomes import Decision, Outcome

__all__ = ["Decisions"]

log = logging.getLogger(__name__)


class Decisions(dict[int, Decision]):
    """
    What is decided, by purchase.

    :param journal: keeps them for the next try
    :param on_outcome: told each purchase's outcome once
    """

    def __init__(self, journal: Journal, on_outcome: Callable[[int, Outcome], None]) -> None:
        super().__init__()
        self._journal = journal
        self._on_outcome = on_outcome
        self._told: set[int] = set()
        """Purchases whose outcome was logged and counted, so that an interrupted decision is not counted twice."""

    def decide(self, purchase_id: int, decision: Decision, *, known: str = "") -> None:
        """
        Decide a purchase. May be called again with the same after an interruption.

        :param purchase_id: which one
        :param decision: how it ended
        :param known: the end of its reason that the log has already, and that the line about this purchase leaves out
        """
        self[purchase_id] = decision
        self._journal.decided(purchase_id, decision)
        words = str(decision)
        self._tell(purchase_id, decision, words.removesuffix(known).rstrip(": ") if known else words)

    def recall(self, purchase_id: int, decision: Decision, *, told: bool) -> None:
        """
        Take over a decision that was made before this stay.

        :param purchase_id: which one
        :param decision: how it ended
        :param told: whether that was in this very try, which has logged and counted it
        """
        self[purchase_id] = decision
        if told:
            self._told.add(purchase_id)
        else:
            self._tell(purchase_id, decision, f"{decision} (known from an earlier try)")

    def _tell(self, purchase_id: int, decision: Decision, words: str) -> None:
        if purchase_id in self._told:
            return
        self._told.add(purchase_id)
        # A line for each purchase that was not closed is what somebody looks for among a thousand.
        level = logging.DEBUG if decision.outcome.is_closed else logging.WARNING
        log.log(level, "Purchase %s %s", purchase_id, words)
        self._on_outcome(purchase_id, decision.outcome)

    def unresolved(self) -> dict[int, Decision]:
        """Return those that no journal keeps: the next try finds out about them."""
        return {each: known for each, known in self.items() if known.outcome is Outcome.UNRESOLVED}
