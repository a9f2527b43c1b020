"""Which purchases stand in which section of a report, in which order, and what is said of each."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from lucca_provider.closing.purchase import MAX_SENDS, Purchase, closing_answered, undecided
from lucca_provider.exceptions import LuccaNotSentError
from lucca_provider.inputs import InvalidInputError
from lucca_provider.outcomes import Outcome
from lucca_provider.reports import (
    Details,
    Group,
    Head,
    Row,
    Table,
    check_table,
    closing_table,
    read_details,
    reasons_of,
)
from tests.unit.reports.samples import CHECK, HEAD, REPORT

NOT_READ_BACK = replace(HEAD, read_back_at=None)
NO_REPORT: dict[str, Any] = {name: [] for name in REPORT}
NO_CHECK: dict[str, Any] = {name: [] for name in CHECK}
ALL_CLOSED = {number: Details(state="Closed") for number in range(101, 110)}


def shape(table: Table) -> dict[Group, list[int]]:
    return {section.group: [row.id for row in section.rows] for section in table.sections}


def row(table: Table, number: int) -> Row:
    (found,) = (row for row in table.rows if row.id == number)
    return found


def test_a_check_begins_with_what_a_person_decides_about() -> None:
    table = check_table(CHECK, HEAD, left_out={106: "left out on request"})
    assert list(shape(table).items()) == [
        (Group.READY, [101, 102]),
        (Group.BLOCKED, [104]),
        (Group.UNKNOWN, [105]),
        (Group.LEFT_OUT, [106]),
        (Outcome.ALREADY_CLOSED, [103]),
    ]
    assert row(table, 104).reason == "invoice F1: not paid; invoice F2: to review"
    assert row(table, 105).reason == "Lucca has no such purchase"
    assert row(table, 106).reason == "left out on request"


def test_a_closing_names_what_was_not_closed_before_what_was() -> None:
    table = closing_table(REPORT, NOT_READ_BACK, left_out={105: "invoice F1: not paid"})
    assert list(shape(table).items()) == [
        (Outcome.REJECTED, [103]),
        (Outcome.UNRESOLVED, [104]),
        (Group.LEFT_OUT, [105]),
        (Outcome.CLOSED, [101]),
        (Outcome.ALREADY_CLOSED, [102]),
    ]
    assert row(table, 103).outcome == "refused by Lucca"
    assert row(table, 103).reason == "an invoice is not paid (409 Conflict)"
    assert row(table, 104).reason == "no clear answer"
    assert all(row.state == "" for row in table.rows)


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        ({"id": 1, "status": 409, "title": None, "detail": None}, "no reason given (409)"),
        ({"id": 1, "status": None, "title": None, "detail": None}, "no reason given"),
        ({"id": 1, "status": None, "title": "Conflict", "detail": "not paid"}, "not paid (Conflict)"),
    ],
)
def test_a_refusal_says_as_much_as_lucca_said(refusal: dict[str, Any], reason: str) -> None:
    table = closing_table({**REPORT, "rejected": [refusal]}, HEAD)
    assert row(table, 1).reason == reason


def test_what_was_asked_for_is_not_left_out_as_well() -> None:
    left_out = dict.fromkeys(range(101, 107), "expected")
    assert shape(closing_table(REPORT, HEAD, left_out=left_out))[Group.LEFT_OUT] == [105, 106]
    assert shape(check_table(CHECK, HEAD, left_out=left_out))[Group.LEFT_OUT] == [106]


def test_nothing_at_all_is_a_table_without_sections() -> None:
    table = closing_table(NO_REPORT, HEAD)
    assert not table.sections
    assert table.summary == "No purchases."
    assert table.section(Outcome.CLOSED).rows == ()


def test_the_summary_counts_in_the_order_of_the_sections() -> None:
    assert check_table(CHECK, HEAD).summary == (
        "5 purchases: 2 ready to be closed, 1 not ready, 1 not known, 1 closed already."
    )
    one = {"closed": [1], "already_closed": [], "rejected": [], "unresolved": []}
    assert closing_table(one, NOT_READ_BACK).summary == "1 purchase: 1 closed."


# -- reading back ----------------------------------------------------------------------------------------------------


def test_what_lucca_shows_as_closed_is_confirmed() -> None:
    table = closing_table(REPORT, HEAD, details=ALL_CLOSED)
    assert shape(table)[Outcome.CLOSED] == [101]
    assert shape(table)[Outcome.ALREADY_CLOSED] == [102]
    assert row(table, 101).state == "Closed"
    assert row(table, 101).reason == ""


@pytest.mark.parametrize("number", [101, 102])
@pytest.mark.parametrize(
    ("state", "unread", "words"),
    [
        ("Ongoing", {}, "but Lucca shows it as Ongoing"),
        ("Closed", "404", "but its state could not be read: 404"),
        (None, {}, "but its state could not be read: Lucca returned no state"),
    ],
)
def test_what_lucca_does_not_show_as_closed_stands_first(number: int, state: Any, unread: Any, words: str) -> None:
    details = {**ALL_CLOSED, number: Details(state=state)}
    table = closing_table(REPORT, HEAD, details=details, unread={number: unread} if unread else None)
    assert next(iter(shape(table).items())) == (Group.UNCONFIRMED, [number])
    assert row(table, number).outcome == "not confirmed"
    assert row(table, number).reason.endswith(words)


def test_without_a_reading_back_old_states_contradict_nothing() -> None:
    details = {number: Details(state="Ongoing") for number in ALL_CLOSED}
    assert Group.UNCONFIRMED not in shape(closing_table(REPORT, NOT_READ_BACK, details=details))


def test_what_is_closed_by_now_although_the_closing_did_not_know_is_said() -> None:
    table = closing_table(REPORT, HEAD, details=ALL_CLOSED)
    for number, group in ((103, Outcome.REJECTED), (104, Outcome.UNRESOLVED)):
        assert number in shape(table)[group]
        assert row(table, number).reason.endswith("; by now Lucca shows it as Closed")
        assert row(table, number).state == "Closed"


def test_what_nobody_asked_to_close_is_named_with_its_state() -> None:
    table = closing_table(REPORT, HEAD, details={105: Details(state="Ongoing")}, left_out={105: "", 106: ""})
    assert shape(table)[Group.LEFT_OUT] == [105, 106]
    assert row(table, 105).state == "Ongoing"
    assert row(table, 106).state == "could not be read: Lucca returned no state"


def test_the_comment_and_the_date_stand_wherever_they_were_or_may_have_been_sent() -> None:
    never_sent: Any = closing_answered(Purchase(sends=MAX_SENDS - 1), LuccaNotSentError("no route"), 0.0)
    reasons = {
        104: "no clear answer",
        105: undecided(Purchase(), "the limit is used up", in_flight=True).detail,
        106: undecided(Purchase(), "the limit is used up", in_flight=False).detail,
        107: never_sent.detail,
    }
    unresolved = [{"id": number, "reason": reason} for number, reason in reasons.items()]
    report = {**REPORT, "unresolved": unresolved}
    table = closing_table(report, HEAD, details={101: Details(state="Ongoing")}, left_out={108: "not this month"})
    sent = {row.id: (row.comment, row.closing_date) for row in table.rows}
    assert {number for number, told in sent.items() if told == ("Month-end", "2026-06-30")} == {101, 103, 104, 105}
    assert {number for number, told in sent.items() if told == (None, None)} == {102, 106, 107, 108}


# -- details and totals ----------------------------------------------------------------------------------------------


def test_details_are_read_from_luccas_json_and_from_the_fields_of_a_list() -> None:
    known = Details("Chairs", "Ferrand", Decimal("12.5"), "EUR", "Ongoing")
    money = {"counter": {"value": 12.5, "currency": "EUR"}, "base": {"value": 14, "currency": "USD"}}
    nested = {"title": "Chairs", "supplier": {"name": "Ferrand"}, "billedAmount": money, "state": "Ongoing"}
    flat = {
        "id": 1,
        "title": "Chairs",
        "supplier.name": "Ferrand",
        "billedAmount.counter.value": 12.5,
        "billedAmount.counter.currency": "EUR",
        "state": "Ongoing",
    }
    assert read_details(nested) == read_details(flat) == known


@pytest.mark.parametrize("odd", [None, "", 12, [], {}, {"counter": None}, {"name": 5}, {"counter": {"value": True}}])
def test_what_has_another_shape_is_not_known(odd: Any) -> None:
    purchase = {"title": odd if not isinstance(odd, str) else "", "supplier": odd, "billedAmount": odd, "state": odd}
    assert read_details(purchase) == Details()


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        (0.30000000000000004, "0.3"),
        ("1234.5600000000001", "1234.56"),
        (1e-300, "0"),
        (100, "100"),
        ("-12.345", "-12.345"),
        (0, "0"),
    ],
)
def test_an_amount_is_read_exactly_but_for_what_binary_fractions_add(value: Any, amount: str) -> None:
    found = read_details({"billedAmount": {"counter": {"value": value}}}).amount
    assert found == Decimal(amount)
    assert found is not None
    assert len(str(found)) < 20


@pytest.mark.parametrize("value", ["NaN", "Infinity", float("nan"), 1e300, "many", True, None, [1]])
def test_what_is_no_amount_is_unknown(value: Any) -> None:
    assert read_details({"billedAmount": {"counter": {"value": value, "currency": "EUR"}}}).amount is None


def test_totals_are_exact_and_by_currency_and_say_what_they_lack() -> None:
    details = {number: Details(amount=Decimal("0.10"), currency="EUR") for number in range(1, 1_001)}
    details[1] = Details(amount=Decimal("-5"), currency="USD")
    details[2] = Details(amount=Decimal("1234567.125"), currency="USD")
    details[3] = Details(amount=Decimal("1"))
    details[4] = Details(currency="EUR")
    table = check_table({**NO_CHECK, "closable": list(details)}, Head(), details=details)
    total = table.section(Group.READY).total.replace("\N{NO-BREAK SPACE}", " ")
    assert total == "1,234,562.125 USD, 1.00 (unknown currency), 99.60 EUR and 1 of unknown amount"
    assert table.total == table.section(Group.READY).total


def test_the_largest_amounts_add_up_exactly() -> None:
    most = Decimal("999999999999999.12345678")
    details = {number: Details(amount=most, currency="EUR") for number in range(5_000)}
    table = check_table({**NO_CHECK, "closable": list(details)}, Head(), details=details)
    assert table.total.replace(",", "") == "4999999999999995617.2839\N{NO-BREAK SPACE}EUR"


# -- what other tasks, or other versions, hand over ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"closed": None}, "'closed'"),
        ({"closed": "101"}, "'closed'"),
        ({"closed": ["101"]}, "'101'"),
        ({"closed": [True]}, "True"),
        ({"closed": [{"id": 1}]}, "{'id': 1}"),
        ({"rejected": [101]}, "101"),
        ({"rejected": [{"status": 409}]}, "'status'"),
        ({"unresolved": {"id": 1}}, "'unresolved'"),
        ({"unresolved": [{"id": 1, "reason": None}]}, "None"),
        ({"unresolved": [{"id": 1}]}, "{'id': 1}"),
    ],
)
def test_a_report_of_another_shape_is_a_clear_error(change: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^report: ") as caught:
        closing_table({**REPORT, **change}, HEAD)
    assert named in str(caught.value)


def test_something_else_is_no_report_and_no_check() -> None:
    with pytest.raises(InvalidInputError, match=r"^report: "):
        closing_table(CHECK, HEAD)
    with pytest.raises(InvalidInputError, match=r"^check: "):
        check_table(REPORT, HEAD)
    for reasons in ("not paid", ["not paid", 5], None):
        with pytest.raises(InvalidInputError, match=r"^check: .*'blocked'"):
            check_table({**CHECK, "blocked": [{"id": 1, "reasons": reasons}]}, HEAD)
    with pytest.raises(InvalidInputError, match=r"^report: None"):
        closing_table(None, HEAD)  # type: ignore[arg-type]


def test_reasons_of_a_check_name_what_is_not_ready() -> None:
    assert reasons_of(CHECK) == {
        104: "invoice F1: not paid; invoice F2: to review",
        105: "Lucca has no such purchase",
    }
    assert reasons_of({}) == {}
