"""
### The whole month-end: list, check, let a person approve, close, report

Every ongoing purchase is looked at. Those whose invoices are all approved and paid, or cancelled, are shown to a person
with their amounts, and the others with what blocks them. What the person approves is closed, with the person's name in
the comment. The report names every purchase, whatever happened, and also after a rejection.

| Needs | |
|---|---|
| Airflow 3.1 or later, with the provider *standard* 1.5 or later | for the approval |
| connection `lucca_default` | the Lucca tenant |
| a running triggerer | the closing waits there while the tenant's limit is used up |

The approval waits for three days, under *Required actions* in Airflow's pages, and fails without an answer: nobody's
silence closes a purchase.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowFailException,
    AirflowOptionalProviderFeatureException,
    chain,
    task,
)

from lucca_provider.closing import describe_report
from lucca_provider.operators.purchases import (
    CheckPurchasesOperator,
    ClosePurchaseOperator,
    ListPurchasesOperator,
)

try:
    from airflow.providers.standard.operators.hitl import ApprovalOperator
except (ImportError, AirflowOptionalProviderFeatureException):
    ApprovalOperator = None

try:
    from lucca_provider.policies.retry import LuccaRetryPolicy
except ImportError:  # before Airflow 3.3 tasks have no retry policy
    RETRIES: dict[str, Any] = {}
else:
    RETRIES = {"retry_policy": LuccaRetryPolicy()}

MISSING = "Not available here: the approval by a person needs Airflow 3.1 with the provider standard 1.5, or later."
FIELDS = ["title", "supplier.name", "billedAmount.counter.value", "billedAmount.counter.currency"]

log = logging.getLogger(__name__)


def rows(purchases: list[dict[str, Any]], reasons: dict[int, str]) -> Iterator[str]:
    """Write the rows of a Markdown table."""
    for purchase in purchases:
        if purchase["id"] in reasons:
            value, currency = purchase["billedAmount.counter.value"], purchase["billedAmount.counter.currency"]
            amount = f"{value:,.2f}\N{NO-BREAK SPACE}{currency}" if isinstance(value, (int, float)) else "unknown"
            cells = [purchase["id"], purchase["supplier.name"], purchase["title"], amount]
            cells += filter(None, [reasons[purchase["id"]]])
            yield "| " + " | ".join(str(cell or "").replace("|", "/").replace("\n", " ") for cell in cells) + " |"


def reasons_of(check: dict[str, Any]) -> dict[int, str]:
    """Return why purchases cannot be closed now."""
    blocked = {one["id"]: "; ".join(one["reasons"]) for one in check.get("blocked", [])}
    return blocked | {one["id"]: one["reason"] for one in check.get("unknown", [])}


with DAG(
    dag_id="lucca_close_month_end",
    doc_md=__doc__,
    description="List, check, let a person approve, close, report." if ApprovalOperator else MISSING,
    dag_display_name="lucca_close_month_end" if ApprovalOperator else "lucca_close_month_end (needs Airflow 3.1)",
    schedule="0 6 1 * *" if ApprovalOperator else None,
    start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Paris"),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5), "retry_exponential_backoff": True},
    tags=["lucca", "example", *([] if ApprovalOperator else ["needs Airflow 3.1"])],
):
    # [START howto_close_month_end]
    @task
    def ids(purchases: list[dict[str, Any]]) -> list[int]:
        return [purchase["id"] for purchase in purchases]

    @task
    def describe(purchases: list[dict[str, Any]], ti: Any = None) -> str:
        """Write what the person decides about."""
        check = ti.xcom_pull(task_ids="check")
        closable, reasons = dict.fromkeys(check["closable"], ""), reasons_of(check)
        parts = ["### To be closed\n", "| Purchase | Supplier | Title | Billed |", "|---|---|---|--:|"]
        parts += rows(purchases, closable)
        if reasons:
            parts += ["\n### Not now\n", "| Purchase | Supplier | Title | Billed | Why not |", "|---|---|---|--:|---|"]
            parts += rows(purchases, reasons)
        return "\n".join(parts)

    @task
    def report(ti: Any = None) -> dict[str, Any]:
        """Say what became of every purchase that was found."""
        check = ti.xcom_pull(task_ids="check") or {}
        # A rejection leaves no result behind, and neither does an approval that nobody answered.
        answer = (ti.xcom_pull(task_ids="approve") or {}).get("chosen_options")
        decision = "approved" if answer == ["Approve"] else "not approved"
        # A closing that could not report may have closed some.
        closable = "closable, not approved" if decision != "approved" else "unresolved: the closing left no report"
        found = ti.xcom_pull(task_ids="find")
        words = {one["id"]: "not checked" for one in found or []}
        words |= dict.fromkeys(check.get("already_closed", []), "was closed already")
        words |= {number: f"not now, {reason}" for number, reason in reasons_of(check).items()}
        words |= dict.fromkeys(check.get("closable", []), closable)
        words |= describe_report(ti.xcom_pull(task_ids="close"))
        lines = [f"{number}: {outcome}" for number, outcome in words.items()]
        nothing = "The purchases could not be listed." if found is None else "No purchase was found."
        log.info("The closing was %s.\n%s", decision, "\n".join(lines) or nothing)
        return {"decision": decision, "purchases": {str(number): outcome for number, outcome in words.items()}}

    if ApprovalOperator:
        find = ListPurchasesOperator(task_id="find", fields=FIELDS)
        # If nothing can be closed, nobody is asked.
        check = CheckPurchasesOperator(task_id="check", purchase_ids=ids(find.output), on_blocked="skip")
        described = describe(find.output)
        approve = ApprovalOperator(
            task_id="approve",
            subject="Close {{ ti.xcom_pull(task_ids='check', key='closable') | length }} purchases in Lucca? "
            "That cannot be undone.",
            body="{{ ti.xcom_pull(task_ids='describe') }}",
            response_timeout=timedelta(days=3),
            retries=0,
        )
        close = ClosePurchaseOperator(
            task_id="close",
            purchase_ids=check.output["closable"],
            comment="Month-end by Airflow, {{ run_id }}, approved by "
            "{{ (ti.xcom_pull(task_ids='approve')['responded_by_user'] or {}).get('name', 'an unnamed user') }}",
            # The last day of the month before, as the DAG's time zone has it.
            closing_date="{{ macros.ds_add((data_interval_end if dag_run.run_type in ['scheduled', 'backfill'] "
            "else logical_date | default(dag_run.run_after, true)).astimezone(dag.timezone)"
            ".replace(day=1) | ds, -1) }}",
            deferrable=True,
            execution_timeout=timedelta(hours=2),
            **RETRIES,
        )
        chain(check, described, approve, close, report().as_teardown())
    # [END howto_close_month_end]
    else:

        @task(retries=0)
        def explain() -> None:
            raise AirflowFailException(MISSING)

        explain()
