"""The trial of a tenant as a task: a connection in, a table out."""

from __future__ import annotations

import logging
from typing import Any

from lucca_provider import __version__
from lucca_provider.compat import AirflowFailException
from lucca_provider.inputs import parse_purchase_ids
from lucca_provider.limits import Clock
from lucca_provider.tasks.common import connect, without_retry
from lucca_provider.trial import run_trial, write_table

__all__ = ["try_tenant"]

log = logging.getLogger(__name__)


def try_tenant(lucca_conn_id: str, purchase_id: int | None = None, *, ti: Any, clock: Clock | None = None) -> str:
    """
    Find out how a tenant of Lucca behaves, in six requests, and up to ten with a purchase.

    The table names no key, host, purchase, person, company or amount. The log does more: it has the message of each
    error, in Lucca's own words, before the table.

    :param lucca_conn_id: the Airflow connection
    :param purchase_id: a purchase to close twice, which cannot be undone. Ignored, and said so, unless the tenant is a
        test, demo or sandbox environment of Lucca or runs on this machine
    :param ti: Airflow's task instance, which keeps the table also if the task fails
    :param clock: where the time comes from
    :return: the table, in Markdown
    :raises AirflowFailException: if an argument or the connection is wrong, or, after the table was logged, if Lucca
        clearly said yes to nothing
    """
    from lucca_provider.hooks.advice import advise
    from lucca_provider.hooks.trial import TriedTenant

    number = _read_id(purchase_id)
    trial = run_trial(TriedTenant(connect(lucca_conn_id)), number, clock or Clock())
    for error in trial.errors:
        log.info("%s", error)
    table = write_table(trial, __version__)
    log.info("The table:\n\n%s\n", table)
    if not trial.learnt:
        ti.xcom_push(key="return_value", value=table)
        raise AirflowFailException(f"Nothing could be learnt: {advise(trial.errors[0])}")
    return table


def _read_id(value: int | None) -> int | None:
    if value is None:
        return None
    with without_retry():
        (number,) = parse_purchase_ids([value], name="purchase_id")
    return number
