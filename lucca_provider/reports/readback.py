"""What is told about a closing, and what Lucca shows after it, put together into one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lucca_provider.inputs import InvalidInputError, parse_answer, parse_purchase_ids
from lucca_provider.inputs.approval import OPTIONS
from lucca_provider.inputs.errors import shown
from lucca_provider.inputs.text import read_value
from lucca_provider.outcomes import Decision, Outcome, Report, build_report, read_report
from lucca_provider.reading.purchases import ReadBack
from lucca_provider.reports.sorting import (
    assert_check,
    assert_report,
    closing_table,
    read_details,
    reasons_of,
)
from lucca_provider.reports.tables import ORDER, Group, Head, Table

__all__ = ["Account", "count_groups", "read_account", "say_unconfirmed"]

_NO_REPORT = "the closing left no report: it did not run, or its process was killed"
_NOT_ASKED = "no closing was asked for"
_ON_REQUEST = "left out on request"


@dataclass(frozen=True, slots=True)
class Account:
    """
    What is told about a closing.

    :param report: as ``ClosePurchaseOperator`` pushed it, or one that says of each expected purchase that there is none
    :param left_out: purchases that were not to be closed, and why
    :param tenant: where they were closed; ``None`` if nobody told
    :param comment: that was sent
    :param closing_date: that was sent, ``YYYY-MM-DD``
    :param approved_by: who approved
    """

    report: Mapping[str, Any]
    left_out: Mapping[int, str]
    tenant: str | None = None
    comment: str | None = None
    closing_date: str | None = None
    approved_by: str | None = None

    @property
    def purchase_ids(self) -> Sequence[int]:
        """Every purchase that is to be named, once."""
        return list(dict.fromkeys([*_ids_of(self.report), *self.left_out]))

    @property
    def closed(self) -> Sequence[int]:
        """The purchases that were reported as closed, by this closing or before."""
        return [number for number, decision in read_report(self.report) if decision.outcome.is_closed]

    def assert_tenant(self, tenant: str) -> None:
        """
        Refuse to read another tenant than the one where the closings were sent: it has other purchases.

        :param tenant: the address that would be read
        :raises InvalidInputError: naming both
        """
        if self.tenant is not None and self.tenant.rstrip("/").lower() != tenant.rstrip("/").lower():
            raise InvalidInputError(
                f"sent: the closings were sent to {self.tenant}, but this task's connection leads to {tenant}. Give it "
                "the connection of the closing."
            )

    def table(self, head: Head, read: ReadBack) -> Table:
        """
        Put together what was told and what Lucca shows.

        :param head: what the report is about, as far as Airflow knows it
        :param read: what Lucca shows of :attr:`purchase_ids`
        """
        return closing_table(
            self.report,
            replace(head, comment=self.comment, closing_date=self.closing_date, approved_by=self.approved_by),
            details={number: read_details(purchase) for number, purchase in read.purchases.items()},
            left_out=self.left_out,
            unread=read.unread,
        )


def read_account(
    *,
    report: object,
    purchase_ids: object = None,
    sent: object = None,
    left_out: object = None,
    approved: object = None,
    asked: bool = False,
) -> Account:
    """
    Read what other tasks pushed, strictly. Each may be text that a template made of it.

    :param report: as ``ClosePurchaseOperator`` pushes it, also when it fails; ``None`` if there is none
    :param purchase_ids: all that somebody expects to see named; ``None`` for those of the report
    :param sent: what the closing pushes as ``sent``, with ``tenant``, ``comment`` and ``closing_date``
    :param left_out: what was not to be closed: what a check pushed, ids to reasons, ids alone, or a list of these
    :param approved: who approved, or what ``ApprovalOperator`` returned
    :param asked: whether a person was asked, so that ``approved=None`` says that nobody answered
    :raises InvalidInputError: naming the argument and what is wrong with it; also if there is nothing to report
    """
    told = _read(report, "report")
    expected = [] if purchase_ids is None else parse_purchase_ids(purchase_ids)
    others = _read_left_out(left_out)
    name, objection = _read_approval(approved, asked=asked)
    reason = _NOT_ASKED
    if told is None:
        if purchase_ids is None and not others:
            raise InvalidInputError("report: there is none, and no purchase_ids say what it should name.")
        told = _no_report([] if objection else set(expected).difference(others))
        reason = f"not approved: {objection}"
    _assert_whole(told)
    named = {*_ids_of(told), *others}
    others |= {number: reason for number in expected if number not in named}
    return Account(told, others, approved_by=name, **_read_sent(_read(sent, "sent")))


def say_unconfirmed(table: Table) -> Sequence[str]:
    """
    Name the purchases that were reported as closed and that Lucca does not show as closed, a line each.

    :param table: a closing that was read back
    """
    return [f"purchase {row.id}: {row.reason}" for row in table.section(Group.UNCONFIRMED).rows]


def count_groups(table: Table) -> dict[str, int]:
    """
    Count the purchases of a closing by what became of them.

    :param table: a closing that was read back
    :return: the same keys for every closing
    """
    groups = [group for group in ORDER if isinstance(group, Outcome) or group in (Group.UNCONFIRMED, Group.LEFT_OUT)]
    return {group.name.lower(): len(table.section(group).rows) for group in groups}


def _read(value: object, name: str) -> Any:
    return read_value(value, name) if isinstance(value, str) else value


def _no_report(purchase_ids: Iterable[int]) -> Report:
    """Return what can be said of a closing that told nothing."""
    ids = sorted(purchase_ids)
    return build_report(ids, dict.fromkeys(ids, Decision(Outcome.UNRESOLVED, detail=_NO_REPORT)))


def _ids_of(report: Mapping[str, Any]) -> list[int]:
    return [number for number, _ in read_report(report)]


def _assert_whole(report: Any) -> None:
    assert_report(report)
    ids = _ids_of(report)
    if ids:
        parse_purchase_ids(ids, name="report")
    twice = [number for number, times in Counter(ids).items() if times > 1]
    if twice:
        raise InvalidInputError(f"report: it names purchase {twice[0]} more than once.")


def _read_sent(sent: object) -> dict[str, str | None]:
    if sent is None:
        return {}
    if not isinstance(sent, Mapping):
        raise InvalidInputError(f"sent: {shown(sent)} is not what a closing pushes as 'sent'.")
    known = {name: sent.get(name) for name in ("tenant", "comment", "closing_date")}
    for name, value in known.items():
        if not isinstance(value, (str, type(None))):
            raise InvalidInputError(f"sent: its {name!r} is {shown(value)}, which is no text.")
    return known


def _read_left_out(value: object) -> dict[int, str]:
    found: dict[int, str] = {}
    for item in value if isinstance(value, (list, tuple)) else [value]:
        one = read_value(item, "left_out") if isinstance(item, str) and not _is_ids(item) else item
        if isinstance(one, Mapping):
            found |= _reasons(one)
        elif one is not None:
            ids = parse_purchase_ids(one, name="left_out")
            found |= dict.fromkeys(ids, _ON_REQUEST)
    return found


def _is_ids(text: str) -> bool:
    return text.strip()[:1] in ("[", "(") or text.strip()[:1].isdigit()


def _reasons(value: Mapping[Any, Any]) -> dict[int, str]:
    """Return why purchases were left out: of a check, or of a mapping of ids to reasons."""
    if "closable" in value:
        assert_check(value, "left_out")
        return dict.fromkeys(value["already_closed"], "closed already when it was checked") | reasons_of(value)
    if not all(isinstance(reason, str) for reason in value.values()):
        raise InvalidInputError(f"left_out: {shown(value)} is neither what a check pushed nor ids with reasons.")
    # In JSON all keys are texts.
    return {parse_purchase_ids([key], name="left_out")[0]: reason for key, reason in value.items()}


def _read_approval(approved: object, *, asked: bool) -> tuple[str | None, str | None]:
    """Return who approved, and why nothing was to be closed, if somebody was asked and did not approve."""
    if isinstance(approved, str) and not approved.lstrip().startswith("{"):
        name = approved.strip()
        # An option that was chosen is no name, and says nothing of who chose it.
        if name not in ("", "None", *OPTIONS):
            return name, None
        approved = {"chosen_options": [name]} if name in OPTIONS else None
    if approved is None and not asked:
        return None, None
    answer = parse_answer(approved, name="approved_by")
    if not answer.chosen:
        # Airflow's ApprovalOperator skips what follows a rejection by an exception, and so returns nothing.
        return None, "nobody was asked, nobody answered, or it was rejected"
    # An approval that does not say by whom may have started the closing: what became of that is not known.
    return (answer.given_by, None) if answer.is_yes else (None, answer.objection)
