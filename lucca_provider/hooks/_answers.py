"""Turns what came of a request into an answer or an error that says what Lucca certainly did."""

from __future__ import annotations

import json
import re
import reprlib
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, ProxyError

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
"""Bytes of any other answer that are read."""
MAX_SHOWN = 300
"""Characters of Lucca's own text in a message."""
MAX_MESSAGES = 20
"""Fields that are kept of Lucca's ``errors``, and messages of each."""
_CHUNK = 64 * 1024
_UNTRUSTED = re.compile(r"certificate verify failed|hostname .* doesn't match", re.IGNORECASE)
_HTML_TYPES = ("text/html", "application/xhtml+xml")
_MARKUP = re.compile(r"\s*<")

_REFUSALS: dict[int, tuple[type[LuccaError], str]] = {
    403: (LuccaForbiddenError, "The API key's role lacks a right for this; see its role in Lucca."),
    404: (LuccaNotFoundError, "It does not exist, or the API key's role may not see it."),
}


@dataclass(frozen=True, slots=True)
class Body:
    """
    What an answer said.

    :param value: the JSON value of a good answer; ``None`` if it is not JSON
    :param is_html: whether it is a web page, whatever its status or type claims
    :param complete: whether it certainly was read to its end
    :param is_problem: whether it calls itself a problem (RFC 7807), whatever its status claims
    :param title: see :class:`~lucca_provider.exceptions.LuccaError`, as ``detail`` and ``errors``; fit for one line
        of a log, and empty for a good answer
    """

    value: Any = None
    is_html: bool = False
    complete: bool = True
    is_problem: bool = False
    title: str | None = None
    detail: str | None = None
    errors: dict[str, list[str]] = field(default_factory=dict)


def read_body(response: requests.Response, *, secret: str, deadline: float) -> Body:
    """
    Read an answer defensively: any size, any type, broken off or not.

    :param secret: the API key, blotted out of what is shown should the server repeat it
    :param deadline: seconds after which reading stops, however much has arrived
    """
    good = 200 <= response.status_code < 300
    raw, complete = _read(response, MAX_BODY if good else MAX_ERROR_BODY, deadline)
    complete = complete and _is_whole(response)
    text = raw.decode("utf-8", "replace").lstrip("\ufeff")
    content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if _MARKUP.match(text) or (content_type in _HTML_TYPES and text.strip()):
        return Body(is_html=True, complete=complete)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if good:
        return Body(value, complete=complete, is_problem=content_type == "application/problem+json")
    show = _Show(secret)
    if not isinstance(value, dict):
        return Body(complete=complete, detail=show(text, cut=not complete) or None)
    return Body(
        complete=complete,
        title=_text_of(value, show, "title", "Title", "message", "Message", "error"),
        detail=_text_of(value, show, "detail", "Detail", "error_description"),
        errors=_errors_of(value.get("errors"), show),
    )


def check_answer(response: requests.Response, body: Body, *, what: str, doubt: str, purchase_id: int | None) -> None:
    """
    Return if Lucca clearly said yes.

    :param what: the request, for messages, such as ``Closing purchase 12 at https://acme.ilucca.net``
    :param doubt: what to say where it is not known whether Lucca did as asked
    :raises LuccaError: the one that says what Lucca certainly did
    """
    status = response.status_code
    verdict = _verdict(status, body, doubt)
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
        retry_after=read_retry_after(response.headers.get("Retry-After"), date=response.headers.get("Date")),
    )


def _verdict(status: int, body: Body, doubt: str) -> tuple[type[LuccaError], str] | None:
    """Say what an answer certainly means and what to do about it; ``None`` for a clear yes."""
    if status == 429:
        return LuccaThrottledError, "The tenant's limit is used up; not processed."
    if status == 408 or status >= 500:
        return LuccaInDoubtError, doubt
    if 300 <= status < 400:
        return LuccaAccessError, "A redirect is never followed; check the connection's Host and API key."
    if status == 401:
        return LuccaAccessError, "The API key is wrong or was revoked; check the connection's Password."
    if body.is_html:
        return LuccaAccessError, "That is a web page, not the API; check the connection's Host and API key."
    if status >= 400:
        return _REFUSALS.get(status, (LuccaRefusedError, "Lucca will not do this as things are."))
    if status in (200, 201, 204) and body.complete and not body.is_problem:
        return None
    return LuccaInDoubtError, f"That is not a clear yes. {doubt}"


def explain_failure(
    failure: OSError | HTTPError,
    *,
    around: BaseException | None,
    what: str,
    doubt: str,
    secret: str,
    purchase_id: int | None,
) -> LuccaError:
    """
    Say of a request without an answer whether it was certainly not sent.

    Raise the error outside of the ``except`` clause: ``failure`` holds the request, and that the API key.

    :param failure: what requests raised; some of urllib3's own errors and some of the system's come through it
    :param around: what was being handled when the request was made, and so is no part of the failure
    """
    reason = _Show(secret)(_reason(failure))
    if _UNTRUSTED.search(reason):
        return LuccaAccessError(
            f"{what}: the server's certificate is not trusted ({reason}). Nothing was sent; check the connection's "
            "Host and the worker's CA certificates.",
            purchase_id=purchase_id,
        )
    if _cannot_be_made(failure):
        return LuccaAccessError(
            f"{what}: the request cannot be made ({reason}). Nothing was sent; check the connection's Host and the "
            "worker's proxy and CA settings.",
            purchase_id=purchase_id,
        )
    if _certainly_not_sent(failure, around):
        return LuccaNotSentError(
            f"{what}: no connection ({reason}). Nothing was sent; check the connection's Host and the network.",
            purchase_id=purchase_id,
        )
    return LuccaInDoubtError(f"{what}: no answer ({reason}). {doubt}", purchase_id=purchase_id)


