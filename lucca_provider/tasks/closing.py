"""What closing needs of Airflow besides the operator itself: its arguments, its requests, its words."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

from lucca_provider.closing import Attempt, ClosingRun, Journal, Kind, Step
from lucca_provider.compat import (
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
    Stats,
)
from lucca_provider.limits import Window
from lucca_provider.outcomes import Outcome
from lucca_provider.reading.counts import say_count
from lucca_provider.reading.lists import PURCHASES, page_params
from lucca_provider.tasks.arguments import read_closing_arguments
from lucca_provider.tasks.common import push_result, push_value
from lucca_provider.tasks.store import TaskStateStore

if TYPE_CHECKING:
    from lucca_provider.compat import BaseOperator, Context
    from lucca_provider.hooks._tenant import Tenant
    from lucca_provider.hooks.client import InvoicesClient

__all__ = [
    "KILLED",
    "Arguments",
    "Sent",
    "count_outcome",
    "perform",
    "push_not_begun",
    "push_sent",
    "read_closing",
    "say_start",
]

log = logging.getLogger(__name__)

KILLED = "the task was killed"
MAX_IN_FLIGHT = 32


@dataclass(frozen=True, slots=True)
class Arguments:
    """
    The arguments of a closing, read.

    :param purchase_ids: what to close, without duplicates
    :param comment: sent with each closing; ``None`` for none
    :param closing_date: ``YYYY-MM-DD``; ``None`` for none
    """

    purchase_ids: list[int]
    comment: str | None
    closing_date: str | None


def read_closing(task: Any, context: Context) -> Arguments:
    """
    Read the arguments of a closing.

    :param task: the operator
    :param context: Airflow's context
    :raises AirflowFailException: naming the argument, the value and what to do
    """
    most = task.max_in_flight
    if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= MAX_IN_FLIGHT:
        raise AirflowFailException(f"max_in_flight: {most!r} is not a whole number from 1 to {MAX_IN_FLIGHT}.")
    return Arguments(*read_closing_arguments(task, context))


class Sent(TypedDict):
    """What goes along with each closing of a task, and to which tenant."""

    tenant: str
    comment: str | None
    closing_date: str | None
    """``YYYY-MM-DD``."""


def push_sent(task: BaseOperator, context: Context, tenant: str, arguments: Arguments) -> None:
    """
    Push what is about to be sent, so that a task that fails, or is killed, leaves it behind.

    :param task: the operator
    :param context: Airflow's context
    :param tenant: its address
    :param arguments: of the closing
    """
    sent = Sent(tenant=tenant, comment=arguments.comment, closing_date=arguments.closing_date)
    push_value(task, context, "sent", sent)


def say_start(purchase_ids: Sequence[int], tenant: Tenant) -> str:
    """
    Say what a task is about to do.

    :param purchase_ids: what it closes
    :param tenant: where
    """
    windows = (len(purchase_ids) - 1) // tenant.requests_per_minute
    minutes = windows * tenant.window_seconds / 60
    how_long = f", which takes about {say_count(round(minutes), 'minute')}" if minutes >= 1 else ""
    limit = f"{say_count(tenant.requests_per_minute, 'request')} in {tenant.window_seconds:g} s"
    return f"Closing {say_count(len(purchase_ids))} at {tenant.base_url}, at most {limit}{how_long}."


def perform(client: InvoicesClient, arguments: Arguments, step: Step) -> object:
    """
    Make the request of a step.

    :param client: the tenant
    :param arguments: what goes along with a closing
    :param step: what to ask
    :return: what :class:`~lucca_provider.closing.steps.Kind` says
    :raises LuccaError: as :mod:`lucca_provider.exceptions` says
    """
    Stats.incr("lucca.requests", tags={"kind": step.kind.value})
    if step.kind is Kind.CLOSE:
        client.close_purchase(step.purchase_id, comment=arguments.comment, closing_date=arguments.closing_date)
    elif step.kind is Kind.READ:
        return client.get_purchase(step.purchase_id).get("state")
    elif step.kind is Kind.LIST:
        return client.get_page(PURCHASES, page_params(step.page))
    else:
        client.probe()
    return None


def count_outcome(environment: str, purchase_id: int, outcome: Outcome) -> None:
    """
    Count an outcome in Airflow's metrics.

    :param environment: of the tenant
    :param purchase_id: of which purchase; metrics do not name it
    :param outcome: how it ended
    """
    Stats.incr("lucca.purchases", tags={"outcome": outcome.value, "environment": environment})


def push_not_begun(
    task: BaseOperator, context: Context, purchase_ids: Sequence[int], error: BaseException, environment: str
) -> None:
    """
    Push the report of a task that could not begin: there is nothing to close, or its connection cannot be used.

    :param task: the operator
    :param context: Airflow's context
    :param purchase_ids: what it was to close
    :param error: why it could not
    :param environment: of the tenant, for the metrics
    """
    store = context.get("task_state_store") if getattr(task, "durable", False) else None
    attempt = Attempt(number=context["ti"].try_number, max_tries=0, first=False)
    kept = None if store is None else TaskStateStore(store)
    journal = Journal(attempt, new_id=lambda: "unstarted", store=kept, name="lucca_unstarted")
    run = ClosingRun(purchase_ids, journal=journal, window=Window(1), on_outcome=partial(count_outcome, environment))
    # Of other errors it is not known what their text holds.
    told = isinstance(error, (AirflowFailException, AirflowNotFoundException, AirflowSkipException))
    if purchase_ids:
        run.stop(str(error) if told else f"the task could not begin ({type(error).__name__})")
    report = run.end()
    if run.is_kept:
        push_result(task, context, report, keys=bool(purchase_ids))
