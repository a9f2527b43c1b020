"""What the operator that checks does in a worker."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lucca_provider.checking import Check, Conditions, Examination, unread_check
from lucca_provider.compat import AirflowFailException, AirflowSkipException
from lucca_provider.exceptions import LuccaError, LuccaUnresolvedError
from lucca_provider.inputs import InvalidInputError
from lucca_provider.reading.counts import say_count
from lucca_provider.tasks.approving import push_findings, read_approval_arguments
from lucca_provider.tasks.arguments import read_purchase_ids
from lucca_provider.tasks.checking import read_arguments, say_open
from lucca_provider.tasks.common import connect, count_all, push_link, push_result, say_counts, say_listed

if TYPE_CHECKING:
    from lucca_provider.compat import Context
    from lucca_provider.operators.purchases import CheckPurchasesOperator

__all__ = ["check"]


def check(task: CheckPurchasesOperator, context: Context) -> Check:
    """
    Check the purchases of a task, and push what was found.

    :param task: the operator
    :param context: Airflow's context
    :raises Exception: as the operator says
    """
    with _pushing_why_not(task, context):
        if task.on_blocked not in ("fail", "warn", "skip"):
            raise AirflowFailException(f"on_blocked: {task.on_blocked!r} is none of 'fail', 'warn' and 'skip'.")
        arguments, approval = read_arguments(task), read_approval_arguments(task)
    purchase_ids, conditions = arguments.purchase_ids, approval.conditions
    if approval.objection:
        push_result(task, context, unread_check(purchase_ids, conditions, f"not approved: {approval.objection}"))
        raise AirflowFailException(
            f"Not approved: {approval.objection}. Nothing may be closed. To ask again, clear the approval. One that "
            "was set to success by hand counts as unanswered."
        )
    with _pushing_why_not(task, context, conditions):
        hook = connect(task.lucca_conn_id)
        push_link(context, hook)
        approval.refuse_other_tenant(hook.base_url)
    if all(number in conditions.excluded for number in purchase_ids):
        push_result(task, context, unread_check(purchase_ids, conditions, ""))
        raise AirflowSkipException("There are no purchases to check" + (": all are excluded." if purchase_ids else "."))
    task.log.info("Checking %s at %s.", say_count(len(purchase_ids)), hook.base_url)
    try:
        examined = arguments.examine(hook, conditions)
    except LuccaError as error:
        push_result(task, context, unread_check(purchase_ids, conditions, str(error)))
        raise
    task.log.info("Found %s.", say_counts(examined.check))
    files = push_findings(task, context, hook, examined, approval)
    try:
        files.assert_written("path: not all files could be written, so nothing is passed on. A retry checks again.")
    except Exception:
        push_result(task, context, examined.check)
        raise
    return _pass_on(task, context, examined)


@contextmanager
def _pushing_why_not(
    task: CheckPurchasesOperator, context: Context, conditions: Conditions | None = None
) -> Iterator[None]:
    """Let a report say why nothing was checked, as far as it is known which purchases were to be."""
    try:
        yield
    except AirflowFailException as error:
        try:
            purchase_ids = read_purchase_ids(task)
        except InvalidInputError:
            purchase_ids = []
        if purchase_ids:
            found = unread_check(purchase_ids, conditions or Conditions(), f"not checked: {error}")
            push_result(task, context, found)
        raise


def _none_passed_on(examined: Examination, lines: Sequence[str]) -> Exception:
    what = (
        "could not be checked; none is passed on. A retry checks again"
        if examined.is_in_vain
        else "cannot be closed now; none is passed on. Fix the cause in Lucca and clear this task, or pass the others "
        "on with on_blocked='warn'"
    )
    message = f'{len(lines)} of {say_count(count_all(examined.check))} {what} (guide "Validating", 2).'
    error = AirflowFailException if examined.check["blocked"] else LuccaUnresolvedError
    return error(say_listed(message, lines))


def _pass_on(task: CheckPurchasesOperator, context: Context, examined: Examination) -> Check:
    check = examined.check
    lines = say_open(check)
    # A month of which nothing could be read has not gone well, whatever is done about blocked purchases.
    if lines and (task.on_blocked == "fail" or examined.is_in_vain):
        push_result(task, context, check)
        raise _none_passed_on(examined, lines)
    for line in lines:
        task.log.log(logging.WARNING if task.on_blocked == "warn" else logging.INFO, "Left out: %s", line)
    if task.on_blocked == "skip" and (lines or check["left_out"]) and not check["closable"]:
        push_result(task, context, check)
        raise AirflowSkipException(say_listed("None of the purchases can be closed now.", lines))
    return check
