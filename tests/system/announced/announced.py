"""A DAG that closes and announces it, and one that starts by itself then."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from airflow.sdk import DAG, Asset, Param, task

from lucca_provider.operators.purchases import ClosePurchaseOperator

CLOSINGS = Asset(uri="lucca://system-tests.example/purchases")
START = datetime(2026, 1, 1, tzinfo=timezone.utc)

with DAG(
    dag_id="close_announced",
    schedule=None,
    start_date=START,
    params={"purchase_ids": Param([], type="array", items={"type": "integer"})},
):
    ClosePurchaseOperator(task_id="close", purchase_ids="{{ params.purchase_ids }}", outlets=[CLOSINGS])

with DAG(dag_id="after_closing", schedule=[CLOSINGS], start_date=START):

    @task
    def closed(triggering_asset_events: Any = None) -> Any:
        """Return what each event says."""
        return [event.extra for event in triggering_asset_events[CLOSINGS]]

    closed()
