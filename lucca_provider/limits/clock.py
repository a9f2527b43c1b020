"""The clock: time that never goes back, passed in wherever time matters."""

from __future__ import annotations

import time
from contextlib import suppress
from queue import Empty, SimpleQueue

__all__ = ["Clock"]


class Clock:
    """
    Wall-clock time that never goes back: the moments of one process mean something to the next one.

    Setting the system's clock while the process runs changes nothing.
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()
        """Seconds from the monotonic clock's zero to the epoch, as the system's clock told them at the start."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.monotonic() + self._offset

    def wait(self, calls: SimpleQueue[None], seconds: float | None) -> None:
        """
        Wait for a call, but not too long.

        :param calls: where the call arrives
        :param seconds: how long at most; ``None`` for however long it takes
        """
        with suppress(Empty):
            calls.get(timeout=seconds)

    def sleep(self, seconds: float) -> None:
        """
        Let time pass.

        :param seconds: how much
        """
        time.sleep(seconds)
