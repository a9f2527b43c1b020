"""Airflow and the people around it: which try of which task instance starts when, and what happens to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lucca_provider.closing.purchase import READING_AGE
from lucca_provider.outcomes import Report
from tests.simulation.clockwork import Clockwork
from tests.simulation.faults import MOODS, WRITE_FAULTS
from tests.simulation.invariants import Unit, excuse
from tests.simulation.process import Process
from tests.simulation.tenant import WINDOW, Closing, Tenant, Truth

RULES = ("2.11", "3.3", "3.4 drops", "3.4 keeps")
"""There is no store; it is kept when a task is cleared; it is dropped; 3.4 keeps it too, and can start a try again."""
FATES = (
    "killed",
    "killed",
    "killed at a line",
    "interrupted",
    "interrupted at a line",
    "interrupted at a line",
    "on_kill",
    "replaced",
    "metric fails",
    *WRITE_FAULTS,
)
KINDS = ("refusing", "refusing", "gone", "hidden", "web page", "unreadable", "odd state", "stateless")
CLEARED_SHARE = 0.7
"""Deferrals in which a person clears the task, as long as one does so at all. On 2.11 its event outlives that."""
STATES = ("Created", "Processing", "Ongoing", "Denied", "Cancelled")


class TaskInstance:
    """
    A task instance: one map index and one iteration of one run.

    It also has what the product asks of Airflow's own: ``try_number``, ``max_tries`` and ``duration``.
    """

    def __init__(self, run: int, index: int, iteration: int, *, retries: int, max_in_flight: int) -> None:
        self.run = run
        self.index = index
        self.iteration = iteration
        self.retries = retries
        self.max_in_flight = max_in_flight
        self.purchase_ids: list[int] = []
        self.try_number = 0
        self.max_tries = retries
        self.duration: float | None = None
        """Of the last run that Airflow saw end, on 2.11 alone."""
        self.reschedules = 0
        """Times that this try was started again (3.4)."""
        self.token = 0
        """Changes with each try: a process with another one was replaced."""
        self.state = "none"
        """``none``, ``scheduled``, ``running``, ``deferred``, ``success`` or ``failed``."""
        self.process: Process | None = None
        self.unit: Unit
        self.event: Mapping[str, Any] | None = None
        """What the last deferral brought along."""
        self.went_on_with: Mapping[str, Any] | None = None
        """With what event this try went on last."""
        self.store: dict[str, str] = {}
        self.has_store = False
        self.durable = True
        self.is_deferrable = False
        self.is_to_start_again = False
        """Whether it was cleared while it ran."""
        self.is_cleared = False
        """Whether it was cleared, and has not started since."""
        self.journal_is_whole = True
        """Whether everything that it ever sent is in the journal that its next try reads."""
        self.refused: set[int] = set()
        """Purchases of which Lucca's clear no reached one of its processes, since it was last cleared."""
        self.begun: set[int] = set()
        """Purchases whose closing it sent, or meant to."""
        self.report: Report | None = None

    def __str__(self) -> str:
        iteration = f" iteration {self.iteration}" if self.iteration else ""
        return f"[run {self.run} index {self.index}{iteration}]"


@dataclass(frozen=True)
class Calm:
    """
    A schedule without faults, to compare where deferrals fall.

    :param leave_after: seconds of waiting from which a worker is left; ``None`` for never
    """

    leave_after: float | None


