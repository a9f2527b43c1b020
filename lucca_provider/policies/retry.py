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

MAX_DELAY = timedelta(days=1)
"""Beyond this, what Lucca asked for is taken for a mistake."""


class LuccaRetryPolicy(RetryPolicy):
    """
    Lets a retry wait as long as Lucca asked, where that is longer than the task's own ``retry_delay``.

    A task that uses the hook itself is not retried after a wrong key or a refusal, where no retry helps. A policy
    cannot add retries: the task's own ``retries`` says how many there are.

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
        :return: wait longer, fail, or leave it to the task's own settings
        """
        if isinstance(exception, (LuccaConfigurationError, LuccaAccessError, LuccaRefusedError)):
            return RetryDecision.fail(reason=f"no retry helps: {exception}")
        if isinstance(exception, LuccaError) and exception.retry_after is not None:
            asked = min(timedelta(seconds=exception.retry_after), MAX_DELAY)
            if context is None or asked > context["task"].retry_delay:
                return RetryDecision.retry(delay=asked, reason=f"Lucca asked to wait {exception.retry_after:.0f} s")
        return RetryDecision.default()
