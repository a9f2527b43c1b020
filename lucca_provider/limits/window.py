"""The rate limit: a sliding window over every request to one tenant."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable

__all__ = ["Window"]


class Window:
    """
    At most ``limit`` requests in any ``seconds`` seconds, as the server sees them.

    The server saw a request at the latest when its answer came, so a request leaves the window ``seconds``
    after its *answer*. The next one can then not arrive too early, whatever the network did in between.

    All moments are seconds on one clock, the caller's.

    :param limit: requests per window
    :param seconds: length of the window. Lucca's is 60 seconds (developers.lucca.fr, "Rate limiting")
    :param answers: moments of earlier answers, which still count
    """

    def __init__(self, limit: int, seconds: float = 60.0, answers: Iterable[float] = ()) -> None:
        self.limit = limit
        self.seconds = seconds
        self._answers = sorted(answers)
        """Moments of the answers that may still count, the oldest first."""
        self._in_flight = 0
        """Requests without an answer so far: each takes up room, since the server may see it any moment."""

    def room_at(self, now: float) -> float | None:
        """
        Say from when the next request may be sent.

        :param now: the present moment
        :return: a moment, not later than ``now`` if there is room; ``None`` if an answer must come first
        """
        self._forget(now)
        surplus = len(self._answers) + self._in_flight - self.limit
        if surplus < 0:
            return now
        return self._answers[surplus] + self.seconds if surplus < len(self._answers) else None

    def burst_at(self, now: float, wanted: int, spread: float) -> float:
        """
        Say when it pays to come back after leaving: when requests can go out in a burst, not one by one.

        :param now: the present moment
        :param wanted: how many requests are still to be sent
        :param spread: seconds that a burst may take; answers closer together than that are waited for one
            by one, since waiting for the last of them would only lose time
        """
        self._forget(now)
        if not self._answers:
            return now
        # Only the burst that leaves the window next: after a gap come answers to what was sent since then.
        last = self._answers[0]
        for answer in self._answers:
            if answer - last > self.seconds / 2:
                break
            last = answer
        burst = max(self._answers[0], last - spread)
        surplus = len(self._answers) + wanted - self.limit
        enough = self._answers[surplus - 1] if 0 < surplus <= len(self._answers) else burst
        return max(now, min(burst, enough) + self.seconds)

    def sent(self) -> None:
        """Count a request that is about to be sent."""
        self._in_flight += 1

    def answered(self, now: float) -> None:
        """
        Count the answer to a request in flight.

        :param now: when it came, or when the request was given up
        """
        self._in_flight -= 1
        insort(self._answers, now)

    def not_sent(self) -> None:
        """Take back a request in flight that the server certainly never saw."""
        self._in_flight -= 1

    def add(self, moment: float) -> None:
        """
        Count an answer that another process got.

        :param moment: when it came
        """
        insort(self._answers, moment)

    def answers(self) -> list[float]:
        """Return the moments that still count, for the process that goes on."""
        return list(self._answers)

    def _forget(self, now: float) -> None:
        del self._answers[: bisect_right(self._answers, now - self.seconds)]
