"""
### Close only what Lucca and the warehouse agree on, to the cent

The ongoing purchases in Lucca are laid beside the invoices that your own books hold for them. A purchase is closed if
supplier, currency and amount are the same on both sides. Every difference goes into the report, which always comes.

| Needs | |
|---|---|
| connection `lucca_warehouse` | any database that Airflow has a provider for |
| table `warehouse_invoices` | a row for each invoice: `purchase_id`, `supplier`, `currency`, `amount` with taxes |
| connection `lucca_default` | the Lucca tenant |

Lucca publishes that a purchase has a `billedAmount`, but not what that looks like. This example takes the form that
Lucca publishes for the amounts of an invoice. A purchase without such an amount is a difference, and not closed.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pendulum
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

from lucca_provider.closing import describe_report
from lucca_provider.operators.purchases import ClosePurchaseOperator, ListPurchasesOperator

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2.11
    from airflow import DAG
    from airflow.decorators import task

FIELDS = ["supplier.name", "billedAmount.counter.value", "billedAmount.counter.currency"]

log = logging.getLogger(__name__)


def read_amount(value: Any) -> Decimal:
    """Read an amount as the database or Lucca gives it."""
    amount = Decimal(str(value))
    if amount != amount.quantize(Decimal("0.01")):
        raise ValueError(f"{value} is finer than a cent")
    return amount


def find_difference(purchase: dict[str, Any], invoices: list[list[Any]]) -> str | None:
    """Say what a purchase in Lucca and its invoices in the warehouse do not agree on."""
    if not invoices:
        return "not in the warehouse"
    supplier = purchase["supplier.name"]
    value, currency = purchase["billedAmount.counter.value"], purchase["billedAmount.counter.currency"]
    if None in (supplier, value, currency):
        return "Lucca tells no supplier, no amount or no currency"
    if {row[1] for row in invoices} != {supplier}:
        return f"supplier {supplier} in Lucca, {', '.join({str(row[1]) for row in invoices})} in the warehouse"
    if {row[2] for row in invoices} != {currency}:
        return f"{currency} in Lucca, {', '.join({str(row[2]) for row in invoices})} in the warehouse"
    try:
        in_lucca, in_warehouse = read_amount(value), sum(read_amount(row[3]) for row in invoices)
    except (ArithmeticError, ValueError):
        return (
            f"an amount cannot be read: {value} in Lucca, {', '.join(str(row[3]) for row in invoices)} in the warehouse"
        )
    return None if in_lucca == in_warehouse else f"{in_lucca:.2f} in Lucca, {in_warehouse:.2f} in the warehouse"


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

    @task
    def report(ti: Any = None) -> dict[str, Any]:
        """Put the two together; a closing that could not report may have closed some."""
        differences = ti.xcom_pull(task_ids="compare", key="differences") or {}
        agreed = ti.xcom_pull(task_ids="compare", key="agreed") or []
        closing = ti.xcom_pull(task_ids="close") or {
            "unresolved": [{"id": number, "reason": "the closing left no report"} for number in agreed]
        }
        words = {number: f"not closed, {why}" for number, why in differences.items()} | describe_report(closing)
        log.info("%s", "\n".join(f"{number}: {outcome}" for number, outcome in words.items()) or "Nothing to report.")
        return {"differences": differences, **closing}

    compared = compare(in_lucca.output, in_warehouse.output)
    close = ClosePurchaseOperator(
        task_id="close",
        purchase_ids=compared["agreed"],
        comment="Agrees with the warehouse, {{ run_id }}",
        closing_date="{{ (data_interval_end if dag_run.run_type in ['scheduled', 'backfill'] "
        "else logical_date | default(dag_run.run_after, true)).astimezone(dag.timezone) | ds }}",
    )
    close >> report().as_teardown()
    # [END howto_close_warehouse_matches]
