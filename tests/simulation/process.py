"""
A task process: what the operator and its driver do, step by step, without Airflow and without threads.

It follows :class:`lucca_provider.tasks.stay.Stay` and :class:`lucca_provider.closing.driver.Driver`.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import lucca_provider.closing.run as run_module
from lucca_provider.closing import Attempt, ClosingRun, Journal, Pause, Step
from lucca_provider.limits import Window
from lucca_provider.outcomes import Outcome, Report
from lucca_provider.tasks.store import (
    MAX_EVENT_SIZE,
    TaskStateStore,
    mark_event,
    open_journal,
    pack,
    read_attempt,
    unpack,
)
from tests.simulation.faults import WRITE_FAULTS
from tests.simulation.invariants import GROUP, Unit
from tests.simulation.store import Handle
from tests.simulation.tenant import Request

if TYPE_CHECKING:
    from tests.simulation.airflow import TaskInstance, World

T = TypeVar("T")

TENANT = "https://acme.test"
FULL = Pause(None)
_PRODUCT = os.path.dirname(os.path.dirname(run_module.__file__))


class KilledError(BaseException):
    """The process is no more."""


class InterruptedTaskError(BaseException):
    """A time-out or a signal, at any line."""


_AT_A_LINE = {"killed at a line": KilledError, "interrupted at a line": InterruptedTaskError}


_BY_WORDS = {outcome.words: outcome for outcome in Outcome}


class Log:
    """Takes the place of the run's logger: notes outcomes, for the try that is at work."""

    def __init__(self) -> None:
        self.unit: Unit | None = None

    def log(self, level: int, message: str, purchase_id: int, words: str) -> None:
        """Take an outcome, by the words that people read."""
        assert self.unit is not None
        outcome = _BY_WORDS[words.removesuffix(" (known from an earlier try)").partition(":")[0]]
        self.unit.logged.setdefault(purchase_id, []).append(outcome)

    def info(self, *ignored: object) -> None:
        """Take anything else."""

    warning = exception = info


LOG = Log()


