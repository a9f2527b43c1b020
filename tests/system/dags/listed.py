"""DAGs that close, in mapped tasks, what a variable lists when they run: a cleared run may find another order."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.sdk import DAG, Variable, task

from lucca_provider.operators.purchases import ClosePurchaseOperator

for dag_id, deferrable in (("close_listed", False), ("close_listed_deferrable", True)):
    with DAG(
        dag_id=dag_id,
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        default_args={"retries": 3, "retry_delay": timedelta(seconds=1)},
    ):

        @task
        def batches() -> Any:
            """Hand over the purchases, those of each mapped task in a list of their own."""
            return Variable.get("lucca_batches", deserialize_json=True)

        ClosePurchaseOperator.partial(task_id="close", comment="{{ run_id }}", deferrable=deferrable).expand(
            purchase_ids=batches()
        )
