"""The driver: several requests at once, one thread that keeps the books."""

from __future__ import annotations

import signal
import threading
import time
from queue import SimpleQueue
from typing import Any

import pytest

from lucca_provider.closing import ClosingRun, Driver, Kind, MemoryLedger, Step
from lucca_provider.exceptions import LuccaNotSentError, LuccaThrottledError
from lucca_provider.hooks._tenant import DEFAULT_REQUESTS_PER_MINUTE, DEFAULT_WINDOW_SECONDS
from lucca_provider.limits import Clock, Window


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


def new_run(count: int, limit: int = 45, **kwargs: Any) -> ClosingRun:
    return ClosingRun(range(1, count + 1), ledger=MemoryLedger(), window=Window(limit), **kwargs)


def test_a_batch_is_driven_to_its_end_at_the_pace_of_the_limit():
    window = CountingWindow(4)
    clock = InstantAnswers(window)
    run = ClosingRun(range(1, 11), ledger=MemoryLedger(), window=window)
    assert Driver(run, lambda step: None, max_in_flight=3, clock=clock).drive() is None
    assert run.report()["closed"] == list(range(1, 11))
    assert clock.time - 1_000_000.0 == 120.0


def test_a_thousand_closings_take_22_minutes_by_default():
    window = CountingWindow(DEFAULT_REQUESTS_PER_MINUTE, DEFAULT_WINDOW_SECONDS)
    clock = InstantAnswers(window)
    run = ClosingRun(range(1, 1001), ledger=MemoryLedger(), window=window)
    assert Driver(run, lambda step: None, max_in_flight=4, clock=clock).drive() is None
    assert run.report()["closed"] == list(range(1, 1001))
    assert 21.5 <= (clock.time - 1_000_000.0) / 60 <= 22.5


@pytest.mark.parametrize("max_in_flight", [1, 3])
def test_as_many_requests_are_in_flight_at_once_as_allowed(max_in_flight):
    # Each request waits until the others that may go with it are there too.
    together = threading.Barrier(max_in_flight, timeout=10)
    running: list[int] = []
    most: list[int] = []

    def perform(step: Step) -> None:
        running.append(step.purchase_id)
        most.append(len(running))
        together.wait()
        running.remove(step.purchase_id)

    run = new_run(max_in_flight * 4)
    Driver(run, perform, max_in_flight=max_in_flight).drive()
    assert len(run.report()["closed"]) == max_in_flight * 4
    assert max(most) == max_in_flight


def test_no_intent_is_written_before_there_is_a_thread_for_it():
    class Watching(FastClock):
        def wait(self, calls: SimpleQueue[None], seconds: float | None) -> None:
            intents.append(sum((ledger.read(purchase_id) or {}).get("state") == "sent" for purchase_id in range(1, 6)))
            super().wait(calls, seconds)

    intents: list[int] = []
    ledger = MemoryLedger()
    run = ClosingRun(range(1, 6), ledger=ledger, window=Window(45))
    Driver(run, lambda step: None, max_in_flight=2, clock=Watching()).drive()
    assert max(intents) == 2


def test_requests_are_made_by_threads_with_a_name_that_do_not_keep_a_process_alive():
    threads = set()

    def perform(step: Step) -> None:
        thread = threading.current_thread()
        threads.add((thread.name, thread.daemon))

    Driver(new_run(1), perform, max_in_flight=1).drive()
    assert threads == {("lucca-0", True)}


def test_all_bookkeeping_is_done_by_the_calling_thread():
    threads = set()
    run = new_run(8, on_outcome=lambda purchase_id, outcome: threads.add(threading.get_ident()))
    Driver(run, lambda step: None, max_in_flight=4).drive()
    assert threads == {threading.get_ident()}


def test_an_unexpected_error_counts_as_in_doubt_and_stops_nothing_else(caplog):
    steps: list[Step] = []

    def perform(step: Step) -> object:
        steps.append(step)
        if step == Step(Kind.CLOSE, 1):
            raise ZeroDivisionError("a defect")
        return "Closed" if step.kind is Kind.LOOK else None

    run = new_run(2)
    Driver(run, perform, max_in_flight=1, clock=FastClock()).drive()
    assert steps == [Step(Kind.CLOSE, 1), Step(Kind.CLOSE, 2), Step(Kind.LOOK, 1)]
    assert run.report()["closed"] == [1, 2]
    assert "in doubt (unexpected ZeroDivisionError: a defect)" in caplog.text


