"""
Outcomes: how it ended for one purchase, and the report that a task hands to the next one.

An outcome is described here once: its name, what the report says beside the id, whether the journal keeps it, and its
words. Report, journal, log, metrics and tables follow. :mod:`lucca_provider.closing.purchase` says when it is reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypedDict, cast

__all__ = [
    "ALREADY_CLOSED",
    "CLOSED",
    "Decision",
    "Outcome",
    "Rejected",
    "Report",
    "ReportEntry",
    "Unresolved",
    "build_report",
    "describe_report",
    "read_report",
]


class ReportEntry(Enum):
    """What the report says of a purchase. The value is its keys; an id alone stands there by itself."""

    # Not (), of which Python 3.11.2 makes another value.
    ID = ("id",)
    REFUSAL = ("id", "status", "title", "detail")
    REASON = ("id", "reason")


class Outcome(Enum):
    """How it ended for one purchase. The value is its name in the report, in metrics and in the docs."""

    CLOSED = ("closed", ReportEntry.ID, "c", "Closed", "closed", "These were closed by this run.")
    """This task closed it."""
    ALREADY_CLOSED = (
        "already_closed",
        ReportEntry.ID,
        "a",
        "Closed already",
        "closed already",
        "These had been closed before.",
    )
    """It was closed before."""
    REJECTED = (
        "rejected",
        ReportEntry.REFUSAL,
        "r",
        "Refused by Lucca",
        "refused by Lucca",
        "Lucca refused to close these. Fix the cause in Lucca, then they can be closed.",
    )
    """Lucca refused to close it."""
    UNRESOLVED = (
        "unresolved",
        ReportEntry.REASON,
        None,
        "Unresolved",
        "unresolved",
        "When the closing ended, it was not known whether these were closed. Check them in Lucca.",
    )
    """It is not known whether it is closed, or it was not reached."""

    entry: ReportEntry
    record: str | None
    heading: str
    words: str
    meaning: str

    def __new__(
        cls, value: str, entry: ReportEntry, record: str | None, heading: str, words: str, meaning: str
    ) -> Outcome:
        """
        Take what there is to say of it.

        :param value: its name
        :param entry: what the report says of a purchase
        :param record: what its records in the journal begin with; ``None`` if none keeps it: the next try finds out
        :param heading: above its rows in a table
        :param words: in each row, after a number, and in the log
        :param meaning: what a reader of a table has to know or do, a sentence or two
        """
        one = object.__new__(cls)
        one._value_ = value
        one.entry, one.record, one.heading, one.words, one.meaning = entry, record, heading, words, meaning
        return one

    @property
    def is_closed(self) -> bool:
        """Whether the purchase is closed, which is all that a task wants."""
        return self in (Outcome.CLOSED, Outcome.ALREADY_CLOSED)

    @property
    def is_problem(self) -> bool:
        """Whether somebody may have to do something."""
        return not self.is_closed


@dataclass(frozen=True, slots=True)
class Decision:
    """
    The outcome of one purchase, and why.

    :param outcome: how it ended
    :param status: HTTP status of a refusal
    :param title: ``title`` of Lucca's problem details
    :param detail: ``detail`` of Lucca's problem details; for ``unresolved`` the reason
    :param outage: for ``unresolved``, whether waiting may be all that it takes
    """

    outcome: Outcome
    status: int | None = None
    title: str | None = None
    detail: str | None = None
    outage: bool = False

    @property
    def reason(self) -> str:
        """Why: the words first, the status of a refusal last. Empty if the outcome says it all."""
        if self.outcome.entry is not ReportEntry.REFUSAL:
            return self.detail or ""
        status = " ".join(str(part) for part in (self.status, self.title) if part)
        detail = str(self.detail or "no reason given")
        return f"{detail} ({status})" if status else detail

    def __str__(self) -> str:
        """Say it for a log line."""
        return f"{self.outcome.words}: {self.reason}" if self.reason else self.outcome.words


CLOSED = Decision(Outcome.CLOSED)
ALREADY_CLOSED = Decision(Outcome.ALREADY_CLOSED)


class Rejected(TypedDict):
    """A purchase that Lucca refused to close, with Lucca's own words."""

    id: int
    status: int | None
    title: str | None
    detail: str | None


class Unresolved(TypedDict):
    """A purchase that may be open or closed, and why that is not known."""

    id: int
    reason: str


class Report(TypedDict):
    """Every purchase that was asked for, once, in the order asked for within each list."""

    closed: list[int]
    already_closed: list[int]
    rejected: list[Rejected]
    unresolved: list[Unresolved]


def build_report(purchase_ids: Iterable[int], decisions: Mapping[int, Decision]) -> Report:
    """
    Sort the purchases by their outcome.

    :param purchase_ids: what was asked for, in that order
    :param decisions: purchase id to decision. Each purchase must have one: none is ever left out
    """
    report: dict[str, list[Any]] = {outcome.value: [] for outcome in Outcome}
    for purchase_id in purchase_ids:
        one = decisions[purchase_id]
        said = {
            "id": purchase_id,
            "status": one.status,
            "title": one.title,
            "detail": one.detail,
            "reason": one.detail or "unknown",
        }
        entry = one.outcome.entry
        is_plain = entry is ReportEntry.ID
        report[one.outcome.value].append(purchase_id if is_plain else {key: said[key] for key in entry.value})
    return cast("Report", report)


def read_report(report: Mapping[str, Any]) -> Iterator[tuple[int, Decision]]:
    """
    Read what :func:`build_report` returned: each purchase that it names, and its decision.

    :param report: as a task pushed it; lists may be missing
    """
    for outcome in Outcome:
        for entry in report.get(outcome.value, []):
            if outcome.entry is ReportEntry.ID:
                yield entry, Decision(outcome)
            elif outcome.entry is ReportEntry.REASON:
                yield entry["id"], Decision(outcome, detail=entry["reason"])
            else:
                # What another version may have pushed need not have all of them.
                yield entry["id"], Decision(outcome, *(entry.get(key) for key in outcome.entry.value[1:]))


def describe_report(report: Report | Mapping[str, Any] | None) -> dict[int, str]:
    """
    Say what became of each purchase, for a person.

    :param report: as a task pushed it; nothing, or empty, if there was none
    :return: purchase id to words
    """
    return {purchase_id: str(decision) for purchase_id, decision in read_report(report or {})}
