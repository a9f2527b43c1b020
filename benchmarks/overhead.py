"""Rows c and d: what the run and the hook gain at Lucca's latency, and what they cost without any."""

from __future__ import annotations

import itertools

from benchmarks.airflow_home import AirflowHome, Task
from benchmarks.closings import close_with_loop, close_with_run, hook_to
from benchmarks.table import Row, at_most, medians
from benchmarks.tenants import tenant

IN_FLIGHT = 4
"""The operator's default."""


def with_latency() -> list[Row]:
    """Row c: 50 closings at 100 ms."""
    closings, repeats, more = 50, 5, 5
    with tenant(closings * 3 * repeats, limit=0, latency=0.1) as lucca, hook_to(lucca) as hook:
        batches = _batches(lucca.purchase_ids, closings)
        loop, run, wider = medians(
            repeats,
            lambda: close_with_loop(lucca, next(batches)),
            lambda: close_with_run(hook, next(batches), max_in_flight=IN_FLIGHT),
            lambda: close_with_run(hook, next(batches), max_in_flight=more),
        )
    what = "50 closings at 100 ms latency, against a sequential `requests` loop"
    return [
        at_most("c", f"{what}, `max_in_flight={number}`", time / loop, 0.25, told=f"{time:.2f} s of {loop:.2f} s")
        for number, time in ((IN_FLIGHT, run), (more, wider))
    ]


def without_latency() -> list[Row]:
    """Row d: what run and hook cost for each closing."""
    closings, repeats = 200, 15
    with tenant(closings * 3 * repeats, limit=0) as lucca, hook_to(lucca) as hook:
        batches = _batches(lucca.purchase_ids, closings)
        loop, serial, run = medians(
            repeats,
            lambda: close_with_loop(lucca, next(batches)),
            lambda: close_with_run(hook, next(batches), max_in_flight=1),
            lambda: close_with_run(hook, next(batches), max_in_flight=IN_FLIGHT),
        )
    each = 1000 / closings
    return [
        at_most(
            "d",
            f"time of a closing by run and hook, no latency, ledger in memory, `max_in_flight={number}`, "
            "against a bare `requests.Session` loop",
            time / loop,
            1.5,
            told=f"{time * each:.2f} ms of {loop * each:.2f} ms",
        )
        for number, time in ((1, serial), (IN_FLIGHT, run))
    ] + [_real_ledger()]


def _real_ledger() -> Row:
    closings = 200
    with AirflowHome() as airflow, tenant(closings, limit=0) as memory, tenant(closings, limit=0) as store:
        tasks = [Task("memory", memory, durable=False), Task("store", store)]
        airflow.add(tasks)
        for task in tasks:
            airflow.test(task.name)
        assert memory.closed == store.closed == closings
        without, kept = (airflow.stays(task.name)[0].seconds * 1000 / closings for task in tasks)
    return Row(
        "d",
        "what the ledger in Airflow's `task_state_store` adds to a closing, in `airflow dags test`",
        f"{kept - without:.1f} ms ({kept:.1f} ms instead of {without:.1f} ms)",
    )


def _batches(purchase_ids: list[int], size: int) -> itertools.chain[list[int]]:
    return itertools.chain(purchase_ids[start : start + size] for start in range(0, len(purchase_ids), size))
