"""Outcomes, and the report that a task hands to the next one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

__all__ = ["ALREADY_CLOSED", "CLOSED", "Outcome", "Rejected", "Report", "Unresolved", "build_report", "describe_report"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    How it ended for one purchase.

    :param state: ``closed`` (by this task), ``already_closed``, ``rejected`` (Lucca refused it) or ``unresolved``
        (not known, or not reached)
    :param status: HTTP status of the refusal
    :param title: ``title`` of Lucca's problem details
    :param detail: ``detail`` of Lucca's problem details; for ``unresolved`` the reason
    """

    state: str
    status: int | None = None
    title: str | None = None
    detail: str | None = None

    def __str__(self) -> str:
        """Say it for a log line."""
        if self.state != "rejected":
            return f"{self.state}: {self.detail}" if self.detail else self.state
        reason = ": ".join(part for part in (self.title, self.detail) if part)
        return f"rejected by Lucca ({self.status}{' ' + reason if reason else ''})"


CLOSED = Outcome("closed")
ALREADY_CLOSED = Outcome("already_closed")


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


def build_report(purchase_ids: Iterable[int], outcomes: Mapping[int, Outcome]) -> Report:
    """
    Sort the purchases by their outcome.

    :param purchase_ids: what was asked for, in that order
    :param outcomes: purchase id to outcome. Each purchase must have one: none is ever left out
    """
    report = Report(closed=[], already_closed=[], rejected=[], unresolved=[])
    for purchase_id in purchase_ids:
        outcome = outcomes[purchase_id]
        if outcome.state == "closed":
            report["closed"].append(purchase_id)
        elif outcome.state == "already_closed":
            report["already_closed"].append(purchase_id)
        elif outcome.state == "rejected":
            report["rejected"].append(
                {
                    "id": purchase_id,
                    "status": outcome.status,
                    "title": outcome.title,
                    "detail": outcome.detail,
                }
            )
        else:
            report["unresolved"].append({"id": purchase_id, "reason": outcome.detail or "unknown"})
    return report


def describe_report(report: Report | Mapping[str, Any] | None) -> dict[int, str]:
    """
    Say what became of each purchase, for a person.

    :param report: as a task pushed it; nothing, or empty, if there was none
    :return: purchase id to words
    """
    found = report or {}
    words = dict.fromkeys(found.get("closed", []), "closed")
    words |= dict.fromkeys(found.get("already_closed", []), "was closed already")
    for one in found.get("rejected", []):
        words[one["id"]] = str(Outcome("rejected", one["status"], one["title"], one["detail"]))
    return words | {one["id"]: f"unresolved: {one['reason']}" for one in found.get("unresolved", [])}
