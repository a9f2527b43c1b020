"""What the check does for an approval: its arguments, and the table, the approval's text and the snapshot it pushes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lucca_provider.checking import Conditions, Examination, take_snapshot
from lucca_provider.compat import AirflowFailException
from lucca_provider.inputs import InvalidInputError
from lucca_provider.reports import Head, approval_body, check_table, read_details, to_markdown
from lucca_provider.tasks.arguments import (
    read_day,
    read_days,
    read_param_name,
    read_purchase_ids,
    read_snapshot_argument,
)
from lucca_provider.tasks.common import push_value

if TYPE_CHECKING:
    from lucca_provider.compat import Context
    from lucca_provider.hooks.lucca import LuccaHook

__all__ = ["ApprovalArguments", "push_findings", "read_approval_arguments"]


@dataclass(frozen=True, slots=True)
class ApprovalArguments:
    """
    The arguments of a check that the sensor does not have, read.

    :param conditions: what is left out, and what was approved
    :param approved_at: the tenant of what was approved; ``None`` if nothing is compared
    :param closing_date: that the closing is going to send, ``YYYY-MM-DD``
    :param exclude_param: the parameter of the DAG run that takes ids to leave out
    """

    conditions: Conditions
    approved_at: str | None
    closing_date: str | None
    exclude_param: str | None

    def refuse_other_tenant(self, tenant: str) -> None:
        """
        Refuse to compare a tenant with another.

        :param tenant: that is checked
        :raises AirflowFailException: naming both
        """
        if self.approved_at not in (None, tenant):
            raise AirflowFailException(
                f"unchanged_since: the snapshot is of {self.approved_at}, but the connection leads to {tenant}. "
                "Pass the snapshot of a check of the same tenant. Nothing was sent."
            )


def read_approval_arguments(task: Any) -> ApprovalArguments:
    """
    Read the arguments that only the check has.

    :param task: the operator
    :raises AirflowFailException: naming the argument, the value and what to do
    """
    try:
        approved_at, approved = read_snapshot_argument(task, "unchanged_since") or (None, None)
        return ApprovalArguments(
            # A mapping keeps the order, and finds an id at once.
            Conditions(dict.fromkeys(read_purchase_ids(task, "exclude")), read_days(task, "document_dates"), approved),
            approved_at,
            read_day(task, "closing_date"),
            read_param_name(task, "exclude"),
        )
    except InvalidInputError as error:
        raise AirflowFailException(str(error)) from None


def push_findings(
    task: Any, context: Context, hook: LuccaHook, examined: Examination, arguments: ApprovalArguments
) -> None:
    """
    Push what a person reads and what a later check compares with, all from the same reading.

    :param task: the operator
    :param context: Airflow's context
    :param hook: the connection
    :param examined: what was found, and what was read for it
    :param arguments: of the check
    """
    ti: Any = context["ti"]
    head = Head(
        tenant=hook.base_url,
        environment=None if hook.environment == "other" else hook.environment,
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=ti.map_index if ti.map_index >= 0 else None,
        closing_date=arguments.closing_date,
    )
    left_out = {one["id"]: one["reason"] for one in examined.check["left_out"]}
    details = {number: read_details(purchase) for number, purchase in examined.purchases.items()}
    table = check_table(examined.check, head, details=details, left_out=left_out)
    texts: Mapping[str, object] = {
        "snapshot": take_snapshot(hook.base_url, examined.seen),
        "table": to_markdown(table),
        "approval": approval_body(table, link=_xcom_page(ti), exclude_param=arguments.exclude_param),
    }
    for key, value in texts.items():
        push_value(task, context, key, value)


def _xcom_page(ti: Any) -> str | None:
    """Return the address of the page that shows what a task instance pushed, as far as Airflow tells its own."""
    address: str | None = getattr(ti, "log_url", None)
    if not address:
        return None
    page, has_query, _ = address.partition("?try_number=")
    return f"{page}/xcom" if has_query else address.replace("&tab=logs", "&tab=xcom")
