"""The driver: takes a run's steps, several at once, with all bookkeeping in the calling thread."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

from lucca_provider.closing.run import ClosingRun
from lucca_provider.closing.steps import Pause, Step
from lucca_provider.exceptions import LuccaError, LuccaInDoubtError
from lucca_provider.limits import Clock

__all__ = ["Driver"]

log = logging.getLogger(__name__)


class Driver:
    """
    Drives a run to its end, or to a pause that is worth leaving the worker for.

    :param run: what decides
    :param perform: makes the request of a step and returns its answer, or raises a :class:`LuccaError`;
        called from several threads at once
    :param max_in_flight: requests at once; 1 is strictly serial
    :param leave_after: seconds of waiting from which :meth:`drive` returns instead of waiting; ``None`` for never
    :param clock: where the time comes from
    """

    def __init__(
        self,
        run: ClosingRun,
        perform: Callable[[Step], object],
        *,
        max_in_flight: int,
        leave_after: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._run = run
        self._perform = perform
        self._max_in_flight = max_in_flight
        self._leave_after = leave_after
        self._clock = clock or Clock()
        self._steps: SimpleQueue[Step | None] = SimpleQueue()
        """For the threads to take; ``None`` ends the one that takes it."""
        self._answers: deque[tuple[Step, object]] = deque()
        """From the threads, in the order in which they came."""
        self._calls: SimpleQueue[None] = SimpleQueue()
        """Wakes the driver: there is an answer, or it is to stop."""
        self._in_flight: set[Step] = set()
        """Taken, and not yet recorded."""

    def drive(self) -> float | None:
        """
        Take steps until all is done.

        An exception from outside (a kill signal, a time-out of the task, Ctrl-C) stops the sending, waits for what is
        in flight, records it, and is raised again.

        :return: ``None`` when all is done, or the moment from which to go on, with nothing in flight
        """
        # Not a ThreadPoolExecutor: interrupted within submit(), it can lose sight of a thread that it has started.
        workers: list[threading.Thread] = []
        try:
            for number in range(self._max_in_flight):
                # A daemon: a second interruption does not wait for what is in flight.
                worker = threading.Thread(target=self._work, name=f"lucca-{number}", daemon=True)
                worker.start()
                workers.append(worker)
            return self._loop()
        except BaseException as error:
            self._run.stop(f"the task was interrupted ({type(error).__name__})")
            raise
        finally:
            for _ in range(self._max_in_flight):
                self._steps.put(None)
            for worker in workers:
                worker.join()
            while self._answers:
                self._record()

    def stop(self, reason: str) -> None:
        """
        Send nothing more. Safe to call from a signal handler: it also wakes the waiting thread.

        :param reason: why, for the report
        """
        self._run.stop(reason)
        self._calls.put(None)

    def stay(self) -> None:
        """Make all waits in the worker from now on."""
        self._leave_after = None

    def now(self) -> float:
        """Return the present moment on the driver's clock."""
        return self._clock.now()

    def _loop(self) -> float | None:
        leaving = False
        while True:
            now = self._clock.now()
            full = leaving or len(self._in_flight) >= self._max_in_flight
            step = Pause(None) if full else self._run.next(now)
            if isinstance(step, Step):
                self._in_flight.add(step)
                self._steps.put(step)
            elif step is None:
                return None
            elif self._worth_leaving(step, now):
                if not self._in_flight:
                    return step.burst
                leaving = True
            else:
                self._rest(step, now)
                leaving = leaving and bool(self._in_flight)

    def _rest(self, pause: Pause, now: float) -> None:
        """Wait for the end of a pause, or for an answer before it, and record that."""
        if pause.until is not None and not self._in_flight:
            self._run.waiting(now, pause.until)
        self._clock.wait(self._calls, None if pause.until is None else max(0.0, pause.until - now))
        self._record()

    def _worth_leaving(self, pause: Pause, now: float) -> bool:
        return self._leave_after is not None and pause.until is not None and pause.burst - now >= self._leave_after

    def _work(self) -> None:
        while (step := self._steps.get()) is not None:
            try:
                answer = self._perform(step)
            except LuccaError as error:
                answer = error
            except Exception as error:
                log.exception("Unexpected error while asking Lucca about %s.", step)
                answer = LuccaInDoubtError(f"unexpected {type(error).__name__}: {error}", purchase_id=step.purchase_id)
            self._answers.append((step, answer))
            self._calls.put(None)

    def _record(self) -> None:
        """Record one answer, if there is one: what waits behind it can wait until the next request is on its way."""
        if not self._answers:
            return
        # It leaves the queue only once it is recorded, so that an interruption in between loses none.
        step, answer = self._answers[0]
        try:
            self._run.answered(step, answer, self._clock.now())
        except Exception as error:
            log.exception("Unexpected error over the answer to %s.", step)
            self._run.give_up(step, f"unexpected {type(error).__name__}: {error}")
        self._in_flight.discard(step)
        self._answers.popleft()
