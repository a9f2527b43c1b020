"""
### Close only what Lucca and the warehouse agree on, to the cent

The ongoing purchases in Lucca are laid beside the invoices that your own books hold for them. A purchase is closed if
supplier, currency and amount are the same on both sides. Every difference goes into the report, which is written
whatever became of the closing.

| Needs | |
|---|---|
| connection `lucca_warehouse` | any database that Airflow has a provider for |
| table `warehouse_invoices` | a row for each invoice: `purchase_id`, `supplier`, `currency`, `amount` with taxes |
| variable `lucca_reports` | a folder for the reports: `/data/reports`, `s3://finance/reports` … |
| connection `lucca_default` | the Lucca tenant |

Lucca publishes that a purchase has a `billedAmount`, but not what that looks like. This example takes the form that
Lucca publishes for the amounts of an invoice. A purchase without such an amount is a difference, and not closed.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pendulum
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.providers.standard.operators.empty import EmptyOperator

from lucca_provider.operators.purchases import ClosePurchaseOperator, ListPurchasesOperator
from lucca_provider.operators.reports import ReportClosingsOperator
from lucca_provider.reports import read_details

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2.11
    from airflow import DAG
    from airflow.decorators import task

FIELDS = ["supplier.name", "billedAmount.counter.value", "billedAmount.counter.currency"]


def find_difference(purchase: dict[str, Any], invoices: list[list[Any]]) -> str | None:
    """Say what a purchase in Lucca and its invoices in the warehouse do not agree on."""
    if not invoices:
        return "not in the warehouse"
    lucca = read_details(purchase)
    if None in (lucca.supplier, lucca.amount, lucca.currency):
        return "Lucca shows no supplier, no amount or no currency"
    for column, in_lucca in ((1, lucca.supplier), (2, lucca.currency)):
        if {row[column] for row in invoices} != {in_lucca}:
            return f"{in_lucca} in Lucca, {', '.join({str(row[column]) for row in invoices})} in the warehouse"
    try:
        in_warehouse = sum(Decimal(str(row[3])) for row in invoices)
    except ArithmeticError:
        return f"an amount cannot be read: {', '.join(str(row[3]) for row in invoices)} in the warehouse"
    return None if lucca.amount == in_warehouse else f"{lucca.amount} in Lucca, {in_warehouse} in the warehouse"


with DAG(
    dag_id="lucca_close_warehouse_matches",
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
    # [START howto_close_warehouse_matches]
    in_lucca = ListPurchasesOperator(task_id="in_lucca", fields=FIELDS)
    in_warehouse = SQLExecuteQueryOperator(
        task_id="in_warehouse",
        conn_id="lucca_warehouse",
        sql="SELECT purchase_id, supplier, currency, amount FROM warehouse_invoices ORDER BY purchase_id",
    )

    @task(multiple_outputs=True)
    def compare(purchases: list[dict[str, Any]], invoices: list[list[Any]]) -> dict[str, Any]:
        by_purchase = defaultdict(list)
        for row in invoices:
            by_purchase[row[0]].append(row)
        agreed, differences = [], {}
        for purchase in purchases:
            if difference := find_difference(purchase, by_purchase.pop(purchase["id"], [])):
                differences[str(purchase["id"])] = difference
            else:
                agreed.append(purchase["id"])
        differences |= {str(number): "not ongoing in Lucca" for number in by_purchase}
        return {"agreed": agreed, "differences": differences}

    compared = compare(in_lucca.output, in_warehouse.output)
    close = ClosePurchaseOperator(
        task_id="close",
        purchase_ids=compared["agreed"],
        comment="Agrees with the warehouse, {{ run_id }}",
        closing_date="{{ (data_interval_end if dag_run.run_type in ['scheduled', 'backfill'] "
        "else logical_date | default(dag_run.run_after, true)).astimezone(dag.timezone) | ds }}",
    )
    report = ReportClosingsOperator(
        task_id="report",
        report=close.output,
        sent=close.output["sent"],
        purchase_ids=compared["agreed"],
        left_out=compared["differences"],
        path="{{ var.value.lucca_reports }}/{{ dag.dag_id }}-{{ run_id.replace(':', '-') }}.csv",
    )
    # A run's state is that of its last tasks, and before a teardown such as this the closing is none of them.
    close >> [report.as_teardown(on_failure_fail_dagrun=True), EmptyOperator(task_id="closed")]
    # [END howto_close_warehouse_matches]
