"""The pacer: makes single calls one after another within the tenant's rate limit."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from lucca_provider.exceptions import LuccaError, LuccaInDoubtError, LuccaNotSentError, LuccaThrottledError
from lucca_provider.limits.clock import Clock
from lucca_provider.limits.health import MAX_READS, Health, backoff, say_failure
from lucca_provider.limits.window import Window

__all__ = ["Pacer"]

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")


class Pacer:
    """
    Makes calls of Lucca's API, each as soon as the limit allows.

    Several threads may use one; their calls go out one after another.

    :param window: the tenant's rate limit
    :param clock: where the time comes from
    """

    def __init__(self, window: Window, clock: Clock | None = None) -> None:
        self._window = window
        self._clock = clock or Clock()
        self._answered = False
        """Whether anything was answered: then a host that cannot be found is no wrong one."""
        self._lock = threading.Lock()
        """Held over a whole call with its repetitions: calls of several threads go out one after another."""

    def call(self, perform: Callable[[], Answer], *, repeat_in_doubt: bool) -> Answer:
        """
        Make a call, and repeat it only where that can do no harm.

        A 429 is waited for as :class:`~lucca_provider.limits.health.Throttle` says, up to ten minutes in all. A
        request that certainly was not sent is tried four times, and so is one without a clear answer if it may be
        repeated.

        :param perform: makes one request
        :param repeat_in_doubt: whether the call may be repeated although it may have taken effect: for reads only
        :return: what ``perform`` returned
        :raises LuccaError: what ``perform`` raised last
        """
        repeated = (LuccaInDoubtError, LuccaNotSentError) if repeat_in_doubt else (LuccaNotSentError,)
        with self._lock:
            health, failures = Health(), 0
            while True:
                try:
                    return self._once(perform)
                except LuccaError as error:
                    now = self._clock.now()
                    again = isinstance(error, repeated)
                    if not again and not isinstance(error, LuccaThrottledError):
                        raise
                    failures += again
                    if health.take(error, now) is not None or failures >= MAX_READS:
                        raise
                    wait = max(backoff(failures) if again else 0.0, health.ready_at - now)
                    if again:
                        how_often = f"{failures} of {MAX_READS} in a row"
                        log.info("%s (%s); trying again in %.0f s.", say_failure(error), how_often, wait)
                    else:
                        health.say_wait(now, now + wait)
                    self._clock.sleep(wait)

    def _once(self, perform: Callable[[], Answer]) -> Answer:
        while (room := self._window.room_at(now := self._clock.now())) is not None and room > now:
            log.info("Rate limit reached; resuming in %.0f s.", room - now)
            self._clock.sleep(room - now)
        self._window.sent()
        try:
            answer = perform()
        except LuccaNotSentError as error:
            self._window.not_sent()
            error.outage |= self._answered
            raise
        except BaseException:
            self._window.answered(self._clock.now())
            raise
        self._window.answered(self._clock.now())
        self._answered = True
        return answer
