"""Whether a purchase can be closed: what its own state says, what each document says, and what seems to be missing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucca_provider.checking import Finding, Rules, find_readiness

CONFORMITY_STATES = ["ToReview", "PendingBreakdown", "Confirmed", "Litigation", "Discarded", "Removed", "Bypassed"]
PAYMENT_STATES = ["None", "ToPay", "UnderReview", "Emitting", "Paid", "OnHold", "Rejected", "Cancelled"]
JSON = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([]), st.just({}))


def purchase(state: Any = "Ongoing", **fields: Any) -> dict[str, Any]:
    return {"id": 7, "state": state, **fields}


def document(conformity: Any = "Confirmed", payment: Any = "Paid", **fields: Any) -> dict[str, Any]:
    return {
        "id": 41,
        "type": "Invoice",
        "documentNumber": "669",
        "documentDate": "2021-11-18",
        "conformityState": conformity,
        "paymentState": payment,
        **fields,
    }


def billed(value: Any) -> dict[str, Any]:
    return {"billedAmount": {"counter": {"value": value}}}


def amount(including: Any, excluding: Any = None) -> dict[str, Any]:
    taxes = {"includingTaxes": {"value": including}, "excludingTaxes": {"value": excluding}}
    return {"amountIncludingTaxes": {"counter": taxes}}


def find(
    purchase: Mapping[str, Any],
    *documents: Mapping[str, Any],
    rules: Rules | None = None,
    since: str | None = None,
) -> Finding:
    return find_readiness(purchase, documents, rules or Rules(), since=since)


def reasons(finding: Finding, verdict: str) -> list[str]:
    assert finding.verdict == verdict
    return list(finding.reasons)


CLOSABLE = Finding("closable")


@pytest.mark.parametrize(("completion", "words"), [("Disputed", "disputed"), ("Partial", "only partly complete")])
def test_a_document_that_is_disputed_or_partial_is_named(completion: str, words: str) -> None:
    odd = document(completion=completion)
    named = f"invoice 669 of 2021-11-18: {words}"
    assert reasons(find(purchase(), odd, document()), "unknown") == [named]
    unpaid = document(payment="ToPay", completion=completion)
    assert reasons(find(purchase(), unpaid), "blocked") == [f"invoice 669 of 2021-11-18: not paid, {words}"]
    assert find(purchase(), document("Discarded", completion=completion)) == CLOSABLE


@pytest.mark.parametrize("completion", ["Complete", "ToReview", None, "", 5, ["Disputed"], "disputed"])
def test_another_completion_says_nothing(completion: Any) -> None:
    assert find(purchase(), document(completion=completion)) == CLOSABLE


# -- the purchase's own state ------------------------------------------------------------------------------------------


def test_an_ongoing_purchase_whose_documents_are_settled_is_closable():
    assert find(purchase(), document(), document("Bypassed"), document("Discarded", "ToPay")) == CLOSABLE


def test_a_purchase_without_documents_is_closable():
    """All its invoices are paid: it has none."""
    assert find(purchase()) == find(purchase(**billed(0))) == find(purchase(billedAmount=None)) == CLOSABLE


def test_a_closed_purchase_is_closed_whatever_its_documents_say():
    assert find(purchase("Closed"), document("ToReview")) == Finding("already_closed")
    rules = Rules(closable_states=frozenset({"Closed"}))
    assert find(purchase("Closed"), rules=rules) == Finding("already_closed")


@pytest.mark.parametrize("state", ["Created", "Processing", "Denied", "Cancelled"])
def test_a_purchase_in_another_state_is_blocked(state):
    assert reasons(find(purchase(state), document()), "blocked") == [f"the purchase is {state}, not Ongoing"]


@pytest.mark.parametrize("state", [None, "", 5, True, ["Ongoing"], {"value": "Ongoing"}])
def test_without_a_state_nothing_is_known(state):
    assert reasons(find(purchase(state), document()), "unknown") == ["Lucca returned no state for it"]
    assert find({"id": 7}, document()).verdict == "unknown"


@pytest.mark.parametrize("state", ["Archived", "ongoing", "Ongoing ", "closed"])
def test_a_state_that_nobody_knows_is_unknown(state):
    (reason,) = reasons(find(purchase(state), document()), "unknown")
    assert reason == f"this version does not know its state {state.strip()!r}"


def test_which_states_can_be_closed_is_an_argument():
    rules = Rules(closable_states=frozenset({"Validated", "Created"}))
    assert find(purchase("Validated"), rules=rules) == find(purchase("Created"), rules=rules) == CLOSABLE
    assert reasons(find(purchase(), rules=rules), "blocked") == ["the purchase is Ongoing, not Created or Validated"]


# -- the documents -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("conformity", "payment"), list(product(CONFORMITY_STATES, PAYMENT_STATES)))
def test_a_document_is_settled_if_it_is_approved_and_paid_or_cancelled(conformity, payment):
    settled = (
        conformity in ("Discarded", "Removed")
        or payment == "Cancelled"
        or (conformity in ("Confirmed", "Bypassed") and payment == "Paid")
    )
    finding = find(purchase(), document(), document(conformity, payment))
    assert finding.verdict == ("closable" if settled else "blocked")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"conformityState": "ToReview", "paymentState": "None"}, "invoice 669 of 2021-11-18: to review, not paid"),
        ({"paymentState": "ToPay"}, "invoice 669 of 2021-11-18: not paid"),
        ({"conformityState": "Litigation"}, "invoice 669 of 2021-11-18: in litigation"),
        ({"paymentState": "OnHold", "type": "CreditNote"}, "credit note 669 of 2021-11-18: payment on hold"),
        ({"paymentState": "OnHold", "type": "Receipt"}, "document 669 of 2021-11-18: payment on hold"),
        ({"paymentState": "OnHold", "type": 5}, "document 669 of 2021-11-18: payment on hold"),
        ({"paymentState": "OnHold", "documentNumber": None, "documentDate": 5}, "invoice 41: payment on hold"),
        ({"paymentState": "OnHold", "documentNumber": "a\nb\x1b[0m"}, "invoice a b [0m of 2021-11-18: payment on hold"),
        (
            {"paymentState": "OnHold", "documentNumber": "9" * 99},
            f"invoice {'9' * 60}… of 2021-11-18: payment on hold",
        ),
        ({"paymentState": "OnHold", "documentNumber": "9" * 60}, f"invoice {'9' * 60} of 2021-11-18: payment on hold"),
        (
            {"conformityState": "ToReview", "paymentState": "Frozen"},
            "invoice 669 of 2021-11-18: to review, this version does not know the payment state 'Frozen'",
        ),
    ],
)
def test_what_blocks_is_said_as_a_person_would(fields, reason):
    assert reasons(find(purchase(), document(**fields)), "blocked") == [reason]


def test_a_state_that_other_rules_let_pass_is_said_not_to_count():
    rules = Rules(approved_states=frozenset({"Litigation"}), paid_states=frozenset({"Emitting"}))
    for fields, reason in (
        ({"conformityState": "Confirmed", "paymentState": "Emitting"}, "the approval state Confirmed"),
        ({"conformityState": "Bypassed", "paymentState": "Emitting"}, "the approval state Bypassed"),
        ({"conformityState": "Litigation", "paymentState": "Paid"}, "the payment state Paid"),
    ):
        said = f"invoice 669 of 2021-11-18: {reason} does not count here"
        assert reasons(find(purchase(), {**document(), **fields}, rules=rules), "blocked") == [said]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"conformityState": "Blessed"}, "this version does not know the approval state 'Blessed'"),
        ({"paymentState": "PAID"}, "this version does not know the payment state 'PAID'"),
        ({"paymentState": "a\nb"}, "this version does not know the payment state 'a b'"),
        ({"paymentState": None}, "its payment state is missing"),
        ({"conformityState": True}, "its approval state is missing"),
        ({"conformityState": ["Confirmed"], "paymentState": {}}, "its approval state is missing, its payment state is"),
    ],
)
def test_a_document_in_a_state_that_nobody_knows_leaves_it_unknown(fields, reason):
    (said,) = reasons(find(purchase(), document(), document(**fields)), "unknown")
    assert said.startswith(f"invoice 669 of 2021-11-18: {reason}")


def test_what_certainly_blocks_counts_for_more_than_what_is_not_known():
    finding = find(purchase(), document("Blessed", documentNumber="1"), document("ToReview", documentNumber="2"))
    assert reasons(finding, "blocked") == [
        "invoice 1 of 2021-11-18: this version does not know the approval state 'Blessed'",
        "invoice 2 of 2021-11-18: to review",
    ]


def test_a_document_in_two_states_is_settled_only_if_both_are():
    assert find(purchase(), document(payment="ToPay"), document()).verdict == "blocked"
    assert find(purchase(), document("Discarded"), document()) == CLOSABLE


def test_only_the_first_ten_documents_are_named():
    many = [document("ToReview", documentNumber=str(number)) for number in range(12)]
    assert len(find(purchase(), *many[:10]).reasons) == 10
    said = reasons(find(purchase(), *many), "blocked")
    assert len(said) == 11
    assert said[9].startswith("invoice 9 of")
    assert said[10] == "and 2 more documents"


@pytest.mark.parametrize(
    ("rules", "closable"),
    [
        (Rules(approved_states=frozenset({"ToReview"}), paid_states=frozenset({"Emitting"})), True),
        (Rules(approved_states=frozenset({"ToReview"})), False),
        (Rules(paid_states=frozenset({"Emitting"})), False),
        (Rules(cancelled_states=frozenset({"ToReview"})), True),
        (Rules(cancelled_states=frozenset({"Emitting"})), True),
        (Rules(cancelled_states=frozenset()), False),
    ],
)
def test_which_states_settle_a_document_are_arguments(rules, closable):
    assert (find(purchase(), document("ToReview", "Emitting"), rules=rules) == CLOSABLE) is closable


def test_what_the_user_does_not_count_is_not_called_approved_or_paid():
    found = find(purchase(), document(), rules=Rules(frozenset({"confirmed"}), frozenset({"paid"})))
    assert reasons(found, "blocked") == [
        "invoice 669 of 2021-11-18: the approval state Confirmed does not count here, "
        "the payment state Paid does not count here"
    ]


def test_nothing_is_cancelled_if_no_state_says_so():
    rules = Rules(cancelled_states=frozenset())
    assert reasons(find(purchase(), document("Discarded", "Cancelled"), rules=rules), "blocked") == [
        "invoice 669 of 2021-11-18: discarded, payment cancelled"
    ]


# -- what seems to be missing ------------------------------------------------------------------------------------------


def test_an_amount_billed_without_a_document_hints_at_hidden_ones():
    assert reasons(find(purchase(**billed(120))), "unknown") == [
        "120.00 billed, but this API key sees no document of it"
    ]


@pytest.mark.parametrize("told", [120, "120", [], {}, {"value": 0}, {"counter": 0}, {"counter": {"value": None}}])
def test_an_amount_billed_that_cannot_be_read_is_not_nothing(told):
    (reason,) = reasons(find(purchase(billedAmount=told)), "unknown")
    assert reason == "this API key sees no document of it, and its billed amount cannot be read"


@pytest.mark.parametrize("value", [True, "much", float("nan"), float("inf"), "NaN", "1e999999999", 10**15])
def test_what_is_no_amount_is_not_taken_for_one(value):
    assert "cannot be read" in reasons(find(purchase(**billed(value))), "unknown")[0]


def test_documents_that_were_all_looked_for_need_not_add_up():
    """What Lucca counts as billed is not published."""
    credit = document(type="CreditNote", **amount(30))
    assert find(purchase(**billed(60)), document(**amount(90)), credit) == CLOSABLE
    assert find(purchase(**billed(90)), document(**amount(90)), credit) == CLOSABLE
    assert find(purchase(**billed(90)), document("Discarded", **amount(90))) == CLOSABLE
    assert find(purchase(**billed(120)), document(**amount("free"))) == CLOSABLE


@pytest.mark.parametrize("credit", [amount(-40), {**amount(40), "type": "CreditNote"}])
def test_documents_that_come_to_less_than_was_billed_hint_at_hidden_ones(credit):
    found = find(purchase(**billed(120)), document(**credit), document(**amount(90)))
    assert reasons(found, "unknown") == [
        "120.00 billed, but the documents that this API key sees add up to 90.00 at most"
    ]


@pytest.mark.parametrize(
    ("value", "documents"),
    [
        (0, []),
        ("0.00", []),
        (120, [amount(120, 100)]),
        (100, [amount(120, 100)]),
        (0.3, [amount(0.1), amount(0.2)]),
        ("120.0", [amount("120")]),
        (90, [amount(120), {**amount(30), "type": "CreditNote"}]),
        (90, [amount(120), {**amount(-30), "type": "CreditNote"}]),
        (90, [amount(120), amount(-30)]),
        (120, [amount(120), {**amount(55), "conformityState": "Discarded"}]),
        (120, [amount(120), {"paymentState": "Cancelled"}]),
    ],
)
def test_documents_since_a_day_that_account_for_all_that_was_billed_are_all_there_are(value, documents):
    found = [document(**fields) for fields in documents]
    assert find(purchase(**billed(value)), *found, since="2026-02-01") == CLOSABLE


@pytest.mark.parametrize(
    ("value", "documents"),
    [
        (120, []),
        (200, [amount(120, 100)]),
        (120.01, [amount(120, 100)]),
        (240, [amount(120, None), amount(None, 120)]),
        (120, [{}]),
        (120, [{"amountIncludingTaxes": 120}]),
        (150, [amount(120), amount(-30)]),
        (100, [amount("9e999999"), amount("9e999999")]),
    ],
)
def test_documents_since_a_day_that_do_not_account_for_what_was_billed_leave_it_unknown(value, documents):
    found = [document(**fields) for fields in documents]
    (reason,) = reasons(find(purchase(**billed(value)), *found, since="2026-02-01"), "unknown")
    assert reason == f"{value:.2f} billed, but its documents since 2026-02-01 add up to something else"


def test_a_discarded_duplicate_does_not_stand_in_for_the_older_invoice_that_was_not_looked_for():
    """The first came in January and is not paid; it came again in February, and the second was discarded."""
    duplicate = document("Discarded", "None", **amount(120, 100))
    assert find(purchase(**billed(120)), duplicate, since="2026-02-01").verdict == "unknown"


@pytest.mark.parametrize("fields", [{}, {"billedAmount": None}, {"billedAmount": 120}, billed("x")])
def test_without_an_amount_billed_nobody_knows_what_came_before_a_day(fields):
    for documents in ([], [document(**amount(120, 100))]):
        (reason,) = reasons(find(purchase(**fields), *documents, since="2026-02-01"), "unknown")
        assert reason == "its billed amount is not known, so documents older than 2026-02-01 may be missing"


def test_what_blocks_blocks_whatever_was_not_looked_for():
    assert find(purchase(**billed(500)), document("ToReview"), since="2026-02-01").verdict == "blocked"


# -- whatever Lucca answers --------------------------------------------------------------------------------------------

AMOUNTS = st.one_of(JSON, st.sampled_from([billed(120)["billedAmount"], amount(120, 100)["amountIncludingTaxes"]]))
PURCHASES = st.fixed_dictionaries(
    {"id": st.just(7)},
    optional={
        "state": st.one_of(JSON, st.sampled_from(["Ongoing", "Ongoing", "Closed", "Denied", "Archived"])),
        "billedAmount": AMOUNTS,
    },
)
DOCUMENTS = st.fixed_dictionaries(
    {"id": st.integers()},
    optional={
        "type": st.one_of(JSON, st.sampled_from(["Invoice", "CreditNote"])),
        "documentNumber": JSON,
        "documentDate": JSON,
        "conformityState": st.one_of(JSON, st.sampled_from([*CONFORMITY_STATES, "Confirmed", "Blessed"])),
        "paymentState": st.one_of(JSON, st.sampled_from([*PAYMENT_STATES, "Paid", "Frozen"])),
        "amountIncludingTaxes": AMOUNTS,
    },
)


def is_settled(document: Mapping[str, Any]) -> bool:
    conformity, payment = document.get("conformityState"), document.get("paymentState")
    if conformity in ("Discarded", "Removed", "Cancelled") or payment in ("Discarded", "Removed", "Cancelled"):
        return True
    return conformity in ("Confirmed", "Bypassed") and payment == "Paid"


@given(purchase=PURCHASES, documents=st.lists(DOCUMENTS, max_size=4), since=st.sampled_from([None, "2026-02-01"]))
def test_only_what_is_clearly_ready_is_closable(
    purchase: Mapping[str, Any], documents: Collection[Mapping[str, Any]], since: str | None
) -> None:
    finding = find_readiness(purchase, documents, Rules(), since=since)
    assert finding.verdict in ("closable", "already_closed", "blocked", "unknown")
    assert bool(finding.reasons) is (finding.verdict in ("blocked", "unknown"))
    assert all(reason.isprintable() and len(reason) < 400 for reason in finding.reasons)
    assert (finding.verdict == "already_closed") is (purchase.get("state") == "Closed")
    if finding.verdict == "closable":
        assert purchase.get("state") == "Ongoing"
        assert all(is_settled(document) for document in documents)
        assert since is None or purchase.get("billedAmount") is not None
