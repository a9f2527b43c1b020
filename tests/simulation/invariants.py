"""What must hold in every schedule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lucca_provider.closing import Kind
from lucca_provider.closing.purchase import READING_AGE
from lucca_provider.exceptions import LuccaInDoubtError, LuccaNotFoundError, LuccaRefusedError
from lucca_provider.outcomes import Outcome, Report
from lucca_provider.reading.states import OPEN_STATES
from tests.simulation.clockwork import Clockwork
from tests.simulation.tenant import WINDOW, Closing, Request, Tenant, Truth

if TYPE_CHECKING:
    from tests.simulation.airflow import TaskInstance
    from tests.simulation.process import Process

PER_FAULT = 2
"""Requests that one fault may cost: a closing in doubt is read and sent once more."""
GROUP = 8
"""Closings that a process may begin at most after Airflow has replaced it: what its last commit named."""
SENDS = 3
"""Closings of one purchase in one try, as docs/closing.md promises."""
SETTLE = 5.0
"""Seconds within which Lucca ends what it was asked: what an earlier try sent has landed by then."""
SLACK = 1e-3
"""Seconds that come of adding and taking away clocks."""

INVARIANTS = (
    "named once",
    "closed is true",
    "rejected was answered",
    "not posted to what was read as closed",
    "not posted to what was closed since it was read",
    "no second closing",
    "read before it is closed",
    "a reading is fresh",
    "settled",
    "intent first",
    "within the limit",
    "few closings",
    "few requests",
    "few pages",
    "metric, log and report agree",
    "its own closing is called closed",
    "deferrals change nothing",
    "every run ends",
)


class Unit:
    """
    What one try did, from its ``execute`` to its end, deferrals included; and the invariants about that.

    :param clock: the schedule's
    :param tenant: the one tenant
    :param task: whose try it is
    :param limit: requests per window
    """

    def __init__(self, clock: Clockwork, tenant: Tenant, task: TaskInstance, limit: int) -> None:
        self.clock = clock
        self.tenant = tenant
        self.task = task
        self.limit = limit
        self.purchase_ids = task.purchase_ids
        self.began_at = clock.now
        self.first = False
        """Whether the task instance certainly never ran before."""
        self.arrivals: list[float] = []
        self.offsets: list[float] = []
        """Of the clocks of its workers, one after the other."""
        self.is_clock_ahead = False
        """Whether a later worker's clock is ahead of an earlier one's."""
        self.readings: dict[int, tuple[float, bool]] = {}
        """When the last reading that shows a purchase open was asked for, and whether it was a stale page."""
        self.read_closed: dict[int, float] = {}
        """When the last reading that shows a purchase closed was asked for, of those that the run has been given."""
        self.settled: dict[int, float] = {}
        """From when a purchase that is in doubt may be read."""
        self.in_doubt: set[int] = set()
        """Purchases that no page decides."""
        self.doubts: Counter[int] = Counter()
        """How often it became unknown whether a closing took effect."""
        self.shown_closed: frozenset[int] | None = None
        """What Lucca showed as closed at the first reading."""
        self.counted: dict[int, list[Outcome]] = {}
        self.logged: dict[int, list[Outcome]] = {}
        self.excused = 0
        """Purchases whose metric or log line an interruption or a failing metric has cost."""
        self.journal_lost = False
        """Whether the journal lost something within this try."""
        self.requests = 0
        self.pages = 0
        self.faults = 0
        self.read_again = 0
        """Readings of what was read before, too long ago to be closed on that."""

    def lose_journal(self) -> None:
        """Take note that the journal lost something within this try: it begins anew, with a window of its own."""
        self.journal_lost = True
        self.faults += len(self.purchase_ids)
        self.settled.clear()
        self.in_doubt.clear()

    def began(self, offset: float) -> None:
        """Take note of a worker, and by how much its clock is ahead."""
        self.is_clock_ahead |= bool(self.offsets) and offset > self.offsets[-1]
        self.offsets.append(offset)

    # -- requests ------------------------------------------------------------------------------------------------------

    def sent(self, request: Request) -> None:
        """Check a request that goes out now."""
        self.requests += 1
        kind = request.step.kind
        if self.requests == 1 and not self.first and request.asked_at < self.began_at + SETTLE - SLACK:
            self.clock.breaks(
                "settled", f"{request.process} asks {request.asked_at - self.began_at:.3f} s after its start"
            )
        if kind is Kind.CLOSE:
            self._closing(request)
        elif kind is Kind.LIST:
            self.pages += 1
        elif kind is Kind.READ:
            known = self.readings.get(request.step.purchase_id)
            if known is not None and request.asked_at - known[0] > READING_AGE - self._skew():
                self.read_again += 1
        else:
            self.faults += 1

    def _skew(self) -> float:
        return max(self.offsets) - min(self.offsets) + SLACK

    def _closing(self, request: Request) -> None:
        process, purchase_id, now = request.process, request.step.purchase_id, request.asked_at
        read_at, stale = self.readings.get(purchase_id, (float("-inf"), False))
        request.closing = Closing(process, purchase_id, now, read_at, stale)
        self.task.begun.add(purchase_id)
        if self.doubts[purchase_id] >= SENDS:
            self.clock.breaks("few closings", f"{process} at {purchase_id}")
        where = f"{process} at {purchase_id}"
        if self.shown_closed is None:
            self._first_reading()
        if purchase_id in (self.shown_closed or ()) and not stale:
            self.clock.breaks("not posted to what was read as closed", where)
        if purchase_id in self.read_closed and self.read_closed[purchase_id] >= read_at:
            self.clock.breaks("not posted to what was closed since it was read", where)
        if purchase_id not in self.readings:
            self.clock.breaks("read before it is closed", where)
        elif now - read_at > READING_AGE + self._skew() + process.lag:
            self.clock.breaks("a reading is fresh", f"{where}: {now - read_at:.3f} s old")
        if read_at < self.settled.get(purchase_id, read_at) - SLACK:
            self.clock.breaks("settled", f"{where}: read {self.settled[purchase_id] - read_at:.3f} s too early")
        process.check_intent(purchase_id)

    def arrived(self, request: Request) -> None:
        """Check a request that Lucca sees now."""
        if self.shown_closed is None:
            self._first_reading()
        now, arrivals = self.clock.now, self.arrivals
        arrivals.append(now)
        # A later worker whose clock is ahead takes the window for older than it is: by one window at most.
        most = self.limit * (2 if self.is_clock_ahead or self.journal_lost else 1)
        if len(arrivals) > most and now - arrivals[-1 - most] < WINDOW - SLACK:
            self.clock.breaks("within the limit", f"{request.process}: {most + 1} in {now - arrivals[-1 - most]:.3f} s")

    def _first_reading(self) -> None:
        self.shown_closed = frozenset(each for each in self.purchase_ids if self.tenant.shows_closed(each))

    def answered(self, request: Request, answer: object) -> None:
        """Take note of an answer that reached the process."""
        kind, purchase_id = request.step.kind, request.step.purchase_id
        if isinstance(answer, Exception):
            self.faults += 1
            if kind is Kind.CLOSE and isinstance(answer, LuccaInDoubtError):
                self.settled[purchase_id] = self.clock.now + SETTLE
                self.in_doubt.add(purchase_id)
                self.doubts[purchase_id] += 1
            if isinstance(answer, LuccaRefusedError if kind is Kind.CLOSE else LuccaNotFoundError):
                self.task.refused.add(purchase_id)
        elif kind is Kind.READ:
            if answer in OPEN_STATES:
                self.readings[purchase_id] = (request.asked_at, False)
                self.in_doubt.discard(purchase_id)
            elif answer != "Closed":
                self.faults += 1
        elif kind is Kind.LIST:
            self._page(request, answer)

    def taken(self, request: Request, answer: object) -> None:
        """Take note of an answer that the run has been given: it may have waited in the process until now."""
        if request.step.kind is Kind.READ and answer == "Closed":
            self.read_closed[request.step.purchase_id] = request.asked_at
        elif request.step.kind is Kind.LIST:
            for item in _items(answer):
                if item.get("state") == "Closed" and item.get("id") not in self.in_doubt:
                    self.read_closed[item.get("id")] = request.asked_at

    def _page(self, request: Request, answer: object) -> None:
        for item in _items(answer):
            purchase_id = item.get("id")
            if purchase_id is not None and item.get("state") in OPEN_STATES and purchase_id not in self.in_doubt:
                self.readings[purchase_id] = (request.asked_at, self.tenant.stale_for > 0)

    # -- outcomes ------------------------------------------------------------------------------------------------------

    def reported(self, process: Process, report: Report, *, final: bool) -> None:
        """Check a report of this try, after which it may go on if it is not final."""
        ids = [*report["closed"], *report["already_closed"]]
        for purchase_id in ids:
            truth = self.tenant.truths.get(purchase_id)
            if truth is None or truth.state != "Closed":
                self.clock.breaks("closed is true", f"{process} says so of {purchase_id}")
        for purchase_id in set(report["closed"]) - self.task.begun:
            self.clock.breaks("closed is true", f"{process} says that it closed {purchase_id}")
        for one in report["rejected"]:
            ids.append(one["id"])
            if one["id"] not in self.task.refused and not process.was_replaced:
                self.clock.breaks("rejected was answered", f"{process} says so of {one['id']}")
        ids += [one["id"] for one in report["unresolved"]]
        if sorted(ids) != sorted(self.purchase_ids):
            self.clock.breaks("named once", f"{process}: {report} for {self.purchase_ids}")
        self._own_closings(process, report["already_closed"])
        if final:
            self._agree(process, report)
            self._few_requests(process)

    def _own_closings(self, process: Process, purchase_ids: Sequence[int]) -> None:
        # What a replaced process reports is only logged: it has read an empty journal.
        if process.was_replaced or not self.task.journal_is_whole:
            return
        for purchase_id in purchase_ids:
            closer = self.tenant.truths[purchase_id].closer
            if closer is not None and closer.process.task is self.task and not closer.process.was_replaced:
                self.clock.breaks("its own closing is called closed", f"{process} at {purchase_id}")

    def _agree(self, process: Process, report: Report) -> None:
        if self.journal_lost:
            return
        said = {purchase_id: [outcome] for purchase_id, outcome in _outcomes(report)}
        wrong = [
            purchase_id
            for purchase_id in said
            if not said[purchase_id] == self.counted.get(purchase_id) == self.logged.get(purchase_id)
        ]
        if len(wrong) > self.excused:
            told = {each: (self.counted.get(each), self.logged.get(each), said[each]) for each in wrong}
            self.clock.breaks("metric, log and report agree", f"{process}: {told}")

    def _few_requests(self, process: Process) -> None:
        purchases = len(self.purchase_ids)
        most = 2 * purchases + self.pages + PER_FAULT * self.faults + self.read_again
        if self.requests > most:
            how = f"{self.requests} for {purchases}, {self.pages} pages, {self.faults} faults, {self.read_again} again"
            self.clock.breaks("few requests", f"{process}: {how}")
        rounds = 1 + (self.clock.now - self.began_at) // READING_AGE
        if self.pages > purchases * rounds + PER_FAULT * self.faults:
            self.clock.breaks("few pages", f"{process}: {self.pages} for {purchases}")


def _items(answer: object) -> Sequence[dict[str, Any]]:
    return answer.get("items", ()) if isinstance(answer, dict) else ()


def excuse(second: Closing, truth: Truth) -> str | None:
    """
    Say why two closings of ours took effect, if that is among what cannot be prevented.

    The first one took effect after the reading was asked for on which the second one was sent, and

    - the page was one that Lucca itself served stale; or
    - one of the two processes was given up by Airflow and lived on. Where there is a store, it may begin what its last
      commit had named and no more, which is another invariant; or
    - two task instances had the same purchase at the same moment; or
    - the second one is a task instance that certainly never ran (a new map index, run or iteration), which therefore
      does not settle, and it began within 5 seconds of the end of the process that sent the first.

    :param second: the closing that took effect last
    :param truth: of the purchase
    """
    first = truth.closer
    if first is None:
        return "a person closed it"
    if second.stale:
        return "a stale page"
    ours, theirs = second.process, first.process
    if ours is theirs or second.read_at > first.landed_at:
        return None
    if ours.was_replaced or theirs.was_replaced:
        return "a replaced process that lives on"
    if ours.task is theirs.task:
        return None
    if ours.unit.began_at < theirs.ended_at:
        return "two tasks at the same moment"
    if ours.unit.first and ours.unit.began_at - theirs.ended_at < 5.0:
        return "a new task within 5 seconds"
    return None


def compare_reports(clock: Clockwork, reports: Mapping[str, Any]) -> None:
    """Check that a schedule without faults comes to the same, wherever its deferrals fall."""
    plain = next(iter(reports.values()))
    for name, report in reports.items():
        if report != plain:
            clock.breaks("deferrals change nothing", f"{name}: {report}, plain: {plain}")


def _outcomes(report: Report) -> list[tuple[int, Outcome]]:
    found = [(each, Outcome.CLOSED) for each in report["closed"]]
    found += [(each, Outcome.ALREADY_CLOSED) for each in report["already_closed"]]
    found += [(one["id"], Outcome.REJECTED) for one in report["rejected"]]
    return found + [(one["id"], Outcome.UNRESOLVED) for one in report["unresolved"]]
