"""
### Close the purchases that somebody names, one task each

Started by hand or through the API, with the ids as the parameter `purchase_ids`. Each purchase is a task of its own:
its id stands in the grid, its outcome is its colour, and it can be cleared alone.

| Needs | |
|---|---|
| pool `lucca` | `airflow pools set lucca 4 "Requests to Lucca at once"` |
| connection `lucca_default` | the Lucca tenant |

For more than a few dozen purchases give all ids to one task, as the other examples do. Tasks do not know of each
other, so together they may run into the tenant's limit; that costs them time, not purchases.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum

from lucca_provider.operators.purchases import ClosePurchaseOperator

try:
    from airflow.sdk import DAG, Param, task
except ImportError:  # Airflow 2.11
    from airflow import DAG
    from airflow.decorators import task
    from airflow.models.param import Param

with DAG(
    dag_id="lucca_close_chosen_purchases",
    doc_md=__doc__,
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Paris"),
    catchup=False,
    max_active_runs=1,
    params={
        "purchase_ids": Param([], type="array", items={"type": "integer", "minimum": 1}, title="Purchases to close"),
    },
    default_args={
        "retries": 3,
        "retry_delay": timedelta(minutes=5),
        "retry_exponential_backoff": True,
        "execution_timeout": timedelta(minutes=30),
    },
    tags=["lucca", "example"],
):
    # [START howto_close_chosen_purchases]
    @task
    def chosen(params: dict[str, Any]) -> list[int]:
        return params["purchase_ids"]

    ClosePurchaseOperator.partial(
        task_id="close",
        comment="Closed by hand through Airflow, {{ run_id }}",
        closing_date="{{ (data_interval_end if dag_run.run_type in ['scheduled', 'backfill'] "
        "else logical_date | default(dag_run.run_after, true)).astimezone(dag.timezone) | ds }}",
        pool="lucca",
        map_index_template="purchase {{ task.purchase_ids }}",
    ).expand(purchase_ids=chosen())
    # [END howto_close_chosen_purchases]
