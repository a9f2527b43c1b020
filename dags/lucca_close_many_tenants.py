"""
### Close for several tenants, each within its own rate limit

One Lucca connection for each company of the group. For each of them, at the same time: list the ongoing purchases,
check them, and close those that can be closed. A tenant that fails does not hold up the others.

| Needs | |
|---|---|
| parameter `connections` | the ids of the Lucca connections; change its default to yours |
| a running triggerer | the closings wait there while a tenant's rate limit is used up |

Lucca counts requests by tenant, so tenants do not slow each other down. Two connections to the same tenant would share
its rate limit without knowing of each other.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum

from lucca_provider.operators.purchases import (
    CheckPurchasesOperator,
    ClosePurchaseOperator,
    ListPurchasesOperator,
)

try:
    from airflow.sdk import DAG, Param, task, task_group
except ImportError:  # Airflow 2.11
    from airflow import DAG
    from airflow.decorators import task, task_group
    from airflow.models.param import Param

with DAG(
    dag_id="lucca_close_many_tenants",
    doc_md=__doc__,
    schedule=None,  # with a schedule, a run starts as soon as the DAG is unpaused
    start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Paris"),
    catchup=False,
    max_active_runs=1,
    params={
        "connections": Param(
            ["lucca_default"],
            type="array",
            items={"type": "string", "minLength": 1},
            uniqueItems=True,
            title="Lucca connections",
        ),
    },
    default_args={
        "retries": 3,
        "retry_delay": timedelta(minutes=5),
        "retry_exponential_backoff": True,
        "execution_timeout": timedelta(hours=2),
    },
    tags=["lucca", "example"],
):
    # [START howto_close_many_tenants]
    @task
    def connections(params: dict[str, Any]) -> list[str]:
        return params["connections"]

    @task_group
    def tenant(lucca_conn_id: str) -> None:
        find = ListPurchasesOperator(task_id="find", lucca_conn_id=lucca_conn_id)
        check = CheckPurchasesOperator(
            task_id="check", purchase_ids=find.output, on_blocked="skip", lucca_conn_id=lucca_conn_id
        )
        ClosePurchaseOperator(
            task_id="close",
            purchase_ids=check.output["closable"],
            comment="Closed by Airflow, {{ run_id }}",
            closing_date="{{ (data_interval_end if dag_run.run_type in ['scheduled', 'backfill'] "
            "else logical_date | default(dag_run.run_after, true)).astimezone(dag.timezone) | ds }}",
            lucca_conn_id=lucca_conn_id,
            deferrable=True,
        )

    tenant.expand(lucca_conn_id=connections())
    # [END howto_close_many_tenants]
