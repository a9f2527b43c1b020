"""The sliding window of a tenant's rate limit."""

from __future__ import annotations

from collections import deque

__all__ = ["SlidingWindow"]


class SlidingWindow:
    """
    Tells whether one more request fits into the window that ends now.

    :param limit: requests allowed in any window; 0 for no limit
    :param window: length of the window in seconds
    :raises ValueError: if the limit is negative or the window is not positive
    """

    def __init__(self, limit: int, window: float) -> None:
        if limit < 0:
            raise ValueError(f"limit is {limit}: it must be 0 (no limit) or more")
        if not window > 0:
            raise ValueError(f"window is {window}: it must be more than 0 seconds")
        self.limit = limit
        self.window = window
        self._seen: deque[float] = deque()

    def used(self, now: float) -> int:
        """
        Return how many counted requests lie in the window.

        :param now: its end
        """
        while self._seen and now - self._seen[0] >= self.window:
            self._seen.popleft()
        return len(self._seen)

    def wait(self, now: float) -> float:
        """
        Return the seconds until there is room for a request: 0 if there is room now.

        :param now: end of the window
        """
        if not self.limit or self.used(now) < self.limit:
            return 0.0
        return self._seen[0] + self.window - now

    def count(self, now: float) -> None:
        """
        Count a request.

        :param now: when it was let in
        """
        self._seen.append(now)