class Process:
    """
    A process that runs a task instance, from its start to its end or to a deferral.

    :param world: what it lives in
    :param task: the task instance
    :param event: what the deferral before it brought along; ``None`` if there was none
    """

    def __init__(self, world: World, task: TaskInstance, event: Mapping[str, Any] | None) -> None:
        self.world = world
        self.task = task
        self.unit = task.unit
        self.event = event
        self.token = task.token
        """Airflow has given it up once the task instance has another one."""
        self.clock = world.clock
        self.offset = world.draw_offset()
        """Seconds by which its worker's clock is ahead."""
        self.lag = 0.0
        """Seconds that the store has taken in the present call."""
        self.busy_until = 0.0
        self.is_alive = True
        self.ended_at = float("inf")
        self.was_replaced = False
        self.begun_since = 0
        """Closings that it began after it had been replaced."""
        self.named: set[int] = set()
        """Purchases whose intents it has written."""
        self.fates = world.draw_fates()
        """What happens to it at which of its calls of the run."""
        self.calls = 0
        self.metric_fails = False
        self.run: ClosingRun | None = None
        self.handle: Handle | None = None
        self.leave_after = world.leave_after if task.is_deferrable else None
        self.leaving = False
        self.draining = False
        self.in_flight: set[Step] = set()
        self.answers: deque[tuple[Request, object]] = deque()
        self.timer = 0
        """Changes when another moment to wake up at takes the place of the last one."""
        self.wakes_at: float | None = None
        """When the timer goes off."""
        self.goes_on_at = 0.0
        """When it goes on with what came while it was busy."""

    def __str__(self) -> str:
        return f"{self.task} try {self.task.try_number if not self.was_replaced else 'replaced'}"

    # -- ClosePurchaseOperator -----------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Do what ``execute`` and ``execute_complete`` do up to the first wait."""
        task = self.task
        LOG.unit = self.unit
        self.unit.began(self.offset)
        if task.has_store and task.durable:
            self.handle = Handle(self)
        context: Any = {
            "ti": task,
            "task_state_store": self.handle,
            "task_reschedule_count": task.reschedules,
        }
        attempt = read_attempt(context, self.event)
        if not attempt.resumed:
            self.unit.first = attempt.first
        try:
            journal = open_journal(
                context, attempt, tenant=TENANT, durable=task.durable, event=self.event, go_on=lambda: True
            )
        except KilledError:
            self.die()
            return
        except Exception as error:
            if self.event is None:
                self._push_not_begun(error)
            self.end("retry")
            return
        self._found(journal, attempt)
        self.run = ClosingRun(
            self.unit.purchase_ids,
            journal=journal,
            window=Window(self.unit.limit),
            on_outcome=self._count,
        )
        self.busy_until = self.clock.now + self.lag
        self.wake()

    def _found(self, journal: Journal, attempt: Attempt) -> None:
        """Take note of what the journal lost within this try."""
        if attempt.resumed and journal.wait is None:
            self.unit.lose_journal()

    def _push_not_begun(self, error: Exception) -> None:
        attempt = Attempt(number=self.task.try_number, max_tries=0, first=False)
        kept = None if self.handle is None else TaskStateStore(self.handle)
        journal = Journal(attempt, new_id=lambda: "unstarted", store=kept, name="lucca_unstarted")
        run = ClosingRun(self.unit.purchase_ids, journal=journal, window=Window(1), on_outcome=self._count)
        run.stop(f"the task could not begin ({type(error).__name__})")
        try:
            report = run.end()
        except KilledError:
            return
        self.unit.reported(self, report, final=True)

    def _leave_or_stay(self, moment: float) -> bool:
        """Leave the worker, if that is possible."""
        assert self.run is not None
        carried = self._call(self.run.leave, self._time())
        context: Any = {"ti": self.task}
        packed = "" if carried is None else pack(mark_event(carried, context, TENANT))
        if carried is None or len(packed) > MAX_EVENT_SIZE:
            self.clock.counts["waits in the worker"] += 1
            self.leave_after = None
            return False
        self.unit.reported(self, self.run.report(), final=False)
        self._end_at(self.clock.now + self.lag)
        self.world.deferred(self, moment, unpack(packed))
        return True

    def _finish(self) -> None:
        assert self.run is not None
        report = self._end_run()
        if report is None:
            return
        if not self.run.is_kept or report["unresolved"]:
            self.end("retry", report)
        elif report["rejected"]:
            self.end("fail", report)
        else:
            self.end("success", report)

    def _end_run(self) -> Report | None:
        """End the run; ``None`` if that was not possible."""
        assert self.run is not None
        try:
            report = self._call(self.run.end)
        except KilledError:
            self.die()
            return None
        except (InterruptedTaskError, RuntimeError):
            self.end("retry")
            return None
        self.unit.reported(self, report, final=True)
        return report

    # -- Driver --------------------------------------------------------------------------------------------------------

    def answer(self, request: Request, answer: object) -> None:
        """Let an answer come in."""
        if not self.is_alive:
            return
        if self.clock.trace is not None:
            self.clock.say("{}: {} -> {!r}", self, request, answer)
        self.unit.answered(request, answer)
        self.answers.append((request, answer))
        self.wake()

    def wake(self, timer: int | None = None) -> None:
        """Go on with what :meth:`Driver.drive` does: an answer has come, or a wait is over."""
        if not self.is_alive or (timer is not None and timer != self.timer):
            return
        if self.busy_until > self.clock.now + 1e-9:
            if self.goes_on_at < self.busy_until:
                self.goes_on_at = self.busy_until
                self.clock.at(self.busy_until, self.wake)
            return
        if timer is not None:
            self.wakes_at = None
        LOG.unit = self.unit
        try:
            self._drain() if self.draining else self._drive()
        except KilledError:
            self.die(self.clock.now + self.lag)
        except (InterruptedTaskError, RuntimeError) as error:
            self.interrupt(type(error).__name__)

    def _drive(self) -> None:
        assert self.run is not None
        self.lag = 0.0
        if self.answers:
            self._record()
        while True:
            full = self.leaving or len(self.in_flight) >= self.task.max_in_flight
            what = FULL if full else self._call(self.run.next, self.clock.now + self.lag + self.offset)
            if isinstance(what, Step):
                self._send(what)
            elif what is None:
                self._finish()
                return
            elif self._is_worth_leaving(what):
                if self.in_flight:
                    self.leaving = True
                elif self._leave_or_stay(what.burst):
                    return
            elif self.answers:
                self._record()
            else:
                self._wait(what)
                return

    def _is_worth_leaving(self, pause: Pause) -> bool:
        if self.leave_after is None or pause.until is None:
            return False
        return pause.burst - self._time() >= self.leave_after

    def _wait(self, pause: Pause) -> None:
        self.busy_until = self.clock.now + self.lag
        if pause.until != self.wakes_at:
            self.timer += 1
            self.wakes_at = pause.until
            if pause.until is not None:
                self.clock.at(pause.until - self.offset, self.wake, self.timer)
        if pause.until is None and not self.in_flight:
            self.clock.breaks("every run ends", f"{self} waits for an answer, and none is to come")

    def _send(self, step: Step) -> None:
        moment = self.clock.now + self.lag
        self.in_flight.add(step)
        if len(self.in_flight) > self.task.max_in_flight:
            self.clock.breaks("within the limit", f"{self}: {len(self.in_flight)} in flight")
        request = Request(self, step, moment)
        if self.clock.trace is not None:
            self.clock.say("{}: {}", self, request)
        self.clock.counts["requests"] += 1
        self.unit.sent(request)
        self.world.tenant.send(request)

    def _record(self) -> None:
        assert self.run is not None
        request, answer = self.answers[0]
        step = request.step
        try:
            self._call(self.run.answered, step, answer, self._time())
        except Exception as error:
            self.run.give_up(step, f"unexpected {type(error).__name__}: {error}")
        self.unit.taken(request, answer)
        self.in_flight.discard(step)
        self.answers.popleft()
        self.leaving = self.leaving and bool(self.in_flight)

    def _drain(self) -> None:
        """Record what is still in flight after an interruption, and end."""
        if len(self.answers) < len(self.in_flight):
            return
        while self.answers:
            self._record()
        if self._end_run() is not None:
            self.end("retry")

    # -- what happens to it --------------------------------------------------------------------------------------------

    def _time(self) -> float:
        return self.clock.now + self.lag + self.offset

    def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call the run; now and then something happens meanwhile."""
        self.calls += 1
        if self.calls not in self.fates:
            return function(*arguments)
        fate = self.fates[self.calls]
        self.clock.say("{}: {} in {}", self, fate, function.__name__)
        if fate in WRITE_FAULTS:
            if self.handle is not None:
                self.handle.next_fault = fate
            return function(*arguments)
        if fate in _AT_A_LINE:
            return self._raise_within(fate, function, *arguments)
        self.clock.fault(fate)
        if fate == "killed":
            raise KilledError
        if fate == "interrupted":
            raise InterruptedTaskError
        if fate == "on_kill":
            assert self.run is not None
            self.run.stop("the task was killed")
        elif fate == "replaced":
            self.world.replace(self)
        else:
            self.metric_fails = True
        return function(*arguments)

    def _raise_within(self, fate: str, function: Callable[..., T], *arguments: Any) -> T:
        before = sys.gettrace()
        sys.settrace(_Blow(self, fate))
        try:
            return function(*arguments)
        finally:
            sys.settrace(before)

    def _count(self, purchase_id: int, outcome: Outcome) -> None:
        if self.metric_fails:
            self.metric_fails = False
            self.unit.excused += 1
            raise RuntimeError("the metric could not be counted")
        self.unit.counted.setdefault(purchase_id, []).append(outcome)

    def check_intent(self, purchase_id: int) -> None:
        """Check that a closing which begins now was named before."""
        if self.handle is None:
            return
        if purchase_id not in self.named:
            self.clock.breaks("intent first", f"{self} at {purchase_id}")
        if self.was_replaced:
            self.begun_since += 1
            self.clock.counts["closings of replaced processes"] += 1
            if self.begun_since > GROUP:
                self.clock.breaks("intent first", f"{self} has begun {self.begun_since} since it was replaced")

    def interrupt(self, reason: str) -> None:
        """Do what the driver does at an exception from outside."""
        self.clock.say("{}: interrupted", self)
        if self.run is None or self.draining:
            self.die()
            return
        self.run.stop(f"the task was interrupted ({reason})")
        self.draining = True
        self.busy_until = max(self.busy_until, self.clock.now + self.lag)
        self.wake()

    def die(self, moment: float | None = None) -> None:
        """Be no more, without a word, at once or at a moment."""
        if self.is_alive:
            self.clock.counts["kills"] += 1
            self.clock.say("{}: killed", self)
            self.end("retry", None, moment or self.clock.now)

    def end(self, how: str, report: Report | None = None, moment: float | None = None) -> None:
        """Tell Airflow how it ended: ``success``, ``fail`` or ``retry``."""
        self._end_at(moment or self.clock.now + self.lag)
        # A slow write lasts until then: no other try begins before.
        self.clock.at(self.ended_at, self.world.ended, self, how, report)

    def _end_at(self, moment: float) -> None:
        self.is_alive, self.ended_at = False, moment
        # Nothing goes round in circles, so that nothing is left to the garbage collector.
        self.run = self.handle = None
        self.answers.clear()


class _Blow:
    """
    Ends what a process does at some line of the product.

    :param process: which one
    :param fate: one of :data:`_AT_A_LINE`
    """

    def __init__(self, process: Process, fate: str) -> None:
        self.process = process
        self.fate = fate
        draw = process.clock.random
        self.lines = draw.randint(1, draw.choice((5, 20, 60, 150)))
        """How many are still to be run."""

    def __call__(self, frame: FrameType, event: str, argument: object) -> _Blow | None:
        """Do what :func:`sys.settrace` asks for."""
        if not frame.f_code.co_filename.startswith(_PRODUCT):
            return None
        if event == "line":
            self.lines -= 1
            if self.lines == 0:
                self._fall(frame)
        return self

    def _fall(self, frame: FrameType) -> None:
        process = self.process
        process.clock.fault(self.fate)
        process.unit.excused += _is_within_a_decision(frame)
        process.clock.say("{}: {} at {}:{}", process, self.fate, frame.f_code.co_name, frame.f_lineno)
        raise _AT_A_LINE[self.fate]


def _is_within_a_decision(frame: FrameType | None) -> bool:
    """Return whether an outcome is just being decided and told."""
    while frame is not None:
        if frame.f_code.co_name in ("_tell", "_decide"):
            return True
        frame = frame.f_back
    return False
