"""A model of Lucca for the run: what it does with requests, and what anybody can know of that."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from lucca_provider.closing import ClosingRun, Kind, Ledger, MemoryLedger, Page, Pause, Step
from lucca_provider.exceptions import (
    LuccaAccessError,
    LuccaError,
    LuccaForbiddenError,
    LuccaInDoubtError,
    LuccaNotFoundError,
    LuccaNotSentError,
    LuccaRefusedError,
    LuccaThrottledError,
)
from lucca_provider.limits import Window

ABORTED_AFTER = 5.0
"""Lucca finishes a request in that time or aborts it."""

FAULTS = (
    "none",
    "not sent",
    "throttled",
    "throttled for long",
    "lost before",
    "lost after",
    "lost, slow effect",
    "unavailable",
    "forbidden",
    "no right key",
)


@dataclass
class Request:
    """One request on its way."""

    step: Step
    sent_at: float
    effect_at: float | None
    """When the closing takes effect, whoever still listens; ``None`` if it never does."""
    fault: str


@dataclass
class Server:
    """
    The truth about the purchases.

    :param states: purchase id to state
    :param blocked: purchases that cannot be closed
    """

    states: dict[int, str | None]
    blocked: frozenset[int] = frozenset()
    limit: int = 50
    requests: list[tuple[float, Step]] = field(default_factory=list)
    pending: list[Request] = field(default_factory=list)
    told_closed: set[int] = field(default_factory=set)
    """Purchases of which a run has been told that they are closed."""
    closed_by_us: set[int] = field(default_factory=set)
    posts: list[int] = field(default_factory=list)
    limited: int = 0
    """429s that the model sent for the limit's sake, not as a fault."""

    def receive(self, step: Step, now: float, fault: str) -> Request:
        """Take a request. Its effect does not depend on whether its answer arrives."""
        self.settle(now)
        reached = fault not in ("not sent",)
        if reached:
            self.requests.append((now, step))
            if sum(1 for at, _ in self.requests if at > now - 60.0) > self.limit:
                self.limited += 1
                fault = "throttled"
        effect_at = None
        if step.kind is Kind.CLOSE:
            if reached:
                self.posts.append(step.purchase_id)
                assert step.purchase_id not in self.told_closed, "posted although known to be closed"
                assert step.purchase_id not in self.closed_by_us, "posted although an earlier post of ours closed it"
                assert all(
                    other.step.purchase_id != step.purchase_id or other.effect_at is None for other in self.pending
                ), "posted while an earlier post of ours may still take effect"
            if fault in ("none", "lost after"):
                effect_at = now
            elif fault == "lost, slow effect":
                effect_at = now + ABORTED_AFTER - 0.1
        request = Request(step, now, effect_at, fault)
        self.pending.append(request)
        self.settle(now)
        return request

    def settle(self, now: float) -> None:
        """Let the closings take effect whose time has come."""
        for request in self.pending:
            if request.effect_at is not None and request.effect_at <= now and self._may_close(request.step.purchase_id):
                self.states[request.step.purchase_id] = "Closed"
                self.closed_by_us.add(request.step.purchase_id)
        self.pending = [r for r in self.pending if r.effect_at is None or r.effect_at > now]

    def _may_close(self, purchase_id: int) -> bool:
        return self.states.get(purchase_id) == "Ongoing" and purchase_id not in self.blocked

    def answer(self, request: Request, now: float, before: dict[int, str | None]) -> object:
        """
        Say what the client gets.

        :param before: the states when the request came in
        """
        self.settle(now)
        failure = self._failure(request)
        if failure is not None:
            return failure
        step = request.step
        if step.kind is Kind.PROBE:
            return None
        if step.kind is Kind.LIST:
            ids = sorted(self.states)
            start = int(step.cursor or 0)
            page = {i: self.states[i] for i in ids[start : start + 5]}
            self.told_closed |= {i for i, state in page.items() if state == "Closed"}
            return Page(page, str(start + 5) if start + 5 < len(ids) else None)
        if step.purchase_id not in self.states:
            return LuccaNotFoundError("no such purchase", status=404, title="Not found")
        if step.kind is Kind.LOOK:
            if self.states[step.purchase_id] == "Closed":
                self.told_closed.add(step.purchase_id)
            return self.states[step.purchase_id]
        if before[step.purchase_id] == "Ongoing" and step.purchase_id not in self.blocked:
            self.told_closed.add(step.purchase_id)
            return None
        return LuccaRefusedError("refused", status=409, title="Refused", detail="open invoices")

    def _failure(self, request: Request) -> LuccaError | None:
        return {
            "not sent": LuccaNotSentError("connection refused"),
            "throttled": LuccaThrottledError("429", status=429, retry_after=7.0),
            "throttled for long": LuccaThrottledError("429", status=429, retry_after=7000.0),
            "lost before": LuccaInDoubtError("connection reset"),
            "lost after": LuccaInDoubtError("connection reset"),
            "lost, slow effect": LuccaInDoubtError("time-out"),
            "unavailable": LuccaInDoubtError("503", status=503, retry_after=3.0),
            "forbidden": LuccaForbiddenError("403", status=403),
            "no right key": LuccaAccessError("401", status=401),
        }.get(request.fault)


