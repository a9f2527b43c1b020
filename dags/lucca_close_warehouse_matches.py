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
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

from lucca_provider.closing import report_lines
from lucca_provider.operators.purchases import ClosePurchaseOperator, ListPurchasesOperator

AMOUNT, CURRENCY = "billedAmount.counter.value", "billedAmount.counter.currency"

log = logging.getLogger(__name__)


def to_the_cent(value: Any) -> Decimal:
    """Read an amount as the database or Lucca gives it."""
    return Decimal(str(value)).quantize(Decimal("0.01"))


def find_difference(purchase: dict[str, Any], invoices: list[list[Any]]) -> str | None:
    """Say what a purchase in Lucca and its invoices in the warehouse do not agree on."""
    if not invoices:
        return "not in the warehouse"
    if purchase[AMOUNT] is None:
        return "Lucca tells no amount"
    suppliers, currencies = {row[1] for row in invoices}, {row[2] for row in invoices}
    if suppliers != {purchase["supplier.name"]}:
        return f"supplier {purchase['supplier.name']} in Lucca, {', '.join(map(str, suppliers))} in the warehouse"
    if currencies != {purchase[CURRENCY]}:
        return f"{purchase[CURRENCY]} in Lucca, {', '.join(map(str, currencies))} in the warehouse"
    in_lucca, in_warehouse = to_the_cent(purchase[AMOUNT]), sum(to_the_cent(row[3]) for row in invoices)
    return None if in_lucca == in_warehouse else f"{in_lucca} in Lucca, {in_warehouse} in the warehouse"


with DAG(
    dag_id="lucca_close_warehouse_matches",
    doc_md=__doc__,
    schedule="0 6 1 * *",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
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
    in_lucca = ListPurchasesOperator(task_id="in_lucca", fields=["supplier.name", AMOUNT, CURRENCY])
    in_warehouse = SQLExecuteQueryOperator(
        task_id="in_warehouse",
        conn_id="lucca_warehouse",
        sql="SELECT purchase_id, supplier, currency, amount FROM warehouse_invoices ORDER BY purchase_id",
    )

    @task(multiple_outputs=True)
    def compare(purchases: list[dict[str, Any]], invoices: list[list[Any]]) -> dict[str, Any]:
        ongoing = {purchase["id"] for purchase in purchases}
        differences = {str(row[0]): "not ongoing in Lucca" for row in invoices if row[0] not in ongoing}
        agreed = []
        for purchase in purchases:
            rows = [row for row in invoices if row[0] == purchase["id"]]
            if difference := find_difference(purchase, rows):
                differences[str(purchase["id"])] = difference
            else:
                agreed.append(purchase["id"])
        return {"agreed": agreed, "differences": differences}

    @task
    def report(ti: Any = None) -> dict[str, Any]:
        """Put the two together; what a task did not get to say is missing."""
        differences = ti.xcom_pull(task_ids="compare", key="differences") or {}
        closing = ti.xcom_pull(task_ids="close") or {}
        lines = [f"{number}: not closed, {difference}" for number, difference in differences.items()]
        lines += report_lines(closing)
        log.info("%s", "\n".join(lines) or "No purchase was looked at.")
        return {"differences": differences, **closing}

    compared = compare(in_lucca.output, in_warehouse.output)
    close = ClosePurchaseOperator(
        task_id="close",
        purchase_ids=compared["agreed"],
        comment="Agrees with the warehouse, {{ run_id }}",
    )
    close >> report().as_teardown()
    # [END howto_close_warehouse_matches]
