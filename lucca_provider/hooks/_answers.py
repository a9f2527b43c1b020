"""Turns an answer into a clear yes, or into an error that says what Lucca certainly did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

from lucca_provider.exceptions import (
    LuccaAccessError,
    LuccaError,
    LuccaForbiddenError,
    LuccaInDoubtError,
    LuccaNotFoundError,
    LuccaRefusedError,
    LuccaThrottledError,
    LuccaUnclearError,
)
from lucca_provider.hooks._body import Body
from lucca_provider.hooks._session import CORRELATION_ID, read_retry_after
from lucca_provider.hooks._tenant import RIGHTS_GUIDE, TESTING_GUIDE, connection_name, field_label
from lucca_provider.hooks._words import Show, cut

__all__ = ["Asked", "find_problem"]

MAX_ID = 100
"""Characters of an id or a host name that a server gave."""
CLEAR = (200, 201, 204)
"""Successes that mean that it is done. Others, such as 202, leave it open."""


@dataclass(frozen=True, slots=True)
class Asked:
    """
    A request, as far as messages need it.

    :param what: such as ``Closing purchase 12 at https://acme.ilucca.net``
    :param reads: whether it changes nothing
    :param purchase_id: the purchase that it is about
    :param correlation_id: what it carries as ``X-Correlation-ID``
    :param check: says what is wrong with the JSON of an answer that is a clear yes otherwise; ``None`` if nothing is
    :param conn_id: the Airflow connection
    """

    what: str
    reads: bool
    purchase_id: int | None
    correlation_id: str
    check: Callable[[Any], str | None]
    conn_id: str | None = None

    @property
    def doubt(self) -> str:
        """What to say where it is not known whether Lucca did as asked."""
        return "Nothing was changed." if self.reads else "It may or may not have happened."


_KNOWN: dict[int, tuple[type[LuccaError], str]] = {
    401: (
        LuccaAccessError,
        f"Lucca refused the API key. Correct {field_label('password')} in {{connection}} {TESTING_GUIDE}.",
    ),
    403: (LuccaForbiddenError, f"The API key's role lacks the right to do this. Grant it in Lucca {RIGHTS_GUIDE}."),
    404: (LuccaNotFoundError, "Purchase {purchase_id} does not exist, or the API key may not see it."),
    # Whatever sent it, Lucca does not: a proxy wants to know who the worker is.
    407: (
        LuccaAccessError,
        f"A proxy wants credentials. Put them into the worker's proxy settings, HTTPS_PROXY {TESTING_GUIDE}.",
    ),
    429: (LuccaThrottledError, "The tenant's rate limit is used up. The request was not processed."),
}
"""What a status means, and what to do about it."""
_NOT_THERE = (
    LuccaNotFoundError,
    f"Lucca Invoices does not answer there. Check {field_label('host')} of {{connection}} {TESTING_GUIDE}.",
)
"""What a 404 means that is about no purchase."""


def find_problem(response: requests.Response, body: Body, asked: Asked, show: Show) -> LuccaError | None:
    """
    Return ``None`` for a clear yes, and otherwise the error that says what Lucca certainly did.

    :param response: the answer, for its status and headers
    :param body: what it said
    :param asked: the request
    :param show: makes headers fit for a log
    """
    status, headers = response.status_code, response.headers
    verdict = _verdict(status, body, asked, _redirect_advice(response, asked, show))
    if verdict is None:
        return None
    kind, advice = verdict
    server_id = show(headers.get(CORRELATION_ID, ""), most=MAX_ID)
    return kind(
        _describe(asked, status, body, advice),
        status=status,
        title=body.title,
        detail=body.detail,
        errors=body.errors,
        purchase_id=asked.purchase_id,
        retry_after=read_retry_after(headers.get("Retry-After"), date=headers.get("Date")),
        outage=kind is LuccaThrottledError or (asked.reads and kind is LuccaInDoubtError),
        web_page=body.is_html,
        correlation_id=asked.correlation_id,
        # Some servers only repeat what the request carried.
        server_correlation_id=server_id if server_id != asked.correlation_id else None,
        cf_ray=show(headers.get("CF-RAY", ""), most=MAX_ID),
    )


def _verdict(status: int, body: Body, asked: Asked, redirect: str) -> tuple[type[LuccaError], str] | None:
    """Return what an answer certainly means and what to do about it; ``None`` for a clear yes."""
    if status in _KNOWN:
        kind, advice = _NOT_THERE if status == 404 and asked.purchase_id is None else _KNOWN[status]
        return kind, advice.format(connection=connection_name(asked.conn_id), purchase_id=asked.purchase_id)
    if 200 <= status < 300:
        return _judge_success(status, body, asked)
    if 300 <= status < 400:
        advice = f"{redirect} Redirects are never followed {TESTING_GUIDE}."
        return LuccaAccessError, f"Lucca redirected the request. {advice}"
    if 400 <= status < 500 and status != 408:
        return LuccaRefusedError, ""
    return LuccaInDoubtError, f"Lucca gave no clear answer. {asked.doubt}"


def _judge_success(status: int, body: Body, asked: Asked) -> tuple[type[LuccaError], str] | None:
    if not body.complete:
        return LuccaInDoubtError, f"Lucca's answer is incomplete. {asked.doubt}"
    if body.repeats_key:
        return LuccaUnclearError, f"Lucca's answer repeats the API key, so it is not used. {asked.doubt}"
    if status in CLEAR and not body.says_failed and (body.is_blank or body.is_json):
        problem = asked.check(body.value)
        return (LuccaUnclearError, f"{problem} {asked.doubt}") if problem else None
    what = "cannot be read" if asked.reads else "is not a clear yes"
    return LuccaUnclearError, f"Lucca's answer {what}. {asked.doubt}"


def _redirect_advice(response: requests.Response, asked: Asked, show: Show) -> str:
    fields = f"{field_label('host')} and {field_label('password')}"
    check = f"Check {fields} of {connection_name(asked.conn_id)}."
    try:
        host = urlsplit(response.headers.get("Location", "")).hostname
    except ValueError:
        host = None
    if not host:
        return check
    # The host alone: what follows it may be a token of somebody's.
    return f"{check} It leads to the host {show(host, most=MAX_ID)!r}: has the tenant been renamed?"


def _said(body: Body) -> str:
    """Return Lucca's reason, and what it says of single fields."""
    reason = cut(body.detail or body.title or "")
    fields = "; ".join(f"{name}: {', '.join(messages)}" for name, messages in body.errors.items())
    return f"{reason} [{cut(fields)}]".strip() if fields else reason


def _describe(asked: Asked, status: int, body: Body, advice: str) -> str:
    """Say what to do first, then Lucca's reason, then what was asked and the status; each once."""
    said = _said(body)
    words = str(status)
    if body.title and body.detail:
        words += f" {cut(body.title)}"
    if body.is_html:
        words += ", a web page"
    if not advice:
        advice = f"Lucca refused this: {said}" if said else "Lucca refused this and gave no reason."
    elif said:
        advice += f" {'The proxy' if status == 407 else 'Lucca'} said: {said}"
    return f"{advice} ({asked.what}: {words})"
