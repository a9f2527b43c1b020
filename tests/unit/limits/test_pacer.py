"""The pacer: reads within the limit, once more where no clear answer came, and not for ever."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucca_provider.exceptions import (
    LuccaAccessError,
    LuccaConfigurationError,
    LuccaError,
    LuccaForbiddenError,
    LuccaInDoubtError,
    LuccaNotFoundError,
    LuccaNotSentError,
    LuccaRefusedError,
    LuccaThrottledError,
)
from lucca_provider.limits import Clock, Pacer, Window

T = 1_000_000.0
IN_DOUBT = LuccaInDoubtError("500")
NOT_SENT = LuccaNotSentError("connection refused")


class FastClock(Clock):
    """A clock on which time passes by sleeping, and in no time."""

    def __init__(self) -> None:
        self.time = T
        self.sleeps: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.sleeps.append(seconds)
        self.time += seconds


class Lucca:
    """
    Gives the answers of a script, each after a moment, and then good ones.

    :param answers: errors, or what to answer
    :param takes: seconds that each takes
    """

    def __init__(self, clock: FastClock, *answers: object, takes: float = 0.0) -> None:
        self.clock = clock
        self.answers = iter(answers)
        self.takes = takes
        self.requests: list[float] = []

    def __call__(self) -> object:
        assert len(self.requests) < 2000, "asked without end"
        self.requests.append(self.clock.time)
        self.clock.time += self.takes
        answer = next(self.answers, "good")
        if isinstance(answer, BaseException):
            raise answer
        return answer


def throttled(retry_after: float | None = None) -> LuccaThrottledError:
    return LuccaThrottledError("429", retry_after=retry_after)


def forever(error: LuccaError) -> Iterator[LuccaError]:
    while True:
        yield error


def read(*answers: object, limit: int = 45) -> tuple[object, FastClock]:
    """Return what a single read returned or raised, and the clock that it went by."""
    clock = FastClock()
    pacer, lucca = Pacer(Window(limit), clock), Lucca(clock, *answers)
    try:
        return pacer.call(lucca, repeat_in_doubt=True), clock
    except LuccaError as error:
        return error, clock


# -- the limit ---------------------------------------------------------------------------------------------------------


def test_a_read_that_the_limit_allows_goes_out_at_once():
    clock = FastClock()
    pacer, lucca = Pacer(Window(45), clock), Lucca(clock, "first", None)
    assert [pacer.call(lucca, repeat_in_doubt=True) for _ in range(45)][:3] == ["first", None, "good"]
    assert lucca.requests == [T] * 45


def test_a_read_beyond_the_limit_waits_until_an_answer_leaves_the_window(caplog):
    clock = FastClock()
    pacer, lucca = Pacer(Window(2), clock), Lucca(clock, takes=1.0)
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            pacer.call(lucca, repeat_in_doubt=True)
    assert lucca.requests == [T, T + 1, T + 61, T + 62, T + 122]
    assert [re.findall(r"[0-9]+ s", message) for message in caplog.messages] == [["59 s"]] * 2


@pytest.mark.parametrize("error", ["good", IN_DOUBT, throttled(), LuccaForbiddenError("403"), KeyboardInterrupt()])
def test_whatever_may_have_reached_lucca_counts(error):
    clock = FastClock()
    window = Window(45)
    lucca = Lucca(clock, error, takes=0.5)
    with suppress(LuccaForbiddenError, KeyboardInterrupt):
        Pacer(window, clock).call(lucca, repeat_in_doubt=True)
    assert window.answers() == [moment + 0.5 for moment in lucca.requests]


def test_what_never_reached_lucca_does_not_count():
    clock = FastClock()
    window = Window(1)
    pacer, lucca = Pacer(window, clock), Lucca(clock, NOT_SENT, NOT_SENT, NOT_SENT)
    assert pacer.call(lucca, repeat_in_doubt=True) == "good"
    assert len(window.answers()) == 1
    assert clock.time == T + 1 + 2 + 4


def test_threads_read_one_after_another():
    busy = threading.Lock()
    pacer = Pacer(Window(1000))

    def perform() -> int:
        assert busy.acquire(blocking=False)
        for _ in range(20):
            time.sleep(0)  # lets another thread have its turn, if it may
        busy.release()
        return threading.get_ident()

    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(lambda _: pacer.call(perform, repeat_in_doubt=True), range(200)))) == 200


ANSWERS = st.one_of(
    st.just("good"),
    st.just(IN_DOUBT),
    st.just(NOT_SENT),
    st.builds(LuccaInDoubtError, st.just("503"), retry_after=st.floats(0, 700)),
    st.builds(throttled, st.one_of(st.none(), st.floats(0, 700))),
    st.just(LuccaNotFoundError("404")),
)


@given(
    answers=st.lists(ANSWERS, max_size=60),
    reads=st.integers(1, 30),
    limit=st.integers(1, 5),
    takes=st.floats(0, 9),
)
def test_whatever_lucca_answers_no_window_sees_more_than_the_limit(
    answers: list[object], reads: int, limit: int, takes: float
) -> None:
    clock = FastClock()
    pacer, lucca = Pacer(Window(limit), clock), Lucca(clock, *answers, takes=takes)
    for _ in range(reads):
        try:
            pacer.call(lucca, repeat_in_doubt=True)
        except LuccaError as error:
            assert error in answers  # noqa: PT017 - it may also return
    sent = [
        moment
        for moment, answer in zip(lucca.requests, [*answers, *["good"] * len(lucca.requests)], strict=False)
        if answer is not NOT_SENT
    ]
    for moment in sent:
        # A microsecond less, for what the sums of floats lose.
        assert sum(moment - 60 + 1e-6 < other <= moment for other in sent) <= limit


# -- 429 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retry_after", "wait"), [(None, 10.0), (0.0, 1.0), (0.5, 1.0), (7.5, 7.5), (60.0, 60.0), (600.0, 600.0)]
)
def test_a_429_is_waited_out_as_lucca_asks(retry_after, wait):
    answer, clock = read(throttled(retry_after))
    assert answer == "good"
    assert clock.sleeps == [wait]


def test_a_429_that_comes_again_and_again_is_waited_out_for_ten_minutes():
    clock = FastClock()
    lucca = Lucca(clock)
    lucca.answers = forever(throttled())
    with pytest.raises(LuccaThrottledError):
        Pacer(Window(45), clock).call(lucca, repeat_in_doubt=True)
    assert lucca.requests == [T + 10 * number for number in range(61)]


def test_a_429_that_asks_for_more_than_ten_minutes_is_told_at_once():
    error = throttled(600.5)
    answer, clock = read(error)
    assert (answer, clock.sleeps) == (error, [])


def test_ten_minutes_of_waiting_are_counted_over_429s_in_a_row():
    last = throttled(301)
    answer, clock = read(throttled(300), last)
    assert answer is last
    assert clock.sleeps == [300.0]


def test_another_answer_between_them_begins_the_count_anew():
    answer, clock = read(throttled(300), IN_DOUBT, throttled(301))
    assert answer == "good"
    assert clock.sleeps == [300.0, 1.0, 301.0]


def test_each_read_has_ten_minutes_of_its_own():
    clock = FastClock()
    pacer, lucca = Pacer(Window(45), clock), Lucca(clock, throttled(500), "first", throttled(500), "second")
    assert [pacer.call(lucca, repeat_in_doubt=True), pacer.call(lucca, repeat_in_doubt=True)] == ["first", "second"]


def test_a_host_that_is_not_found_is_no_wrong_one_once_something_was_answered():
    clock = FastClock()
    lost = [LuccaNotSentError("no such host") for _ in range(8)]
    lucca, pacer = Lucca(clock, *lost[:4], "first", *lost[4:]), Pacer(Window(45), clock)
    for outage in (False, True):
        with pytest.raises(LuccaNotSentError) as caught:
            pacer.call(lucca, repeat_in_doubt=True)
        assert caught.value.outage is outage
        if not outage:
            pacer.call(lucca, repeat_in_doubt=True)


def test_a_wait_is_said(caplog):
    with caplog.at_level(logging.INFO):
        read(throttled(7), throttled(0), throttled(1.5))
    assert [re.findall(r"[0-9]+ s", message) for message in caplog.messages] == [["7 s"], ["2 s"], ["4 s"]]


# -- no clear answer ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [IN_DOUBT, NOT_SENT])
def test_no_clear_answer_is_asked_for_four_times_in_all(error):
    answer, clock = read(error, error, error)
    assert answer == "good"
    assert clock.sleeps == [1.0, 2.0, 4.0]
    answer, clock = read(error, error, error, error)
    assert answer is error
    assert clock.sleeps == [1.0, 2.0, 4.0]


@pytest.mark.parametrize(("error", "words"), [(IN_DOUBT, "No clear answer"), (NOT_SENT, "No connection")])
def test_only_a_wait_that_is_made_is_said(error, words, caplog):
    with caplog.at_level(logging.INFO):
        read(error, error, error, error)
        read(throttled(601))
    assert [re.findall(rf"^{words}|[0-9]+ s", message) for message in caplog.messages] == [
        [words, f"{seconds} s"] for seconds in (1, 2, 4)
    ]


@pytest.mark.parametrize(("retry_after", "wait"), [(0.0, 1.0), (30.0, 30.0), (600.0, 600.0)])
def test_a_503_is_waited_out_as_lucca_asks(retry_after, wait):
    answer, clock = read(LuccaInDoubtError("503", retry_after=retry_after))
    assert (answer, clock.sleeps) == ("good", [wait])


def test_a_503_that_asks_for_more_than_ten_minutes_is_told_at_once():
    error = LuccaInDoubtError("503", retry_after=600.5)
    answer, clock = read(error)
    assert (answer, clock.sleeps) == (error, [])


def test_a_429_is_no_failure_and_a_failure_no_429():
    answer, clock = read(IN_DOUBT, throttled(1), IN_DOUBT, throttled(1), IN_DOUBT, throttled(1))
    assert answer == "good"
    assert clock.sleeps == [1.0, 1.0, 2.0, 1.0, 4.0, 1.0]


def test_what_may_have_taken_effect_is_repeated_only_if_that_is_allowed():
    clock = FastClock()
    lucca = Lucca(clock, throttled(3), NOT_SENT, IN_DOUBT)
    with pytest.raises(LuccaInDoubtError):
        Pacer(Window(45), clock).call(lucca, repeat_in_doubt=False)
    assert clock.sleeps == [3.0, 1.0]
    assert len(lucca.requests) == 3


@pytest.mark.parametrize(
    "error",
    [
        LuccaAccessError("401"),
        LuccaConfigurationError("no host"),
        LuccaForbiddenError("403"),
        LuccaNotFoundError("404"),
        LuccaRefusedError("409"),
    ],
)
def test_a_clear_no_is_told_at_once(error):
    answer, clock = read(error)
    assert (answer, clock.sleeps) == (error, [])


@pytest.mark.parametrize(
    "answer",
    [
        lambda: IN_DOUBT,
        lambda: NOT_SENT,
        lambda: throttled(),
        lambda: throttled(0),
        lambda: throttled(599),
        lambda: LuccaInDoubtError("503", retry_after=599),
    ],
)
@pytest.mark.parametrize("limit", [1, 45])
def test_a_server_that_never_answers_clearly_ends_it(answer: Callable[[], LuccaError], limit: int) -> None:
    clock = FastClock()
    lucca = Lucca(clock)
    lucca.answers = forever(answer())
    with pytest.raises(LuccaError):
        Pacer(Window(limit), clock).call(lucca, repeat_in_doubt=True)
    assert len(lucca.requests) <= 61
    # Waiting that was asked for is counted, not the waiting for room in the window.
    assert clock.time <= T + 3 * 600 + 60 * len(lucca.requests)


def test_after_an_error_the_next_read_goes_out():
    clock = FastClock()
    pacer = Pacer(Window(45), clock)
    with pytest.raises(LuccaNotFoundError):
        pacer.call(Lucca(clock, LuccaNotFoundError("404")), repeat_in_doubt=True)
    assert pacer.call(Lucca(clock), repeat_in_doubt=True) == "good"


def test_without_a_clock_it_goes_by_the_time_of_the_day():
    assert Pacer(Window(1)).call(lambda: 5, repeat_in_doubt=True) == 5
