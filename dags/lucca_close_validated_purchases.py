"""
### Check the month's purchases in SQL, then close the good ones in Lucca

The table `purchase_candidates`, filled by your pipeline, holds the purchases that are to be closed. Two checks look at
it as a whole: if one fails, nothing is closed. A third looks at each purchase and writes down what is wrong with it;
the purchases without a problem are closed.

| Needs | |
|---|---|
| connection `lucca_validation` | any database that Airflow has a provider for; SQLite in `make demo` |
| connection `lucca_default` | the Lucca tenant |
| table `purchase_candidates` | `purchase_id`, `ordered`, `invoiced`, `approved_by` and an empty `problem` |

Purchases that Lucca refuses fail the closing without stopping it, and the report in XCom says why.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.sql.operators.sql import (
    SQLColumnCheckOperator,
    SQLExecuteQueryOperator,
    SQLTableCheckOperator,
)

from lucca_provider.operators.purchases import ClosePurchaseOperator

try:
    from airflow.sdk import DAG, chain
except ImportError:  # Airflow 2.11
    from airflow import DAG
    from airflow.models.baseoperator import chain

DATABASE = "lucca_validation"

with DAG(
    dag_id="lucca_close_validated_purchases",
    doc_md=__doc__,
    schedule=None,  # with a schedule, a run starts as soon as the DAG is unpaused
    start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Paris"),
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 3,
        "retry_delay": timedelta(minutes=5),
        "retry_exponential_backoff": True,
        "execution_timeout": timedelta(hours=2),
    },
    tags=["lucca", "example"],
):
    # [START howto_close_validated_purchases]
    check_columns = SQLColumnCheckOperator(
        task_id="check_columns",
        conn_id=DATABASE,
        table="purchase_candidates",
        column_mapping={
            "purchase_id": {"null_check": {"equal_to": 0}, "unique_check": {"equal_to": 0}, "min": {"geq_to": 1}},
            "ordered": {"null_check": {"equal_to": 0}, "min": {"geq_to": 0}},
            "invoiced": {"null_check": {"equal_to": 0}, "min": {"geq_to": 0}},
        },
    )
    check_table = SQLTableCheckOperator(
        task_id="check_table",
        conn_id=DATABASE,
        table="purchase_candidates",
        checks={
            "not_empty": {"check_statement": "COUNT(*) > 0"},
            "plausible_total": {"check_statement": "SUM(invoiced) < 1000000"},
        },
    )
    find_problems = SQLExecuteQueryOperator(
        task_id="find_problems",
        conn_id=DATABASE,
        sql="""
            UPDATE purchase_candidates SET problem = CASE
                WHEN approved_by IS NULL THEN 'nobody has approved it'
                WHEN invoiced > ordered THEN 'more was invoiced than ordered'
            END
        """,
    )
    ready = SQLExecuteQueryOperator(
        task_id="ready",
        conn_id=DATABASE,
        sql="SELECT purchase_id FROM purchase_candidates WHERE problem IS NULL ORDER BY purchase_id",
    )
    close = ClosePurchaseOperator(
        task_id="close",
        purchase_ids=ready.output,
        comment="Month-end closing by Airflow, {{ run_id }}",
        # The last day of the month before, as the DAG's time zone has it.
        closing_date="{{ macros.ds_add((data_interval_end if dag_run.run_type in ['scheduled', 'backfill'] "
        "else logical_date | default(dag_run.run_after, true)).astimezone(dag.timezone)"
        ".replace(day=1) | ds, -1) }}",
        lucca_conn_id="lucca_default",
    )
    # [END howto_close_validated_purchases]

    chain([check_columns, check_table], find_problems, ready, close)
