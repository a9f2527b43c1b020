"""The record of requests."""

from __future__ import annotations

import pytest

from lucca_provider.sandbox.messages import Incoming
from lucca_provider.sandbox.record import Record


def make(*, keep=100):
    return Record(keep, lambda: 1_700_000_000.0)


def arrive(record, purchase_id=None, *, closing=False):
    incoming = Incoming("POST" if closing else "GET", "/x", {}, [], b"")
    return record.arrived(incoming, purchase_id=purchase_id, closing=closing)


def test_at_least_one_request_is_kept():
    with pytest.raises(ValueError, match="keep_requests is 0"):
        make(keep=0)


def test_it_keeps_the_newest_requests_and_counts_all():
    record = make(keep=2)
    for _ in range(3):
        record.answered(arrive(record, 7, closing=True), 429)
    assert [request.number for request in record.requests] == [2, 3]
    assert (record.posts(7), record.posts(8), record.counts) == (3, 0, {"requests": 3, "throttled": 3})
    record.reset()
    assert (record.requests, record.posts(7), record.counts["throttled"]) == ([], 0, 0)
    assert arrive(record).number == 4


def test_only_closings_of_a_purchase_count_as_posts():
    record = make()
    arrive(record, 7)
    arrive(record, None, closing=True)
    assert record.posts(7) == 0


def test_news_tells_only_what_is_new():
    record = make()
    record.answered(arrive(record), 200)
    _, seen = record.news(0, 10)
    record.answered(arrive(record), 200)
    requests, later = record.news(seen, 10)
    assert [request.number for request in requests] == [2]
    assert record.news(later, 10) == ([], later)


def test_news_tells_again_of_a_request_that_was_not_done():
    record = make()
    slow, quick = arrive(record), arrive(record)
    record.answered(quick, 200)
    before, seen = record.news(0, 10)
    record.answered(slow, None)
    after, seen = record.news(seen, 10)
    assert [(request.number, request.done) for request in before] == [(1, False), (2, True)]
    assert [(request.number, request.done) for request in after] == [(1, True), (2, True)]
    assert seen == 2


def test_news_is_cut_to_the_newest_requests():
    record = make()
    for _ in range(5):
        record.answered(arrive(record), 200)
    assert [request.number for request in record.news(0, 2)[0]] == [4, 5]
