"""Sorts what a check or a closing says into the order in which a person wants to know of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lucca_provider.inputs.errors import InvalidInputError, shown
from lucca_provider.outcomes import Outcome, ReportEntry, read_report
from lucca_provider.reading.amounts import read_amount, without_noise
from lucca_provider.reading.states import CLOSED_STATE
from lucca_provider.reports.tables import ORDER, Details, Group, Head, Row, Section, Table
from lucca_provider.reports.text import one_line

__all__ = ["assert_check", "assert_report", "check_table", "closing_table", "read_details", "reasons_of"]

_CURRENCY_LENGTH = 10
_NOTHING_SENT = ("not reached: ", "not sent: ")
"""How the reason begins where a closing knows that it sent nothing."""
_NOTHING_KNOWN = Details()


def read_details(purchase: Mapping[str, Any]) -> Details:
    """
    Read what a table shows of a purchase. What has another shape than expected is not known.

    :param purchase: as Lucca answers it, or with the names of ``fields`` of ``ListPurchasesOperator``, such as
        ``supplier.name`` and ``billedAmount.counter.value``
    """
    value, currency = (_value(purchase, f"billedAmount.counter.{name}") for name in ("value", "currency"))
    amount = read_amount({"counter": {"value": value}})
    code = _text(currency)
    return Details(
        title=_text(_value(purchase, "title")),
        supplier=_text(_value(purchase, "supplier.name")),
        amount=None if amount is None else without_noise(amount),
        currency=code and (one_line(code, _CURRENCY_LENGTH) or None),
        state=_text(_value(purchase, "state")),
    )


def check_table(
    check: Mapping[str, Any],
    head: Head,
    *,
    details: Mapping[int, Details] | None = None,
    left_out: Mapping[int, str] | None = None,
) -> Table:
    """
    Sort what a check found: what can be closed comes first, since that is what a person decides about.

    :param check: as ``CheckPurchasesOperator`` pushes it
    :param head: what it is about
    :param details: purchase id to what is known of it
    :param left_out: purchases that were left out of the check, and why
    :raises InvalidInputError: if the check has another shape
    """
    assert_check(check)
    reasons = reasons_of(check)
    found: dict[Group | Outcome, Mapping[int, str]] = {
        Group.READY: dict.fromkeys(check["closable"], ""),
        Group.BLOCKED: {one["id"]: reasons[one["id"]] for one in check["blocked"]},
        Group.UNKNOWN: {one["id"]: reasons[one["id"]] for one in check["unknown"]},
        Outcome.ALREADY_CLOSED: dict.fromkeys(check["already_closed"], ""),
    }
    known = details or {}
    rows = {
        group: [
            Row(number, group.words, reason, known.get(number, _NOTHING_KNOWN)) for number, reason in purchases.items()
        ]
        for group, purchases in _with_others(found, left_out).items()
    }
    return Table("Check of purchases in Lucca", head, _sections(rows))


def closing_table(
    report: Mapping[str, Any],
    head: Head,
    *,
    details: Mapping[int, Details] | None = None,
    left_out: Mapping[int, str] | None = None,
    unread: Mapping[int, str] | None = None,
) -> Table:
    """
    Sort what a closing reported: what was not closed comes first, then what was.

    If ``head`` says that the states were read back, a purchase that was reported as closed stands among the closed ones
    only if its details say that Lucca shows it as closed.

    :param report: as ``ClosePurchaseOperator`` pushes it, also when it fails
    :param head: what it is about
    :param details: purchase id to what is known of it
    :param left_out: other purchases that a reader expects to see, such as those that a check found not ready, and why
        no closing was asked for
    :param unread: purchases whose state could not be read back, and why
    :raises InvalidInputError: if the report has another shape
    """
    assert_report(report)
    found: dict[Group | Outcome, dict[int, str]] = {}
    for number, decision in read_report(report):
        found.setdefault(decision.outcome, {})[number] = decision.reason
    read_back = _ReadBack(head, details or {}, unread or {})
    rows: defaultdict[Group | Outcome, list[Row]] = defaultdict(list)
    for group, purchases in _with_others(found, left_out).items():
        for number, reason in purchases.items():
            place, row = read_back.place(number, group, reason)
            rows[place].append(row)
    return Table("Closing of purchases in Lucca", head, _sections(rows), is_closing=True)


def assert_check(check: object, name: str = "check") -> None:
    """
    Refuse what is no check.

    :param check: what another task pushed
    :param name: what the argument is called in the error
    :raises InvalidInputError: saying what is wrong with it
    """
    explained = {"blocked": "reasons", "unknown": "reason"}
    # Not every version of a check leaves purchases out.
    if isinstance(check, Mapping) and "left_out" in check:
        explained["left_out"] = "reason"
    _assert_shape(name, check, explained, ("closable", "already_closed"))


def assert_report(report: object) -> None:
    """
    Refuse what is no report of a closing.

    :param report: what another task pushed
    :raises InvalidInputError: saying what is wrong with it
    """
    words = {ReportEntry.REFUSAL: None, ReportEntry.REASON: "reason"}
    explained = {outcome.value: words[outcome.entry] for outcome in Outcome if outcome.entry in words}
    _assert_shape("report", report, explained, [outcome.value for outcome in Outcome if outcome.value not in explained])


def reasons_of(check: Mapping[str, Any]) -> dict[int, str]:
    """
    Return why purchases cannot be closed now, or were left out.

    :param check: as ``CheckPurchasesOperator`` pushes it
    :return: purchase id to words, for those that are blocked, unknown or left out
    """
    blocked = {one["id"]: "; ".join(one["reasons"]) for one in check.get("blocked", [])}
    explained = [*check.get("unknown", []), *check.get("left_out", [])]
    return blocked | {one["id"]: one["reason"] for one in explained}


@dataclass(frozen=True, slots=True)
class _ReadBack:
    """What Lucca shows after a closing, if anybody asked."""

    head: Head
    details: Mapping[int, Details]
    unread: Mapping[int, str]

    def place(self, number: int, group: Group | Outcome, reason: str) -> tuple[Group | Outcome, Row]:
        """Return where a purchase belongs, and its row."""
        details = self.details.get(number, _NOTHING_KNOWN)
        comment, day = (self.head.comment, self.head.closing_date) if _may_be_sent(group, reason) else (None, None)
        words = ""
        if self.head.read_back_at is not None:
            state = None if number in self.unread else details.state
            words = state or f"could not be read: {self.unread.get(number, 'Lucca returned no state')}"
            group, reason = _compare(group, reason, state, words)
        return group, Row(number, group.words, reason, details, words, comment, day)


def _may_be_sent(group: Group | Outcome, reason: str) -> bool:
    """Return whether a closing was sent, or may have been."""
    if not isinstance(group, Outcome) or group is Outcome.ALREADY_CLOSED:
        return False
    return group.entry is not ReportEntry.REASON or not reason.startswith(_NOTHING_SENT)


def _compare(group: Group | Outcome, reason: str, state: str | None, words: str) -> tuple[Group | Outcome, str]:
    """Say where a purchase belongs, and why, now that its state was read, or could not be."""
    if not isinstance(group, Outcome):
        return group, reason
    if state == CLOSED_STATE and not group.is_closed:
        return group, f"{reason or group.words}; by now Lucca shows it as {state}"
    if state != CLOSED_STATE and group.is_closed:
        but = f"Lucca shows it as {words}" if state else f"its state {words}"
        return Group.UNCONFIRMED, f"reported as {group.words}, but {but}"
    return group, reason


def _with_others(
    found: Mapping[Group | Outcome, Mapping[int, str]], others: Mapping[int, str] | None
) -> Mapping[Group | Outcome, Mapping[int, str]]:
    """Add those that nobody asked about, as far as they are not among the found ones."""
    named = {number for purchases in found.values() for number in purchases}
    left = {number: reason for number, reason in (others or {}).items() if number not in named}
    return {**found, Group.LEFT_OUT: left}


def _sections(rows: Mapping[Group | Outcome, Sequence[Row]]) -> Sequence[Section]:
    return tuple(Section(group, tuple(rows[group])) for group in ORDER if rows.get(group))


def _assert_shape(name: str, value: object, with_words: Mapping[str, str | None], ids_only: Sequence[str]) -> None:
    """Refuse what another task, or another version, may have pushed."""
    if not isinstance(value, Mapping):
        raise InvalidInputError(f"{name}: {shown(value)} is no mapping of outcomes to purchases.")
    for key in (*with_words, *ids_only):
        entries = value.get(key)
        if not isinstance(entries, (list, tuple)):
            raise InvalidInputError(f"{name}: it has no list {key!r}, but {shown(entries)}.")
        for entry in entries:
            if not (type(entry) is int if key in ids_only else _is_explained(entry, with_words[key])):
                raise InvalidInputError(f"{name}: {shown(entry)} in {key!r} does not name a purchase as it should.")


def _is_explained(entry: object, words: str | None) -> bool:
    """Return whether an entry has an id, and words of the right type under the given key."""
    if not isinstance(entry, Mapping) or type(entry.get("id")) is not int:
        return False
    said = entry.get(words) if words else ""
    if words == "reasons":
        return isinstance(said, (list, tuple)) and all(isinstance(text, str) for text in said)
    return isinstance(said, str)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _value(purchase: Mapping[str, Any], name: str) -> object:
    """Return a field, by its whole name or within others."""
    if name in purchase:
        return purchase[name]
    value: object = purchase
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
