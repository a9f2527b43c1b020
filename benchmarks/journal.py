"""How often a run calls the store that its journal is kept in: counted on a clock on which answers take no time."""

from __future__ import annotations

import itertools
import json
from typing import Any

from benchmarks.memory import SimulatedClock
from lucca_provider.closing import Attempt, ClosingRun, Driver, Journal, Kind, Step
from lucca_provider.limits import Window


class CountingStore:
    """A store in memory, as Airflow's: what goes in is JSON."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.sets = 0
        self.gets = 0
        self.most_gets = 0

    def get(self, key: str) -> object:
        """Return the value of a key."""
        self.gets += 1
        self.most_gets = max(self.most_gets, self.gets)
        return self.values.get(key)

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        self.sets += 1
        self.values[key] = json.loads(json.dumps(value))


def count_calls(number: int, *, deferrable: bool) -> CountingStore:
    """
    Close so many purchases, going on after each wait as Airflow does.

    :param number: how many
    :param deferrable: whether the worker is left; a retry reads the journal at the end in any case
    """
    store, clock, ids = CountingStore(), SimulatedClock(), iter(itertools.count())
    purchase_ids = list(range(3101, 3101 + number))
    page = {"items": [{"id": each, "state": "Ongoing"} for each in purchase_ids], "count": number}
    attempt = Attempt(number=1, max_tries=3)

    def answer(step: Step) -> object:
        return page if step.kind is Kind.LIST else "Ongoing" if step.kind is Kind.READ else None

    while True:
        store.gets = 0
        journal = Journal(attempt, new_id=lambda: str(next(ids)), store=store)
        journal.read()
        run = ClosingRun(purchase_ids, journal=journal, window=Window(45))
        driver = Driver(run, answer, max_in_flight=1, leave_after=10.0 if deferrable else None, clock=clock)
        moment = driver.drive()
        if moment is None:
            break
        assert run.leave(clock.now()) is not None
        clock.pass_until(moment)
        attempt = Attempt(number=1, max_tries=3, resumed=True, first=False)
    assert run.end()["closed"] == purchase_ids
    store.gets = 0
    Journal(Attempt(number=2, max_tries=3, first=False), new_id=str, store=store).read()
    return store
