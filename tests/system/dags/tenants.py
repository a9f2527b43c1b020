"""DAGs that close at several tenants at once, as a run's conf asks for: one operator, mapped over the tenants."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.sdk import DAG, Param, task

from lucca_provider.operators.purchases import ClosePurchaseOperator

for dag_id, deferrable in (("close_tenants", False), ("close_tenants_deferrable", True)):
    with DAG(
        dag_id=dag_id,
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        params={"work": Param([], type="array", items={"type": "object"})},
        default_args={"retries": 3, "retry_delay": timedelta(seconds=1)},
    ):

        @task
        def work(params: dict[str, Any]) -> list[dict[str, Any]]:
            """Hand over the arguments of the closings: a connection and the purchases there."""
            return params["work"]

        ClosePurchaseOperator.partial(
            task_id="close", comment="{{ run_id }}", max_in_flight=2, deferrable=deferrable
        ).expand_kwargs(work())
