"""One seed, one schedule."""

from __future__ import annotations

from random import Random

import lucca_provider.closing.run as run_module
from tests.simulation.airflow import Calm, World
from tests.simulation.clockwork import Clockwork
from tests.simulation.invariants import compare_reports
from tests.simulation.process import LOG

CALM_SHARE = 0.1
"""Schedules without faults, each run three times, whose reports must be the same."""


def run_schedule(seed: int, *, tracing: bool = False) -> Clockwork:
    """
    Run the schedule of a seed.

    :param seed: everything follows from it
    :param tracing: whether a readable trace is kept
    :return: what happened, and what did not hold
    """
    # Outcomes are taken from the log where they are logged: making records of them would cost most of the time.
    run_module.log = LOG  # type: ignore[assignment]
    draw = Random(f"calm {seed}")
    if draw.random() >= CALM_SHARE:
        return World(seed, tracing=tracing).run()
    reports = {}
    total = Clockwork(seed, tracing=tracing)
    for leave_after in (None, 10.0, draw.uniform(1.0, 59.0)):
        world = World(seed, calm=Calm(leave_after), tracing=tracing)
        found = world.run()
        total.counts.update(found.counts)
        total.broken += found.broken
        if total.trace is not None:
            total.trace += [f"--- leaves its worker after {leave_after} s", *(found.trace or ())]
        reports[f"after {leave_after} s"] = [task.report for task in world.tasks]
    if not total.broken:
        total.counts["schedules compared with and without deferrals"] += 1
        compare_reports(total, reports)
    return total