def _cannot_be_made(failure: OSError | HTTPError) -> bool:
    # All errors of an address or a header are a ValueError too. A plain OSError is about a CA file that is not there:
    # whatever happens to a connection comes as a RequestException.
    return isinstance(failure, ValueError) or not isinstance(failure, (requests.RequestException, HTTPError))


def _certainly_not_sent(failure: OSError | HTTPError, around: BaseException | None) -> bool:
    cause = _cause(failure)
    if isinstance(cause, ProxyError):
        # urllib3 1.26 also says so of a proxy that hangs up on a request.
        cause = cause.original_error
    return (
        isinstance(cause, ConnectTimeoutError)  # a refused connection and an unknown name are among them
        or "Tunnel connection failed" in str(cause)
        or _in_handshake(failure, around)
    )


def _in_handshake(failure: BaseException, around: BaseException | None) -> bool:
    """Say whether TLS was still being agreed on, so that no request had been sent, whatever then went wrong."""
    error: BaseException | None = failure
    while error is not None and error is not around:
        if any(frame.f_code.co_name == "do_handshake" for frame, _ in traceback.walk_tb(error.__traceback__)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _cause(failure: BaseException) -> object:
    cause = failure.args[0] if failure.args else None
    return cause.reason if isinstance(cause, MaxRetryError) and cause.reason is not None else cause


def _reason(failure: BaseException) -> str:
    # "HTTPSConnection(host='…', port=443): Failed to establish …" and the like: the object is noise.
    text = re.sub(r"^<?[\w.]+(\(.*?\)| object at 0x[0-9a-f]+>): ", "", str(_cause(failure) or failure))
    return f"{type(failure).__name__}: {text}"


def _read(response: requests.Response, limit: int, deadline: float) -> tuple[bytes, bool]:
    """Read at most ``limit`` bytes; say whether that was all of it."""
    until = time.monotonic() + deadline
    raw = bytearray()
    try:
        for chunk in _chunks(response):
            raw += chunk
            if len(raw) > limit or time.monotonic() > until:
                return bytes(raw[:limit]), False
    except (OSError, HTTPError):
        return bytes(raw), False
    return bytes(raw), True


def _is_whole(response: requests.Response) -> bool:
    """Say whether an answer that broke off could not look like this one that was read without an error."""
    if getattr(response.raw, "length_remaining", None):  # urllib3 before 2 does not mind
        return False
    headers = response.headers  # Python takes what arrived of them for all
    return (
        response.status_code == 204
        or "Content-Length" in headers
        or "Transfer-Encoding" in headers
        or "close" in headers.get("Connection", "").lower()
    )


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """
    Yield what has arrived, as it arrives, so that a slow drip cannot outlast the deadline.

    urllib3 before 2.2 only has reads that wait for a full chunk: there it is bounded by the time-out between two bytes.
    """
    read1 = getattr(response.raw, "read1", None)
    if read1 is None:
        yield from response.iter_content(_CHUNK)
        return
    while chunk := read1(_CHUNK, decode_content=True):
        yield chunk


def _said(status: int, body: Body) -> str:
    words = [f"Lucca answered {status}"]
    if body.is_html:
        words.append("with a web page")
    reason = " – ".join(part for part in (body.title, body.detail) if part)
    if reason:
        words.append(f"({_cut(reason)})")
    if body.errors:
        fields = "; ".join(f"{name}: {', '.join(messages)}" for name, messages in body.errors.items())
        words.append(f"[{_cut(fields)}]")
    return " ".join(words)


class _Show:
    """
    Makes Lucca's text fit for one line of a log: without the API key and control characters, and not too long.

    The key is found in any case and however its characters are escaped in JSON, in an address or in HTML.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._pattern = re.compile("".join(map(_any_form, secret)), re.IGNORECASE)

    def __call__(self, text: str, *, cut: bool = False) -> str:
        """
        Return the start of a text.

        :param cut: whether more would have followed, so that it may end with a part of the key
        """
        text = self._pattern.sub("***", text)
        if cut:
            text = self._without_part_of_key(text)
        return _cut(" ".join("".join(c if c.isprintable() else " " for c in text).split()))

    def _without_part_of_key(self, text: str) -> str:
        for length in range(len(self._secret) - 1, 0, -1):
            if text.lower().endswith(self._secret[:length].lower()):
                return text[:-length]
        return text


def _any_form(c: str) -> str:
    code = ord(c)
    return rf"(?:\\?{re.escape(c)}|\\u00{code:02x}|%{code:02x}|&#{code};|&#x{code:x};)"


def _text_of(value: Mapping[str, Any], show: _Show, *names: str) -> str | None:
    for name in names:
        text = value.get(name)
        if isinstance(text, str) and text.strip():
            return show(text)
    return None


def _errors_of(value: object, show: _Show) -> dict[str, list[str]]:
    fields = value if isinstance(value, dict) else {"errors": value}
    return {
        show(name): [show(message) for message in found]
        for name, messages in list(fields.items())[:MAX_MESSAGES]
        if (found := _messages_of(messages))
    }


def _messages_of(value: object) -> list[str]:
    messages = value if isinstance(value, list) else [value]
    # reprlib: what is no text may be nested deeper than can be written out.
    return [m if isinstance(m, str) else reprlib.repr(m) for m in messages[:MAX_MESSAGES] if m not in (None, "")]


def _cut(line: str) -> str:
    return line if len(line) <= MAX_SHOWN else line[:MAX_SHOWN] + "…"
