"""Airflow's task state store, as one process sees it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.process import Process


class Refusal:
    """What Airflow's client has of an answer."""

    def __init__(self, status: int) -> None:
        self.status_code = status


class StoreError(Exception):
    """
    What the store raises.

    :param status: what Airflow's API answered
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.response = Refusal(status)


class Handle:
    """
    The store of a process. Once Airflow has given the process up, it writes nothing and reads an empty store.

    :param process: whose it is
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._kept = process.task.store
        self.next_fault = ""
        """What goes wrong with the next write."""

    @property
    def _is_fenced(self) -> bool:
        return self._process.token != self._process.task.token

    def get(self, key: str) -> object:
        """Return the value of a key."""
        process = self._process
        process.lag += process.world.store_seconds / 2
        if self._is_fenced:
            return None
        if process.world.faulty_store and process.clock.chance(0.04):
            process.clock.fault("read of the store fails")
            raise StoreError(500)
        text = self._kept.get(key)
        return None if text is None else json.loads(text)

    def set(self, key: str, value: Any) -> None:
        """Keep a value under a key."""
        process = self._process
        process.clock.counts["writes"] += 1
        process.lag += process.world.store_seconds
        fault, self.next_fault = self.next_fault, ""
        if fault:
            self._go_wrong(fault)
        if self._is_fenced:
            process.clock.fault("write of a replaced process")
            raise StoreError(process.clock.random.choice((404, 409, 410)))
        self._kept[key] = json.dumps(value)
        for record in value["records"]:
            if record[0] == "s":
                process.named.update(record[1:])
                process.task.begun.update(record[1:])
        if fault in ("write fails late", "killed after a write"):
            self._fail(fault)

    def _go_wrong(self, fault: str) -> None:
        clock = self._process.clock
        clock.fault(fault)
        if fault == "slow write":
            self._process.lag += clock.random.choice((1.0, 10.0, 30.0))
        elif fault in ("write fails", "killed before a write"):
            self._fail(fault)

    def _fail(self, fault: str) -> None:
        from tests.simulation.process import KilledError

        if fault.startswith("killed"):
            raise KilledError
        self._process.task.journal_is_whole = False
        raise StoreError(self._process.clock.random.choice((500, 503)))
