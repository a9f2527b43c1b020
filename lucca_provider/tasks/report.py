"""What the operator that reports does in a worker."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from lucca_provider.exceptions import LuccaError, LuccaUnresolvedError
from lucca_provider.reading.counts import say_count
from lucca_provider.reading.purchases import read_back
from lucca_provider.reports import Table, to_markdown
from lucca_provider.reports.markdown import MAX_BODY_BYTES
from lucca_provider.reports.readback import count_groups, say_unconfirmed
from lucca_provider.tasks.common import (
    build_head,
    connect,
    push_link,
    push_result,
    push_value,
    say_listed,
    without_retry,
)
from lucca_provider.tasks.reporting import Arguments, Files, Result, read_reporting, write_files

if TYPE_CHECKING:
    from lucca_provider.compat import Context
    from lucca_provider.operators.reports import ReportClosingsOperator

__all__ = ["report"]


def report(task: ReportClosingsOperator, context: Context) -> Result:
    """
    Read back what was closed, and write the files.

    :param task: the operator
    :param context: Airflow's context
    :raises Exception: as the operator says
    """
    arguments = read_reporting(task)
    account = arguments.account
    hook = connect(task.lucca_conn_id)
    with without_retry():
        account.assert_tenant(hook.base_url)
    push_link(context, hook)
    head = replace(build_head(context, hook), read_back_at=datetime.now(timezone.utc))
    task.log.info("Reading back %s at %s.", say_count(len(account.purchase_ids)), hook.base_url)
    read = read_back(account.purchase_ids, hook, closed=account.closed)
    table = account.table(head, read)
    task.log.info("Read back: %s", table.summary)
    return _hand_over(task, context, table, arguments, read.error)


def _hand_over(
    task: ReportClosingsOperator, context: Context, table: Table, arguments: Arguments, error: LuccaError | None
) -> Result:
    # Before the files, so that it is there whatever becomes of them.
    text = to_markdown(table, max_bytes=MAX_BODY_BYTES, link=", ".join(arguments.target.paths))
    push_value(task, context, "markdown", text)
    files = write_files(table, arguments.target)
    result = Result(counts=count_groups(table), paths=list(files.sha256), sha256=dict(files.sha256))
    try:
        _raise_problems(table, files, error)
    except Exception:
        push_result(task, context, result)
        raise
    return result


def _raise_problems(table: Table, files: Files, error: LuccaError | None) -> None:
    """Raise what is worst of all that went wrong, and name the rest."""
    unconfirmed = say_unconfirmed(table)
    if unconfirmed:
        were = f"{say_count(len(unconfirmed))} {'was' if len(unconfirmed) == 1 else 'were'}"
        message = f"{were} reported as closed, but Lucca does not confirm it. A retry reads again."
        if files.problems:
            message = f"{message} Not all files could be written either: correct that first, or no retry succeeds."
        raise LuccaUnresolvedError(
            say_listed(message, [*files.problems, *unconfirmed]), retry_after=error.retry_after if error else None
        ) from error
    if error is not None:
        raise error
    files.assert_written(
        "Not all files could be written. What was read back is in this task's XComs; a retry reads again."
    )
