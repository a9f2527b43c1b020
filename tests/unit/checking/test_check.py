"""The check against a tenant in memory: what it says of each purchase, and how many requests that takes."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lucca_provider.checking import Check, Rules, check_purchases
from lucca_provider.exceptions import (
    LuccaAccessError,
    LuccaError,
    LuccaForbiddenError,
    LuccaInDoubtError,
    LuccaNotFoundError,
    LuccaNotSentError,
    LuccaRefusedError,
    LuccaThrottledError,
)
from lucca_provider.reading import lists

FORBIDDEN = LuccaForbiddenError("403 no right")
MISSING = LuccaNotFoundError("404 no such thing")
REFUSED = LuccaRefusedError("400 bad query")
IN_DOUBT = LuccaInDoubtError("500 out of order")
NOT_SENT = LuccaNotSentError("connection refused")
THROTTLED = LuccaThrottledError("429 used up")
WRONG_KEY = LuccaAccessError("401 wrong key")

Json = dict[str, Any]
NUMBERS = itertools.count(1000)


def purchase(purchase_id: int, state: Any = "Ongoing", **fields: Any) -> Json:
    return {"id": purchase_id, "state": state, "billedAmount": {"counter": {"value": 0}}, **fields}


def document(purchase: Any, payment: str = "Paid", number: int | None = None, **fields: Any) -> Json:
    number = next(NUMBERS) if number is None else number
    reference = {"id": purchase, "name": "Chairs"} if isinstance(purchase, int) else purchase
    states = {"conformityState": "Confirmed", "paymentState": payment}
    return {"id": number, "type": "Invoice", "documentNumber": str(number), "purchase": reference, **states, **fields}


class Lucca:
    """
    A tenant in memory.

    :param purchases: what a purchase itself answers, or the error
    :param listed: what the list has, if that is something else
    :param size: items a page
    :param counts: whether the lists say how long they are
    :param purchases_end: error at the end of the purchases list, in place of a page
    :param documents_end: the same for the documents
    """

    def __init__(
        self,
        purchases: Sequence[Json] = (),
        documents: Sequence[Json] = (),
        *,
        listed: Sequence[Json] | None = None,
        size: int = 1000,
        counts: bool = True,
        purchases_end: LuccaError | None = None,
        documents_end: LuccaError | None = None,
        single_errors: Mapping[int, LuccaError] | None = None,
    ) -> None:
        self.purchases = {item["id"]: item for item in purchases}
        self.documents = list(documents)
        self.listed = list(self.purchases.values()) if listed is None else listed
        self.size = size
        self.counts = counts
        self.ends = {"purchases": purchases_end, "documents": documents_end}
        self.single_errors = single_errors or {}
        self.requests: list[Any] = []
        self.since: str | None = "never asked"

    def get_purchase(self, purchase_id: int) -> Mapping[str, Any]:
        self.requests.append(purchase_id)
        if purchase_id in self.single_errors:
            raise self.single_errors[purchase_id]
        if purchase_id not in self.purchases:
            raise MISSING
        return self.purchases[purchase_id]

    def get_page(self, path: str, params: Mapping[str, Any]) -> Json:
        name, items = ("purchases", self.listed) if path == lists.PURCHASES else ("documents", self.documents)
        if path == lists.DOCUMENTS:
            (self.since,) = params.get("createdAt.from", [None])
        self.requests.append(name)
        page = str(params.get("page", "1"))
        start = int(page[1:]) if page.startswith("@") else (int(page) - 1) * self.size
        end = self.ends[name]
        if end is not None and start >= len(items):
            raise end
        stop = start + self.size
        more = stop < len(items) or end is not None
        counts = {"count": len({item["id"] for item in items})} if self.counts else {}
        return {"items": items[start:stop], "next": f"@{min(stop, len(items))}" if more else None, **counts}


def check(lucca: Lucca, purchase_ids: Collection[int], **kwargs: Any) -> Check:
    return check_purchases(purchase_ids, lucca, Rules(), **kwargs)


def reason(lucca: Lucca, purchase_id: int) -> str:
    """Return why nothing is known of a purchase, the only one that is asked for."""
    found = check(lucca, [purchase_id])
    assert [item["id"] for item in found["unknown"]] == [purchase_id]
    return found["unknown"][0]["reason"]


def named(found: Check) -> list[int]:
    items = [*found["blocked"], *found["unknown"]]
    return [*found["closable"], *found["already_closed"], *(item["id"] for item in items)]


# -- what it says ------------------------------------------------------------------------------------------------------


def test_each_purchase_is_found_as_what_a_closing_would_make_of_it():
    lucca = Lucca(
        [purchase(1), purchase(2, "Closed"), purchase(3), purchase(4, "Denied"), purchase(5, "Archived"), purchase(6)],
        [document(1, number=10), document(3, "ToPay", 11), document(3, "OnHold", 12), document(6, "Frozen", 13)],
    )
    assert check(lucca, [6, 5, 4, 3, 2, 1, 99]) == {
        "closable": [1],
        "already_closed": [2],
        "blocked": [
            {"id": 4, "reasons": ["the purchase is Denied, not Ongoing"]},
            {"id": 3, "reasons": ["invoice 11: not paid", "invoice 12: payment on hold"]},
        ],
        "unknown": [
            {"id": 6, "reason": "invoice 13: this version does not know the payment state 'Frozen'"},
            {"id": 5, "reason": "this version does not know its state 'Archived'"},
            {"id": 99, "reason": "no such purchase, or the API key may not see it (404)"},
        ],
        "left_out": [],
    }


def test_two_documents_of_which_nobody_knows_are_both_named():
    found = check(Lucca([purchase(1)], [document(1, "Frozen", 2), document(1, "Melted", 3)]), [1])
    assert found["unknown"][0]["reason"].split("; ") == [
        "invoice 2: this version does not know the payment state 'Frozen'",
        "invoice 3: this version does not know the payment state 'Melted'",
    ]


def test_which_states_count_is_an_argument():
    lucca = Lucca([purchase(1, "Validated")], [document(1, "Emitting")])
    rules = Rules(closable_states=frozenset({"Validated"}), paid_states=frozenset({"Emitting"}))
    assert check_purchases([1], lucca, rules)["closable"] == [1]


@pytest.mark.parametrize("since", [None, "2026-02-01"])
def test_documents_are_looked_for_from_a_day_on(since):
    lucca = Lucca([purchase(1, billedAmount={"counter": {"value": 5}})])
    assert check(lucca, [1], documents_since=since)["closable"] == []
    assert lucca.since == since


@pytest.mark.parametrize("listed", [1, 3])
def test_a_purchase_without_a_state_is_asked_for_once_and_then_unknown(listed):
    lucca = Lucca([purchase(number, None) for number in range(1, listed + 1)])
    found = check(lucca, lucca.purchases)
    assert found["unknown"] == [
        {"id": number, "reason": "Lucca returned no state for it"} for number in lucca.purchases
    ]
    assert [request for request in lucca.requests if request != "documents"][-listed:] == list(lucca.purchases)


def test_a_purchase_says_more_than_the_list():
    lucca = Lucca([purchase(1), purchase(2), purchase(3)], listed=[{"id": 1}, purchase(2), {"id": 3, "state": 5}])
    assert check(lucca, [1, 2, 3])["closable"] == [1, 2, 3]
    assert lucca.requests == ["purchases", 1, 3, "documents"]


def test_the_amount_that_a_list_leaves_out_is_asked_for_where_no_document_speaks():
    hidden = [purchase(number, billedAmount={"counter": {"value": 500}}) for number in (1, 2, 3)]
    listed = [{"id": number, "state": "Ongoing"} for number in (1, 2, 3)]
    lucca = Lucca(hidden, [document(2)], listed=listed)
    found = check(lucca, [1, 2, 3])
    assert found["closable"] == [2]
    assert [item["id"] for item in found["unknown"]] == [1, 3]
    assert "500.00 billed, but this API key sees no document" in found["unknown"][0]["reason"]
    assert lucca.requests == ["purchases", "documents", 1, 3]


def test_a_purchase_that_tells_no_amount_itself_is_asked_for_once():
    lucca = Lucca([purchase(1, billedAmount=None)])
    assert check(lucca, [1])["closable"] == [1]
    assert lucca.requests == [1, "documents"]


def test_an_amount_that_cannot_be_asked_for_leaves_it_unknown():
    listed = [{"id": number, "state": "Ongoing"} for number in (1, 2, 3)]
    lucca = Lucca([purchase(2), purchase(3)], listed=listed, single_errors={1: FORBIDDEN})
    assert check(lucca, [1, 2, 3])["unknown"] == [{"id": 1, "reason": "the API key may not read it (403)"}]


def test_no_amount_is_asked_for_if_the_documents_cannot_be_read():
    listed = [{"id": number, "state": "Ongoing"} for number in (1, 2, 3)]
    lucca = Lucca([purchase(1)], listed=listed, documents_end=FORBIDDEN)
    assert len(check(lucca, [1, 2, 3])["unknown"]) == 3
    assert lucca.requests == ["purchases", "documents"]


# -- documents ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", [7, "7", "007", {"id": 7}, {"id": "7", "href": "/purchases/7"}])
def test_a_document_blocks_the_purchase_that_it_names(reference):
    odd = document(reference, "ToPay")
    odd["purchase"] = reference
    assert [item["id"] for item in check(Lucca([purchase(7)], [odd]), [7])["blocked"]] == [7]


def test_a_document_that_belongs_to_no_purchase_blocks_none(caplog):
    with caplog.at_level(logging.INFO):
        assert check(Lucca([purchase(7)], [document(None, "ToPay", 3)]), [7])["closable"] == [7]
    assert "1 document without a purchase" in caplog.text


@pytest.mark.parametrize("payment", ["ToPay", "Paid"])
def test_nothing_is_closable_while_a_document_does_not_say_to_which_purchase_it_belongs(payment):
    silent = document(None, payment, 41)
    del silent["purchase"]
    lucca = Lucca([purchase(7), purchase(8), purchase(9, "Closed")], [silent, document(7), document(8, "ToPay")])
    found = check(lucca, [7, 8, 9])
    assert found["unknown"] == [{"id": 7, "reason": "document 41 does not say to which purchase it belongs"}]
    assert [item["id"] for item in found["blocked"]] == [8]
    assert found["already_closed"] == [9]


@pytest.mark.parametrize(
    "reference",
    [
        True,
        7.0,
        "",
        "x",
        "-7",
        " 7",
        "٧",
        "7" * 5000,
        [7],
        [{"id": 7}],
        {},
        {"id": None},
        {"id": True},
        {"id": {"id": 7}},
    ],
)
def test_nothing_is_closable_while_a_document_may_belong_to_any_purchase(reference):
    odd = document(None, "ToPay", 41)
    odd["purchase"] = reference
    lucca = Lucca([purchase(7), purchase(8), purchase(9, "Closed")], [document(8, "ToPay"), odd])
    found = check(lucca, [7, 8, 9])
    assert found["unknown"] == [
        {"id": 7, "reason": "document 41 names its purchase in a form that this version cannot read"}
    ]
    assert [item["id"] for item in found["blocked"]] == [8]
    assert found["already_closed"] == [9]


@pytest.mark.parametrize("error", [FORBIDDEN, MISSING, REFUSED, IN_DOUBT, NOT_SENT])
@pytest.mark.parametrize("known", [[], [document(1), document(2, "ToPay")]])
def test_nothing_is_closable_if_the_documents_could_not_be_read_to_the_end(error, known):
    purchases = [purchase(1, billedAmount={"counter": {"value": 5}}), purchase(2), purchase(3, "Closed")]
    found = check(Lucca(purchases, known, documents_end=error), [1, 2, 3])
    assert found["closable"] == []
    assert found["already_closed"] == [3]
    assert found["unknown"][0] == {"id": 1, "reason": f"its documents could not be read: {error}"}
    assert [item["id"] for item in found["blocked"]] == ([2] if known else [])


def test_what_is_no_matter_of_documents_is_told_although_they_could_not_be_read():
    purchases = [purchase(1, "Denied"), purchase(2, "Archived"), purchase(3)]
    found = check(Lucca(purchases, documents_end=FORBIDDEN), [1, 2, 3])
    assert found["blocked"] == [{"id": 1, "reasons": ["the purchase is Denied, not Ongoing"]}]
    assert "'Archived'" in found["unknown"][0]["reason"]
    assert "403" in found["unknown"][1]["reason"]


@pytest.mark.parametrize("order", [["Paid", "ToPay"], ["ToPay", "Paid"]])
def test_a_document_that_comes_twice_in_two_states_counts_in_both(order):
    twice = [document(1, payment, 41) for payment in order]
    assert check(Lucca([purchase(1)], twice, size=1), [1])["blocked"] == [
        {"id": 1, "reasons": ["invoice 41: not paid"]}
    ]


def test_a_document_that_comes_twice_is_one():
    amount = {"amountIncludingTaxes": {"counter": {"includingTaxes": {"value": 5}}}}
    last, moved = document(1, **amount), document(2)
    lucca = Lucca([purchase(1, billedAmount={"counter": {"value": 5}})], [document(3), last, last, moved], size=2)
    assert check(lucca, [1], documents_since="2026-02-01")["closable"] == [1]


# -- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [FORBIDDEN, MISSING, REFUSED, IN_DOUBT, NOT_SENT])
@pytest.mark.parametrize("pages", [0, 1])
def test_a_purchases_list_that_cannot_be_used_is_left(error, pages, caplog):
    everything = [purchase(number) for number in range(1, 6)]
    lucca = Lucca(everything, listed=everything[:pages], counts=False, size=1, purchases_end=error)
    with caplog.at_level(logging.INFO):
        assert check(lucca, range(1, 6))["closable"] == [1, 2, 3, 4, 5]
    assert lucca.requests.count("purchases") == pages + 1
    assert f"one by one: the list of purchases cannot be used any further. {error}" in caplog.text


@pytest.mark.parametrize("error", [THROTTLED, WRONG_KEY])
@pytest.mark.parametrize("where", ["purchases", "documents", "purchase"])
def test_what_no_other_request_would_escape_ends_the_check(error, where):
    lucca = Lucca(
        [purchase(number) for number in range(1, 6)],
        listed=[],
        purchases_end=error if where == "purchases" else None,
        documents_end=error if where == "documents" else None,
        single_errors={3: error} if where == "purchase" else {},
    )
    with pytest.raises(type(error)):
        check(lucca, range(1, 6))
    assert lucca.requests[-1] == (3 if where == "purchase" else where)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MISSING, "no such purchase, or the API key may not see it (404)"),
        (FORBIDDEN, "the API key may not read it (403)"),
        (REFUSED, "its state could not be read: 400 bad query"),
        (IN_DOUBT, "its state could not be read: 500 out of order"),
        (NOT_SENT, "its state could not be read: connection refused"),
    ],
)
def test_what_went_wrong_with_one_purchase_is_said_of_it_alone(error, words):
    lucca = Lucca([purchase(1), purchase(2)], single_errors={1: error})
    found = check(lucca, [1, 2])
    assert found["unknown"] == [{"id": 1, "reason": words}]
    assert found["closable"] == [2]


@pytest.mark.parametrize("error", [IN_DOUBT, NOT_SENT, REFUSED])
def test_a_dead_server_ends_it_early(error):
    lucca = Lucca(purchases_end=error, documents_end=error, single_errors=dict.fromkeys(range(1, 1001), error))
    found = check(lucca, range(1, 1001))
    assert lucca.requests == ["purchases", 1, 2, 3, 4, 5]
    assert [item["id"] for item in found["unknown"]] == list(range(1, 1001))
    assert found["unknown"][4]["reason"] == f"its state could not be read: {error}"
    assert {item["reason"] for item in found["unknown"][5:]} == {
        f"not read; given up after 5 purchases in a row. The last: its state could not be read: {error}"
    }


@pytest.mark.parametrize(
    "tenant",
    [
        {"single_errors": dict.fromkeys(range(1, 1001), FORBIDDEN)},
        {"single_errors": dict.fromkeys(range(1, 1001), MISSING)},
        {"purchases": [purchase(number, None) for number in range(1, 1001)]},
    ],
)
def test_a_key_that_sees_nothing_ends_it_early(tenant):
    lucca = Lucca(**tenant)
    found = check(lucca, range(1, 1001))
    assert lucca.requests == ["purchases", 1, 2, 3, 4, 5]
    assert [item["id"] for item in found["unknown"]] == list(range(1, 1001))


def test_as_many_single_reads_as_pages_are_left_are_made_in_their_place():
    everything = [purchase(number) for number in range(1, 22)]
    lucca = Lucca(everything, size=10)
    assert check(lucca, [*range(1, 11), 20, 21])["closable"] == [*range(1, 11), 20, 21]
    assert [request for request in lucca.requests if request != "documents"] == ["purchases", 20, 21]


def test_unknown_ids_among_known_ones_are_all_told():
    lucca = Lucca([purchase(1)])
    found = check(lucca, range(1, 21))
    assert found["closable"] == [1]
    assert {item["reason"][:16] for item in found["unknown"]} == {"no such purchase"}


def test_failures_that_are_not_in_a_row_do_not_end_it():
    errors = {number: IN_DOUBT for number in range(1, 21) if number % 5}
    errors |= {10: MISSING, 20: FORBIDDEN}
    lucca = Lucca([purchase(number) for number in range(1, 21)], listed=[], single_errors=errors)
    found = check(lucca, range(1, 21))
    assert set(range(1, 21)) <= set(lucca.requests)
    assert found["closable"] == [5, 15]


# -- what it costs -----------------------------------------------------------------------------------------------------


def test_a_thousand_purchases_with_three_thousand_documents_take_four_requests():
    purchases = [purchase(number) for number in range(1, 1001)]
    lucca = Lucca(purchases, [document(1 + number % 1000, number=number) for number in range(3000)])
    assert check(lucca, lucca.purchases)["closable"] == list(lucca.purchases)
    assert lucca.requests == ["purchases", *["documents"] * 3]


def test_one_or_two_purchases_are_asked_for(caplog):
    lucca = Lucca([purchase(number) for number in range(1, 1001)])
    with caplog.at_level(logging.INFO):
        assert check(lucca, [7, 9])["closable"] == [7, 9]
    assert lucca.requests == [7, 9, "documents"]
    assert "Reading 2 purchases one by one." in caplog.text


def test_a_list_that_is_longer_than_there_are_purchases_to_find_is_left(caplog):
    lucca = Lucca([purchase(number) for number in range(1, 101)], size=10)
    with caplog.at_level(logging.INFO):
        assert check(lucca, [5, 97, 98, 99])["closable"] == [5, 97, 98, 99]
    assert lucca.requests == ["purchases", 97, 98, 99, "documents"]
    assert "Reading 3 purchases one by one." in caplog.text


def test_a_list_is_read_only_until_all_purchases_are_found(caplog):
    lucca = Lucca([purchase(number) for number in range(1, 101)], size=10)
    with caplog.at_level(logging.INFO):
        assert check(lucca, range(1, 21))["closable"] == list(range(1, 21))
    assert lucca.requests == ["purchases", "purchases", "documents"]
    assert "one by one" not in caplog.text


def test_a_list_of_unknown_length_costs_at_most_as_much_again_as_to_ask():
    others = [purchase(number) for number in range(100, 5000)]
    lucca = Lucca([purchase(number) for number in range(1, 11)], listed=others, size=1, counts=False)
    assert len(check(lucca, range(1, 11))["closable"]) == 10
    assert lucca.requests.count("purchases") == 10


def test_documents_are_not_read_if_no_purchase_depends_on_them():
    lucca = Lucca([purchase(1, "Closed"), purchase(2, "Denied")], [document(1), document(2)], size=1)
    check(lucca, [1, 2])
    assert lucca.requests == [1, 2]


# -- whatever Lucca answers --------------------------------------------------------------------------------------------

IDS = st.integers(1, 9)
STATES = st.sampled_from(["Ongoing", "Ongoing", "Ongoing", "Closed", "Denied", "Archived", "", None, 5])
PURCHASES = st.builds(purchase, IDS, STATES)
ERRORS = st.sampled_from([None, None, None, FORBIDDEN, MISSING, REFUSED, IN_DOUBT, NOT_SENT])
DOCUMENTS = st.builds(
    document,
    st.one_of(IDS, IDS.map(str), st.none()),
    st.sampled_from(["Paid", "Paid", "Paid", "Cancelled", "ToPay", "Frozen"]),
    st.integers(1, 20),
)
ODD_DOCUMENTS = st.builds(document, st.sampled_from([[], {}, "x", 1.5]))


@st.composite
def luccas(draw: st.DrawFn) -> Lucca:
    singles = draw(st.lists(PURCHASES, max_size=9, unique_by=lambda item: item["id"]))
    return Lucca(
        singles,
        draw(st.lists(st.one_of(DOCUMENTS, DOCUMENTS, DOCUMENTS, ODD_DOCUMENTS), max_size=20)),
        listed=draw(st.one_of(st.none(), st.lists(PURCHASES, max_size=20))),
        size=draw(st.integers(1, 5)),
        counts=draw(st.booleans()),
        purchases_end=draw(ERRORS),
        documents_end=draw(ERRORS),
        single_errors={number: error for number in range(1, 10) if (error := draw(ERRORS)) is not None},
    )


def names(document: Json, purchase_id: int) -> bool:
    reference = document["purchase"]
    told = reference.get("id") if isinstance(reference, dict) else reference
    return told in (purchase_id, str(purchase_id))


@given(lucca=luccas(), purchase_ids=st.lists(IDS, unique=True))
@example(lucca=Lucca([purchase(1)], [document(1, "ToPay"), document(1)], size=1), purchase_ids=[1])
def test_whatever_lucca_answers_each_purchase_is_found_once_and_closable_only_if_all_says_so(
    lucca: Lucca, purchase_ids: list[int]
) -> None:
    found = check(lucca, purchase_ids)
    assert sorted(named(found)) == sorted(purchase_ids)
    for verdict in found.values():
        ids = [item if isinstance(item, int) else item["id"] for item in verdict]  # type: ignore[attr-defined]
        assert ids == [purchase_id for purchase_id in purchase_ids if purchase_id in ids]
    said = {(item["id"], item["state"]) for item in (*lucca.listed, *lucca.purchases.values())}
    for purchase_id in found["already_closed"]:
        assert (purchase_id, "Closed") in said
    for purchase_id in found["closable"]:
        assert (purchase_id, "Ongoing") in said
        assert lucca.ends["documents"] is None
        assert not any(item["purchase"] in ([], {}, "x", 1.5) for item in lucca.documents)
        mine = [item for item in lucca.documents if names(item, purchase_id)]
        assert all(item["paymentState"] in ("Paid", "Cancelled") for item in mine)


@given(lucca=luccas(), purchase_ids=st.lists(IDS, unique=True))
def test_it_never_takes_more_requests_than_the_pages_of_both_lists_or_twice_the_purchases(
    lucca: Lucca, purchase_ids: list[int]
) -> None:
    check(lucca, purchase_ids)
    # Of a single page without a length only the next one, which is empty, shows that it was the last.
    pages = {
        name: max(1, -(-len(items) // lucca.size)) + (lucca.ends[name] is not None or not lucca.counts)
        for name, items in (("purchases", lucca.listed), ("documents", lucca.documents))
    }
    singles = [request for request in lucca.requests if isinstance(request, int)]
    assert len(singles) == len(set(singles))
    assert set(singles) <= set(purchase_ids)
    assert lucca.requests.count("documents") <= pages["documents"]
    assert lucca.requests.count("purchases") <= min(pages["purchases"], 1 + len(purchase_ids))


@given(
    size=st.integers(1, 50),
    total=st.integers(1, 300),
    data=st.data(),
)
def test_with_lists_that_tell_their_length_it_takes_the_fewest_of_pages_and_purchases_and_one_more(
    size: int, total: int, data: st.DataObject
) -> None:
    lucca = Lucca([purchase(number) for number in range(1, total + 1)], size=size)
    purchase_ids = data.draw(st.lists(st.integers(1, total), unique=True, min_size=1))
    assert check(lucca, purchase_ids)["closable"] == purchase_ids
    requests = len(lucca.requests) - 1  # that for documents
    assert requests <= min(-(-total // size), 1 + len(purchase_ids)) or requests == len(purchase_ids) <= 2
