"""DAGs that close what a run's conf asks for: one stays on its worker, the other leaves it for long waits."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow.sdk import DAG, Param

from lucca_provider.operators.purchases import ClosePurchaseOperator

for dag_id, deferrable in (("close", False), ("close_deferrable", True)):
    with DAG(
        dag_id=dag_id,
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        params={
            "purchase_ids": Param([], type="array", items={"type": "integer"}),
            "lucca_conn_id": Param("lucca_default", type="string"),
        },
        default_args={"retries": 3, "retry_delay": timedelta(seconds=1)},
    ):
        ClosePurchaseOperator(
            task_id="close",
            purchase_ids="{{ params.purchase_ids }}",
            comment="{{ run_id }}",
            lucca_conn_id="{{ params.lucca_conn_id }}",
            max_in_flight=2,
            deferrable=deferrable,
        )
