"""What the operators and sensors share: the connection, the result of a failed task, the words of an error."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lucca_provider.compat import AirflowFailException
from lucca_provider.exceptions import GUIDE, LuccaConfigurationError
from lucca_provider.inputs import InvalidInputError
from lucca_provider.links.lucca import LuccaInvoicesLink

if TYPE_CHECKING:
    from lucca_provider.compat import BaseOperator, Context
    from lucca_provider.hooks.lucca import LuccaHook
    from lucca_provider.reports import Head

__all__ = [
    "build_head",
    "connect",
    "count_all",
    "push_link",
    "push_result",
    "push_value",
    "say_counts",
    "say_listed",
    "without_retry",
]

log = logging.getLogger(__name__)

NAMED_IN_ERROR = 50
"""Purchases that an error names; the task's result has them all."""


@contextmanager
def without_retry(other: type[Exception] = InvalidInputError) -> Iterator[None]:
    """
    Fail the task, without a retry, for arguments that cannot be used.

    :param other: what else no retry would help against, beside :class:`~lucca_provider.inputs.InvalidInputError`
    :raises AirflowFailException: with the same words
    """
    try:
        yield
    except (InvalidInputError, other) as error:
        raise AirflowFailException(str(error)) from None


def connect(lucca_conn_id: str) -> LuccaHook:
    """
    Make a hook and check its connection.

    :param lucca_conn_id: the Airflow connection
    :raises AirflowFailException: if the connection cannot be used
    """
    from lucca_provider.hooks.lucca import LuccaHook

    hook = LuccaHook(lucca_conn_id)
    with without_retry(LuccaConfigurationError):
        hook.get_conn()
    return hook


def build_head(context: Context, hook: LuccaHook) -> Head:
    """
    Return what a table says of the task that made it, and of the tenant.

    :param context: Airflow's context
    :param hook: the connection
    """
    from lucca_provider.reports import Head

    ti: Any = context["ti"]
    return Head(
        tenant=hook.base_url,
        environment=None if hook.environment == "other" else hook.environment,
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=ti.map_index if ti.map_index >= 0 else None,
    )


def push_link(context: Context, hook: LuccaHook) -> None:
    """
    Let the link lead to the tenant, before anything can fail.

    :param context: Airflow's context
    :param hook: the connection
    """
    context["ti"].xcom_push(key=LuccaInvoicesLink.xcom_key, value=LuccaInvoicesLink.address(hook.base_url))


def push_result(operator: BaseOperator, context: Context, result: Mapping[str, Any], *, keys: bool = True) -> None:
    """
    Push what a task returns, which Airflow itself does only for one that succeeds.

    :param operator: the task
    :param context: Airflow's context
    :param result: what it would return
    :param keys: whether its keys may be pushed one by one too
    """
    if not operator.do_xcom_push:
        return
    try:
        context["ti"].xcom_push(key="return_value", value=result)
        if operator.multiple_outputs and keys:
            for key, value in result.items():
                context["ti"].xcom_push(key=key, value=value)
    except Exception:
        # What the task is about to raise says more than this.
        log.exception("The result could not be pushed to XCom: %s", result)


def push_value(operator: BaseOperator, context: Context, key: str, value: object) -> None:
    """
    Push something beside the result.

    :param operator: the task
    :param context: Airflow's context
    :param key: its key in XCom
    :param value: JSON
    """
    if operator.do_xcom_push:
        context["ti"].xcom_push(key=key, value=value)


def say_counts(result: Mapping[str, Any]) -> str:
    """
    Say how many purchases came out how, such as ``1 closed, 2 rejected (of 3)``.

    :param result: outcome to list of purchases
    """
    counts = ", ".join(f"{len(purchases)} {name.replace('_', ' ')}" for name, purchases in result.items() if purchases)
    return f"{counts or 'nothing'} (of {count_all(result)})"


def count_all(result: Mapping[str, Any]) -> int:
    """
    Count the purchases of a result.

    :param result: outcome to list of purchases
    """
    return sum(len(purchases) for purchases in result.values())


def say_listed(message: str, lines: Sequence[str], *, most: int | None = NAMED_IN_ERROR) -> str:
    """
    Say something, and what it is about, a line each.

    :param message: the first line
    :param lines: the others
    :param most: how many of them are shown, if a report has them all; ``None`` for all
    """
    shown = list(lines[:most])
    if len(lines) > len(shown):
        shown.append(f"and {len(lines) - len(shown)} more; the task's return value in XCom has them all")
    return _name_guides_once("\n- ".join([message, *shown]))


def _name_guides_once(text: str) -> str:
    """Leave out each page of the docs that stands further up: several lines may have errors of one kind."""
    named: set[str] = set()

    def name(guide: re.Match[str]) -> str:
        if guide[0] in named:
            return ""
        named.add(guide[0])
        return guide[0]

    return GUIDE.sub(name, text)