class World:
    """A run, a server and a clock, to be moved on step by step."""

    def __init__(
        self, asked: Iterable[int], server: Server, *, durable: bool, limit: int = 45, max_in_flight: int = 4
    ) -> None:
        self.asked = list(asked)
        self.server = server
        self.durable = durable
        self.limit = limit
        self.max_in_flight = max_in_flight
        self.now = 1_000_000.0
        self.tries = 0
        self.ledger: Ledger = MemoryLedger()
        self.in_flight: list[tuple[Request, dict[int, str | None]]] = []
        self.outcomes: list[tuple[int, str]] = []
        self.start()

    def start(self, progress: dict[str, Any] | None = None) -> None:
        """Start a try, or go on after a deferral."""
        if progress is None:
            self.tries += 1
        if not self.durable:
            self.ledger = MemoryLedger(complete=self.tries == 1)
        self.run = ClosingRun(
            self.asked,
            ledger=self.ledger,
            window=Window(self.limit),
            progress=progress,
            on_outcome=lambda purchase_id, outcome: self.outcomes.append((purchase_id, outcome.state)),
        )

    def ask(self, fault: str = "none") -> object:
        """Ask the run what to do, and do it."""
        if len(self.in_flight) >= self.max_in_flight:
            return self.in_flight
        what = self.run.next(self.now)
        if isinstance(what, Step):
            before = dict(self.server.states)
            self.in_flight.append((self.server.receive(what, self.now, fault), before))
        return what

    def deliver(self, index: int = 0) -> None:
        """Let the answer to a request in flight arrive."""
        request, before = self.in_flight.pop(index)
        self.run.answered(request.step, self.server.answer(request, self.now, before), self.now)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.server.settle(self.now)

    def kill(self, retry_delay: float) -> None:
        """End the process: what is in flight still takes effect, and nobody hears of it."""
        self.in_flight.clear()
        self.pass_time(retry_delay)
        self.start()

    def leave(self, seconds: float) -> None:
        """Defer, and go on in another process."""
        assert not self.in_flight
        progress = json.loads(json.dumps(self.run.carry()))
        self.pass_time(seconds)
        self.start(progress)

    def finish(
        self, faults: Iterable[str] = ("none",), latencies: Iterable[float] = (0.1,), requests: int = 10_000
    ) -> bool:
        """
        Run on for so many requests.

        :param faults: used over and over
        :param latencies: seconds between two answers, used over and over
        :return: whether the run came to its end
        """
        faults, latencies = cycle(faults), cycle(latencies)
        while requests > 0:
            what = self.ask("none" if len(self.in_flight) >= self.max_in_flight else next(faults))
            if what is None:
                return True
            if isinstance(what, Step):
                requests -= 1
            elif self.in_flight:
                self.pass_time(next(latencies))
                self.deliver()
            else:
                assert isinstance(what, Pause)
                assert what.until is not None
                assert what.burst >= what.until
                self.pass_time(max(0.0, what.until - self.now))
        return False
