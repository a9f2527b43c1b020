"""What goes over the wire: a request, an answer, and a refusal as RFC 7807 words it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Answer", "Incoming", "Problem", "json_answer", "login_page", "problem_answer", "readable"]

_LOGIN_PAGE = (
    "<!DOCTYPE html><html><head><title>Lucca - Sign in</title></head>"
    "<body><h1>Sign in</h1><form method='post'><input name='login'></form></body></html>"
)


@dataclass(frozen=True)
class Incoming:
    """
    A request that has arrived in full.

    :param method: such as ``POST``
    :param path: without the query, decoded
    :param query: values by name, in the order in which they came
    :param headers: pairs of a name in lower case and a value; a name may come twice
    :param body: empty without a body
    """

    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    headers: Sequence[tuple[str, str]]
    body: bytes

    def values_of(self, header: str) -> list[str]:
        """
        Return all values of a header.

        :param header: its name in lower case
        """
        return [value for name, value in self.headers if name == header]


@dataclass
class Answer:
    """
    What the server sends back.

    :param status: HTTP status
    :param body: empty for none
    :param media_type: its ``Content-Type``; ``None`` without a body
    :param headers: other headers by name
    """

    status: int = 200
    body: bytes = b""
    media_type: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


class Problem(Exception):
    """
    A request that is refused.

    :param status: HTTP status
    :param title: what kind of problem it is
    :param detail: what it is this time
    :param errors: messages by name of the field
    """

    def __init__(
        self, status: int, title: str, detail: str = "", errors: Mapping[str, list[str]] | None = None
    ) -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = dict(errors or {})


def json_answer(content: object, *, status: int = 200, media_type: str = "application/json") -> Answer:
    """
    Return an answer with a JSON body.

    :param content: anything that JSON can hold
    :param status: HTTP status
    :param media_type: its ``Content-Type``
    """
    return Answer(status, json.dumps(content).encode(), media_type)


def problem_answer(problem: Problem) -> Answer:
    """
    Return a refusal as ``application/problem+json``.

    :param problem: the refusal
    """
    content = {
        "type": "about:blank",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "errors": problem.errors,
    }
    return json_answer(content, status=problem.status, media_type="application/problem+json")


def login_page() -> Answer:
    """Return the kind of page that a browser without a session would get."""
    return Answer(200, _LOGIN_PAGE.encode(), "text/html; charset=utf-8")


def readable(body: bytes) -> Any:
    """
    Return the parsed JSON of a body, else its text, or ``None`` without a body.

    :param body: the body's bytes
    """
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
