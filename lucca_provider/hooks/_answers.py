"""Turns what came of a request into an answer or an error that says what Lucca certainly did."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import requests
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError, ProxyError

from lucca_provider.exceptions import (
    LuccaAccessError,
    LuccaError,
    LuccaForbiddenError,
    LuccaInDoubtError,
    LuccaNotFoundError,
    LuccaNotSentError,
    LuccaRefusedError,
    LuccaThrottledError,
)
from lucca_provider.hooks._session import read_retry_after

__all__ = ["Body", "check_answer", "explain_failure", "read_body"]

MAX_BODY = 32 * 1024 * 1024
"""Bytes of a good answer that are read: a page of 1000 documents is a few megabytes."""
MAX_ERROR_BODY = 64 * 1024
MAX_SHOWN = 300
"""Characters of Lucca's own text in a message."""
_CHUNK = 64 * 1024

_REFUSALS: dict[int, tuple[type[LuccaError], str]] = {
    403: (LuccaForbiddenError, "The API key's role lacks a right for this; see its role in Lucca."),
    404: (LuccaNotFoundError, "It does not exist, or the API key's role may not see it."),
}


@dataclass(frozen=True, slots=True)
class Body:
    """
    What an answer said.

    :param value: the JSON value; ``None`` if it is not JSON
    :param is_html: whether it is a web page, whatever its status claims
    :param complete: whether it was read to its end
    """

    value: Any = None
    text: str = ""
    is_html: bool = False
    complete: bool = True
    title: str | None = None
    detail: str | None = None
    errors: dict[str, list[str]] = field(default_factory=dict)


def read_body(response: requests.Response, *, secret: str, deadline: float) -> Body:
    """
    Read an answer defensively: any size, any type, broken off or not.

    :param secret: the API key, blotted out should the server repeat it
    :param deadline: seconds that reading may take in all
    """
    good = 200 <= response.status_code < 300
    raw, complete = _read(response, MAX_BODY if good else MAX_ERROR_BODY, deadline)
    text = raw.decode("utf-8", "replace").replace(secret, "***")
    content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    start = text.lstrip("\ufeff \t\r\n")[:200].lower()
    if content_type in ("text/html", "application/xhtml+xml") or start.startswith(("<!doctype html", "<html")):
        return Body(text=text, is_html=True, complete=complete)
    try:
        value = json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return Body(text=text, complete=complete, detail=_shown(text) or None)
    if good or not isinstance(value, dict):
        return Body(value=value, text=text, complete=complete, detail=None if good else _shown(text))
    return Body(
        value=value,
        text=text,
        complete=complete,
        title=_text_of(value, "title", "Title", "message", "Message", "error"),
        detail=_text_of(value, "detail", "Detail", "error_description"),
        errors=_errors_of(value.get("errors")),
    )


def check_answer(response: requests.Response, body: Body, *, what: str, purchase_id: int | None) -> None:
    """
    Return if Lucca clearly said yes.

    :param what: the request, for messages, such as ``Closing purchase 12 at https://acme.ilucca.net``
    :raises LuccaError: the one that says what Lucca certainly did
    """
    status = response.status_code
    verdict = _verdict(status, body)
    if verdict is None:
        return
    kind, advice = verdict
    raise kind(
        f"{what}: {_said(status, body)}. {advice}",
        status=status,
        title=body.title,
        detail=body.detail,
        errors=body.errors,
        purchase_id=purchase_id,
        retry_after=read_retry_after(response.headers.get("Retry-After")),
    )


def _verdict(status: int, body: Body) -> tuple[type[LuccaError], str] | None:
    """Say what an answer certainly means and what to do about it; ``None`` for a clear yes."""
    if status == 429:
        return LuccaThrottledError, "The tenant's limit is used up; not processed."
    if status == 408 or status >= 500:
        return LuccaInDoubtError, "It may or may not have happened."
    if 300 <= status < 400:
        return LuccaAccessError, "A redirect is never followed; check the connection's Host and API key."
    if status == 401:
        return LuccaAccessError, "The API key is wrong or was revoked; check the connection's Password."
    if body.is_html:
        return LuccaAccessError, "That is a web page, not the API; check the connection's Host and API key."
    if status >= 400:
        return _REFUSALS.get(status, (LuccaRefusedError, "Lucca will not do this as things are."))
    if status in (200, 201, 204) and body.complete:
        return None
    return LuccaInDoubtError, "That is not a clear yes; it may or may not have happened."


