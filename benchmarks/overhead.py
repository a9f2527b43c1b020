"""Rows c and d: what the run and the hook gain at Lucca's latency, and what they cost without any."""

from __future__ import annotations

from benchmarks.airflow_home import AirflowHome, Task
from benchmarks.closings import close_with_loop, close_with_run, hook_to
from benchmarks.journal import count_calls
from benchmarks.table import Row, at_most, medians
from benchmarks.tenants import tenant

IN_FLIGHT = 5
"""The operator's default."""


def with_latency() -> list[Row]:
    """Row c: 50 closings at 100 ms."""
    closings, repeats = 50, 7
    with tenant(closings, limit=0, latency=0.1) as lucca, hook_to(lucca) as hook:
        loop, run = medians(
            repeats,
            lambda: close_with_loop(lucca, lucca.purchase_ids),
            lambda: close_with_run(hook, lucca.purchase_ids, max_in_flight=IN_FLIGHT),
            before=lucca.reopen,
        )
    what = "50 closings at 100 ms latency, the page of their states included, against a sequential `requests` loop"
    told = f"{run:.2f} s of {loop:.2f} s"
    return [at_most("c", f"{what}, `max_in_flight={IN_FLIGHT}`", run / loop, 0.25, told=told)]


def without_latency() -> list[Row]:
    """Row d: what run and hook cost for each closing, and what the journal adds."""
    closings, repeats = 200, 15
    with tenant(closings, limit=0) as lucca, hook_to(lucca) as hook:
        loop, serial, run = medians(
            repeats,
            lambda: close_with_loop(lucca, lucca.purchase_ids),
            lambda: close_with_run(hook, lucca.purchase_ids, max_in_flight=1),
            lambda: close_with_run(hook, lucca.purchase_ids, max_in_flight=IN_FLIGHT),
            before=lucca.reopen,
        )
    each = 1000 / closings
    return [
        at_most(
            "d",
            f"time of a closing by run and hook, no latency, journal in memory, one page for {closings}, "
            f"`max_in_flight={number}`, against a bare `requests.Session` loop",
            time / loop,
            1.5,
            told=f"{time * each:.2f} ms of {loop * each:.2f} ms",
        )
        for number, time in ((1, serial), (IN_FLIGHT, run))
    ] + [_real_journal(), *_journal_calls()]


def _real_journal() -> Row:
    closings = 200
    with AirflowHome() as airflow, tenant(closings, limit=0) as memory, tenant(closings, limit=0) as store:
        tasks = [Task("memory", memory, durable=False), Task("store", store)]
        airflow.add(tasks)
        for task in tasks:
            airflow.test(task.name)
        assert memory.closed == store.closed == closings
        without, kept = (airflow.stays(task.name)[0].seconds * 1000 / closings for task in tasks)
    what = "what the journal in Airflow's `task_state_store` adds to a closing, 5 in flight, in `airflow dags test`"
    told = f"{kept:.1f} ms instead of {without:.1f} ms"
    return at_most("d", what, kept - without, 4.0, told=told, unit=" ms")


def _journal_calls() -> list[Row]:
    rows = []
    for deferrable in (False, True):
        store = count_calls(1000, deferrable=deferrable)
        kind = "deferrable" if deferrable else "plain"
        sets, keys, gets = store.sets, len(store.values), store.most_gets
        what = f"the journal's calls for 1,000 closings, {kind}: writes, keys, and reads of one resume"
        reached = sets <= 300 and keys <= 20 and gets <= 40
        rows.append(Row("d", what, f"{sets}, {keys}, {gets}", "≤ 300, 20, 40", reached))
    return rows
