"""
### Find out how a tenant of Lucca behaves, before anything is closed there

Lucca does not document everything that closing depends on. This DAG asks the tenant, in six requests that only read,
and makes a table: what the tenant does, what the provider assumes, and what a difference costs. The table is in the log
and in XCom. It can be pasted into an issue: it names no key, no host, no purchase, no person or company, and no amount.

| Needs | |
|---|---|
| connection `lucca_default` | the Lucca tenant, or name another one as the parameter `lucca_conn_id` |
| parameter `purchase_id` | leave it empty to read only |

With the id of a purchase, **that purchase is closed**, twice, to see both answers. That cannot be undone. It takes up
to four more requests, and happens only in a test, demo or sandbox environment, or on this machine.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum

from lucca_provider.tasks.trial import try_tenant

try:
    from airflow.sdk import DAG, Param, task
except ImportError:  # Airflow 2.11
    from airflow import DAG
    from airflow.decorators import task
    from airflow.models.param import Param

with DAG(
    dag_id="lucca_try_tenant",
    doc_md=__doc__,
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Paris"),
    catchup=False,
    max_active_runs=1,
    params={
        "lucca_conn_id": Param("lucca_default", type="string", minLength=1, title="Lucca connection"),
        "purchase_id": Param(
            None, type=["null", "integer"], minimum=1, maximum=2**31 - 1, title="Purchase to close, in a test tenant"
        ),
    },
    # Without retries: a second try would be another trial.
    default_args={"retries": 0, "execution_timeout": timedelta(minutes=30)},
    tags=["lucca", "example"],
):
    # [START howto_try_tenant]
    @task
    def report(params: dict[str, Any], ti: Any = None) -> str:
        return try_tenant(params["lucca_conn_id"], params["purchase_id"], ti=ti)

    report()
    # [END howto_try_tenant]
