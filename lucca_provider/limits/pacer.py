"""The pacer: makes reads one after another within the tenant's limit, and repeats those without a clear answer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from lucca_provider.exceptions import LuccaInDoubtError, LuccaNotSentError, LuccaThrottledError
from lucca_provider.limits.clock import Clock
from lucca_provider.limits.window import Window

__all__ = ["Pacer"]

log = logging.getLogger(__name__)

MAX_LOOKS = 4
"""Reads in a row without a clear answer."""
MAX_PAUSE = 600.0
"""Seconds that are waited at once at Lucca's word."""
MAX_THROTTLED = 600.0
"""Seconds with nothing but 429."""

Answer = TypeVar("Answer")


class Pacer:
    """
    Makes reads, which may be repeated: a closing is never made through this.

    Several threads may use one; their reads go out one after another.

    :param window: the tenant's rate limit
    :param clock: where the time comes from
    """

    def __init__(self, window: Window, clock: Clock | None = None) -> None:
        self._window = window
        self._clock = clock or Clock()
        self._lock = threading.Lock()

    def read(self, perform: Callable[[], Answer]) -> Answer:
        """
        Make a read as soon as the limit allows, and again if it got no clear answer.

        A 429 is waited out as Lucca asks, for up to ten minutes in all. Other failures are tried four times.

        :param perform: makes one request
        :return: what it returned
        :raises LuccaError: what ``perform`` raised last
        """
        with self._lock:
            failures, throttled_since = 0, None
            while True:
                try:
                    return self._once(perform)
                except LuccaThrottledError as error:
                    now = self._clock.now()
                    throttled_since = now if throttled_since is None else throttled_since
                    wait = 10.0 if error.retry_after is None else max(error.retry_after, 1.0)
                    if now + wait - throttled_since > MAX_THROTTLED:
                        raise
                except (LuccaInDoubtError, LuccaNotSentError) as error:
                    failures += 1
                    wait = max(0.5 * 2**failures, error.retry_after or 0.0)
                    if failures >= MAX_LOOKS or wait > MAX_PAUSE:
                        raise
                if wait > 1:
                    log.info("No clear answer yet; waiting %.0f s.", wait)
                self._clock.sleep(wait)

    def _once(self, perform: Callable[[], Answer]) -> Answer:
        while (room := self._window.room_at(now := self._clock.now())) is not None and room > now:
            log.info("The tenant's limit is used up; waiting %.0f s.", room - now)
            self._clock.sleep(room - now)
        self._window.sent()
        try:
            answer = perform()
        except LuccaNotSentError:
            self._window.not_sent()
            raise
        except BaseException:
            self._window.answered(self._clock.now())
            raise
        self._window.answered(self._clock.now())
        return answer
