"""Health: what one answer says about the whole run, whichever purchase it was about."""

from __future__ import annotations

import json
import logging
import re

import pytest

from lucca_provider.exceptions import (
    LuccaAccessError,
    LuccaForbiddenError,
    LuccaInDoubtError,
    LuccaNotFoundError,
    LuccaNotSentError,
    LuccaRefusedError,
    LuccaThrottledError,
    LuccaUnclearError,
)
from lucca_provider.limits import MAX_WAIT, Health, Stop, backoff

T = 1_000_000.0
LOST = LuccaInDoubtError("connection reset")
NOT_SENT = LuccaNotSentError("connection refused")
NOT_FOUND = LuccaNotFoundError("404", status=404)
FORBIDDEN = LuccaForbiddenError("403", status=403)
REFUSED = LuccaRefusedError("409", status=409)
WEB_PAGE = LuccaRefusedError("405", status=405, web_page=True)
UNCLEAR = LuccaUnclearError("text")
UNCLEAR_PAGE = LuccaUnclearError("a web page", web_page=True)


def throttled(retry_after: float | None = None) -> LuccaThrottledError:
    return LuccaThrottledError("429", status=429, retry_after=retry_after)


def pauses(*answers: object) -> list[float]:
    """Return how long is waited after each answer, the next one coming as soon as it may."""
    health, now, waits = Health(), T, []
    for answer in answers:
        assert health.take(answer, now) is None
        waits.append(max(0.0, health.ready_at - now))
        now += waits[-1]
    return waits


def test_a_healthy_server_holds_back_nothing():
    health = Health()
    for answer in (None, "Closed", {"items": []}, REFUSED, NOT_FOUND, UNCLEAR):
        assert health.take(answer, T) is None
    assert health.ready_at <= T
    assert not health.careful


# -- 429 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retry_after", "wait"), [(None, 10.0), (0.0, 1.0), (0.5, 1.0), (7.5, 7.5), (60.0, 60.0), (600.0, 600.0)]
)
def test_a_429_is_waited_for_as_lucca_asks(retry_after, wait):
    assert pauses(throttled(retry_after)) == [wait]


def test_a_429_that_does_not_say_how_long_is_waited_for_ten_seconds_each_time():
    assert pauses(*[throttled()] * 60) == [10.0] * 60


def test_429s_that_ask_for_no_time_are_asked_about_less_and_less_often():
    assert pauses(*[throttled(0.0)] * 9) == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_a_wait_beyond_ten_minutes_is_left_to_the_tasks_retry():
    stop = Health().take(throttled(601.0), T)
    assert stop == Stop(
        "the tenant's rate limit is used up: Lucca asks to wait 601 s (429)", retry_after=601.0, outage=True
    )


@pytest.mark.parametrize("passing", [0.0, 3600.0, 86_400.0])
def test_ten_minutes_of_waiting_that_was_asked_for_are_enough_however_much_time_passes(passing):
    health, now = Health(), T
    for _ in range(6):
        assert health.take(throttled(100.0), now) is None
        now += 100.0 + passing
    stop = health.take(throttled(100.0), now)
    assert stop is not None
    assert "600 s of waiting" in stop.reason
    assert stop.retry_after == 100.0


def test_the_429s_of_one_burst_are_one_pause():
    health = Health()
    for number in range(32):
        assert health.take(throttled(100.0), T + number / 100) is None
    assert health.throttle.pauses == 1
    assert health.throttle.waited == pytest.approx(100.31)
    assert health.ready_at == T + 100.31


def test_a_later_429_of_a_burst_does_not_shorten_the_pause():
    health = Health()
    health.take(throttled(100.0), T)
    health.take(throttled(1.0), T + 1)
    assert (health.ready_at, health.throttle.waited) == (T + 100.0, 100.0)


def test_another_answer_begins_the_count_of_waiting_anew():
    health = Health()
    health.take(throttled(400.0), T)
    health.take("Ongoing", T + 400)
    assert health.take(throttled(400.0), T + 401) is None


def test_where_closings_get_429_and_readings_are_answered_only_a_closing_begins_it_anew():
    health = Health()
    health.take(throttled(400.0), T, closing=True)
    health.take("Ongoing", T + 400)
    assert health.take(throttled(400.0), T + 401, closing=True) is not None
    health = Health()
    health.take(throttled(400.0), T, closing=True)
    health.take(None, T + 400, closing=True)
    assert health.take(throttled(400.0), T + 401, closing=True) is None
    health.take(None, T + 801, closing=True)
    health.take(throttled(400.0), T + 802)
    health.take("Ongoing", T + 1202)
    assert health.take(throttled(400.0), T + 1203) is None


def test_after_a_429_requests_go_out_one_at_a_time_until_one_is_answered():
    health = Health()
    health.take(throttled(1.0), T)
    assert health.careful
    health.take(None, T + 1)
    assert not health.careful