def explain_failure(
    failure: requests.RequestException | OSError, *, what: str, secret: str, purchase_id: int | None
) -> LuccaError:
    """
    Say of a request without an answer whether it was certainly not sent.

    The error is meant to be raised ``from None``: the original one holds the request with its headers.
    """
    reason = _shown(_reason(failure).replace(secret, "***"))
    if "CERTIFICATE_VERIFY_FAILED" in reason or "certificate verify failed" in reason.lower():
        return LuccaAccessError(
            f"{what}: the server's certificate is not trusted ({reason}). Check the connection's Host and the "
            "worker's CA certificates.",
            purchase_id=purchase_id,
        )
    if _certainly_not_sent(failure):
        return LuccaNotSentError(
            f"{what}: no connection ({reason}). Nothing was sent; check the connection's Host and the network.",
            purchase_id=purchase_id,
        )
    return LuccaInDoubtError(f"{what}: no answer ({reason}). It may or may not have happened.", purchase_id=purchase_id)


def _certainly_not_sent(failure: BaseException) -> bool:
    if isinstance(failure, requests.ConnectTimeout):
        return True
    cause = failure.args[0] if failure.args else None
    if isinstance(cause, MaxRetryError):
        cause = cause.reason
    # urllib3 raises its ProxyError only while there is no connection to the proxy yet.
    return isinstance(cause, (NewConnectionError, ConnectTimeoutError, ProxyError))


def _reason(failure: BaseException) -> str:
    cause = failure.args[0] if failure.args else None
    if isinstance(cause, MaxRetryError) and cause.reason is not None:
        cause = cause.reason
    text = str(cause if cause is not None else failure)
    # "HTTPSConnection(host='…', port=443): Failed to establish …" and the like: the object is noise.
    text = re.sub(r"^<?[\w.]+(\(.*?\)| object at 0x[0-9a-f]+>): ", "", text)
    return f"{type(failure).__name__}: {text}"


def _read(response: requests.Response, limit: int, deadline: float) -> tuple[bytes, bool]:
    """Read at most ``limit`` bytes; say whether that was all of it."""
    until = time.monotonic() + deadline
    raw = bytearray()
    try:
        for chunk in response.iter_content(_CHUNK):
            raw += chunk
            if len(raw) > limit or time.monotonic() > until:
                response.close()
                return bytes(raw[:limit]), False
    except (requests.RequestException, OSError):
        return bytes(raw), False
    return bytes(raw), True


def _said(status: int, body: Body) -> str:
    words = [f"Lucca answered {status}"]
    if body.is_html:
        words.append("with a web page")
    reason = " – ".join(part for part in (body.title, body.detail) if part)
    if reason:
        words.append(f"({_shown(reason)})")
    if body.errors:
        fields = "; ".join(f"{name}: {', '.join(messages)}" for name, messages in body.errors.items())
        words.append(f"[{_shown(fields)}]")
    return " ".join(words)


def _text_of(value: Mapping[str, Any], *names: str) -> str | None:
    for name in names:
        text = value.get(name)
        if isinstance(text, str) and text.strip():
            return _shown(text)
    return None


def _errors_of(value: object) -> dict[str, list[str]]:
    if isinstance(value, list):
        return {"errors": [_shown(str(message)) for message in value[:20]]} if value else {}
    if not isinstance(value, dict):
        return {}
    return {
        _shown(str(name)): [_shown(str(message)) for message in _as_list(messages)[:20]]
        for name, messages in list(value.items())[:20]
    }


def _as_list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _shown(text: str) -> str:
    """Make text safe for one line of a log: no control characters, and not too long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= MAX_SHOWN else line[:MAX_SHOWN] + "…"
