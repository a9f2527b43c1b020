"""
### Check purchases in Python, close the good ones in Lucca, and always report

A CSV file, on any storage that Airflow reads, names the purchases with the columns `purchase_id`, `ordered` and
`invoiced`. Plain Python tells good from bad. The good ones are closed. The last task always runs, and its report names
every purchase: closed, stopped by the check, refused by Lucca, or unresolved.

| Needs | |
|---|---|
| variable `lucca_candidates` | where the file is: `s3://finance/candidates.csv`, `file:///data/candidates.csv` … |
| connection `lucca_default` | the Lucca tenant |

The report is a teardown: it also runs when the closing has failed, and the run is still marked as failed.
"""

from __future__ import annotations

import csv
import logging
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import pendulum

from lucca_provider.closing import describe_report
from lucca_provider.operators.purchases import ClosePurchaseOperator

try:
    from airflow.sdk import ObjectStoragePath, dag, task
except ImportError:  # Airflow 2.11
    from airflow.decorators import dag, task
    from airflow.io.path import ObjectStoragePath

log = logging.getLogger(__name__)


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
            if number in good or number in bad:
                bad[number] = "it is named twice"
            elif not number.isdecimal():
                bad[number] = "that is not the id of a purchase"
            elif problem := find_problem(row):
                bad[number] = problem
            else:
                good.append(number)
        return {"good": [number for number in good if number not in bad], "bad": bad}

    @task
    def report(ti: Any = None) -> dict[str, Any]:
        """Put the two together; a closing that could not report may have closed some."""
        stopped = ti.xcom_pull(task_ids="check", key="bad") or {}
        good = ti.xcom_pull(task_ids="check", key="good") or []
        closing = ti.xcom_pull(task_ids="close") or {
            "unresolved": [{"id": number, "reason": "the closing left no report"} for number in good]
        }
        words = {number: f"stopped, {problem}" for number, problem in stopped.items()} | describe_report(closing)
        log.info("%s", "\n".join(f"{number}: {outcome}" for number, outcome in words.items()) or "Nothing to report.")
        return {"stopped": stopped, **closing}

    checked = check("{{ var.value.lucca_candidates }}")
    close = ClosePurchaseOperator(
        task_id="close",
        purchase_ids=checked["good"],
        comment="Checked and closed by Airflow, {{ run_id }}",
        closing_date="{{ (data_interval_end if dag_run.run_type in ['scheduled', 'backfill'] "
        "else logical_date | default(dag_run.run_after, true)).astimezone(dag.timezone) | ds }}",
    )
    close >> report().as_teardown()
    # [END howto_close_checked_purchases]


lucca_close_checked_purchases()
