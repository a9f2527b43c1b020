"""Outcomes, and the report that a task hands to the next one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
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
NOT_READ = "its state could not be read: "
"""How it begins where Lucca did not show the purchase, or did not answer."""
NOT_ANSWERED = "sent, but the answer is not known: "
"""How it begins where a closing was sent, and the run ended before anything was known of it."""
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
    :param outage: for ``unresolved``, whether waiting may be all that it takes
    """

    outcome: Outcome
    status: int | None = None
    title: str | None = None
    detail: str | None = None
    outage: bool = False

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


def say_problems(report: Report, in_doubt: Collection[int]) -> tuple[str, list[str]]:
    """
    Say what a task could not close, for whoever reads its error.

    :param report: with at least one purchase that is refused or unresolved
    :param in_doubt: unresolved purchases for which a closing was sent that may have taken effect
    :return: a summary with what to do, and a line for each reason with the purchases that it holds for, the refused
        ones first
    """
    refused, unresolved = len(report["rejected"]), len(report["unresolved"])
    asked = refused + unresolved + len(report["closed"]) + len(report["already_closed"])
    noun = "purchase" if asked == 1 else "purchases"
    summary = []
    if refused:
        summary.append(
            f"{refused} of {asked} {noun} {_was(refused)} refused by Lucca. Fix the cause in Lucca, then clear this "
            'task (guide "Closing", The outcomes).'
        )
    if unresolved:
        summary.append(
            f"{unresolved} of {asked} {noun} {_say_unresolved(report['unresolved'], len(in_doubt))} A retry is "
            'safe: it reads the state of each first (guide "Deploying", What to do with unresolved).'
        )
    decisions = _decisions({"rejected": report["rejected"], "unresolved": report["unresolved"]})
    same: dict[str, list[str]] = {}
    for purchase_id, decision in decisions.items():
        same.setdefault(_say_briefly(decision, summary), []).append(str(purchase_id))
    return "\n".join(summary), [f"{_listed(ids)} {words}" for words, ids in same.items()]


def _say_unresolved(unresolved: Sequence[Unresolved], in_doubt: int) -> str:
    """Return the reason that holds for most of them, and how many may be closed."""
    causes = [_cause(one["reason"]) for one in unresolved]
    # What is in brackets is about a single request.
    ((gist, same),) = Counter(cause.partition(" (")[0] for cause in causes).most_common(1)
    reason = next(cause for cause in causes if cause.startswith(gist))
    number = len(unresolved)
    state = f"{'is' if number == 1 else 'are'} unresolved" if in_doubt else f"{_was(number)} not closed"
    often = "" if same == number else f", {same} of them for this reason"
    words = f"{state}{often}: {reason}{'' if reason.endswith('.') else '.'}"
    return f"{words} {'It' if number == 1 else in_doubt} may be closed." if in_doubt else words


def _cause(reason: str) -> str:
    """Return a reason without what it says of this purchase alone."""
    for beginning in (NOT_REACHED, NOT_READ, NOT_ANSWERED):
        reason = reason.removeprefix(beginning)
    return reason


def _say_briefly(decision: Decision, summary: Sequence[str]) -> str:
    """Leave out a reason that the summary says already."""
    words, cause = str(decision), _cause(decision.detail or "")
    is_said = decision.outcome is Outcome.UNRESOLVED and any(cause in said for said in summary)
    return words.removesuffix(cause).rstrip(": ") if is_said else words


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
