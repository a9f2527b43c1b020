"""
### The whole month-end: find, check, approve, check again, close, report

Every ongoing purchase is checked, whatever its month, so one that is paid late is not left behind. A person approves
those that can be closed. What has changed by the second check is not closed. The parameter `exclude` leaves some out.
It needs the connection `lucca_default`, the variable `lucca_reports` (a folder for the reports, also `s3://…`), and for
the approval Airflow 3.1 and the provider *standard* 1.8 or later: without it nothing is closed.
"""

from datetime import timedelta

import pendulum
from airflow.providers.standard.operators.empty import EmptyOperator

from lucca_provider.operators.purchases import CheckPurchasesOperator, ClosePurchaseOperator, ListPurchasesOperator
from lucca_provider.operators.reports import ReportClosingsOperator

try:
    from airflow.sdk import DAG, Param
except ImportError:  # Airflow 2.11
    from airflow.models import DAG, Param
try:
    from airflow.providers.standard.operators.hitl import ApprovalOperator
except Exception:  # noqa: BLE001 (before Airflow 3.1 it is an error of Airflow's own)
    ApprovalOperator = None

# Who may approve, such as [{"id": "anna", "name": "Anna Keller"}]; empty for all who may answer. An id is the user's
# name with SimpleAuthManager, the user's number in the database with FAB; a wrong one locks everybody out.
ASKED = {"assigned_users": [], "notifiers": [], "response_timeout": timedelta(days=3)}
IDS = {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 2147483647}}
FILES = "{{ var.value.lucca_reports }}/month-{{ run_id.replace(':', '-') }}"

with DAG(
    dag_id="lucca_close_month_end",
    doc_md=__doc__,
    dag_display_name="lucca_close_month_end" + ("" if ApprovalOperator else " (needs Airflow 3.1)"),
    schedule="0 6 1 * *" if ApprovalOperator else None,
    start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Paris"),
    catchup=False,
    max_active_runs=1,
    params={"exclude": Param([], title="Purchases to leave out", **IDS)},
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5), "retry_exponential_backoff": True},
    tags=["lucca", "example"],
):
    find = ListPurchasesOperator(task_id="find")
    check = CheckPurchasesOperator(
        task_id="check",
        purchase_ids=find.output,
        exclude="{{ params.exclude }}",
        # The last day of the month before, as the DAG's time zone has it.
        closing_date="{{ macros.ds_add((data_interval_end if dag_run.run_type in ['scheduled', 'backfill'] else "
        "logical_date | default(dag_run.run_after, true)).astimezone(dag.timezone).replace(day=1) | ds, -1) }}",
        path=FILES + "-check.html",
        on_blocked="skip",
    )
    if ApprovalOperator:
        approve = ApprovalOperator(
            task_id="approve",
            subject="Close the ready purchases ({{ ti.xcom_pull(task_ids='check', key='closable') | length }})?",
            body="{{ ti.xcom_pull(task_ids='check', key='approval') }}",
            retries=0,
            **{name: value for name, value in ASKED.items() if value},
        )
    else:
        approve = EmptyOperator(task_id="approve")
    again = CheckPurchasesOperator(
        task_id="check_again",
        purchase_ids=check.output["closable"],
        unchanged_since=check.output["snapshot"],
        approved_by=approve.output,
        on_blocked="warn",
    )
    close = ClosePurchaseOperator(
        task_id="close",
        purchase_ids=again.output["closable"],
        comment="Month-end by Airflow, {{ run_id }}, approved by {{ ti.xcom_pull('check_again', key='approved_by') }}",
        closing_date=check.closing_date,
    )
    report = ReportClosingsOperator(
        task_id="report",
        report=close.output,
        sent=close.output["sent"],
        purchase_ids=find.output,
        left_out=[check.output, again.output],
        approved_by=approve.output,
        path=[FILES + ending for ending in (".html", ".csv", ".md")],
    )
    # A run's state is that of its last tasks, and before a teardown such as this the closing is none of them.
    check >> approve
    close >> [report.as_teardown(on_failure_fail_dagrun=True), EmptyOperator(task_id="closed")]
