"""The line of progress that a long run logs now and then."""

from __future__ import annotations

import logging

from lucca_provider.limits import Window

__all__ = ["Progress"]

log = logging.getLogger(__name__)

EVERY = 60.0
"""At least this many seconds between two lines."""


class Progress:
    """
    Says how far a run is.

    :param window: the rate limit, by which the rest is estimated
    """

    def __init__(self, window: Window) -> None:
        self._window = window
        self._said_at: float | None = None
        """When the last line was logged, or the run began; ``None`` before that."""

    def say(self, now: float, done: int, asked: int) -> None:
        """
        Log a line, if it is time.

        :param now: the present moment
        :param done: purchases that are decided
        :param asked: purchases in all
        """
        if self._said_at is None:
            self._said_at = now
        if now - self._said_at < EVERY or done == asked:
            return
        self._said_at = now
        minutes = (asked - done) / self._window.limit * self._window.seconds / 60
        log.info("%s of %s purchases done; about %.0f minutes to go.", done, asked, max(1.0, minutes))
