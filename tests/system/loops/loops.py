"""DAGs for Airflow 3.4: one closes the same purchases in each iteration of a loop, the other meets an outage."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.sdk import DAG, Param, task_group

from lucca_provider.exceptions import LuccaError
from lucca_provider.operators.purchases import ClosePurchaseOperator
from lucca_provider.policies.retry import LuccaRetryPolicy

common: dict[str, Any] = {
    "schedule": None,
    "start_date": datetime(2026, 1, 1, tzinfo=timezone.utc),
    "params": {"purchase_ids": Param([], type="array", items={"type": "integer"})},
}


class Hasty(LuccaRetryPolicy):
    """Waits out an outage without the ten minutes that end a try at once."""

    def evaluate(self, exception: BaseException, *args: Any, **kwargs: Any) -> Any:
        """Forget what Lucca asked for."""
        if isinstance(exception, LuccaError):
            exception.retry_after = None
        return super().evaluate(exception, *args, **kwargs)


with DAG(dag_id="close_in_a_loop", **common):

    @task_group
    def month(purchase_ids: str) -> None:
        ClosePurchaseOperator(task_id="close", purchase_ids=purchase_ids)

    month.partial(purchase_ids="{{ params.purchase_ids }}").loop(max_iterations=3)

with DAG(dag_id="close_after_an_outage", **common):
    ClosePurchaseOperator(
        task_id="close",
        purchase_ids="{{ params.purchase_ids }}",
        retries=1,
        retry_delay=timedelta(0),
        retry_policy=Hasty(),
    )
