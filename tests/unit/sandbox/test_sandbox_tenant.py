"""The tenant in memory: the rule for closing, changes by hand, the record."""

from __future__ import annotations

import pytest

from lucca_provider.sandbox.tenant import Closing, Problem, Tenant


class Clock:
    now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def tenant():
    return make()


def make(*, keep_requests=100, clock=None, limit=50):
    return Tenant(0, seed=1, clock=clock or Clock(), limit=limit, window=60, states=None, keep_requests=keep_requests)


def arrive(tenant, purchase_id=None, *, closing=False):
    return tenant.arrived(
        method="POST" if closing else "GET",
        path="/x",
        query={},
        headers={},
        body=None,
        purchase_id=purchase_id,
        closing=closing,
    )


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
        f"Purchase {number} can't be closed: invoice 669 of 2021-11-18: to review, payment paid; "
        "credit note C7 of 2021-11-19: confirmed, payment on hold."
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
    ):
        with pytest.raises(KeyError):
            act()


def test_an_id_may_be_chosen_but_not_twice(tenant):
    assert tenant.add_purchase("Ongoing", [], {"id": 42}) == 42
    with pytest.raises(ValueError, match="a purchase 42 already"):
        tenant.add_purchase("Ongoing", [], {"id": 42})


def test_the_limit_slides():
    clock = Clock()
    tenant = make(clock=clock, limit=2)
    assert tenant.wait(100.0) == 0
    tenant.count(100.0)
    tenant.count(130.0)
    assert tenant.wait(130.0) == 30
    assert tenant.wait(159.5) == 0.5
    assert tenant.wait(160.0) == 0
    tenant.count(160.0)
    assert tenant.wait(160.0) == 30


def test_limit_zero_is_no_limit():
    tenant = make(limit=0)
    for _ in range(100):
        tenant.count(1.0)
    assert tenant.wait(1.0) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": -1}, "limit is -1"),
        ({"window": 0}, "window is 0"),
        ({"window": float("nan")}, "window is nan"),
        ({"keep_requests": 0}, "keep_requests is 0"),
    ],
)
def test_values_that_make_no_sense_are_refused(options, message):
    given = {"seed": 1, "clock": Clock(), "limit": 1, "window": 1.0, "states": None, "keep_requests": 1, **options}
    with pytest.raises(ValueError, match=message):
        Tenant(1, **given)


def test_the_record_keeps_the_newest_requests_and_counts_all():
    tenant = make(keep_requests=2)
    for _ in range(3):
        tenant.answered(arrive(tenant, 7, closing=True), 429)
    assert [request.number for request in tenant.requests] == [2, 3]
    assert (tenant.posts(7), tenant.posts(8), tenant.throttled) == (3, 0, 3)
    tenant.reset_requests()
    assert (tenant.requests, tenant.posts(7), tenant.throttled) == ([], 0, 0)


def test_only_closings_of_a_purchase_count_as_posts(tenant):
    arrive(tenant, 7)
    arrive(tenant, None, closing=True)
    assert tenant.posts(7) == 0


def test_changes_tell_only_what_is_new(tenant):
    first = tenant.add_purchase("Ongoing", [], {"title": "Chairs"})
    second = tenant.add_purchase("Denied", [], {})
    tenant.answered(arrive(tenant), 200)
    before = tenant.changes(version=0, seen=0, most=10)
    assert [p.purchase_id for p in before.purchases] == [first, second]
    assert before.purchases[1].blocked_by == "the purchase is Denied"
    assert before.counts == {"closable": 1, "closed": 0, "blocked": 1, "requests": 1, "throttled": 0}
    tenant.close(first, comment=None, date=None)
    tenant.answered(arrive(tenant), 200)
    after = tenant.changes(version=before.version, seen=before.seen, most=10)
    assert [(p.title, p.standing) for p in after.purchases] == [("Chairs", "closed")]
    assert [request.number for request in after.requests] == [2]
    nothing = tenant.changes(version=after.version, seen=after.seen, most=10)
    assert (nothing.purchases, nothing.requests) == ([], [])


def test_changes_tell_again_of_a_request_that_was_not_done(tenant):
    slow, quick = arrive(tenant), arrive(tenant)
    tenant.answered(quick, 200)
    before = tenant.changes(version=0, seen=0, most=10)
    tenant.answered(slow, None)
    after = tenant.changes(version=0, seen=before.seen, most=10)
    assert [(r.number, r.done) for r in before.requests] == [(1, False), (2, True)]
    assert [(r.number, r.done) for r in after.requests] == [(1, True), (2, True)]
    assert after.seen == 2


def test_changes_are_cut_to_the_newest_requests(tenant):
    for _ in range(5):
        tenant.answered(arrive(tenant), 200)
    assert [r.number for r in tenant.changes(version=0, seen=0, most=2).requests] == [4, 5]