def test_a_wait_is_said_once_for_a_burst_by_whoever_makes_it(caplog):
    health = Health()
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            health.take(throttled(7.0), T)
        assert caplog.messages == []
        for _ in range(3):
            health.say_wait(T, T + 7)
        health.take(throttled(7.0), T + 7)
        health.say_wait(T + 7, T + 15)
    assert [re.findall(r"429|[0-9]+ s", message) for message in caplog.messages] == [["429", "7 s"], ["429", "8 s"]]


@pytest.mark.parametrize(("answer", "words"), [(LOST, "No clear answer"), (NOT_SENT, "No connection")])
def test_a_wait_says_what_came_instead_of_an_answer(answer, words, caplog):
    health, now = Health(), T
    with caplog.at_level(logging.INFO):
        for _ in range(4):
            health.take(answer, now)
            health.say_wait(now, health.ready_at)
            now = max(now, health.ready_at)
    assert [re.findall(rf"^{words} \([0-9]+|[0-9]+ s", message) for message in caplog.messages] == [
        [f"{words} (3", "1 s"],
        [f"{words} (4", "2 s"],
    ]


# -- no clear answer ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [LOST, NOT_SENT, LuccaInDoubtError("503", status=503)])
def test_failures_in_a_row_are_waited_for_longer_and_longer_and_ten_are_enough(answer):
    health, now, waits = Health(), T, []
    for _ in range(9):
        assert health.take(answer, now) is None
        waits.append(max(0.0, health.ready_at - now))
        now += waits[-1]
    assert waits == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0]
    stop = health.take(answer, now)
    assert stop is not None
    assert stop.retry_after is None
    assert stop.outage is (answer is not NOT_SENT)
    assert f"(10 requests in a row got no clear answer). The last: {answer}" in stop.reason


def test_what_looks_like_a_wrong_connection_is_no_outage():
    """The client says so of what was not sent; of a closing without an answer it says the same for another reason."""
    for error, outage in ((LuccaNotSentError("x"), False), (LuccaNotSentError("x", outage=True), True), (LOST, True)):
        stops = [health.take(error, T + 100 * number) for health in [Health()] for number in range(10)]
        assert stops[-1] is not None
        assert stops[-1].outage is outage


def test_the_failures_of_one_burst_count_once():
    health = Health()
    health.take(LOST, T)
    for _ in range(32):
        assert health.take(LOST, T + 0.1) is None
    assert health.outage.failures == 2


def test_a_clear_answer_in_between_shows_that_the_server_lives():
    health = Health()
    for number in range(30):
        assert health.take(REFUSED if number % 9 == 8 else LOST, T + 100 * number) is None


@pytest.mark.parametrize(("retry_after", "wait"), [(0.0, 0.0), (30.0, 30.0), (600.0, 600.0)])
def test_a_503_is_waited_for_as_lucca_asks(retry_after, wait):
    assert pauses(LuccaInDoubtError("503", retry_after=retry_after)) == [wait]


def test_a_503_that_asks_for_more_than_ten_minutes_is_left_to_the_tasks_retry():
    stop = Health().take(LuccaInDoubtError("503", retry_after=601.0), T)
    assert stop == Stop("Lucca is down and asks to wait 601 s", retry_after=601.0, outage=True)


def test_a_shorter_wait_does_not_end_a_longer_one():
    health = Health()
    health.take(LuccaInDoubtError("503", retry_after=100.0), T)
    health.take(LOST, T + 1)
    assert health.ready_at == T + 100.0


def test_after_a_second_failure_requests_go_out_one_at_a_time():
    health = Health()
    health.take(LOST, T)
    assert not health.careful
    health.take(LOST, T + 1)
    assert health.careful
    health.take("Ongoing", T + 2)
    assert not health.careful


def test_a_whole_success_that_is_no_clear_yes_is_no_sign_of_a_sick_server():
    health = Health()
    for _ in range(100):
        assert health.take(UNCLEAR, T) is None
    assert (health.ready_at <= T, health.careful) == (True, False)


def test_reads_are_repeated_with_growing_gaps():
    assert [backoff(failures) for failures in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, 8.0]


# -- key and host ------------------------------------------------------------------------------------------------------


def test_a_wrong_key_stops_everything():
    assert Health().take(LuccaAccessError("401: the API key is wrong"), T) == Stop("401: the API key is wrong")


@pytest.mark.parametrize("answer", [NOT_FOUND, WEB_PAGE, UNCLEAR_PAGE])
def test_while_nothing_is_proven_a_404_or_a_web_page_decides_nothing_and_a_probe_is_due(answer):
    health = Health()
    assert health.access.is_undecided(answer)
    assert health.take(answer, T) is None
    assert health.access.probe_due
    assert not health.access.proven


