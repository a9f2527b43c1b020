"""Simulated time: a heap of what happens when, and what is counted along the way."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from tests.simulation.faults import FAULTS

MAX_EVENTS = 40_000
"""More than any schedule takes that comes to an end."""
EPOCH = 1_700_000_000.0


class Clockwork:
    """
    What all parts of a schedule share.

    :param seed: of the random numbers, from which everything follows
    :param tracing: whether a readable trace is kept
    :param watched: the one invariant that counts; ``None`` for all
    """

    def __init__(self, seed: int, *, tracing: bool = False, watched: str | None = None) -> None:
        self.random = Random(seed)
        self.now = EPOCH
        self.counts: Counter[str] = Counter()
        """Requests, faults and whatever else happened."""
        self.broken: list[tuple[str, str]] = []
        """Name of each invariant that did not hold, and how."""
        self.watched = watched
        self.trace: list[str] | None = [] if tracing else None
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = 0

    def at(self, moment: float, what: Callable[..., None], *arguments: Any) -> None:
        """Let something happen at a moment, not before now."""
        self._number += 1
        heapq.heappush(self._events, (moment if moment > self.now else self.now, self._number, what, arguments))

    def turn(self) -> None:
        """Let everything happen, until nothing is left or an invariant is broken."""
        events, pop = self._events, heapq.heappop
        for _ in range(MAX_EVENTS):
            if not events or self.broken:
                return
            self.now, _, what, arguments = pop(events)
            what(*arguments)
        self.breaks("every run ends", f"no end after {MAX_EVENTS} events")

    def breaks(self, name: str, how: str) -> None:
        """Note that an invariant does not hold."""
        if self.watched not in (None, name):
            return
        self.broken.append((name, how))
        self.say("BROKEN: {}: {}", name, how)

    def fault(self, name: str) -> None:
        """Count a fault."""
        if name not in FAULTS:
            raise KeyError(f"no fault is called {name!r}")
        self.counts["fault: " + name] += 1

    def say(self, line: str, *arguments: object) -> None:
        """Add a line to the trace. Its arguments are put into it only where there is one."""
        if self.trace is not None:
            self.trace.append(f"{self.now - EPOCH:10.3f}  {line.format(*arguments)}")

    def chance(self, share: float) -> bool:
        """Return ``True`` in a share of the cases."""
        return self.random.random() < share
