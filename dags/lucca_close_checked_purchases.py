"""
### Check purchases in Python, close the good ones in Lucca, and always report

A CSV file, on any storage that Airflow reads, names the purchases with the columns `purchase_id`, `ordered` and
`invoiced`. Plain Python tells good from bad. The good ones are closed. The report is written whatever became of them,
and names every purchase: refused by Lucca, unresolved, left out by the check, or closed.

| Needs | |
|---|---|
| variable `lucca_candidates` | where the file is: `s3://finance/candidates.csv`, `file:///data/candidates.csv` … |
| variable `lucca_reports` | a folder for the reports: `/data/reports`, `s3://finance/reports` … |
| connection `lucca_default` | the Lucca tenant |

The report is a teardown: it also runs when the closing has failed, and the run is still marked as failed.
"""

from __future__ import annotations

import csv
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import pendulum
from airflow.providers.standard.operators.empty import EmptyOperator

from lucca_provider.operators.purchases import ClosePurchaseOperator
from lucca_provider.operators.reports import ReportClosingsOperator

try:
    from airflow.sdk import ObjectStoragePath, dag, task
except ImportError:  # Airflow 2.11
    from airflow.decorators import dag, task
    from airflow.io.path import ObjectStoragePath


def find_problem(row: dict[str, str]) -> str | None:
    """Say what is wrong with a purchase."""
    try:
        ordered, invoiced = Decimal(row["ordered"]), Decimal(row["invoiced"])
        if ordered.is_finite() and invoiced.is_finite():
            return None if ordered == invoiced else f"{ordered} ordered, but {invoiced} invoiced"
    except (InvalidOperation, TypeError):
        pass
    return f"{row['ordered']!r} or {row['invoiced']!r} is not an amount"


@dag(
    dag_id="lucca_close_checked_purchases",
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
)
def lucca_close_checked_purchases() -> None:
    # [START howto_close_checked_purchases]
    @task(multiple_outputs=True)
    def check(candidates: str) -> dict[str, Any]:
        good: list[str] = []
        bad: dict[str, str] = {}
        for row in csv.DictReader(ObjectStoragePath(candidates).read_text().splitlines()):
            number = row["purchase_id"].strip()
            if not number.isdecimal():
                raise ValueError(f"{number!r} is not the id of a purchase. Nothing is closed.")
            if number in good or number in bad:
                bad[number] = "it is named twice"
            elif problem := find_problem(row):
                bad[number] = problem
            else:
                good.append(number)
        return {"good": [number for number in good if number not in bad], "bad": bad}

    checked = check("{{ var.value.lucca_candidates }}")
    close = ClosePurchaseOperator(
        task_id="close",
        purchase_ids=checked["good"],
        comment="Checked and closed by Airflow, {{ run_id }}",
        closing_date="{{ (data_interval_end if dag_run.run_type in ['scheduled', 'backfill'] "
        "else logical_date | default(dag_run.run_after, true)).astimezone(dag.timezone) | ds }}",
    )
    report = ReportClosingsOperator(
        task_id="report",
        report=close.output,
        sent=close.output["sent"],
        purchase_ids=checked["good"],
        left_out=checked["bad"],
        path="{{ var.value.lucca_reports }}/{{ dag.dag_id }}-{{ run_id.replace(':', '-') }}.csv",
    )
    # A run's state is that of its last tasks, and before a teardown such as this the closing is none of them.
    close >> [report.as_teardown(on_failure_fail_dagrun=True), EmptyOperator(task_id="closed")]
    # [END howto_close_checked_purchases]


lucca_close_checked_purchases()
