"""What other tasks pushed, and what Lucca shows, become one table in which every purchase is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lucca_provider.inputs import InvalidInputError
from lucca_provider.outcomes import Outcome
from lucca_provider.reading.purchases import ReadBack
from lucca_provider.reports import Group, Table
from lucca_provider.reports.readback import Account, count_groups, read_account, say_unconfirmed
from tests.unit.reports.samples import CHECK, HEAD, REPORT

NOTHING: dict[str, Any] = {name: [] for name in REPORT}
SENT = {"tenant": "https://acme.ilucca.net", "comment": "Month-end", "closing_date": "2026-06-30"}
APPROVAL = {"chosen_options": ["Approve"], "params_input": {}, "responded_by_user": {"id": "7", "name": "Anna Keller"}}


def table(account: Account, states: dict[int, str], unread: dict[int, str] | None = None) -> Table:
    purchases = {number: {"id": number, "state": state} for number, state in states.items()}
    return account.table(HEAD, ReadBack(purchases, unread or {}))


def shape(table: Table) -> dict[Group, dict[int, str]]:
    return {section.group: {row.id: row.reason for row in section.rows} for section in table.sections}


# -- every purchase is named -----------------------------------------------------------------------------------------


def test_each_purchase_is_asked_for_once() -> None:
    account = read_account(report=REPORT, purchase_ids=[106, 101], left_out=[CHECK, {107: "not this month"}])
    assert sorted(account.purchase_ids) == [101, 102, 103, 104, 105, 106, 107]
    assert account.closed == [101, 102]


def test_what_nobody_asked_to_close_is_named_with_its_state() -> None:
    said = table(read_account(report=NOTHING, purchase_ids=[1, 2]), {1: "Ongoing", 2: "Closed"})
    assert [row.state for row in said.rows] == ["Ongoing", "Closed"]
    assert list(shape(said)) == [Group.LEFT_OUT]


def test_a_closing_without_a_report_leaves_all_unresolved_and_lucca_is_asked() -> None:
    account = read_account(report=None, purchase_ids=[1, 2], left_out={2: "left out by Anna"})
    said = table(account, {1: "Closed", 2: "Ongoing"})
    assert set(shape(said)[Outcome.UNRESOLVED]) == {1}
    assert "left no report" in shape(said)[Outcome.UNRESOLVED][1]
    assert "by now Lucca shows it as Closed" in shape(said)[Outcome.UNRESOLVED][1]
    assert shape(said)[Group.LEFT_OUT] == {2: "left out by Anna"}


def test_what_lucca_does_not_show_as_closed_is_unconfirmed_and_listed() -> None:
    said = table(read_account(report=REPORT), {101: "Ongoing", 103: "Ongoing", 104: "Closed"}, {102: "gone (404)"})
    assert set(shape(said)[Group.UNCONFIRMED]) == {101, 102}
    lines = say_unconfirmed(said)
    assert [line.partition(":")[0] for line in lines] == ["purchase 101", "purchase 102"]
    assert "Ongoing" in lines[0]
    assert "gone (404)" in lines[1]
    assert count_groups(said) == {
        "unconfirmed": 2,
        "rejected": 1,
        "unresolved": 1,
        "left_out": 0,
        "closed": 0,
        "already_closed": 0,
    }


# -- what is left out ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left_out", "expected"),
    [
        (None, {}),
        ([None, None], {}),
        ("None", {}),
        ([], {}),
        ("[]", {}),
        ({7: "not this month"}, {7: "not this month"}),
        ('{"7": "not this month"}', {7: "not this month"}),
        ([7, "8", [9]], dict.fromkeys((7, 8, 9), "left out on request")),
        ("[7, 8]", dict.fromkeys((7, 8), "left out on request")),
        ("7, 8", dict.fromkeys((7, 8), "left out on request")),
        ([{7: "one"}, {7: "two"}], {7: "two"}),
    ],
)
def test_what_was_left_out_can_be_told_in_many_forms(left_out: Any, expected: dict[int, str]) -> None:
    assert dict(read_account(report=NOTHING, left_out=left_out).left_out) == expected


def test_a_check_says_why_each_was_left_out() -> None:
    told = read_account(report=REPORT, left_out=[str(CHECK), None]).left_out
    assert set(told) == {103, 104, 105}
    assert told[104] == "invoice F1: not paid; invoice F2: to review"


def test_what_a_check_itself_left_out_is_told_with_its_reason() -> None:
    check = {**CHECK, "left_out": [{"id": 7, "reason": "excluded from this run"}]}
    assert read_account(report=NOTHING, left_out=check).left_out[7] == "excluded from this run"
    with pytest.raises(InvalidInputError, match="left_out: 7 in 'left_out'"):
        read_account(report=NOTHING, left_out={**CHECK, "left_out": [7]})


def test_what_the_closing_reported_counts_for_more_than_what_a_check_left_out() -> None:
    said = table(read_account(report=REPORT, left_out=CHECK), {101: "Closed", 102: "Closed", 103: "Ongoing"})
    assert set(shape(said)[Outcome.REJECTED]) == {103}
    assert set(shape(said)[Group.LEFT_OUT]) == {105}


# -- who approved, what was sent -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("approved", "name"),
    [
        (None, None),
        ("", None),
        ("None", None),
        ("Anna Keller", "Anna Keller"),
        ("Approve", None),
        (" Reject", None),
        (APPROVAL, "Anna Keller"),
        ({**APPROVAL, "responded_by_user": {"id": "7", "name": None}}, "7"),
        ({**APPROVAL, "responded_by_user": None}, None),
        ({**APPROVAL, "chosen_options": ["Reject"]}, None),
        ({**APPROVAL, "chosen_options": ["Approve", "Reject"]}, None),
    ],
)
def test_who_approved_is_told_by_a_name_or_by_the_approval(approved: Any, name: str | None) -> None:
    assert read_account(report=REPORT, approved=approved).approved_by == name


def test_after_a_rejection_the_report_says_who_said_no() -> None:
    account = read_account(
        report=None, purchase_ids=[1, 2], left_out={2: "not paid"}, approved={**APPROVAL, "chosen_options": ["Reject"]}
    )
    assert dict(account.left_out) == {1: "not approved: rejected by Anna Keller", 2: "not paid"}
    assert shape(table(account, {1: "Ongoing", 2: "Ongoing"})).keys() == {Group.LEFT_OUT}


@pytest.mark.parametrize("approved", [None, "", "None"])
def test_if_nobody_who_was_asked_approved_nothing_is_unresolved(approved: Any) -> None:
    account = read_account(report=None, purchase_ids=[1], approved=approved, asked=True)
    assert dict(account.left_out) == {1: "not approved: nobody was asked, nobody answered, or it was rejected"}
    assert shape(table(account, {1: "Ongoing"})).keys() == {Group.LEFT_OUT}


def test_an_option_as_text_says_what_was_chosen_and_not_by_whom() -> None:
    account = read_account(report=None, purchase_ids=[1], approved="Reject")
    assert dict(account.left_out) == {1: "not approved: rejected by a person"}
    account = read_account(report=None, purchase_ids=[1], approved="Approve")
    assert shape(table(account, {1: "Ongoing"})).keys() == {Outcome.UNRESOLVED}


def test_an_approval_that_does_not_say_by_whom_leaves_open_whether_the_closing_ran() -> None:
    account = read_account(report=None, purchase_ids=[1], approved={"chosen_options": ["Approve"]}, asked=True)
    assert shape(table(account, {1: "Ongoing"})).keys() == {Outcome.UNRESOLVED}


@pytest.mark.parametrize("form", [lambda sent: sent, json.dumps, str])
def test_what_was_sent_is_told_of_what_was_closed(form: Any) -> None:
    account = read_account(report=REPORT, sent=form(SENT), approved="Anna Keller")
    said = table(account, {101: "Closed", 102: "Closed"})
    assert (said.head.comment, said.head.closing_date, said.head.approved_by) == (
        "Month-end",
        "2026-06-30",
        "Anna Keller",
    )
    assert [row.comment for row in said.section(Outcome.CLOSED).rows] == ["Month-end"]


@pytest.mark.parametrize("tenant", ["https://acme.ilucca.net", "https://ACME.ilucca.net/"])
def test_the_tenant_of_the_closing_is_read(tenant: str) -> None:
    read_account(report=REPORT, sent=SENT).assert_tenant(tenant)
    read_account(report=REPORT).assert_tenant(tenant)


def test_how_the_closing_wrote_its_tenant_does_not_matter() -> None:
    sent = {**SENT, "tenant": "https://ACME.ilucca.net/"}
    read_account(report=REPORT, sent=sent).assert_tenant("https://acme.ilucca.net")


def test_another_tenant_is_not() -> None:
    with pytest.raises(InvalidInputError, match=r"sent to https://acme\.ilucca\.net, but .* https://other\.ilucca"):
        read_account(report=REPORT, sent=SENT).assert_tenant("https://other.ilucca.net")


# -- what cannot be used ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"report": None}, "report: there is none"),
        ({"report": "None"}, "report: there is none"),
        ({"report": CHECK}, "report: it has no list"),
        ({"report": [REPORT]}, "report: .* is no mapping"),
        ({"report": "closed"}, "report: the text 'closed' cannot be read"),
        ({"report": {**REPORT, "closed": ["101"]}}, "report: '101' in 'closed'"),
        ({"report": {**REPORT, "closed": [101, 103]}}, "report: it names purchase 103 more than once"),
        ({"report": {**NOTHING, "closed": [-1]}}, "report: item 1: .* Give integers"),
        ({"purchase_ids": [True]}, "purchase_ids: item 1: .* Give integers"),
        ({"sent": "Month-end"}, "sent: the text 'Month-end' cannot be read"),
        ({"sent": ["Month-end"]}, "sent: .* is not what a closing pushes"),
        ({"sent": {**SENT, "comment": 5}}, "sent: its 'comment' is 5"),
        ({"left_out": {7: None}}, "left_out: .* neither what a check pushed nor ids"),
        ({"left_out": {"seven": "no"}}, "left_out: item 1: .* Give integers"),
        ({"left_out": {"closable": [1]}}, "left_out: it has no list"),
        ({"left_out": [[0]]}, "left_out: item 1: .* Give integers"),
        ({"approved": {"approved": True}}, "approved_by: .* is not the output of an approval"),
        ({"approved": str(APPROVAL)}, "approved_by: .* is not the output of an approval"),
        ({"approved": 5}, "approved_by: 5 is not the output"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        read_account(**{"report": REPORT, **arguments})
