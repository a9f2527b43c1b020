"""One run of row g: ``python -m benchmarks.memory NUMBER`` closes so many purchases, with answers at once."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from queue import Empty, SimpleQueue

from lucca_provider.closing import Attempt, ClosingRun, Driver, Journal, Kind, Step
from lucca_provider.exceptions import LuccaRefusedError
from lucca_provider.inputs import parse_purchase_ids
from lucca_provider.limits import Clock, Window


class SimulatedClock(Clock):
    """Lets no time pass while answers come, and all of it at once when there is only waiting left."""

    def __init__(self) -> None:
        self._now = time.time()

    def now(self) -> float:
        """Return seconds since the epoch."""
        return self._now

    def pass_until(self, moment: float) -> None:
        """Let time pass."""
        self._now = max(self._now, moment)

    def wait(self, calls: SimpleQueue[None], seconds: float | None) -> None:
        """Wait for a call, or let the seconds pass."""
        try:
            calls.get(timeout=None if seconds is None else 0.001)
        except Empty:
            self._now += seconds or 0.0


def close(number: int) -> float:
    """Close so many purchases, and return the most memory this process ever held, in MB."""
    purchase_ids = parse_purchase_ids(list(range(1, number + 1)))
    journal = Journal(Attempt(number=1, max_tries=0), new_id=lambda: "in memory")
    run = ClosingRun(purchase_ids, journal=journal, window=Window(50))
    Driver(run, _answer, max_in_flight=5, clock=SimulatedClock()).drive()
    assert run.end()["closed"] == purchase_ids
    # Not getrusage: what that tells includes the process which started this one.
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak) / 1024


def _answer(step: Step) -> object:
    """Answer as a tenant whose list cannot be used, so that each purchase is read by itself."""
    if step.kind is Kind.LIST:
        raise LuccaRefusedError("400")
    return "Ongoing" if step.kind is Kind.READ else None


if __name__ == "__main__":
    print(close(int(sys.argv[1])))
