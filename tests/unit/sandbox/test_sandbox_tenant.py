"""The tenant in memory: the rule for closing, changes by hand, what people do."""

from __future__ import annotations

import pytest

from lucca_provider.sandbox.messages import Problem
from lucca_provider.sandbox.tenant import Closing, Tenant


class Clock:
    now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def tenant():
    return make()


def make():
    return Tenant(0, seed=1, states=None, clock=Clock())


def refusal(tenant, number):
    with pytest.raises(Problem) as caught:
        tenant.close(number, comment=None, date=None)
    assert tenant.closings == []
    return caught.value


def test_a_closing_takes_effect_once(tenant):
    number = tenant.add_purchase("Ongoing", [{}, {"paymentState": "Cancelled"}], {})
    tenant.close(number, comment="done", date="2025-01-31")
    assert tenant.purchase(number)["state"] == "Closed"
    assert tenant.ids("closed") == [number]
    with pytest.raises(Problem) as again:
        tenant.close(number, comment=None, date=None)
    assert (again.value.status, again.value.title) == (409, "Purchase already closed")
    assert tenant.closings == [Closing(number, Clock.now, "done", "2025-01-31")]


def test_open_documents_block_a_closing_and_are_all_named(tenant):
    number = tenant.add_purchase(
        "Ongoing",
        [
            {"documentNumber": "669", "documentDate": "2021-11-18", "conformityState": "ToReview"},
            {},
            {"documentNumber": "C7", "documentDate": "2021-11-19", "type": "CreditNote", "paymentState": "OnHold"},
        ],
        {},
    )
    problem = refusal(tenant, number)
    assert (problem.status, problem.title) == (409, "Purchase has open documents")
    assert problem.detail == (
        f"Purchase {number} can't be closed: invoice 669 of 2021-11-18: to review, paid; "
        "credit note C7 of 2021-11-19: approved, payment on hold."
    )


@pytest.mark.parametrize("state", ["Created", "Processing", "Denied", "Cancelled", "New"])
def test_a_purchase_that_is_not_ongoing_is_not_closed(tenant, state):
    number = tenant.add_purchase(state, [], {})
    problem = refusal(tenant, number)
    assert (problem.status, problem.title) == (409, "Purchase is not ongoing")
    assert state in problem.detail
    assert tenant.ids("blocked") == [number]


def test_an_unknown_purchase_is_404(tenant):
    assert refusal(tenant, 12).status == 404


def test_a_purchase_without_documents_can_be_closed(tenant):
    number = tenant.add_purchase("Ongoing", [], {})
    assert tenant.ids("closable") == [number]


def test_new_documents_open_and_block_a_purchase(tenant):
    number = tenant.add_purchase("Ongoing", [{"paymentState": "ToPay"}], {})
    assert tenant.ids("blocked") == [number]
    tenant.set_purchase(number, {"invoices": [{}]})
    assert tenant.ids("closable") == [number]
    assert len(tenant.documents()) == 1
    added = tenant.add_document(number, {"conformityState": "Litigation"})
    assert tenant.ids("blocked") == [number]
    assert tenant.document(added)["purchase"]["id"] == number
    assert len(tenant.documents()) == 2


def test_members_and_state_can_be_set(tenant):
    number = tenant.add_purchase("Ongoing", [], {"title": "Chairs", "billedAmount": None})
    assert (tenant.purchase(number)["title"], tenant.purchase(number)["billedAmount"]) == ("Chairs", None)
    tenant.set_purchase(number, {"state": "Denied", "title": "Tables"})
    assert (tenant.purchase(number)["title"], tenant.purchase(number)["state"]) == ("Tables", "Denied")


def test_a_hidden_state_is_still_there(tenant):
    number = tenant.add_purchase(None, [], {})
    shown = tenant.add_purchase("Ongoing", [], {})
    tenant.set_purchase(shown, {"state": None})
    for each in (number, shown):
        assert "state" not in tenant.purchase(each)
        tenant.close(each, comment=None, date=None)
        assert "state" not in tenant.purchase(each)
    assert tenant.ids("closed") == [number, shown]
    tenant.set_purchase(shown, {"state": "Closed"})
    assert tenant.purchase(shown)["state"] == "Closed"
    assert "state" not in tenant.purchase(shown, with_state=False)


