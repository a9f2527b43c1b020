"""Row e: the same 60 closings by hand, by the HTTP provider and by this one, against Lucca's limit."""

from __future__ import annotations

import json

from benchmarks.airflow_home import AirflowHome, Task
from benchmarks.closings import close_with_loop
from benchmarks.table import Row, seconds
from benchmarks.tenants import Tenant, tenant
from lucca_provider.sandbox.api import ROOT

CLOSINGS = 60
LIMIT = 50


def rivals(window: float) -> list[Row]:
    """Close 60 purchases three times, at 50 requests a window."""
    limits = {"limit": LIMIT, "window": window}
    with (
        AirflowHome() as airflow,
        tenant(CLOSINGS, **limits) as loop,
        tenant(CLOSINGS, **limits) as mapped,
        tenant(CLOSINGS, **limits) as ours,
    ):
        looped = seconds(lambda: close_with_loop(loop, loop.purchase_ids))
        airflow.environ["AIRFLOW_CONN_HTTP_DEFAULT"] = json.dumps(
            {"conn_type": "http", "host": mapped.url, "extra": mapped.headers}
        )
        airflow.environ["BENCHMARK_ENDPOINTS"] = json.dumps(
            [f"{ROOT}/purchases/{purchase_id}/closing" for purchase_id in mapped.purchase_ids]
        )
        airflow.add([Task("ours", ours, requests_per_minute=LIMIT, window_seconds=window)])
        mapping = seconds(lambda: airflow.test("http", may_fail=True))
        closing = seconds(lambda: airflow.test("ours"))
        return [
            _row("a `requests` loop", loop, looped),
            _row("mapped `HttpOperator`s", mapped, mapping),
            _row("`ClosePurchaseOperator`", ours, closing, target="60 closed, no 429"),
        ]


def _row(way: str, lucca: Tenant, took: float, *, target: str = "–") -> Row:
    closed, throttled = lucca.closed, lucca.throttled
    figure = f"{closed} closed, {CLOSINGS - closed} lost, {throttled} answers 429, {took:.0f} s in all"
    reached = None if target == "–" else closed == CLOSINGS and not throttled
    return Row("e", f"{CLOSINGS} closings at {LIMIT} a minute by {way}", figure, target, reached)
