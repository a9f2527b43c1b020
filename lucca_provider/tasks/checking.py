"""What checking purchases needs, for the operator and for the sensor: their arguments, and where the check reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from lucca_provider.checking import Check, Conditions, Examination, Rules, check_purchases, examine_purchases
from lucca_provider.inputs import InvalidInputError, parse_states
from lucca_provider.tasks.arguments import read_day, read_purchase_ids
from lucca_provider.tasks.common import without_retry

if TYPE_CHECKING:
    from lucca_provider.checking import Source

__all__ = ["Arguments", "read_arguments", "say_open"]


@dataclass(frozen=True, slots=True)
class Arguments:
    """
    The arguments of a check, read.

    :param purchase_ids: which purchases, without duplicates
    :param rules: which states count for what
    :param documents_since: ``YYYY-MM-DD``, or ``None`` for all documents
    """

    purchase_ids: list[int]
    rules: Rules
    documents_since: str | None

    def examine(self, source: Source, conditions: Conditions) -> Examination:
        """
        Check the purchases, and keep what was read for it.

        :param source: the hook, or anything like it
        :param conditions: what else is asked of a purchase that could be closed
        :raises LuccaError: for what no other request would escape, such as a wrong key
        """
        return examine_purchases(
            self.purchase_ids, source, self.rules, conditions, documents_since=self.documents_since
        )

    def check(self, source: Source) -> Check:
        """
        Check the purchases.

        :param source: the hook, or anything like it
        :raises LuccaError: for what no other request would escape, such as a wrong key
        """
        return check_purchases(self.purchase_ids, source, self.rules, documents_since=self.documents_since)


def read_arguments(task: Any) -> Arguments:
    """
    Read the arguments that the operator and the sensor have alike.

    :param task: the operator or sensor
    :raises AirflowFailException: naming the argument, the value and what to do
    """
    with without_retry():
        since = read_day(task, "documents_since")
        # Somewhere it is tomorrow already.
        if since and since > (datetime.now(timezone.utc) + timedelta(days=1)).date().isoformat():
            raise InvalidInputError(
                f"documents_since: {since} is in the future, so no document would be found. Give an earlier day."
            )
        return Arguments(
            read_purchase_ids(task),
            Rules(
                approved_states=parse_states(task.approved_states, name="approved_states"),
                paid_states=parse_states(task.paid_states, name="paid_states"),
                cancelled_states=parse_states(task.cancelled_states, name="cancelled_states", may_be_empty=True),
                closable_states=parse_states(task.closable_states, name="closable_states"),
            ),
            since,
        )


def say_open(check: Check) -> Sequence[str]:
    """
    Return a line for each purchase that is neither closable nor closed, with the reason.

    :param check: what was found
    """
    lines = [f"purchase {blocked['id']}: {'; '.join(blocked['reasons'])}" for blocked in check["blocked"]]
    return lines + [f"purchase {unknown['id']}: {unknown['reason']}" for unknown in check["unknown"]]
