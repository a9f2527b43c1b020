"""The lines of progress that a long run logs: one for each full window."""

from __future__ import annotations

import logging
from datetime import datetime, timezone

from lucca_provider.limits import Window
from lucca_provider.reading.counts import say_count

__all__ = ["Progress", "clock_time"]

log = logging.getLogger(__name__)

QUIET = 1.5
"""Windows after which a run that never has to wait says how far it is."""
SHORTEST = 1 / 60
"""Share of the window from which a wait is worth a line."""
APART = 1 / 2
"""Share of the window that lies at least between two lines about waits."""


def clock_time(moment: float) -> str:
    """
    Return the time of day of a moment, such as ``01:28:45 UTC``.

    :param moment: seconds since the epoch
    """
    return f"{datetime.fromtimestamp(moment, timezone.utc):%H:%M:%S} UTC"


class Progress:
    """
    Says how far a run is.

    :param window: the rate limit, by which the rest is estimated
    """

    def __init__(self, window: Window) -> None:
        self._window = window
        self._said_at: float | None = None
        """When the last line was logged, or the run began; ``None`` before that."""
        self._waited_at: float | None = None
        """When the last line about a wait was logged."""

    def say(self, now: float, done: int, asked: int) -> None:
        """
        Log a line, if none was logged for a while.

        :param now: the present moment
        :param done: purchases that are decided
        :param asked: purchases in all
        """
        if self._said_at is None:
            self._said_at = now
        if now - self._said_at < QUIET * self._window.seconds or done == asked:
            return
        self._said_at = now
        log.info("%s of %s done%s.", done, say_count(asked), self._rest(asked - done))

    def say_wait(self, now: float, until: float, done: int, asked: int) -> None:
        """
        Log a line about a wait for the rate limit: one in each window, and none about a moment.

        :param now: the present moment
        :param until: when the next request goes out
        :param done: purchases that are decided
        :param asked: purchases in all
        """
        seconds = self._window.seconds
        if until - now < SHORTEST * seconds:
            return
        if self._waited_at is not None and now - self._waited_at < APART * seconds:
            return
        self._said_at = self._waited_at = now
        rest = self._rest(asked - done)
        when = clock_time(until)
        log.info("%s of %s done. Rate limit reached; resuming at %s%s.", done, say_count(asked), when, rest)

    def _rest(self, left: int) -> str:
        minutes = left / self._window.limit * self._window.seconds / 60
        return f", about {minutes:.0f} minutes to go" if minutes >= 1.5 else ""
