"""Outcomes, and the report that a task hands to the next one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypedDict

__all__ = [
    "ALREADY_CLOSED",
    "CLOSED",
    "Decision",
    "Outcome",
    "Rejected",
    "Report",
    "Unresolved",
    "build_report",
    "describe_report",
    "say_problems",
]


class Outcome(Enum):
    """How it ended for one purchase. The value is its name in the report, in metrics and in the docs."""

    CLOSED = "closed"
    """This task closed it."""
    ALREADY_CLOSED = "already_closed"
    """It was closed before."""
    REJECTED = "rejected"
    """Lucca refused to close it."""
    UNRESOLVED = "unresolved"
    """It is not known whether it is closed, or it was not reached."""

    @property
    def words(self) -> str:
        """What people are told."""
        return _WORDS[self]

    @property
    def is_closed(self) -> bool:
        """Whether the purchase is closed, which is all that a task wants."""
        return self in (Outcome.CLOSED, Outcome.ALREADY_CLOSED)


NOT_REACHED = "not reached: "
"""How the reason begins of a purchase for which nothing was sent."""
NAMED_TOGETHER = 50
"""Purchases that are named on one line, where one reason holds for all of them; the report has them all."""

_WORDS = {
    Outcome.CLOSED: "closed",
    Outcome.ALREADY_CLOSED: "was closed already",
    Outcome.REJECTED: "refused by Lucca",
    Outcome.UNRESOLVED: "unresolved",
}


@dataclass(frozen=True, slots=True)
class Decision:
    """
    The outcome of one purchase, and why.

    :param outcome: how it ended
    :param status: HTTP status of a refusal
    :param title: ``title`` of Lucca's problem details
    :param detail: ``detail`` of Lucca's problem details; for ``unresolved`` the reason
    """

    outcome: Outcome
    status: int | None = None
    title: str | None = None
    detail: str | None = None

    def __str__(self) -> str:
        """Say it for a log line: Lucca's reason first, its status last."""
        if self.outcome is not Outcome.REJECTED:
            return f"{self.outcome.words}: {self.detail}" if self.detail else self.outcome.words
        status = " ".join(str(part) for part in (self.status, self.title) if part)
        return f"refused: {self.detail} ({status})" if self.detail else f"refused: {status}"


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
    report = Report(closed=[], already_closed=[], rejected=[], unresolved=[])
    for purchase_id in purchase_ids:
        one = decisions[purchase_id]
        if one.outcome is Outcome.REJECTED:
            rejected = Rejected(id=purchase_id, status=one.status, title=one.title, detail=one.detail)
            report["rejected"].append(rejected)
        elif one.outcome is Outcome.UNRESOLVED:
            report["unresolved"].append(Unresolved(id=purchase_id, reason=one.detail or "unknown"))
        else:
            report["closed" if one.outcome is Outcome.CLOSED else "already_closed"].append(purchase_id)
    return report


def describe_report(report: Report | Mapping[str, Any] | None) -> dict[int, str]:
    """
    Say what became of each purchase, for a person.

    :param report: as a task pushed it; nothing, or empty, if there was none
    :return: purchase id to words
    """
    return {purchase_id: str(decision) for purchase_id, decision in _decisions(report or {}).items()}


def say_problems(report: Report) -> tuple[str, list[str]]:
    """
    Say what a task could not close, for whoever reads its error.

    :param report: with at least one purchase that is refused or unresolved
    :return: a summary with what to do, and a line for each reason with the purchases that it holds for, the refused
        ones first
    """
    refused, unresolved = len(report["rejected"]), len(report["unresolved"])
    asked = refused + unresolved + len(report["closed"]) + len(report["already_closed"])
    summary = []
    if refused:
        summary.append(
            f"{refused} of {asked} purchases {_was(refused)} refused by Lucca. Fix the cause in Lucca, then clear this "
            'task (guide "Closing", The outcomes).'
        )
    if unresolved:
        summary.append(
            f"{unresolved} of {asked} purchases {_say_unresolved(report['unresolved'])} A retry is safe: it reads the "
            'state of each first (guide "Deploying", What to do with unresolved).'
        )
    decisions = _decisions({"rejected": report["rejected"], "unresolved": report["unresolved"]})
    same: dict[str, list[str]] = {}
    for purchase_id, decision in decisions.items():
        same.setdefault(str(decision), []).append(str(purchase_id))
    return "\n".join(summary), [f"{_listed(ids)} {_without_reason(words, summary)}" for words, ids in same.items()]


def _say_unresolved(unresolved: Sequence[Unresolved]) -> str:
    """Return whether anything was sent, and why not if one reason holds for all."""
    reasons = {one["reason"] for one in unresolved}
    if not all(reason.startswith(NOT_REACHED) for reason in reasons):
        return (
            "is unresolved: it may be closed or not."
            if len(unresolved) == 1
            else ("are unresolved: they may be closed or not.")
        )
    words = f"{_was(len(unresolved))} not closed"
    if len(reasons) > 1:
        return f"{words}."
    (reason,) = reasons
    return f"{words}: {reason.removeprefix(NOT_REACHED)}{'' if reason.endswith('.') else '.'}"


def _without_reason(words: str, summary: Sequence[str]) -> str:
    """Leave out a reason that the summary says already."""
    head, found, reason = words.partition(NOT_REACHED)
    return f"{head}{NOT_REACHED.rstrip(': ')}" if found and any(reason in said for said in summary) else words


def _was(number: int) -> str:
    return "was" if number == 1 else "were"


def _listed(ids: Sequence[str]) -> str:
    more = len(ids) - NAMED_TOGETHER
    return ", ".join(ids[:NAMED_TOGETHER]) + (f" and {more} more" if more > 0 else "")


def _decisions(report: Mapping[str, Any]) -> dict[int, Decision]:
    found = dict.fromkeys(report.get("closed", []), CLOSED)
    found |= dict.fromkeys(report.get("already_closed", []), ALREADY_CLOSED)
    for one in report.get("rejected", []):
        found[one["id"]] = Decision(Outcome.REJECTED, one["status"], one["title"], one["detail"])
    for one in report.get("unresolved", []):
        found[one["id"]] = Decision(Outcome.UNRESOLVED, detail=one["reason"])
    return found
