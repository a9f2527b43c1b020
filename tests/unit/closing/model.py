"""A small model of Lucca for the run: what it does with requests, and what anybody can know of that."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from lucca_provider.closing import Attempt, ClosingRun, Journal, Kind, Pause, Step
from lucca_provider.exceptions import (
    LuccaError,
    LuccaForbiddenError,
    LuccaInDoubtError,
    LuccaNotFoundError,
    LuccaNotSentError,
    LuccaRefusedError,
    LuccaThrottledError,
    LuccaUnclearError,
)
from lucca_provider.limits import Window
from tests.unit.closing.store import MemoryStore

ABORTED_AFTER = 5.0
"""Lucca finishes a request in that time or aborts it."""
PAGE = 5

FAULTS: dict[str, LuccaError | None] = {
    "none": None,
    "not sent": LuccaNotSentError("connection refused"),
    "throttled": LuccaThrottledError("429", status=429, retry_after=7.0),
    "lost before": LuccaInDoubtError("connection reset"),
    "lost after": LuccaInDoubtError("connection reset"),
    "lost, slow effect": LuccaInDoubtError("time-out"),
    "unclear": LuccaUnclearError("text"),
    "unavailable": LuccaInDoubtError("503", status=503, retry_after=3.0),
    "forbidden": LuccaForbiddenError("403", status=403),
}
WITH_EFFECT = {"none": 0.0, "lost after": 0.0, "unclear": 0.0, "lost, slow effect": ABORTED_AFTER - 0.1}


@dataclass
class Server:
    """
    The truth about the purchases.

    :param states: purchase id to state
    :param blocked: purchases that cannot be closed
    """

    states: dict[int, str | None]
    blocked: frozenset[int] = frozenset()
    requests: list[float] = field(default_factory=list)
    """When those came that count for the limit, by the present try."""
    pending: list[tuple[float, int]] = field(default_factory=list)
    """Closings that will take effect: when, and of which purchase."""
    closed_by_us: set[int] = field(default_factory=set)
    told_closed: set[int] = field(default_factory=set)
    """Purchases of which the present try was told that they are closed."""

    def receive(self, step: Step, now: float, fault: str) -> object:
        """Take a request; return its answer. Its effect does not depend on whether that arrives."""
        self.settle(now)
        if fault != "not sent":
            self.requests.append(now)
        if step.kind is Kind.CLOSE:
            return self._close(step.purchase_id, now, fault)
        if FAULTS[fault] is not None:
            return FAULTS[fault]
        if step.kind is Kind.LIST:
            ids = sorted(self.states)
            start = int(step.page or 1) * PAGE - PAGE
            found = ids[start : start + PAGE]
            return {"items": [self._told(each) for each in found], "count": len(ids)}
        if step.kind is Kind.PROBE:
            return None
        if step.purchase_id not in self.states:
            return LuccaNotFoundError("no such purchase", status=404, title="Not found")
        return self._told(step.purchase_id)["state"]

    def _told(self, purchase_id: int) -> dict[str, Any]:
        state = self.states[purchase_id]
        if state == "Closed":
            self.told_closed.add(purchase_id)
        return {"id": purchase_id, "state": state}

    def _close(self, purchase_id: int, now: float, fault: str) -> object:
        assert purchase_id not in self.told_closed, "posted although known to be closed"
        assert purchase_id not in self.closed_by_us, "posted although an earlier post of ours closed it"
        assert all(other != purchase_id for _, other in self.pending), "posted while an earlier post may take effect"
        closable = self.states.get(purchase_id) == "Ongoing" and purchase_id not in self.blocked
        if closable and fault in WITH_EFFECT:
            self.pending.append((now + WITH_EFFECT[fault], purchase_id))
            self.settle(now)
        if FAULTS[fault] is not None:
            return FAULTS[fault]
        return None if closable else LuccaRefusedError("refused", status=409, title="Refused", detail="open invoices")

    def settle(self, now: float) -> None:
        """Let the closings take effect whose time has come."""
        for moment, purchase_id in list(self.pending):
            if moment <= now:
                self.pending.remove((moment, purchase_id))
                self.states[purchase_id] = "Closed"
                self.closed_by_us.add(purchase_id)


class World:
    """A task, a server and a clock, to be moved on step by step."""

    def __init__(self, asked: Iterable[int], server: Server, *, durable: bool, limit: int, max_in_flight: int) -> None:
        self.asked = list(asked)
        self.server = server
        self.durable = durable
        self.limit = limit
        self.max_in_flight = max_in_flight
        self.now = 1_000_000.0
        self.store = MemoryStore()
        self.tries = 0
        self.in_flight: list[tuple[Step, object]] = []
        self.told: list[int] = []
        self.start()

    def start(self, event: dict[str, Any] | None = None) -> None:
        """Start a try, or go on after a wait."""
        if event is None:
            self.tries += 1
            self.server.requests.clear()
            self.server.told_closed.clear()
            self.told.clear()
        resumed = event is not None
        attempt = Attempt(self.tries, 9, resumed=resumed, first=self.tries == 1 and not resumed)
        journal = Journal(attempt, new_id=self.store.new_id, store=self.store if self.durable else None)
        journal.read()
        if event is not None:
            journal.load(event)
        self.run = ClosingRun(
            self.asked,
            journal=journal,
            window=Window(self.limit),
            on_outcome=lambda purchase_id, outcome: self.told.append(purchase_id),
        )

    def kill(self, retry_delay: float) -> None:
        """End the process: what is in flight still takes effect, and nobody hears of it."""
        self.in_flight.clear()
        self.now += retry_delay
        self.start()

    def leave(self, seconds: float) -> bool:
        """Leave the worker and go on in another process, unless the wait has to be made in this one."""
        event = self.run.leave(self.now)
        if event is None:
            return False
        self.now += seconds
        self.start(json.loads(json.dumps(event)))
        return True

    def finish(self, faults: Iterator[str], latencies: Iterator[float], *, requests: int, leaving: bool) -> bool:
        """
        Run on for so many requests.

        :return: whether the run came to its end
        """
        for _ in range(10 * requests + 1000):
            full = len(self.in_flight) >= self.max_in_flight
            what = Pause(None) if full else self.run.next(self.now)
            if what is None:
                return True
            if isinstance(what, Step):
                if requests == 0:
                    return False
                requests -= 1
                self.in_flight.append((what, self.server.receive(what, self.now, next(faults))))
                assert sum(at > self.now - 60.0 for at in self.server.requests) <= self.limit
            elif self.in_flight:
                self.now += next(latencies)
                self.run.answered(*self.in_flight.pop(0), self.now)
            else:
                assert what.until is not None
                if not (leaving and what.burst > self.now and self.leave(what.burst - self.now)):
                    self.now = max(self.now, what.until)
        raise AssertionError("no end")
