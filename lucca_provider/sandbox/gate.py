"""What every request passes on its way to an endpoint: record, limit, key, latency, faults.

The limit comes first: a request with a wrong key counts, one that is answered 429 does not.
"""

from __future__ import annotations

import contextlib
import math
import secrets
import threading
from collections.abc import Callable
from email.utils import formatdate

from .api import LOGIN, is_closing, purchase_in
from .faults import FaultPlan
from .messages import Answer, Incoming, Problem, login_page, problem_answer
from .record import Record, Request
from .settings import Settings
from .window import SlidingWindow

__all__ = ["Gate"]


class Gate:
    """
    Lets requests through to the endpoints, or answers in their place. Any number of threads may use it.

    :param settings: of the sandbox; what may be changed while it runs is read anew for each request
    :param plan: which request meets which fault
    :param record: where requests are recorded
    :param endpoints: answers a request, or raises :class:`.messages.Problem`
    :param clock: returns the time in seconds since 1970
    :raises ValueError: if the limit or its window makes no sense
    """

    def __init__(
        self,
        settings: Settings,
        plan: FaultPlan,
        record: Record,
        endpoints: Callable[[Incoming], Answer],
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._plan = plan
        self._record = record
        self._endpoints = endpoints
        self._clock = clock
        self._window = SlidingWindow(settings.limit, settings.window)
        self._authorization = f"lucca application={settings.api_key}".encode()
        # Arrival, limit and fault of a request are decided in one go: requests count in the order of their times.
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def __call__(self, incoming: Incoming) -> Answer | None:
        """
        Return the answer, or ``None`` if the connection is to be closed without one.

        :param incoming: the request
        """
        request, answer = self._admit(incoming)
        if answer is None:
            try:
                answer = self._answer(incoming, request)
            except Problem as problem:
                answer = problem_answer(problem)
        self._record.answered(request, None if answer is None else answer.status)
        return answer

    def used(self) -> int:
        """Return how many requests count in the window that ends now."""
        with self._lock:
            return self._window.used(self._clock())

    def stop(self) -> None:
        """Let no request wait any longer: latency and hangs end now."""
        self._stopping.set()

    def _admit(self, incoming: Incoming) -> tuple[Request, Answer | None]:
        """Record a request, and return with it the 429 that it gets, if it gets one."""
        closing = is_closing(incoming)
        purchase_id = purchase_in(incoming)
        with self._lock:
            request = self._record.arrived(incoming, purchase_id=purchase_id, closing=closing)
            wait = self._window.wait(request.at)
            if wait:
                return request, self._too_many(wait)
            if self._is_authorized(incoming):
                request.fault = self._plan.choose(
                    request.method, request.path, purchase_id=purchase_id, closing=closing
                )
            if request.fault == "throttle":
                retry_after = self._settings.retry_after
                return request, self._too_many(1.0 if retry_after is None else retry_after)
            self._window.count(request.at)
            return request, None

    def _answer(self, incoming: Incoming, request: Request) -> Answer | None:
        self._stopping.wait(self._settings.latency)
        if not self._is_authorized(incoming):
            raise Problem(401, "Unauthorized", "The Authorization header does not hold a key of this tenant.")
        if request.fault is None:
            return self._carry_out(incoming, request)
        name, _, moment = request.fault.partition("_")
        if moment == "after":
            with contextlib.suppress(Problem):  # refused, but the client does not get to know
                self._carry_out(incoming, request)
        return self._go_wrong(name)

    def _carry_out(self, incoming: Incoming, request: Request) -> Answer:
        if self._settings.wrong_module:
            raise Problem(404, "Not found", "This tenant does not have Lucca Invoices.")
        answer = self._endpoints(incoming)
        # A closing that is not refused has closed the purchase.
        request.effect = is_closing(incoming)
        return answer

    def _go_wrong(self, name: str) -> Answer | None:
        """Return what a fault's name without ``_before`` and ``_after`` stands for."""
        if name == "drop":
            return None
        if name == "hang":
            self._stopping.wait(self._settings.hang_seconds)
            return None
        if name == "login":
            return Answer(302, headers={"Location": LOGIN})
        if name == "html":
            return login_page()
        if name == "timeout":
            raise Problem(408, "Request timeout", "The request took more than 5 seconds and was aborted.")
        if name == "unavailable":
            answer = problem_answer(Problem(503, "Service unavailable", "Lucca Invoices is being updated."))
            if self._settings.retry_after is not None:
                answer.headers["Retry-After"] = self._retry_after(self._settings.retry_after)
            return answer
        raise Problem(500, "Internal server error", "An unexpected error occurred.")

    def _is_authorized(self, incoming: Incoming) -> bool:
        values = incoming.values_of("authorization")
        return len(values) == 1 and secrets.compare_digest(values[0].encode(), self._authorization)

    def _too_many(self, wait: float) -> Answer:
        answer = problem_answer(Problem(429, "Too many requests", "The tenant's rate limit is used up for now."))
        answer.headers["Retry-After"] = self._retry_after(wait)
        return answer

    def _retry_after(self, wait: float) -> str:
        if self._settings.retry_after_date:
            # Rounded up: a client that waits until then is not early.
            return formatdate(math.ceil(self._clock() + wait), usegmt=True)
        return str(math.ceil(wait))