class World:
    """
    One schedule.

    :param clock: with its random numbers, from which everything follows
    :param calm: leave out all faults
    """

    def __init__(self, clock: Clockwork, *, calm: Calm | None = None) -> None:
        self.clock = clock
        draw = clock.random
        self.calm = calm
        self.rule = draw.choice(RULES)
        self.limit = draw.choice((1, 2, 4, 8, 8, 20, 50, 50, 50))
        self.fate_share = 0.0 if calm else draw.choice((0.0, 0.3, 0.5, 0.8))
        self.skew = 0.0 if calm else draw.choice((0.0, 0.0, 5.0, 60.0))
        self.store_seconds = draw.choice((0.001, 0.02, 0.3))
        self.faulty_store = not calm and draw.random() < 0.2
        self.leave_after = calm.leave_after if calm else draw.choice((WINDOW / 6, WINDOW / 6, 1.0, 30.0))
        self.retries = draw.choice((0, 1, 1, 2, 3))
        self.clears_left = 0 if calm else draw.choice((0, 1, 2, 3))
        """How often a person still clears a task while it is deferred."""
        self.tasks: list[TaskInstance] = []
        self.reports: list[Report | None] = []
        """What each of them came to in the end."""
        self.upstream: dict[int, list[int]] = {}
        """What each run is to close."""
        self.indices = 1 if calm else draw.choice((1, 1, 1, 2, 3))
        faults = 0.0 if calm else draw.choice((0.0, 0.02, 0.1, 0.1, 0.3))
        runs = 1 if calm else draw.choice((1, 1, 2))
        limit = self.limit * (self.indices * runs + 1 if calm or draw.random() < 0.85 else 1)
        self.tenant = Tenant(clock, limit=limit, faults=faults, landed=self.landed)
        self._people_the_tenant()
        for run in range(runs):
            self._begin_run(run, delay=run * draw.choice((0.0, 2.0, 100.0, 2000.0)))
        if not calm:
            self._plan()

    def _people_the_tenant(self) -> None:
        draw, truths = self.clock.random, self.tenant.truths
        self.asked = draw.choice((draw.randint(1, 4), draw.randint(5, 30), 25, 45)) * self.indices
        odd = draw.choice((0.0, 0.0, 0.05, 0.3))
        closed = draw.choice((0.0, 0.1, 0.5))
        for purchase_id in range(1, self.asked + draw.choice((0, 3, 40)) + 1):
            kind, state = "plain", draw.choice(STATES)
            if draw.random() < odd:
                kind = draw.choice(KINDS)
            if self.calm and kind == "unreadable":
                # The list shows it and a single reading does not: which one is asked depends on the time.
                kind = "plain"
            if kind in ("odd state", "stateless"):
                kind, state = "plain", "Archived" if kind == "odd state" else None
            elif draw.random() < closed:
                state = "Closed"
            truths[purchase_id] = Truth(kind, state)

    # -- starting ------------------------------------------------------------------------------------------------------

    def _begin_run(self, run: int, delay: float) -> None:
        draw = self.clock.random
        self.upstream[run] = draw.sample(range(1, self.asked + 1), self.asked)
        iterations = 1 if self.calm else draw.choice((1, 1, 1, 2))
        for index in range(self.indices):
            for iteration in range(iterations):
                task = self._add(run, index, iteration)
                if iteration == 0:
                    self._schedule(task, delay + draw.random())

    def _add(self, run: int, index: int, iteration: int) -> TaskInstance:
        draw = self.clock.random
        task = TaskInstance(run, index, iteration, retries=self.retries, max_in_flight=draw.choice((1, 2, 5, 5, 8)))
        task.has_store = self.rule != "2.11"
        task.is_deferrable = True if self.calm else draw.random() < 0.15
        self.tasks.append(task)
        return task

    def _schedule(self, task: TaskInstance, delay: float) -> None:
        """Let the next try start after a while."""
        task.state = "scheduled"
        task.token += 1
        self.clock.at(self.clock.now + delay, self._start, task, task.token)

    def _start(self, task: TaskInstance, token: int) -> None:
        if task.token != token:
            return
        # The next iteration of a loop begins with an empty store of its own, and the same purchases.
        task.try_number += 1
        task.reschedules = 0
        task.went_on_with = None
        if task.is_cleared:
            task.is_cleared = False
            task.refused.clear()
        ids = self.upstream[task.run]
        task.purchase_ids = ids[task.index :: self.indices]
        task.durable = self.calm is not None or not self.clock.chance(0.1)
        if not task.durable and task.has_store:
            self.clock.fault("not durable")
        # On 2.11 a cleared task can come back with the event of the try before.
        event, task.event = task.event, None
        if event is not None:
            self.clock.fault("event of another try")
        self._enter(task, event)

    def _enter(self, task: TaskInstance, event: Mapping[str, Any] | None) -> None:
        task.unit = Unit(self.clock, self.tenant, task, self.limit)
        if not (task.has_store and task.durable):
            task.journal_is_whole = False
        self._run(task, event)

    def _run(self, task: TaskInstance, event: Mapping[str, Any] | None) -> None:
        if not task.purchase_ids:
            task.state = "success"
            return
        task.state = "running"
        self.clock.counts["starts"] += 1
        task.process = Process(self, task, event)
        self.clock.say("{} starts on {}, clock {:+.1f} s", task.process, task.purchase_ids, task.process.offset)
        task.process.begin()

    def draw_offset(self) -> float:
        """Draw by how much a worker's clock is ahead."""
        return self.clock.random.random() * self.skew

    def draw_fates(self) -> dict[int, str]:
        """Draw what happens to a process, and at which of its calls of the run."""
        draw = self.clock.random
        fates: dict[int, str] = {}
        while self.fate_share and draw.random() < self.fate_share and len(fates) < 3:
            fates[draw.randint(1, draw.choice((3, 20, 80)))] = draw.choice(FATES)
        return fates

    # -- what processes tell -------------------------------------------------------------------------------------------

    def deferred(self, process: Process, moment: float, event: Mapping[str, Any]) -> None:
        """Let a trigger wait, and then go on with the try."""
        task = process.task
        if process.token != task.token:
            return
        self.clock.counts["deferrals"] += 1
        self.clock.say("{} leaves its worker", process)
        if task.is_to_start_again:
            self._ended_cleared(task)
            return
        task.state, task.event = "deferred", event
        back_at = self._back_at(process, moment)
        self.clock.at(back_at, self._resume, task, task.token)
        if self.clears_left and self.clock.chance(CLEARED_SHARE):
            self.clears_left -= 1
            at = self.clock.random.uniform(self.clock.now, back_at)
            self.clock.at(at, self._clear_waiting, task, task.token)

    def _back_at(self, process: Process, moment: float) -> float:
        """Return when a task is back on a worker: its trigger fires, and then it waits in the queue."""
        if self.calm:
            return moment + 0.1
        draw, readings = self.clock.random, process.unit.readings
        fires = moment - self.draw_offset()
        if readings and draw.random() < 0.1:
            # A busy queue, until a reading is just about too old.
            read_at, _ = draw.choice(list(readings.values()))
            return max(fires, read_at + READING_AGE + draw.uniform(-2.0, 6.0))
        return fires + draw.choice((0.1, 1.0, 1.0, 5.0, 5.0, 700.0 * draw.random()))

    def _resume(self, task: TaskInstance, token: int) -> None:
        if task.token != token or task.state != "deferred":
            return
        event, task.event = task.event, None
        task.went_on_with = event
        self._run(task, event)

    def ended(self, process: Process, how: str, report: Report | None) -> None:
        """Take note of the end of a process, and start what follows it."""
        task = process.task
        self.clock.say("{} has ended: {} {}", process, how, report)
        if process.token != task.token:
            return
        task.report = report
        if self.rule == "2.11":
            task.duration = self.clock.now
        if task.is_to_start_again:
            self._ended_cleared(task)
        elif how == "retry" and self.rule.startswith("3.4") and self.clock.chance(0.1):
            # 3.4: the same try once more, after a while.
            self.clock.fault("the same try again")
            task.state = "scheduled"
            self.clock.at(self.clock.now + self.clock.random.choice((0.1, 5.0, 60.0)), self._again, task, task.token)
        elif how == "retry" and self._may_go_on_again(task) and self.clock.chance(0.8):
            # 2.11: a person starts the last stay of a killed try again, `airflow tasks run --force`.
            self.clock.fault("the same event again")
            task.state = "scheduled"
            delay = self.clock.random.choice((0.1, 5.0, 60.0))
            self.clock.at(self.clock.now + delay, self._again, task, task.token, task.went_on_with)
            task.went_on_with = None
        elif how == "retry" and task.try_number <= task.max_tries:
            self._schedule(task, self.clock.random.choice((0.01, 0.5, 2.0, 10.0, 300.0)))
        else:
            task.state = "success" if how == "success" else "failed"
            self._next_iteration(task)

    def _may_go_on_again(self, task: TaskInstance) -> bool:
        return self.rule == "2.11" and self.calm is None and task.went_on_with is not None

    def _again(self, task: TaskInstance, token: int, event: Mapping[str, Any] | None = None) -> None:
        if task.token == token and task.state == "scheduled":
            task.reschedules += 1
            if task.reschedules > 20:
                task.state = "failed"
                return
            self._enter(task, event)

    def _next_iteration(self, task: TaskInstance) -> None:
        for other in self.tasks:
            if (other.run, other.index, other.iteration) == (task.run, task.index, task.iteration + 1):
                if other.state == "none":
                    self.clock.fault("next iteration")
                    self._schedule(other, self.clock.random.choice((0.01, 1.0, 4.0, 60.0)))
                return

    def replace(self, process: Process) -> None:
        """Let Airflow give a process up that lives on."""
        task = process.task
        if process.token != task.token:
            return
        self.clock.counts["replaced while they lived"] += 1
        process.was_replaced = True
        if not process.handle:
            task.journal_is_whole = False
        task.max_tries = max(task.max_tries, task.try_number)
        self._schedule(task, self.clock.random.choice((0.01, 1.0, 30.0)))

    # -- people --------------------------------------------------------------------------------------------------------

    def _plan(self) -> None:
        """Draw what people and others do, and when."""
        draw = self.clock.random
        horizon = min(3000.0, 60.0 + WINDOW * 2 * self.asked / self.limit)
        for _ in range(draw.choice((0, 2, 4, 8))):
            what = draw.choice(
                (
                    self._clear_one,
                    self._clear_one,
                    self._clear_run,
                    self._change_upstream,
                    self._close_by_hand,
                    self._close_by_hand,
                    self._change_by_hand,
                    self._delete_key,
                    self._kill,
                    self._kill,
                    self._kill,
                    self._mood,
                    self._stale,
                )
            )
            self.clock.at(self.clock.now + draw.random() * horizon * 1.5, what)

    def _clear_one(self) -> None:
        ran = [task for task in self.tasks if task.state not in ("none", "scheduled")]
        if ran:
            self._clear(self.clock.random.choice(ran))

    def _clear_waiting(self, task: TaskInstance, token: int) -> None:
        if task.token == token and task.state == "deferred":
            self.clock.fault("cleared while it waits")
            self._clear(task)

    def _clear_run(self) -> None:
        run = self.clock.random.choice(list(self.upstream))
        if self.clock.chance(0.7):
            self._change_upstream(run)
        for task in list(self.tasks):
            if task.run == run and task.state not in ("none", "scheduled"):
                self._clear(task)

    def _clear(self, task: TaskInstance) -> None:
        self.clock.fault("cleared")
        self.clock.say("a person clears {}", task)
        task.max_tries = task.try_number + task.retries
        task.is_cleared = True
        if self.rule == "3.4 drops":
            task.store.clear()
            task.journal_is_whole = False
            self.clock.fault("store dropped")
        if task.state == "running" and task.process is not None:
            task.is_to_start_again = True
            if self.clock.chance(0.5):
                task.process.die()
            else:
                task.process.interrupt("cleared")
            return
        if self.rule != "2.11":
            task.event = None
        self._schedule(task, self.clock.random.choice((0.01, 1.0, 10.0)))

    def _ended_cleared(self, task: TaskInstance) -> None:
        task.is_to_start_again = False
        self._schedule(task, self.clock.random.choice((0.01, 0.5, 3.0)))

    def _change_upstream(self, run: int | None = None) -> None:
        """Let the upstream list come back in another order, or with other content, for whoever starts next."""
        draw = self.clock.random
        run = draw.choice(list(self.upstream)) if run is None else run
        self.clock.fault("upstream changed")
        self.upstream[run] = draw.sample(
            range(1, self.asked + 1), draw.choice((self.asked, max(1, self.asked * 2 // 3)))
        )
        if draw.random() < 0.2 and self.indices < 4:
            self.clock.fault("new map index")
            self.indices += 1
            for each in self.upstream:
                self._schedule(self._add(each, self.indices - 1, 0), draw.choice((0.01, 1.0, 4.0)))

    def _close_by_hand(self) -> None:
        for _ in range(self.clock.random.randint(1, 3)):
            self.tenant.close_by_hand(self.clock.random.randint(1, self.asked))

    def _change_by_hand(self) -> None:
        truth = self.tenant.truths[self.clock.random.randint(1, self.asked)]
        self.clock.fault("person changes")
        if truth.state != "Closed":
            truth.state = self.clock.random.choice((*STATES, "Archived"))
        if truth.kind in ("refusing", "hidden", "unreadable"):
            truth.kind = "plain"

    def _delete_key(self) -> None:
        full = [task for task in self.tasks if task.store]
        if full:
            task = self.clock.random.choice(full)
            del task.store[self.clock.random.choice(list(task.store))]
            task.journal_is_whole = False
            if task.state in ("running", "deferred"):
                task.unit.lose_journal()
            self.clock.say("a person deletes a key of {}", task)
            self.clock.fault("key deleted")

    def _kill(self) -> None:
        running = [task.process for task in self.tasks if task.process is not None and task.process.is_alive]
        if running:
            self.clock.random.choice(running).die()

    def _mood(self) -> None:
        draw = self.clock.random
        self.tenant.mood = draw.choice(MOODS)
        self.clock.at(self.clock.now + draw.choice((3.0, 60.0, 600.0)), self._mood_over)

    def _mood_over(self) -> None:
        self.tenant.mood = ""

    def _stale(self) -> None:
        self.tenant.stale_for = self.clock.random.choice((10.0, 100.0, 1000.0))

    def landed(self, closing: Closing, truth: Truth) -> None:
        """Judge a closing of ours that reaches a purchase which is closed already."""
        why = excuse(closing, truth)
        if why is None:
            first = truth.closer
            assert first is not None
            how = f"{closing.process} at {closing.purchase_id}, after {first.process}"
            self.clock.breaks("no second closing", how)
        else:
            self.clock.counts["closed twice: " + why] += 1

    # -- the schedule --------------------------------------------------------------------------------------------------

    def run(self) -> Clockwork:
        """Let everything happen."""
        self.clock.turn()
        if not self.clock.broken:
            for task in self.tasks:
                if task.process is not None and task.process.is_alive:
                    self.clock.breaks("every run ends", f"{task.process} waits for ever")
        self._let_go()
        return self.clock

    def _let_go(self) -> None:
        """Break all circles, so that nothing is left to the garbage collector, which takes its time."""
        self.reports = [task.report for task in self.tasks]
        for part in (*self.tasks, self.tenant):
            vars(part).clear()
