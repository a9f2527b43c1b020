"""A retry policy that lets the task wait as long as Lucca asked. Airflow 3.3 and later."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

try:
    from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
except ImportError as error:
    raise ImportError(
        "LuccaRetryPolicy needs Airflow 3.3 or later, where tasks have `retry_policy`. "
        "On older versions use `retry_delay=timedelta(minutes=5)`."
    ) from error

from lucca_provider.exceptions import LuccaAccessError, LuccaConfigurationError, LuccaError, LuccaRefusedError
from lucca_provider.inputs import InvalidInputError
from lucca_provider.inputs.errors import shown

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

__all__ = ["LuccaRetryPolicy"]

log = logging.getLogger(__name__)

MAX_DELAY = timedelta(days=1)
"""Beyond this, what Lucca asked for is taken for a mistake."""
RESCHEDULE: Any = getattr(RetryDecision, "reschedule", None)
"""Makes a decision for a new start that uses up no retry; ``None`` before Airflow 3.4."""
MIN_DELAY = timedelta(seconds=5)
"""After which Lucca has given up on whatever the task sent last."""
MAX_WORDS = 200
"""Characters of an error in a warning about an outage."""


class LuccaRetryPolicy(RetryPolicy):
    """
    Lets a task wait as long as Lucca asked, and lets an outage of Lucca cost no tries.

    A retry waits as long as Lucca asked, where that is longer than the task's own ``retry_delay``. A policy cannot add
    retries: the task's own ``retries`` says how many there are.

    On Airflow 3.4 and later a failure that only needs time uses up no retry at all: Lucca was down or could not be
    reached, or its rate limit was used up. The task is rescheduled after its ``retry_delay``, or later if Lucca asked
    for that, and starts again in the same try. ``on_retry_callback`` does not run then; the first time in a try a
    warning is logged instead. An outage that is longer than ``max_outage``, or a wait that would be, uses up retries. A
    host name that does not resolve, and a server that speaks http instead of https, are no outage unless something
    answered before.

    A task that uses the hook itself is not retried after a wrong key or a refusal, where no retry helps.

    .. code-block:: python

        ClosePurchaseOperator(..., retries=3, retry_policy=LuccaRetryPolicy())

    :param max_outage: how long after the first failure of a try an outage may use up no retry; zero for not at all. It
        counts for each try anew
    :raises ValueError: if it is no ``timedelta``, or a negative one
    """

    def __init__(self, *, max_outage: timedelta = timedelta(hours=12)) -> None:
        if not isinstance(max_outage, timedelta) or max_outage < timedelta(0):
            raise InvalidInputError(
                f"max_outage: {shown(max_outage)} is not a timedelta of zero or more. Give one such as "
                "timedelta(hours=12), or timedelta(0) to let an outage use up retries."
            )
        self.max_outage = max_outage

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
        :return: wait longer, start again in the same try, fail, or leave it to the task's own settings
        """
        if isinstance(exception, (LuccaConfigurationError, LuccaAccessError, LuccaRefusedError)):
            return RetryDecision.fail(reason=f"no retry helps: {exception}")
        if not isinstance(exception, LuccaError):
            return RetryDecision.default()
        own = context["task"].retry_delay if context else timedelta(0)
        asked = min(timedelta(seconds=exception.retry_after or 0), MAX_DELAY)
        delay = max(asked, own, MIN_DELAY)
        if RESCHEDULE and exception.outage and delay <= self.max_outage:
            return self._wait_out(exception, delay, context or {})
        if asked > own:
            return RetryDecision.retry(delay=asked, reason=f"Lucca asked to wait {exception.retry_after:.0f} s")
        return RetryDecision.default()

    def _wait_out(self, exception: LuccaError, delay: timedelta, context: Mapping[str, Any]) -> RetryDecision:
        log.log(
            logging.INFO if context.get("task_reschedule_count") else logging.WARNING,
            "Outage: this task starts again in %s, in the same try, for up to %s. %s No retry is used up and no "
            "callback runs until then.",
            delay,
            self.max_outage,
            _first_words(exception.message),
        )
        decision: RetryDecision = RESCHEDULE(delay, reschedule_timeout=self.max_outage, reason=exception.message)
        return decision


def _first_words(message: str) -> str:
    """Return the start of an error's first line."""
    line, _, _ = message.partition("\n")
    return line if len(line) <= MAX_WORDS else line[:MAX_WORDS] + "…"
