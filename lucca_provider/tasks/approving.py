"""What the check does for an approval: its arguments, its files, and what it pushes: table, text and snapshot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from lucca_provider.checking import Conditions, Examination, Seen, read_snapshot, take_snapshot
from lucca_provider.compat import AirflowFailException
from lucca_provider.inputs import Answer
from lucca_provider.reports import approval_body, check_table, read_details, to_markdown
from lucca_provider.tasks.arguments import (
    read_answer,
    read_day,
    read_days,
    read_param_name,
    read_purchase_ids,
    read_pushed,
)
from lucca_provider.tasks.common import build_head, push_value, without_retry
from lucca_provider.tasks.reporting import Files, Target, read_target, write_files

if TYPE_CHECKING:
    from lucca_provider.compat import Context
    from lucca_provider.hooks.lucca import LuccaHook

__all__ = ["ApprovalArguments", "push_findings", "read_approval_arguments"]


@dataclass(frozen=True, slots=True)
class ApprovalArguments:
    """
    The arguments of a check that the sensor does not have, read.

    :param conditions: what is left out, and what was approved
    :param seen: what was approved; ``None`` if nothing is compared
    :param closing_date: that the closing is going to send, ``YYYY-MM-DD``
    :param exclude_param: the parameter of the DAG run that takes ids to leave out
    :param answer: to the question whether to close; ``None`` if nobody was to be asked
    :param target: where the table goes as files; ``None`` if nowhere
    """

    conditions: Conditions
    seen: Seen | None
    closing_date: str | None
    exclude_param: str | None
    answer: Answer | None
    target: Target | None

    @property
    def objection(self) -> str | None:
        """Why nothing may be closed, in words; ``None`` if somebody approved, or nobody was to be asked."""
        if self.answer is None:
            return None
        # Somebody has cleared the check, and not what follows it.
        if self.seen and self.answer.given_at and self.answer.given_at < self.seen.taken_at:
            return "the check ran again after the approval, so nobody was shown what it found"
        return self.answer.objection

    def refuse_other_tenant(self, tenant: str) -> None:
        """
        Refuse to compare a tenant with another.

        :param tenant: that is checked
        :raises AirflowFailException: naming both
        """
        if self.seen is not None and self.seen.tenant != tenant:
            raise AirflowFailException(
                f"unchanged_since: the snapshot is of {self.seen.tenant}, but the connection leads to {tenant}. "
                "Pass the snapshot of a check of the same tenant. Nothing was sent."
            )


def read_approval_arguments(task: Any) -> ApprovalArguments:
    """
    Read the arguments that only the check has.

    :param task: the operator
    :raises AirflowFailException: naming the argument, the value and what to do
    """
    with without_retry():
        pushed = read_pushed(task, "unchanged_since")
        seen = None if pushed is None else read_snapshot(pushed, name="unchanged_since")
        # A mapping keeps the order, and finds an id at once.
        excluded = dict.fromkeys(read_purchase_ids(task, "exclude"))
        return ApprovalArguments(
            Conditions(excluded, read_days(task, "document_dates"), seen.purchases if seen else None),
            seen,
            read_day(task, "closing_date"),
            read_param_name(task, "exclude"),
            read_answer(task, "approved_by"),
            None if task.path is None else read_target(task),
        )


def push_findings(
    task: Any, context: Context, hook: LuccaHook, examined: Examination, arguments: ApprovalArguments
) -> Files:
    """
    Write and push what a person reads, and push what a later check compares with, all from the same reading.

    :param task: the operator
    :param context: Airflow's context
    :param hook: the connection
    :param examined: what was found, and what was read for it
    :param arguments: of the check
    :return: the files, none if none were asked for
    """
    head = replace(build_head(context, hook), closing_date=arguments.closing_date)
    left_out = {one["id"]: one["reason"] for one in examined.check["left_out"]}
    details = {number: read_details(purchase) for number, purchase in examined.purchases.items()}
    table = check_table(examined.check, head, details=details, left_out=left_out)
    files = Files({}, [], False) if arguments.target is None else write_files(table, arguments.target)
    texts: dict[str, object] = {
        "snapshot": take_snapshot(Seen(hook.base_url, datetime.now(timezone.utc), examined.seen)),
        "table": to_markdown(table),
        "approval": approval_body(
            table,
            link=_xcom_page(context["ti"]),
            files=[path for path in arguments.target.paths if path in files.sha256] if arguments.target else (),
            exclude_param=arguments.exclude_param,
            document_dates=arguments.conditions.document_dates,
        ),
    }
    if arguments.target is not None:
        texts |= {"paths": list(files.sha256), "sha256": dict(files.sha256)}
    if arguments.answer is not None:
        texts["approved_by"] = arguments.answer.given_by
    for key, value in texts.items():
        push_value(task, context, key, value)
    return files


def _xcom_page(ti: Any) -> str | None:
    """Return the address of the page that shows what a task instance pushed, as far as Airflow tells its own."""
    address: str | None = getattr(ti, "log_url", None)
    if not address:
        return None
    page, has_query, _ = address.partition("?try_number=")
    return f"{page}/xcom" if has_query else address.replace("&tab=logs", "&tab=xcom")
