"""Ways to close a batch without a task around them: the provider's run and hook, and what people write by hand."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import requests  # noqa: TID253 - no DAG file imports this

from benchmarks.tenants import Tenant
from lucca_provider.closing import Attempt, ClosingRun, Driver, Journal
from lucca_provider.hooks.lucca import LuccaHook
from lucca_provider.limits import Window
from lucca_provider.outcomes import Report
from lucca_provider.sandbox.api import ROOT
from lucca_provider.tasks.closing import Arguments, perform

NO_LIMIT = 1_000_000


@contextmanager
def hook_to(tenant: Tenant) -> Iterator[LuccaHook]:
    """Lead Airflow's default connection to a tenant."""
    # The run's log lines are made, but what Airflow makes of them is not the run's cost, nor for this output.
    log = logging.getLogger("lucca_provider")
    log.propagate = False
    log.setLevel(logging.INFO)
    log.handlers = [logging.NullHandler()]
    name = "AIRFLOW_CONN_LUCCA_DEFAULT"
    os.environ[name] = tenant.connection()
    try:
        hook = LuccaHook()
        hook.get_conn()
        yield hook
    finally:
        del os.environ[name]


def close_with_run(hook: LuccaHook, purchase_ids: Sequence[int], *, max_in_flight: int) -> Report:
    """Run the closing as the operator does, with a journal in memory and no limit, and return its report."""
    journal = Journal(Attempt(number=1, max_tries=0), new_id=lambda: "in memory")
    run = ClosingRun(purchase_ids, journal=journal, window=Window(NO_LIMIT))
    arguments = Arguments(list(purchase_ids), comment=None, closing_date=None)
    Driver(run, partial(perform, hook.client, arguments), max_in_flight=max_in_flight).drive()
    report = run.end()
    assert not report["rejected"], report
    assert not report["unresolved"], report
    return report


def close_with_loop(tenant: Tenant, purchase_ids: Sequence[int]) -> list[int]:
    """Close purchases one after the other, as one writes it first, and return the statuses."""
    with requests.Session() as session:
        session.headers.update(tenant.headers)
        return [session.post(tenant.closing(i), json={}, timeout=10).status_code for i in purchase_ids]


def close_with_threads(tenant: Tenant, purchase_ids: Sequence[int], *, threads: int) -> None:
    """Close purchases in the least time: one page, then as many bare requests at once as the provider sends."""
    local = threading.local()

    def connect() -> None:
        local.session = requests.Session()
        local.session.headers.update(tenant.headers)

    def close(purchase_id: int) -> None:
        local.session.post(tenant.closing(purchase_id), json={}, timeout=10).raise_for_status()

    address = f"{tenant.url}{ROOT}/purchases"
    requests.get(address, params={"limit": "1000"}, headers=tenant.headers, timeout=10).raise_for_status()
    with ThreadPoolExecutor(threads, initializer=connect) as pool:
        list(pool.map(close, purchase_ids))