def test_a_defect_over_one_answer_costs_that_purchase_alone(caplog):
    ledger = MemoryLedger()
    ledger.write(2, {"state": "sent", "at": 0.0})
    run = ClosingRun(range(1, 6), ledger=ledger, window=Window(45))
    run._look_answered = lambda *args: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    Driver(run, lambda step: None, max_in_flight=2).drive()
    report = run.report()
    assert report["closed"] == [1, 3, 4, 5]
    assert report["unresolved"] == [{"id": 2, "reason": "unexpected ZeroDivisionError: division by zero"}]
    assert "ZeroDivisionError" in caplog.text


def test_a_defect_over_the_list_ends_the_run():
    run = ClosingRun(range(1, 20), ledger=MemoryLedger(complete=False), window=Window(45))
    Driver(run, lambda step: "not a page", max_in_flight=2, clock=FastClock()).drive()
    assert {item["reason"] for item in run.report()["unresolved"]} == {
        "not reached: unexpected TypeError: a list step is answered by a Page, not 'not a page'"
    }


def test_a_long_wait_for_the_window_is_left_for_once_nothing_is_in_flight():
    clock = FastClock()
    run = new_run(5, limit=3)
    moment = Driver(run, lambda step: None, max_in_flight=2, leave_after=10.0, clock=clock).drive()
    assert moment == 1_000_060.0
    assert sorted(run.carry()["closed"]) == [1, 2, 3]  # in the order of the answers


def test_a_short_wait_is_waited_for():
    run = new_run(2)
    answers: list[object] = [LuccaThrottledError("429", retry_after=9.0), None, None]

    def perform(step: Step) -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    clock = FastClock()
    assert Driver(run, perform, max_in_flight=1, leave_after=10.0, clock=clock).drive() is None
    assert clock.waits == [9.0]


def test_a_wait_of_less_than_a_second_is_no_longer_than_needed():
    answers: list[object] = [LuccaNotSentError("refused"), LuccaNotSentError("refused"), None]

    def perform(step: Step) -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    clock = FastClock()
    Driver(new_run(1), perform, max_in_flight=1, clock=clock).drive()
    assert clock.waits == [0.5]


def test_a_wait_that_is_just_long_enough_is_left_for():
    def perform(step: Step) -> None:
        raise LuccaThrottledError("429", retry_after=10.0)

    driver = Driver(new_run(1), perform, max_in_flight=1, leave_after=10.0, clock=FastClock())
    assert driver.drive() == 1_000_010.0


def test_a_trickle_of_free_places_does_not_keep_the_worker():
    """Answers far apart: once the window is full, leave until most of it is free, not for each place anew."""
    clock = FastClock()

    def perform(step: Step) -> None:
        clock.time += 5.0

    run = new_run(100, limit=10)
    moment = Driver(run, perform, max_in_flight=1, leave_after=10.0, clock=clock).drive()
    assert len(run.carry()["closed"]) == 10
    assert moment == 1_000_000.0 + 50.0 + 60.0 - 10.0


def test_what_is_in_flight_is_waited_for_before_leaving():
    release = threading.Event()
    finished: list[int] = []

    def perform(step: Step) -> None:
        if step.purchase_id == 3:
            release.wait(10)
        finished.append(step.purchase_id)

    run = new_run(4, limit=3)
    threading.Timer(0.2, release.set).start()
    Driver(run, perform, max_in_flight=3, leave_after=10.0).drive()
    assert sorted(finished) == [1, 2, 3]
    assert sorted(run.carry()["closed"]) == [1, 2, 3]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interruption_stops_sending_waits_for_what_is_in_flight_and_records_it(error):
    """The exception comes from a signal handler, as Airflow's time-out and Ctrl-C do."""
    sent: list[int] = []

    def perform(step: Step) -> None:
        sent.append(step.purchase_id)
        if len(sent) == 3:
            signal.raise_signal(signal.SIGUSR1)
        time.sleep(0.3 if len(sent) >= 3 else 0)

    def interrupt(*args: Any) -> None:
        raise error

    before = signal.signal(signal.SIGUSR1, interrupt)
    run = new_run(30)
    try:
        with pytest.raises(error):
            Driver(run, perform, max_in_flight=2).drive()
    finally:
        signal.signal(signal.SIGUSR1, before)
    report = run.report()
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
    assert {item["reason"] for item in run.report()["unresolved"]} == {"not reached: the task was killed"}


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
