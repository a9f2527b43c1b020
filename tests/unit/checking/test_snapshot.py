"""Snapshots: what they hold, how they are read back, and what a later check says of whatever has changed."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucca_provider.checking import (
    Conditions,
    Rules,
    Seen,
    SeenDocument,
    SeenPurchase,
    check_purchases,
    examine_purchases,
    find_changes,
    read_snapshot,
    see_purchase,
    take_snapshot,
)
from lucca_provider.exceptions import LuccaRefusedError
from lucca_provider.inputs import InvalidInputError
from tests.unit.checking.test_check import Json, Lucca, document, purchase

TENANT = "https://acme.ilucca.net"
TEXTS = st.none() | st.text(max_size=20)
DOCUMENTS = st.builds(SeenDocument, *[TEXTS] * len(fields(SeenDocument)))
PURCHASES = st.builds(
    SeenPurchase,
    *[TEXTS] * (len(fields(SeenPurchase)) - 1),
    documents=st.dictionaries(st.integers(1), DOCUMENTS, max_size=3),
)


def money(value: Any, currency: str = "EUR") -> Json:
    return {"counter": {"value": value, "currency": currency}}


def with_taxes(value: Any, currency: str = "EUR", net: Any = 80) -> Json:
    taxes = {"includingTaxes": {"value": value, "currency": currency}}
    return {"counter": {**taxes, "excludingTaxes": {"value": net, "currency": "EUR"}}}


def chairs(**changes: Any) -> Json:
    told = {"title": "Chairs", "supplier": {"id": 3, "name": "Ferrand"}, "billedAmount": money(100.0)}
    amounts = {f"{name}Amount": money(100.0) for name in ("requested", "committed", "confirmed")}
    return purchase(1, **{**told, **amounts, "availableAmount": money(0), **changes})


def invoice(number: int = 11, **changes: Any) -> Json:
    told = {"documentDate": "2026-01-31", "amountIncludingTaxes": with_taxes(100.0), "completion": "Complete"}
    told["expectedAmount"] = money(100.0)
    return document(1, number=number, **{**told, **changes})


def seen(purchases: Mapping[int, SeenPurchase]) -> Seen:
    return Seen(TENANT, datetime(2026, 6, 30, 8, tzinfo=timezone.utc), purchases)


def find_reasons(before: Sequence[Json], now: Sequence[Json], **kwargs: Any) -> list[str] | None:
    """Return why a purchase, given with its documents, is blocked after it was approved; ``None`` if it is closable."""
    first = examine_purchases([1], Lucca(before[:1], before[1:]), Rules(), Conditions())
    assert first.check["closable"] == [1]
    carried = json.loads(json.dumps(take_snapshot(seen(first.seen))))
    approved = read_snapshot(carried, name="unchanged_since").purchases
    source = Lucca(now[:1], now[1:], **kwargs)
    check = examine_purchases([1], source, Rules(), Conditions(approved=approved)).check
    if check["blocked"]:
        assert not check["closable"]
        return check["blocked"][0]["reasons"]
    assert check["closable"] == [1]
    return None


# -- what a snapshot holds -------------------------------------------------------------------------------------------


def test_a_snapshot_holds_what_was_read_with_exact_amounts():
    one = see_purchase(chairs(billedAmount=money(1234.5)), [invoice(amountIncludingTaxes=with_taxes("1234.50"))])
    assert take_snapshot(seen({1: one}))["purchases"] == {
        "1": [
            "Ongoing",
            "Chairs",
            "Ferrand",
            "3",
            "1234.5 EUR",
            *["100 EUR"] * 3,
            "0 EUR",
            [[11, "Invoice", "11", "2026-01-31", "Confirmed", "Paid", "Complete", "1234.5 EUR", "80 EUR", "100 EUR"]],
        ]
    }


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        (money(0.1 + 0.2), "0.3 EUR"),
        (money(100), "100 EUR"),
        (money("100.00"), "100 EUR"),
        (money(-0.0), "0 EUR"),
        (money(99999999999999.12), "99999999999999.12 EUR"),
        (money(0.00000001), "0.00000001 EUR"),
        ({"counter": {"value": 5}}, "5"),
        ({**money(100), "base": {"value": 100, "currency": "EUR"}, "rate": 1}, "100 EUR"),
        ({**money(100), "base": {"value": 120, "currency": "USD"}, "rate": 1.2}, "100 EUR / base 120 USD"),
        ({"counter": {"includingTaxes": {"value": 5}}}, '{"counter": {"includingTaxes": {"value": 5}}}'),
        ({"value": 5}, '{"value": 5}'),
        (5, "5"),
        (None, None),
    ],
)
def test_an_amount_is_kept_as_decimal_text_and_one_of_another_shape_as_it_is(told, kept):
    assert see_purchase(chairs(billedAmount=told), []).billed == kept


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ({"amountIncludingTaxes": with_taxes(100, net=90)}, "90 EUR"),
        ({"amountIncludingTaxes": None, "amountExcludingTaxes": money(70)}, "70 EUR"),
        ({"amountIncludingTaxes": {"counter": {}}, "amountExcludingTaxes": money(70)}, "70 EUR"),
        ({"amountIncludingTaxes": 5}, None),
    ],
)
def test_the_amount_without_taxes_is_kept_wherever_it_stands(told, kept):
    (document,) = see_purchase(chairs(), [invoice(**told)]).documents.values()
    assert document.net == kept


def test_of_a_document_that_was_read_twice_the_last_reading_counts():
    seen = see_purchase(chairs(), [invoice(paymentState="ToPay"), invoice(paymentState="Paid")])
    assert [one.payment for one in seen.documents.values()] == ["Paid"]


def test_texts_fit_into_any_database():
    seen = see_purchase(chairs(title="a\0b\ud800" + "c" * 500, supplier="Ferrand"), [])
    assert seen.title == "a\N{REPLACEMENT CHARACTER}b?" + "c" * 196
    assert (seen.supplier, seen.supplier_id) == ("Ferrand", None)


@given(st.dictionaries(st.integers(1, 2**31), PURCHASES, max_size=3))
def test_a_snapshot_is_read_back_from_json_as_it_was_taken(purchases):
    carried = json.loads(json.dumps(take_snapshot(seen(purchases))))
    assert read_snapshot(carried, name="unchanged_since") == seen(purchases)


def test_five_thousand_purchases_fit_into_one_and_a_half_megabytes():
    """As wide as all amounts make it: each is a text of its own, so that both values can be named."""
    amounts = {f"{name}Amount": money(1234.56) for name in ("billed", "requested", "committed", "confirmed")}
    purchases = {
        number: see_purchase(
            chairs(title="Meeting room chairs 11/2025", supplier={"id": 17, "name": "Grand Large Voyages"}, **amounts),
            [
                invoice(
                    20_000 + number,
                    documentNumber=f"F2511-{20_000 + number}",
                    amountIncludingTaxes=with_taxes(1234.56, net=1028.8),
                    expectedAmount=money(1234.56),
                )
            ],
        )
        for number in range(3_000, 8_000)
    }
    size = len(json.dumps(take_snapshot(seen(purchases))))
    assert size < 1_500_000
    # What the guide says.
    assert 270 <= size / len(purchases) <= 290


def test_only_closable_purchases_are_in_a_snapshot():
    lucca = Lucca([purchase(1), purchase(2, "Closed"), purchase(3), purchase(4, "Denied")], [document(3, "ToPay")])
    examined = examine_purchases([1, 2, 3, 4, 5], lucca, Rules(), Conditions())
    assert set(examined.seen) == {1}
    assert set(examined.purchases) == {1, 2, 3, 4}


# -- what is no snapshot ---------------------------------------------------------------------------------------------

GOOD: Json = {**take_snapshot(seen({1: see_purchase(chairs(), [invoice()])}))}
ROW = GOOD["purchases"]["1"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "None is no snapshot"),
        ([1], "no snapshot"),
        ({"closable": [1]}, "no snapshot"),
        ({**GOOD, "more": 1}, "no snapshot"),
        ({**GOOD, "tenant": None}, "no snapshot"),
        ({**GOOD, "taken_at": None}, "no snapshot"),
        ({**GOOD, "taken_at": "yesterday"}, "no snapshot"),
        ({**GOOD, "taken_at": "2026-06-30T08:00:00"}, "no snapshot"),
        ({**GOOD, "purchases": []}, "no snapshot"),
        ({**GOOD, "purchase": ["state"]}, "other columns than this version"),
        ({**GOOD, "document": ["id"]}, "other columns than this version"),
        ({**GOOD, "purchases": {"x": ROW}}, "'x' in place of an id"),
        ({**GOOD, "purchases": {"1": ROW[:-1]}}, "in place of 10 columns"),
        ({**GOOD, "purchases": {"1": None}}, "None in place of 10 columns"),
        ({**GOOD, "purchases": {"1": [*ROW[:-1], None]}}, "None in place of documents"),
        ({**GOOD, "purchases": {"1": [5, *ROW[1:]]}}, "5 in place of a text"),
        ({**GOOD, "purchases": {"1": [*ROW[:-1], [[11, "Invoice"]]]}}, "in place of 10 columns"),
        ({**GOOD, "purchases": {"1": [*ROW[:-1], [[True, *ROW[-1][0][1:]]]]}}, "True in place of an id"),
        ({**GOOD, "purchases": {"1": [*ROW[:-1], [[*ROW[-1][0][:-1], 100.0]]]}}, "100.0 in place of a text"),
    ],
)
def test_another_shape_is_refused_by_name(value, message):
    with pytest.raises(InvalidInputError, match=f"^unchanged_since: .*{message}"):
        read_snapshot(value, name="unchanged_since")


# -- what has changed ------------------------------------------------------------------------------------------------

CHANGES: dict[tuple[str, str], tuple[Callable[[Json, Json], object], str]] = {
    ("purchase", "state"): (lambda p, d: p.update(state="Processing"), "state Ongoing when approved, Processing now"),
    ("purchase", "title"): (lambda p, d: p.update(title="Desks"), "title 'Chairs' when approved, 'Desks' now"),
    ("purchase", "supplier"): (
        lambda p, d: p["supplier"].update(name="Dune"),
        "supplier 'Ferrand' when approved, 'Dune' now",
    ),
    ("purchase", "billed"): (
        lambda p, d: p.update(billedAmount=money(10_000)),
        "billed 100.00 EUR when approved, 10,000.00 EUR now",
    ),
    ("purchase", "supplier_id"): (
        lambda p, d: p["supplier"].update(id=4),
        "supplier's id 3 when approved, 4 now",
    ),
    **{
        ("purchase", name): (
            lambda p, d, name=name: p.update({f"{name}Amount": money(10_000)}),  # type: ignore[misc]
            f"{name} {before} EUR when approved, 10,000.00 EUR now",
        )
        for name, before in [
            ("requested", "100.00"),
            ("committed", "100.00"),
            ("confirmed", "100.00"),
            ("available", "0.00"),
        ]
    },
    ("purchase", "other currency"): (
        lambda p, d: p["billedAmount"].update(base={"value": 120, "currency": "USD"}),
        "billed 100.00 EUR when approved, 100.00 EUR / base 120 USD now",
    ),
    ("purchase", "currency"): (
        lambda p, d: p.update(billedAmount=money(100, "USD")),
        "billed 100.00 EUR when approved, 100.00 USD now",
    ),
    ("purchase", "documents"): (
        lambda p, d: d.update(purchase={"id": 2}),
        "invoice 11 of 2026-01-31 (100.00 EUR): there when approved, gone now",
    ),
    ("document", "type"): (lambda p, d: d.update(type="CreditNote"), "type Invoice when approved, CreditNote now"),
    ("document", "number"): (lambda p, d: d.update(documentNumber="F9"), "number 11 when approved, F9 now"),
    ("document", "date"): (
        lambda p, d: d.update(documentDate="2026-02-01"),
        "date 2026-01-31 when approved, 2026-02-01 now",
    ),
    ("document", "approval"): (
        lambda p, d: d.update(conformityState="Bypassed"),
        "approval state Confirmed when approved, Bypassed now",
    ),
    ("document", "payment"): (
        lambda p, d: d.update(paymentState="Cancelled"),
        "payment state Paid when approved, Cancelled now",
    ),
    ("document", "completion"): (
        lambda p, d: d.pop("completion"),
        "completion Complete when approved, unknown now",
    ),
    ("document", "amount"): (
        lambda p, d: d.update(amountIncludingTaxes=with_taxes(120.125)),
        "amount 100.00 EUR when approved, 120.125 EUR now",
    ),
    ("document", "net"): (
        lambda p, d: d.update(amountIncludingTaxes=with_taxes(100, net=90)),
        "amount without taxes 80.00 EUR when approved, 90.00 EUR now",
    ),
    ("document", "expected"): (
        lambda p, d: d.update(expectedAmount=money(90)),
        "expected amount 100.00 EUR when approved, 90.00 EUR now",
    ),
    ("document", "currency"): (
        lambda p, d: d.update(amountIncludingTaxes=with_taxes(100, "CHF")),
        "amount 100.00 EUR when approved, 100.00 CHF now",
    ),
}


def test_nothing_that_a_snapshot_holds_goes_untested():
    held = {("purchase", column.name) for column in fields(SeenPurchase)}
    held |= {("document", column.name) for column in fields(SeenDocument)}
    assert set(CHANGES) >= held


@pytest.mark.parametrize("what", CHANGES, ids="-".join)
def test_whatever_was_changed_blocks_and_both_values_are_named(what):
    change, words = CHANGES[what]
    before = [chairs(), invoice()]
    now = copy.deepcopy(before)
    change(*now)
    reason, *rest = find_reasons(before, now) or ["nothing"]
    assert reason == (f"invoice 11 of 2026-01-31: {words}" if what[0] == "document" else words)
    # What keeps it from being closed without a snapshot as well is named too.
    assert bool(rest) is (
        "-".join(what) in ("purchase-state", "purchase-billed", "purchase-documents", "document-type")
    )


def test_what_was_not_changed_is_closable():
    before = [chairs(), invoice(), invoice(12, type="CreditNote")]
    assert find_reasons(before, copy.deepcopy(before)) is None
    assert find_reasons(before, [chairs(), *reversed(before[1:])]) is None
    # What a snapshot does not hold has nothing to do with the money.
    assert find_reasons(before, [chairs(owner={"id": 9}), *before[1:]]) is None


def test_a_document_that_was_added_blocks():
    before = [chairs(), invoice()]
    assert find_reasons(before, [*before, invoice(12, amountIncludingTaxes=with_taxes(250))]) == [
        "invoice 12 of 2026-01-31 (250.00 EUR): not there when approved, there now"
    ]


def test_an_amount_that_is_not_known_any_more_or_was_not_known_blocks():
    known, unknown = [chairs(), invoice()], [chairs(billedAmount=None), invoice()]
    assert find_reasons(known, unknown) == ["billed 100.00 EUR when approved, unknown amount now"]
    assert find_reasons(unknown, known) == ["billed unknown amount when approved, 100.00 EUR now"]


def test_an_amount_of_an_unknown_shape_is_shown_as_it_was_written():
    seen = read_snapshot(GOOD, name="unchanged_since").purchases[1]
    (reason,) = find_changes(replace(seen, billed="1e EUR"), seen, has_all=True)
    assert reason.startswith("billed 1e EUR when approved, ")


def test_ten_changes_are_named_and_the_others_counted():
    before = [chairs(), *(invoice(number) for number in range(20, 35))]
    now = [chairs(), *(invoice(number, conformityState="Bypassed") for number in range(20, 35))]
    reasons = find_reasons(before, now) or []
    assert len(reasons) == 11
    assert reasons[-1] == "and 5 more changes"


@given(PURCHASES, st.data())
def test_any_one_change_is_found_and_no_change_is_none(before, data):
    assert find_changes(before, copy.deepcopy(before), has_all=True) == []
    columns = [column.name for column in fields(SeenPurchase)]
    column = data.draw(st.sampled_from(columns))
    value = getattr(before, column)
    if column == "documents":
        value = dict(value)
        other = data.draw(st.dictionaries(st.integers(1), DOCUMENTS, max_size=3).filter(lambda new: new != value))
        now = replace(before, documents=other)
    else:
        now = replace(before, **{column: data.draw(TEXTS.filter(lambda new: new != value))})
    assert find_changes(before, now, has_all=True)


def test_documents_that_were_not_read_are_not_said_to_have_gone():
    before = [chairs(), invoice()]
    changed = invoice(paymentState="ToPay")
    end = LuccaRefusedError("400 bad query")
    reasons = find_reasons(before, [chairs(title="Desks"), changed], documents_end=end) or []
    assert reasons[:2] == [
        "title 'Chairs' when approved, 'Desks' now",
        "invoice 11 of 2026-01-31: payment state Paid when approved, ToPay now",
    ]
    first = examine_purchases([1], Lucca(before[:1], before[1:]), Rules(), Conditions())
    for source in (
        Lucca([chairs()], [], documents_end=end),
        Lucca([], [], single_errors={1: end}),
    ):
        check = examine_purchases([1], source, Rules(), Conditions(approved=first.seen)).check
        assert [one["id"] for one in check["unknown"]] == [1]


def test_what_is_not_in_the_snapshot_is_blocked_and_what_is_closed_by_now_stays_closed():
    lucca = Lucca([purchase(1), purchase(2, "Closed"), purchase(3, "Denied")])
    check = examine_purchases([1, 2, 3, 4], lucca, Rules(), Conditions(approved={})).check
    assert check["already_closed"] == [2]
    assert [(one["id"], one["reasons"][0]) for one in check["blocked"]] == [
        (number, "not among what was approved") for number in (1, 3, 4)
    ]
    seen = {2: see_purchase(purchase(2), [])}
    assert examine_purchases([2], lucca, Rules(), Conditions(approved=seen)).check["already_closed"] == [2]


# -- what is left out ------------------------------------------------------------------------------------------------


def left_out(check: Any) -> list[tuple[int, str]]:
    return [(one["id"], one["reason"]) for one in check["left_out"]]


def test_excluded_purchases_are_named_as_left_out_and_read_with_the_others():
    lucca = Lucca([purchase(1), purchase(2), purchase(3, "Closed"), purchase(4, "Denied")])
    examined = examine_purchases([1, 2, 3, 4, 5], lucca, Rules(), Conditions(excluded=[2, 3, 4, 5, 77]))
    assert left_out(examined.check) == [
        *((number, "excluded from this run") for number in (2, 3, 4, 5)),
        (77, "excluded from this run, but not among the purchases to check"),
    ]
    assert examined.check["closable"] == [1]
    assert not examined.check["blocked"]
    assert not examined.check["unknown"]
    assert set(examined.seen) == {1}
    assert 2 in examined.purchases


@pytest.mark.parametrize(
    ("day", "kept"),
    [
        ("2026-01-01", True),
        ("2026-01-31", True),
        ("2026-01-31T12:00:00", True),
        ("2025-12-31", False),
        ("2026-02-01", False),
        (None, False),
        ("soon", False),
    ],
)
def test_a_purchase_without_a_document_of_the_days_is_left_out(day, kept):
    documents = [document(1, documentDate=day), document(1, documentDate="2024-01-01"), document(2, "ToPay")]
    lucca = Lucca([purchase(1), purchase(2), purchase(3), purchase(4, "Closed"), purchase(5, "Denied")], documents)
    days = ("2026-01-01", "2026-01-31")
    check = examine_purchases([1, 2, 3, 4, 5, 6], lucca, Rules(), Conditions(document_dates=days)).check
    reason = "it has no document dated 2026-01-01 to 2026-01-31"
    others = [(2, reason), (3, reason)]
    assert left_out(check) == (others if kept else [(1, reason), *others])
    assert (check["closable"], check["already_closed"]) == ([1] if kept else [], [4])
    # Of these nothing is known of documents.
    assert [one["id"] for one in (*check["blocked"], *check["unknown"])] == [5, 6]


def test_nothing_is_left_out_for_documents_that_could_not_be_read():
    lucca = Lucca([purchase(1)], [], documents_end=LuccaRefusedError("400 bad query"))
    check = examine_purchases([1], lucca, Rules(), Conditions(document_dates=("2026-01-01", "2026-01-31"))).check
    assert [one["id"] for one in check["unknown"]] == [1]


@given(st.permutations(range(1, 9)), st.integers(0, 8), st.integers(0, 8))
def test_every_purchase_is_named_once_whatever_is_asked(order, known, excluded):
    states = itertools.cycle(["Ongoing", "Closed", "Denied", "Archived"])
    lucca = Lucca([purchase(number, state) for number, state in zip(range(1, known + 1), states, strict=False)])
    conditions = Conditions(excluded=order[:excluded], document_dates=("2026-01-01", "2026-12-31"), approved={})
    check = examine_purchases(order, lucca, Rules(), conditions).check
    named = [*check["closable"], *check["already_closed"]]
    named += [one["id"] for key in ("blocked", "unknown", "left_out") for one in check[key]]  # type: ignore[literal-required]
    assert sorted(named) == list(range(1, 9))


def test_a_plain_check_leaves_nothing_out():
    assert check_purchases([1], Lucca([purchase(1)]), Rules())["left_out"] == []
