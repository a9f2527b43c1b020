"""The record of requests: what a tenant was asked, and how each request ended."""

from __future__ import annotations

import copy
import itertools
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .messages import Incoming, readable

__all__ = ["Record", "Request"]


@dataclass
class Request:
    """
    A request as the server saw it.

    :param number: counts up from 1 over the life of the sandbox
    :param at: when it had arrived in full, in seconds since 1970
    :param method: such as ``POST``
    :param path: without the query
    :param query: values by name; a repeated name has its values joined by commas
    :param headers: values by name in lower case; that of ``authorization`` is replaced by ``***``
    :param body: the parsed JSON, else the text; ``None`` without a body
    :param purchase_id: the purchase in the path, if there is one
    :param status: status of the answer; ``None`` if none was sent, or none yet
    :param fault: name of the fault that it met, if any
    :param effect: whether it closed the purchase
    :param done: whether the server has finished with it
    """

    number: int
    at: float
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    purchase_id: int | None
    status: int | None = None
    fault: str | None = None
    effect: bool = False
    done: bool = False


class Record:
    """
    The newest requests, and counts over all of them. Any number of threads may use it.

    :param keep: how many of the newest requests are kept
    :param clock: returns the time in seconds since 1970
    :raises ValueError: if ``keep`` is below 1
    """

    def __init__(self, keep: int, clock: Callable[[], float]) -> None:
        if keep < 1:
            raise ValueError(f"keep_requests is {keep}: it must be 1 or more")
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: deque[Request] = deque(maxlen=keep)
        self._number = 0
        self._posts: Counter[int] = Counter()
        self._throttled = 0

    def arrived(self, incoming: Incoming, *, purchase_id: int | None = None, closing: bool = False) -> Request:
        """
        Record a request that has just arrived.

        :param incoming: the request
        :param purchase_id: the purchase in its path, if there is one
        :param closing: whether it asks for a closing
        """
        headers = {name: "***" if name == "authorization" else value for name, value in incoming.headers}
        query = {name: ",".join(values) for name, values in incoming.query.items()}
        body = readable(incoming.body)
        with self._lock:
            self._number += 1
            request = Request(
                self._number, self._clock(), incoming.method, incoming.path, query, headers, body, purchase_id
            )
            self._kept.append(request)
            if closing and purchase_id is not None:
                self._posts[purchase_id] += 1
            return request

    def answered(self, request: Request, status: int | None) -> None:
        """
        Record how a request ended.

        :param request: the request
        :param status: status of the answer, or ``None`` if there was none
        """
        with self._lock:
            request.status = status
            request.done = True
            self._throttled += status == 429

    @property
    def requests(self) -> list[Request]:
        """The newest requests, oldest first."""
        with self._lock:
            return list(self._kept)

    @property
    def counts(self) -> dict[str, int]:
        """How many ``requests`` there were, and how many were ``throttled``: answered 429."""
        with self._lock:
            return {"requests": self._number, "throttled": self._throttled}

    def posts(self, purchase_id: int) -> int:
        """
        Return how many closings of this purchase were asked for.

        :param purchase_id: its id
        """
        with self._lock:
            return self._posts[purchase_id]

    def reset(self) -> None:
        """Forget the requests and their counts. Numbers go on."""
        with self._lock:
            self._kept.clear()
            self._posts.clear()
            self._throttled = 0

    def news(self, seen: int, most: int) -> tuple[list[Request], int]:
        """
        Return copies of the requests since one that was seen, and what to hand in next time.

        :param seen: number of the last request that was seen and done; 0 for none
        :param most: how many of the newest to return
        """
        with self._lock:
            newest_first = itertools.takewhile(lambda request: request.number > seen, reversed(self._kept))
            requests = list(itertools.islice(newest_first, most))[::-1]
            # A request that is not done is returned again next time: its row is still to be completed.
            pending = [request.number for request in requests if not request.done]
            return [copy.copy(request) for request in requests], min(pending) - 1 if pending else self._number
