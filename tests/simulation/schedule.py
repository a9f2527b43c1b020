"""One seed, one schedule."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import lucca_provider.closing.decisions as decisions_module
from tests.simulation.airflow import Calm, World
from tests.simulation.clockwork import Clockwork
from tests.simulation.invariants import compare_reports
from tests.simulation.process import LOG

CALM_SHARE = 0.05
"""Schedules without faults, each run three times, whose reports must be the same."""


def run_schedule(seed: int, *, tracing: bool = False, watched: str | None = None) -> Clockwork:
    """
    Run the schedule of a seed.

    :param seed: everything follows from it
    :param tracing: whether a readable trace is kept
    :param watched: the one invariant that counts; ``None`` for all
    :return: what happened, and what did not hold
    """
    draw = Random(f"calm {seed}")
    with _log_taken():
        if draw.random() >= CALM_SHARE:
            return World(Clockwork(seed, tracing=tracing, watched=watched)).run()
        return _run_calm(seed, draw.uniform(1.0, 59.0), tracing=tracing, watched=watched)


def _run_calm(seed: int, leave_after: float, *, tracing: bool, watched: str | None) -> Clockwork:
    """Run a schedule without faults plainly, and with its deferrals in other places."""
    reports = {}
    total = Clockwork(seed, tracing=tracing, watched=watched)
    for seconds in (None, 10.0, leave_after):
        world = World(Clockwork(seed, tracing=tracing, watched=watched), calm=Calm(seconds))
        found = world.run()
        total.counts.update(found.counts)
        total.broken += found.broken
        name = "plain" if seconds is None else f"leaving its worker from {seconds:.1f} s"
        reports[name] = world.reports
        if total.trace is not None:
            total.trace += [f"--- {name}", *(found.trace or ())]
    if not total.broken:
        total.counts["schedules compared with and without deferrals"] += 1
        compare_reports(total, reports)
    return total


@contextmanager
def _log_taken() -> Iterator[None]:
    """Take outcomes where they are logged, and log nothing: making records would cost most of the time."""
    log, level = decisions_module.log, logging.root.manager.disable
    decisions_module.log = LOG  # type: ignore[assignment]
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        decisions_module.log = log
        logging.disable(level)
