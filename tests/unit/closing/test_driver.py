"""The driver: several requests at once, one thread that keeps the books."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import pytest

from lucca_provider.closing import ClosingRun, Driver, Kind, Step
from lucca_provider.exceptions import LuccaNotSentError, LuccaRefusedError, LuccaThrottledError
from lucca_provider.hooks._tenant import DEFAULT_REQUESTS_PER_MINUTE, DEFAULT_WINDOW_SECONDS
from lucca_provider.limits import Clock, Window
from lucca_provider.outcomes import Outcome
from tests.unit.closing.store import MemoryStore


class FastClock(Clock):
    """A clock on which waiting for nothing but time takes none."""

    def __init__(self) -> None:
        self.time = 1_000_000.0
        self.waits: list[float] = []

    def now(self) -> float:
        return self.time

    def wait(self, calls: SimpleQueue[None], seconds: float | None) -> None:
        if seconds is None or not calls.empty():
            calls.get()
        else:
            self.waits.append(seconds)
            self.time += seconds


class CountingWindow(Window):
    """A window that says how many requests are in flight."""

    in_flight = 0

    def sent(self) -> None:
        super().sent()
        self.in_flight += 1

    def answered(self, now: float) -> None:
        super().answered(now)
        self.in_flight -= 1


class InstantAnswers(FastClock):
    """A fast clock on which an answer takes no time, however slow the threads are."""

    def __init__(self, window: CountingWindow) -> None:
        super().__init__()
        self.window = window

    def wait(self, calls: SimpleQueue[None], seconds: float | None) -> None:
        super().wait(calls, None if self.window.in_flight else seconds)


def new_run(count: int, limit: int = 45, *, window: Window | None = None, **kwargs: Any) -> ClosingRun:
    journal = MemoryStore().open()
    return ClosingRun(range(1, count + 1), journal=journal, window=window or Window(limit), **kwargs)


def answer(step: Step) -> object:
    """Answer as a tenant of 1000 open purchases does, in which every closing succeeds."""
    if step.kind is Kind.LIST:
        return {"items": [{"id": each, "state": "Ongoing"} for each in range(1, 1001)], "count": 1000}
    return "Ongoing" if step.kind is Kind.READ else None


def scripted(*answers: object) -> Callable[[Step], object]:
    """Give these answers to closings, one after the other, and good ones to all other requests."""
    script = list(answers)

    def perform(step: Step) -> object:
        given = script.pop(0) if step.kind is Kind.CLOSE else answer(step)
        if isinstance(given, Exception):
            raise given
        return given

    return perform


def test_a_batch_is_driven_to_its_end_at_the_pace_of_the_limit():
    window = CountingWindow(4)
    clock = InstantAnswers(window)
    run = new_run(10, window=window)
    assert Driver(run, answer, max_in_flight=3, clock=clock).drive() is None
    assert run.end()["closed"] == list(range(1, 11))
    assert clock.time - 1_000_000.0 == 120.0


def test_a_thousand_closings_take_22_minutes_by_default():
    window = CountingWindow(DEFAULT_REQUESTS_PER_MINUTE, DEFAULT_WINDOW_SECONDS)
    clock = InstantAnswers(window)
    run = new_run(1000, window=window)
    assert Driver(run, answer, max_in_flight=4, clock=clock).drive() is None
    assert run.end()["closed"] == list(range(1, 1001))
    assert 21.5 <= (clock.time - 1_000_000.0) / 60 <= 22.5


def test_the_log_has_a_line_for_each_window_and_for_each_purchase_that_was_not_closed(caplog):
    window = CountingWindow(45)
    run = new_run(150, window=window)

    def perform(step: Step) -> object:
        if step == Step(Kind.CLOSE, 77):
            raise LuccaRefusedError("no", status=409, title="Open invoices", detail="F7 is not paid")
        return answer(step)

    with caplog.at_level(logging.INFO):
        assert Driver(run, perform, max_in_flight=3, clock=InstantAnswers(window)).drive() is None
    assert caplog.messages == [
        "44 of 150 purchases done. Rate limit reached; resuming at 13:47:40 UTC, about 2 minutes to go.",
        "Purchase 77 refused by Lucca: F7 is not paid (409 Open invoices)",
        "88 of 150 purchases done. Rate limit reached; resuming at 13:48:40 UTC.",
        "133 of 150 purchases done. Rate limit reached; resuming at 13:49:40 UTC.",
    ]


@pytest.mark.parametrize("max_in_flight", [1, 3])
def test_as_many_requests_are_in_flight_at_once_as_allowed(max_in_flight):
    # Each closing waits until the others that may go with it are there too.
    together = threading.Barrier(max_in_flight, timeout=10)
    running: list[int] = []
    most: list[int] = []

    def perform(step: Step) -> object:
        if step.kind is not Kind.CLOSE:
            return answer(step)
        running.append(step.purchase_id)
        most.append(len(running))
        together.wait()
        running.remove(step.purchase_id)
        return None

    run = new_run(max_in_flight * 4)
    Driver(run, perform, max_in_flight=max_in_flight).drive()
    assert len(run.end()["closed"]) == max_in_flight * 4
    assert max(most) == max_in_flight


def test_requests_are_made_by_threads_with_a_name_that_do_not_keep_a_process_alive():
    threads = set()

    def perform(step: Step) -> object:
        thread = threading.current_thread()
        threads.add((thread.name, thread.daemon))
        return answer(step)

    Driver(new_run(1), perform, max_in_flight=1).drive()
    assert threads == {("lucca-0", True)}


def test_all_bookkeeping_is_done_by_the_calling_thread():
    threads = set()
    run = new_run(8, on_outcome=lambda purchase_id, outcome: threads.add(threading.get_ident()))
    Driver(run, answer, max_in_flight=4).drive()
    assert threads == {threading.get_ident()}


def test_an_unexpected_error_counts_as_in_doubt_and_stops_nothing_else(caplog):
    steps: list[Step] = []

    def perform(step: Step) -> object:
        steps.append(step)
        if step == Step(Kind.CLOSE, 1):
            raise ZeroDivisionError("a defect")
        if step == Step(Kind.READ, 1) and len(steps) > 2:
            return "Closed"
        return answer(step)

    run = new_run(2)
    Driver(run, perform, max_in_flight=1, clock=FastClock()).drive()
    read, close = ([Step(kind, each) for each in (1, 2)] for kind in (Kind.READ, Kind.CLOSE))
    assert steps == [*read, *close, read[0]]
    assert run.end()["closed"] == [1, 2]
    assert "unexpected ZeroDivisionError: a defect" in caplog.text


def test_a_defect_over_one_answer_stops_nothing_else(caplog):
    def fail(purchase_id: int, outcome: Outcome) -> None:
        if purchase_id == 2:
            raise ZeroDivisionError

    run = new_run(5, on_outcome=fail)
    Driver(run, answer, max_in_flight=2).drive()
    assert run.end()["closed"] == [1, 2, 3, 4, 5]
    assert "ZeroDivisionError" in caplog.text


def test_a_defect_over_the_list_ends_the_run(caplog):
    def fail(purchase_id: int, outcome: Outcome) -> None:
        if run.stopped is None:
            raise ZeroDivisionError("a defect")

    run = new_run(19, on_outcome=fail)
    closed = {"items": [{"id": 1, "state": "Closed"}], "count": 1}
    Driver(run, lambda step: closed, max_in_flight=2, clock=FastClock()).drive()
    report = run.end()
    assert report["already_closed"] == [1]
    assert {item["reason"] for item in report["unresolved"]} == {"not reached: unexpected ZeroDivisionError: a defect"}


def test_a_long_wait_for_the_window_is_left_for_once_nothing_is_in_flight():
    clock = FastClock()
    run = new_run(5, limit=4)
    moment = Driver(run, answer, max_in_flight=2, leave_after=10.0, clock=clock).drive()
    assert moment == 1_000_060.0
    assert run.report()["closed"] == [1, 2, 3]


def test_a_short_wait_is_waited_for():
    clock = FastClock()
    run = new_run(2)
    perform = scripted(LuccaThrottledError("429", retry_after=9.0), None, None)
    assert Driver(run, perform, max_in_flight=1, leave_after=10.0, clock=clock).drive() is None
    assert clock.waits == [9.0]


def test_a_wait_of_less_than_a_second_is_no_longer_than_needed():
    clock = FastClock()
    refused = LuccaNotSentError("refused")
    Driver(new_run(1), scripted(refused, refused, None), max_in_flight=1, clock=clock).drive()
    assert clock.waits == [0.5]


def test_a_wait_that_is_just_long_enough_is_left_for():
    perform = scripted(LuccaThrottledError("429", retry_after=10.0))
    driver = Driver(new_run(1), perform, max_in_flight=1, leave_after=10.0, clock=FastClock())
    assert driver.drive() == driver.now() + 10.0 == 1_000_010.0


def test_a_driver_that_is_to_stay_waits_in_the_worker():
    clock = FastClock()
    run = new_run(1)
    perform = scripted(LuccaThrottledError("429", retry_after=100.0), None)
    driver = Driver(run, perform, max_in_flight=1, leave_after=10.0, clock=clock)
    assert driver.drive() == 1_000_100.0
    driver.stay()
    assert driver.drive() is None
    assert run.end()["closed"] == [1]
    assert clock.waits == [100.0]


def test_a_trickle_of_free_places_does_not_keep_the_worker():
    """Answers far apart: once the window is full, leave until most of it is free, not for each place anew."""
    clock = FastClock()

    def perform(step: Step) -> object:
        clock.time += 5.0
        return answer(step)

    run = new_run(100, limit=10)
    moment = Driver(run, perform, max_in_flight=1, leave_after=10.0, clock=clock).drive()
    assert len(run.report()["closed"]) == 9
    assert moment == 1_000_000.0 + 50.0 + 60.0 - 10.0


def test_what_is_in_flight_is_waited_for_before_leaving():
    release = threading.Event()
    finished: list[int] = []

    def perform(step: Step) -> object:
        if step.purchase_id == 3:
            release.wait(10)
        finished.append(step.purchase_id)
        return answer(step)

    run = new_run(4, limit=4)
    threading.Timer(0.2, release.set).start()
    Driver(run, perform, max_in_flight=3, leave_after=10.0).drive()
    assert sorted(finished) == [0, 1, 2, 3]
    assert run.report()["closed"] == [1, 2, 3]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interruption_stops_sending_waits_for_what_is_in_flight_and_records_it(error):
    """The exception comes from a signal handler, as Airflow's time-out and Ctrl-C do."""
    sent: list[int] = []

    def perform(step: Step) -> object:
        if step.kind is not Kind.CLOSE:
            return answer(step)
        sent.append(step.purchase_id)
        if len(sent) == 3:
            signal.raise_signal(signal.SIGUSR1)
        time.sleep(0.3 if len(sent) >= 3 else 0)
        return None

    def interrupt(*args: Any) -> None:
        raise error

    before = signal.signal(signal.SIGUSR1, interrupt)
    run = new_run(30)
    try:
        with pytest.raises(error):
            Driver(run, perform, max_in_flight=2).drive()
    finally:
        signal.signal(signal.SIGUSR1, before)
    report = run.end()
    assert report["closed"] == sorted(sent)
    assert 3 <= len(sent) <= 4
    assert len(report["unresolved"]) == 30 - len(sent)
    assert error.__name__ in report["unresolved"][0]["reason"]


def test_a_kill_stops_sending_also_while_it_waits():
    def perform(step: Step) -> None:
        raise LuccaThrottledError("429", retry_after=500.0)

    run = new_run(3)
    driver = Driver(run, perform, max_in_flight=1)
    threading.Timer(0.1, driver.stop, ["the task was killed"]).start()
    started = time.monotonic()
    assert driver.drive() is None
    assert time.monotonic() - started < 60
    assert {item["reason"] for item in run.end()["unresolved"]} == {"not reached: the task was killed"}


def test_the_clock_tells_the_time_of_day_and_never_goes_back():
    clock = Clock()
    first = clock.now()
    assert abs(first - time.time()) < 5
    assert clock.now() >= first


def test_the_clock_waits_for_a_call_or_for_the_time():
    calls: SimpleQueue[None] = SimpleQueue()
    Clock().wait(calls, 0.01)
    calls.put(None)
    Clock().wait(calls, None)
    assert calls.empty()


def test_on_the_clock_of_the_day_time_passes():
    clock = Clock()
    before = clock.now()
    clock.sleep(0.001)
    assert clock.now() - before >= 0.001