@pytest.mark.parametrize("answer", [None, "Closed", {"items": []}, REFUSED, FORBIDDEN])
def test_a_clear_answer_of_the_api_proves_the_host(answer):
    health = Health()
    health.take(NOT_FOUND, T)
    assert health.take(answer, T) is None
    assert (health.access.proven, health.access.probe_due) == (True, False)
    for later in (NOT_FOUND, WEB_PAGE, UNCLEAR_PAGE):
        assert not health.access.is_undecided(later)
        health.take(later, T)
        assert not health.access.probe_due


@pytest.mark.parametrize("answer", [LOST, NOT_SENT, UNCLEAR, throttled(1.0)])
def test_what_is_no_clear_answer_proves_nothing_and_asks_for_no_probe(answer):
    health = Health()
    health.take(answer, T)
    assert (health.access.proven, health.access.probe_due) == (False, False)


@pytest.mark.parametrize("answer", [None, FORBIDDEN, REFUSED])
def test_a_probe_that_is_answered_clearly_proves_the_host(answer):
    health = Health()
    health.take(NOT_FOUND, T)
    assert health.access.take_probe(answer) is None
    assert (health.access.proven, health.access.probe_due) == (True, False)


@pytest.mark.parametrize("answer", [NOT_FOUND, WEB_PAGE, UNCLEAR_PAGE, UNCLEAR])
def test_a_probe_that_is_not_answered_as_the_api_does_stops_the_run(answer):
    health = Health()
    health.take(NOT_FOUND, T)
    stop = health.access.take_probe(answer)
    assert stop is not None
    assert "check the connection's Tenant (host)" in stop.reason


@pytest.mark.parametrize("answer", [NOT_FOUND, WEB_PAGE, UNCLEAR_PAGE, UNCLEAR])
def test_a_probe_decides_nothing_once_another_answer_has_proven_the_host(answer):
    health = Health()
    health.take(NOT_FOUND, T)
    health.take("Ongoing", T)
    assert health.access.take_probe(answer) is None


@pytest.mark.parametrize("answer", [LOST, throttled(1.0)])
def test_a_probe_without_a_clear_answer_is_still_due(answer):
    health = Health()
    health.take(NOT_FOUND, T)
    health.take(answer, T)
    assert health.access.take_probe(answer) is None
    assert health.access.probe_due


# -- 403 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("take", "right"), [("take_reading", "view purchases"), ("take_closing", "manage invoices")])
def test_five_403s_in_a_row_stop_the_run_and_say_which_right_is_missing(take, right):
    access = Health().access
    counted = getattr(access, take)
    assert [counted(FORBIDDEN) for _ in range(4)] == [None] * 4
    stop = counted(FORBIDDEN)
    assert "5 requests in a row got a 403" in stop.reason
    assert f"lacks the right to {right}" in stop.reason


@pytest.mark.parametrize("take", ["take_reading", "take_closing"])
def test_another_refusal_between_403s_breaks_the_row(take):
    counted = getattr(Health().access, take)
    assert [counted(NOT_FOUND if number % 5 == 4 else FORBIDDEN) for number in range(30)] == [None] * 30


@pytest.mark.parametrize("take", ["take_reading", "take_closing"])
def test_no_answer_between_403s_does_not_break_the_row(take):
    counted = getattr(Health().access, take)
    assert [counted(answer) for answer in (FORBIDDEN, LOST, FORBIDDEN, throttled(1), FORBIDDEN, FORBIDDEN)] == [
        None
    ] * 6
    assert counted(FORBIDDEN) is not None


@pytest.mark.parametrize("take", ["take_reading", "take_closing"])
def test_once_something_was_achieved_403s_are_about_single_purchases(take):
    counted = getattr(Health().access, take)
    counted(None)
    assert [counted(FORBIDDEN) for _ in range(20)] == [None] * 20


# -- over a wait -------------------------------------------------------------------------------------------------------


def worn() -> Health:
    health = Health()
    health.take(throttled(100.0), T, closing=True)
    health.take(LuccaInDoubtError("503", retry_after=9.0), T + 100)
    health.take(NOT_FOUND, T + 109)
    health.take(throttled(50.0), T + 110, closing=True)
    health.access.take_reading(FORBIDDEN)
    health.access.take_closing(FORBIDDEN)
    return health


def test_it_goes_on_after_a_wait_as_it_was():
    carried = json.loads(json.dumps(worn().carry()))
    assert Health.restore(carried, T + 110) == worn()


def test_no_pause_is_longer_than_lucca_may_ask_for_whatever_the_other_clock_says():
    assert Health.restore(worn().carry(), T - 3600).ready_at == T - 3600 + MAX_WAIT


def test_a_count_of_pauses_that_cannot_be_is_no_error():
    carried = worn().carry()
    carried[0] = 10**9
    health = Health.restore(carried, T)
    assert health.take(throttled(0.0), T + 1000) is None
    assert health.ready_at == T + 1060.0
