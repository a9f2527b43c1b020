"""The page for people: what the tenant holds and what it is asked, as it happens. Neither limited nor recorded."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import resources

from .api import LOGIN, ROOT
from .dataset import Json
from .gate import Gate
from .messages import Answer, Incoming, Problem, json_answer, login_page, problem_answer
from .record import Record
from .settings import Settings
from .tenant import Tenant, unknown

__all__ = ["Page"]

_MOST_SHOWN = 500


class Page:
    """
    Answers the requests that the page in a browser makes, and passes all others on.

    :param settings: of the sandbox
    :param tenant: what is shown
    :param record: the requests that are shown
    :param gate: answers the other requests, and knows how much of the limit is used
    """

    def __init__(self, settings: Settings, tenant: Tenant, record: Record, gate: Gate) -> None:
        self._tenant = tenant
        self._record = record
        self._gate = gate
        # The page reloads itself when it finds another run behind the same address.
        self._facts: Json = {"run": f"{time.time_ns():x}", "limit": settings.limit, "window": settings.window}
        self._html = resources.files(__package__).joinpath("web/index.html").read_bytes()
        self._routes: dict[tuple[str, str], Callable[[Incoming], Answer]] = {
            ("GET", "/"): self._index,
            # Where Lucca's own pages are, and where Airflow's link to them leads.
            ("GET", ROOT.removesuffix("/api")): lambda _: Answer(302, headers={"Location": "/"}),
            ("GET", "/favicon.ico"): lambda _: Answer(204),
            ("GET", LOGIN.partition("?")[0]): lambda _: login_page(),
            ("GET", "/_sandbox/state"): self._state,
            ("POST", "/_sandbox/approval"): self._approve,
        }

    def __call__(self, incoming: Incoming) -> Answer | None:
        """
        Return the answer, or ``None`` if the connection is to be closed without one.

        :param incoming: the request
        """
        answer = self._routes.get((incoming.method, incoming.path))
        if answer is None:
            return self._gate(incoming)
        try:
            return answer(incoming)
        except Problem as problem:
            return problem_answer(problem)

    def _index(self, _: Incoming) -> Answer:
        return Answer(200, self._html, "text/html; charset=utf-8")

    def _state(self, incoming: Incoming) -> Answer:
        purchases, version = self._tenant.news(_number(incoming, "version"), _MOST_SHOWN)
        requests, seen = self._record.news(_number(incoming, "seen"), _MOST_SHOWN)
        answer = json_answer(
            {
                **self._facts,
                "version": version,
                "seen": seen,
                "counts": {**self._tenant.counts, **self._record.counts},
                "used": self._gate.used(),
                "purchases": [asdict(purchase) for purchase in purchases],
                "requests": [asdict(request) for request in requests],
            }
        )
        answer.headers["Cache-Control"] = "no-store"
        return answer

    def _approve(self, incoming: Incoming) -> Answer:
        purchase_id = _number(incoming, "purchase_id")
        try:
            self._tenant.approve_and_pay(purchase_id)
        except KeyError:
            raise unknown("purchase", purchase_id) from None
        return Answer(204)


def _number(incoming: Incoming, name: str) -> int:
    text = incoming.query.get(name, ["0"])[-1]
    if not text.isdecimal():
        raise Problem(400, "Bad request", errors={name: [f"{text!r} is not a number."]})
    return int(text)
