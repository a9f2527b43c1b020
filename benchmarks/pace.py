"""Rows a and b: a month's closings against the least time the limit permits, in a real Airflow."""

from __future__ import annotations

import math
from contextlib import ExitStack

from benchmarks.airflow_home import AirflowHome, Task
from benchmarks.closings import close_with_run, close_with_threads, hook_to
from benchmarks.overhead import IN_FLIGHT
from benchmarks.table import Row, at_most, medians
from benchmarks.tenants import tenant
from local_airflow.api import wait_until

LIMIT = 50
LATENCY = 0.1
SIZES = (49, 500, 1000)
SETTLE = 20.0
"""Seconds until the workers of all tasks have started, which they do at once."""
APART = 1 / 6
"""Share of the window between the starts of two tasks, so that their bursts do not meet."""


def pace(window: float) -> list[Row]:
    """Run all sizes, plain and deferrable, side by side; return rows a and b."""
    burst, first = _burst()
    with ExitStack() as stack:
        tasks: list[Task] = []
        for size in SIZES:
            for deferrable in (False, True):
                lucca = stack.enter_context(
                    tenant(size, limit=LIMIT, window=window, latency=LATENCY, keep_requests=9999)
                )
                tasks.append(
                    Task(
                        f"{'deferrable' if deferrable else 'plain'}_{size}",
                        lucca,
                        requests_per_minute=LIMIT,
                        window_seconds=window,
                        deferrable=deferrable,
                        delay=SETTLE + len(tasks) * APART * window,
                    )
                )
        airflow = stack.enter_context(AirflowHome())
        with airflow.running(tasks):
            wait_until(
                lambda: all(any(stay.done for stay in airflow.stays(task.name)) for task in tasks),
                "the end of all tasks",
                seconds=240 + 1.5 * window * max(SIZES) / LIMIT,
            )
        return [first, *(_against_least(airflow, task, burst) for task in tasks), _held(airflow, *tasks[-2:])]


def _burst() -> tuple[float, Row]:
    """Measure the least time of one burst, and beside it the same burst by run and hook."""
    repeats, closings = 7, LIMIT - 1
    with tenant(closings, limit=0, latency=LATENCY) as lucca, hook_to(lucca) as hook:
        burst, run = medians(
            repeats,
            lambda: close_with_threads(lucca, lucca.purchase_ids, threads=IN_FLIGHT),
            lambda: close_with_run(hook, lucca.purchase_ids, max_in_flight=IN_FLIGHT),
            before=lucca.reopen,
        )
    what = f"{closings} closings and one page, by run and hook alone, journal in memory, against the least possible"
    return burst, at_most("a", what, run / burst, 1.02, told=f"{run:.2f} s of {burst:.2f} s")


def _against_least(airflow: AirflowHome, task: Task, burst: float) -> Row:
    size = len(task.tenant.purchase_ids)
    stays = airflow.stays(task.name)
    took = stays[-1].left - stays[0].started
    assert task.tenant.closed == size
    requests = task.tenant.asked
    least = task.window_seconds * (math.ceil(requests / LIMIT) - 1) + burst
    kind = "deferrable" if task.deferrable else "plain"
    # One burst shows nothing but the operator's own cost.
    targets = {"plain": (1.15, 1.02), "deferrable": (1.5, 1.1)}
    target = targets[kind][size >= LIMIT]
    told = f"{took:.2f} s of {least:.2f} s, {task.tenant.throttled} answers 429"
    pages = requests - size
    what = (
        f"{size:,} closings and {pages} page{'s' if pages > 1 else ''}, {kind}, in a real Airflow with its journal, "
        "against the least time possible"
    )
    return at_most("a", what, took / least, target, told=told)


def _held(airflow: AirflowHome, plain: Task, deferrable: Task) -> Row:
    held, whole = (
        sum(stay.startup + stay.seconds for stay in airflow.stays(task.name)) for task in (deferrable, plain)
    )
    told = f"{held:.0f} s of {whole:.0f} s, {len(airflow.stays(deferrable.name))} stays, start of the process included"
    what = "worker seconds held for 1,000 closings, deferrable against plain"
    return at_most("b", what, held / whole, 0.1, told=told)
