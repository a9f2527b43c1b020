"""What a generated tenant holds."""

from __future__ import annotations

import itertools
import random

import pytest

from lucca_provider.sandbox import dataset, tenant

PAIRS = set(itertools.product(dataset.CONFORMITY_STATES, dataset.PAYMENT_STATES))


def make(purchases=60, *, seed=1, states=None):
    return tenant.Tenant(purchases, seed=seed, states=states, clock=lambda: 0.0)


def test_the_same_seed_gives_the_same_tenant_and_another_seed_another():
    assert make(seed=7).purchases() == make(seed=7).purchases()
    assert make(seed=7).documents() == make(seed=7).documents()
    assert make(seed=7).ids() != make(seed=8).ids()


@pytest.mark.parametrize("seed", range(5))
def test_sixty_purchases_show_every_pair_of_states(seed):
    documents = make(seed=seed).documents()
    assert {(d["conformityState"], d["paymentState"]) for d in documents} == PAIRS


def test_about_seventy_percent_are_closable_and_eight_closed():
    made = make(1000)
    assert [len(made.ids(standing)) for standing in ("closable", "closed", "blocked")] == [700, 80, 220]
    states = {p["state"] for p in made.purchases()}
    assert states == {"Ongoing", "Closed", "Created", "Denied", "Cancelled"}


def test_ids_grow_with_gaps_and_fit_int32():
    ids = make(1000).ids()
    steps = [after - before for before, after in itertools.pairwise(ids)]
    assert min(steps) >= 1
    assert len(set(steps)) > 3
    assert 0 < ids[0] < ids[-1] < 2**31


def test_the_shares_of_the_kinds_can_be_chosen():
    assert make(5, states={"closable": 1}).ids("closable") == make(5, states={"closable": 1}).ids()
    mixed = make(4, states={"Ongoing": 1, "Closed": 1, "blocked": 1, "Denied": 1})
    assert sorted(p["state"] for p in mixed.purchases()) == ["Closed", "Denied", "Ongoing", "Ongoing"]
    assert len(mixed.ids("blocked")) == 2


@pytest.mark.parametrize(
    ("purchases", "states", "message"),
    [
        (-1, None, "purchases is -1"),
        (5, {}, "one must be above 0"),
        (5, {"closable": 0}, "one must be above 0"),
        (5, {"closable": 1, "blocked": -1}, "must not be negative"),
    ],
)
def test_shares_that_make_no_sense_are_refused(purchases, states, message):
    with pytest.raises(ValueError, match=message):
        make(purchases, states=states)


def test_an_empty_tenant_is_possible():
    assert make(0).ids() == []


def test_the_amounts_of_a_purchase_add_up_from_its_documents():
    made = make(0)
    number = made.add_purchase(
        "Ongoing",
        [
            {"amount": "120.10"},
            {"amount": 99.9, "conformityState": "ToReview"},
            {"amount": 20, "type": "CreditNote"},
            {"amount": 55, "conformityState": "Discarded"},
            {"amount": 66, "conformityState": "Removed"},
            {"amount": 77, "conformityState": "ToReview", "paymentState": "Cancelled"},
        ],
        {},
    )
    purchase = made.purchase(number)
    assert purchase["billedAmount"]["counter"] == {"value": 200.0, "currency": "EUR"}
    assert purchase["confirmedAmount"]["counter"]["value"] == 100.1
    assert purchase["availableAmount"]["base"]["value"] == 0


@pytest.mark.parametrize("cents", [1, 5, 99, 100, 12_345])
def test_net_and_taxes_add_up_to_the_cent(cents):
    amount = dataset.Writer(random.Random(1)).document(None, {"amount": cents / 100})["amountIncludingTaxes"]["base"]
    parts = amount["excludingTaxes"]["value"] + amount["taxes"][0]["value"]
    assert round(parts * 100) == round(amount["includingTaxes"]["value"] * 100) == cents


def test_a_document_names_its_purchase_and_only_a_paid_one_a_payment_date():
    made = make(0)
    number = made.add_purchase("Ongoing", [{}, {"paymentState": "ToPay"}], {"title": "Chairs"})
    paid, unpaid = made.documents()
    assert paid["purchase"] == {
        "id": number,
        "name": "Chairs",
        "type": made.purchase(number)["type"],
        "href": f"/cleemy-procurement/api/purchases/{number}",
    }
    assert paid["paymentDate"] > paid["documentDate"]
    assert "paymentDate" not in unpaid


@pytest.mark.parametrize(("conformity", "payment"), sorted(PAIRS))
def test_settled_means_approved_and_paid_or_cancelled(conformity, payment):
    expected = (
        conformity in ("Discarded", "Removed")
        or payment == "Cancelled"
        or (conformity in ("Confirmed", "Bypassed") and payment == "Paid")
    )
    assert dataset.is_settled({"conformityState": conformity, "paymentState": payment}) is expected


def test_a_state_that_nobody_knows_does_not_settle_a_document():
    assert not dataset.is_settled({"conformityState": "Blessed", "paymentState": "Paid"})
    assert not dataset.is_settled({"conformityState": "Confirmed", "paymentState": "Somehow"})
