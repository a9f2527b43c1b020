"""The listing: finds the states of unread purchases through the list, while that takes fewer requests."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from lucca_provider.closing.agenda import Agenda
from lucca_provider.closing.purchase import READING_AGE, Purchase, page_read
from lucca_provider.exceptions import LuccaError, LuccaInDoubtError, LuccaNotSentError, LuccaThrottledError
from lucca_provider.limits import MAX_READS, Window
from lucca_provider.outcomes import Decision
from lucca_provider.reading.lists import PURCHASES, ListReader

__all__ = ["Listing"]

log = logging.getLogger(__name__)


class Listing:
    """
    How far the list of purchases has been read, over and over as its pages become too old.

    :param window: the tenant's rate limit
    """

    def __init__(self, window: Window) -> None:
        self.reader: ListReader | None = ListReader(PURCHASES)
        """How far it was read; ``None`` once it cannot be used."""
        # Half of a reading's age is left for closing what the first page told.
        self._affordable = window.limit * READING_AGE / 2 / window.seconds
        """Pages at most: reading more would make the first ones too old."""

    @property
    def page(self) -> str | None:
        """Which page is next; ``None`` for the first one."""
        return None if self.reader is None else self.reader.page

    def begin_anew(self) -> None:
        """Read the list again from its first page: what it told before is too old."""
        if self.reader is not None:
            self.reader = ListReader(PURCHASES)

    def is_worth_reading(self, missing: int) -> bool:
        """
        Return whether the next page is worth a request.

        :param missing: purchases that are still unread
        """
        return self.reader is not None and self.reader.is_worth_reading(missing, self._affordable)

    def take(self, answer: object, asked_at: float, agenda: Agenda) -> dict[int, Purchase | Decision]:
        """
        Take the answer to a page.

        :param answer: its JSON, or an error
        :param asked_at: when it was asked for
        :param agenda: what is known of the purchases
        :return: what is known anew, by purchase
        """
        known: dict[int, Purchase | Decision] = {}
        for item in self._items(answer):
            purchase_id = item["id"]
            before = known.get(purchase_id, agenda[purchase_id])
            # A purchase may stand on a page twice.
            if isinstance(before, Purchase) and agenda.takes_pages(purchase_id):
                after = page_read(before, item.get("state"), asked_at)
                if after is not before:
                    known[purchase_id] = after
        return known

    def _items(self, answer: object) -> Sequence[Mapping[str, Any]]:
        reader = self.reader
        if reader is None or isinstance(answer, LuccaThrottledError):
            return []
        items: Sequence[Mapping[str, Any]] = []
        if isinstance(answer, LuccaError):
            reader.failures += 1
            if reader.failures < MAX_READS and isinstance(answer, (LuccaInDoubtError, LuccaNotSentError)):
                return []
            reader.fail(str(answer))
        else:
            items = reader.take(answer)
        if reader.problem and not items:
            log.info("Reading purchases one by one: the list of purchases cannot be used. %s", reader.problem)
            self.reader = None
        return items