def test_documents_may_lack_a_purchase(tenant):
    number = tenant.add_document(None, {})
    assert "purchase" not in tenant.document(number)


def test_what_does_not_exist_is_a_key_error(tenant):
    for act in (
        lambda: tenant.purchase(1),
        lambda: tenant.set_purchase(1, {}),
        lambda: tenant.add_document(1, {}),
        lambda: tenant.document(1),
        lambda: tenant.approve_and_pay(1),
    ):
        with pytest.raises(KeyError):
            act()


def test_an_id_may_be_chosen_but_not_twice(tenant):
    assert tenant.add_purchase("Ongoing", [], {"id": 42}) == 42
    with pytest.raises(ValueError, match="a purchase 42 already"):
        tenant.add_purchase("Ongoing", [], {"id": 42})


def test_news_tells_only_what_is_new(tenant):
    first = tenant.add_purchase("Ongoing", [], {"title": "Chairs"})
    second = tenant.add_purchase("Denied", [], {})
    purchases, version = tenant.news(0, 10)
    assert [purchase.purchase_id for purchase in purchases] == [first, second]
    assert purchases[1].blocked_by == "the purchase is Denied"
    assert tenant.counts == {"closable": 1, "closed": 0, "blocked": 1}
    tenant.close(first, comment=None, date=None)
    purchases, later = tenant.news(version, 10)
    assert [(purchase.title, purchase.standing) for purchase in purchases] == [("Chairs", "closed")]
    assert tenant.news(later, 10) == ([], later)


WORDS = [
    ("Confirmed", "ToPay", "approved, not paid"),
    ("Confirmed", "None", "approved, not paid"),
    ("Bypassed", "ToPay", "bypassed, not paid"),
    ("ToReview", "Paid", "to review, paid"),
    ("PendingBreakdown", "UnderReview", "breakdown pending, payment under review"),
    ("Litigation", "Emitting", "in litigation, payment being sent"),
    ("Confirmed", "Rejected", "approved, payment rejected"),
    ("Blessed", "Somehow", "Blessed, Somehow"),
]


@pytest.mark.parametrize(("conformity", "payment", "words"), WORDS)
def test_a_refusal_has_the_words_of_the_check(tenant, conformity, payment, words):
    number = tenant.add_purchase("Ongoing", [{"conformityState": conformity, "paymentState": payment}], {})
    assert refusal(tenant, number).detail.endswith(f": {words}.")


def test_approving_and_paying_opens_a_blocked_purchase(tenant):
    cancelled = {"conformityState": "Discarded", "paymentState": "None"}
    number = tenant.add_purchase("Ongoing", [{"conformityState": "ToReview", "amount": 7}, cancelled], {})
    before = tenant.documents()
    [standing], version = tenant.news(0, 10)
    assert standing.approvable
    tenant.approve_and_pay(number)
    assert tenant.ids("closable") == [number]
    opened, untouched = tenant.documents()
    assert (opened["conformityState"], opened["paymentState"]) == ("Confirmed", "Paid")
    assert opened["paymentDate"] > opened["documentDate"]
    assert untouched == before[1]
    assert before[0]["conformityState"] == "ToReview"  # one that was handed out does not change
    assert tenant.purchase(number)["confirmedAmount"]["counter"]["value"] == 7
    [standing], _ = tenant.news(version, 10)
    assert not standing.approvable


def test_approval_does_not_help_a_purchase_that_is_not_ongoing(tenant):
    number = tenant.add_purchase("Denied", [{"paymentState": "ToPay"}], {})
    [standing], _ = tenant.news(0, 10)
    assert not standing.approvable
    tenant.approve_and_pay(number)
    assert tenant.ids("blocked") == [number]
