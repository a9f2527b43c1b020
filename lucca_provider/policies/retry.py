"""A retry policy that lets the task wait as long as Lucca asked. Airflow 3.3 and later."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

try:
    from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
except ImportError as error:
    raise ImportError(
        "LuccaRetryPolicy needs Airflow 3.3 or later, where tasks have `retry_policy`. "
        "On older versions use `retry_delay=timedelta(minutes=5)`."
    ) from error

from lucca_provider.exceptions import LuccaAccessError, LuccaConfigurationError, LuccaError, LuccaRefusedError

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

__all__ = ["LuccaRetryPolicy"]


class LuccaRetryPolicy(RetryPolicy):
    """
    Retries a failed task when Lucca said so, and not at all where no retry helps.

    A policy cannot add retries: the task's own ``retries`` says how many there are. Where Lucca did not ask for a
    wait, the task's ``retry_delay`` counts.

    .. code-block:: python

        ClosePurchaseOperator(..., retries=3, retry_policy=LuccaRetryPolicy())
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,
        context: Context | None = None,
    ) -> RetryDecision:
        """
        Decide about a failure.

        :param exception: what the task raised
        :param try_number: number of the try that failed, from 1
        :param max_tries: tries that the task has
        :param context: Airflow's context
        """
        if isinstance(exception, (LuccaConfigurationError, LuccaAccessError, LuccaRefusedError)):
            return RetryDecision.fail(reason=f"no retry helps: {exception}")
        if isinstance(exception, LuccaError) and exception.retry_after is not None:
            return RetryDecision.retry(
                delay=timedelta(seconds=exception.retry_after),
                reason=f"Lucca asked to wait {exception.retry_after:.0f} s",
            )
        return RetryDecision.default()
