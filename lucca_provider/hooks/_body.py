"""Reads the body of an answer: any size, any type, packed or not, broken off or not."""

from __future__ import annotations

import json
import re
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from lucca_provider.hooks._words import Show

__all__ = ["Body", "read_body"]

MAX_BODY = 32 * 1024 * 1024
"""Bytes of a good answer that are read: a page of 1000 documents is a few megabytes."""
MAX_ERROR_BODY = 64 * 1024
"""Bytes of any other answer that are read."""
MAX_MESSAGES = 20
"""Fields that are kept of Lucca's ``errors``, and messages of each."""
_CHUNK = 64 * 1024
_HTML_TYPES = ("text/html", "application/xhtml+xml")
_STATUS = ("status", "statuscode", "status_code")
_SUCCESS = ("success", "succeeded", "issuccess", "is_success", "ok")
_WORDS = ("title", "detail", "message")


@dataclass(frozen=True, slots=True)
class Body:
    """
    What an answer said.

    :param value: its JSON value; ``None`` if it is not JSON
    :param is_json: whether it is JSON
    :param is_blank: whether there is nothing in it
    :param is_html: whether it is a web page, whatever its status or type claims
    :param complete: whether it certainly was read to its end
    :param says_failed: whether it says itself that the request failed, whatever its status claims
    :param title: see :class:`~lucca_provider.exceptions.LuccaError`, as ``detail`` and ``errors``; fit for one line
        of a log, and empty for an answer that does not say that it failed
    """

    value: Any = field(default=None, repr=False)  # may repeat the key, and some tracebacks show local variables
    is_json: bool = False
    is_blank: bool = False
    is_html: bool = False
    complete: bool = True
    says_failed: bool = False
    title: str | None = None
    detail: str | None = None
    errors: dict[str, list[str]] = field(default_factory=dict)


def read_body(response: requests.Response, *, show: Show, deadline: float, headers_whole: bool = True) -> Body:
    """
    Read a body, and nothing into it.

    :param show: makes what is shown of it fit for a log
    :param deadline: seconds after which reading stops, however much has arrived
    :param headers_whole: whether all headers could be read; what is missing may say what the body is, or how long
    """
    good = 200 <= response.status_code < 300
    raw, read = _read(response, MAX_BODY if good else MAX_ERROR_BODY, deadline)
    # What JSON may be written in. Web pages in UTF-16 are recognised by it, too.
    encoding = json.detect_encoding(raw)
    text = raw.decode(encoding, "replace").lstrip("\ufeff")
    value, is_json = _parse(raw, encoding)
    # Several, with a comma between them, where there are several headers.
    content_type = response.headers.get("Content-Type", "").lower()
    is_html = _is_html(text, content_type.partition(";")[0].strip(), is_json=is_json)
    says_failed = good and _is_failure(value, content_type)
    is_read = read and headers_whole
    has_end = is_read and _has_end(response)
    return Body(
        value,
        is_json=is_json,
        is_blank=not raw.strip(),  # a byte order mark alone is something
        is_html=is_html,
        complete=has_end or (is_read and isinstance(value, (dict, list))),
        says_failed=says_failed,
        **({} if is_html or (good and not says_failed) else _details(text, show, is_cut=not has_end)),
    )


def _is_html(text: str, content_type: str, *, is_json: bool) -> bool:
    start = text.lstrip()[:1]
    return start == "<" or bool(start and content_type in _HTML_TYPES and not is_json)


def _read(response: requests.Response, limit: int, deadline: float) -> tuple[bytes, bool]:
    """Read at most ``limit`` bytes; say whether that was all of it."""
    until = time.monotonic() + deadline
    raw = bytearray()
    unpack = _Unpack(response.headers.get("Content-Encoding", ""))
    try:
        # What has arrived, as it arrives, so that a slow drip cannot outlast the deadline. Unpacked here, since
        # urllib3 does not say whether what was packed is whole.
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            raw += unpack(chunk, limit + 1 - len(raw))
            if len(raw) > limit or time.monotonic() > until:
                return bytes(raw[:limit]), False
    except (OSError, HTTPError, zlib.error):
        return bytes(raw), False
    return bytes(raw), unpack.is_whole


class _Unpack:
    """Unpacks gzip and deflate. What is packed otherwise was not asked for, and stays as it is."""

    def __init__(self, encoding: str) -> None:
        packed = encoding.strip().lower() in ("gzip", "x-gzip", "deflate")
        self._inflate = zlib.decompressobj(32 + zlib.MAX_WBITS) if packed else None
        self._begun = False

    def __call__(self, chunk: bytes, most: int) -> bytes:
        self._begun = True
        return self._inflate.decompress(chunk, most) if self._inflate else chunk

    @property
    def is_whole(self) -> bool:
        if not self._inflate or not self._begun:
            return True
        return self._inflate.eof and not self._inflate.unused_data


def _has_end(response: requests.Response) -> bool:
    """Return whether the answer says how long it is; one that ends with its connection may have broken off."""
    headers = response.headers
    if "Transfer-Encoding" in headers:
        return headers["Transfer-Encoding"].strip().lower() == "chunked"
    return response.status_code == 204 or bool(re.fullmatch(r"[0-9]+", headers.get("Content-Length", "").strip()))


def _parse(raw: bytes, encoding: str) -> tuple[Any, bool]:
    try:
        return json.loads(raw.decode(encoding).lstrip("\ufeff"), parse_constant=_refuse_constant), True
    except (ValueError, RecursionError):
        return None, False


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _is_failure(value: object, content_type: str) -> bool:
    """Return whether a success says that it failed, by its type or by what it holds."""
    return "problem" in content_type or _says_failed(value)


def _says_failed(value: object) -> bool:
    """Return whether JSON says that something failed, itself or in an item of a list."""
    values = [value]
    while values:  # no recursion: JSON may be nested deeper than Python calls may be
        value = values.pop()
        if isinstance(value, list):
            values += value
        elif isinstance(value, dict):
            if any(_member_says_failed(name.lower(), said) for name, said in value.items()) or _is_problem(value):
                return True
        elif value is False or (isinstance(value, str) and value):
            return True
    return False


def _member_says_failed(name: str, said: object) -> bool:
    if name in ("error", "errors"):
        return bool(said)
    if name in _SUCCESS:
        return str(said).lower() == "false"
    return name in _STATUS and _is_error_status(said)


def _is_error_status(said: object) -> bool:
    # A purchase itself may have a status that is another text.
    if isinstance(said, str) and (digits := re.match(r"\s*([0-9]+)(?![\w-])", said)):
        said = float(digits[1])
    return isinstance(said, (int, float)) and said >= 400  # True is 1


def _is_problem(value: Mapping[str, Any]) -> bool:
    """Return whether an object has the form of a problem (RFC 9457) or of a message, and not that of a purchase."""
    lower = {name.lower(): said for name, said in value.items()}
    words = {name for name in _WORDS if isinstance(lower.get(name), str) and lower[name]}
    if "id" not in lower and "state" not in lower:
        return bool(words)
    # It may be a purchase, which has a title too. The type of a purchase is a word.
    kind = lower.get("type")
    is_address = isinstance(kind, str) and re.match(r"\s*([a-z][a-z0-9+.-]*:|/)\S", kind, re.IGNORECASE)
    return "title" in words and ("detail" in words or bool(is_address))


def _details(text: str, show: Show, *, is_cut: bool) -> dict[str, Any]:
    """Return ``title``, ``detail`` and ``errors`` of what Lucca says is wrong."""
    # What is nested too deep to be read, or to be written out again, is shown as it came.
    with suppress(ValueError, RecursionError):
        value = json.loads(text)
        if isinstance(value, dict):
            return {
                "title": _text_of(value, show, "title", "Title", "message", "Message", "error"),
                "detail": _text_of(value, show, "detail", "Detail", "error_description"),
                "errors": _errors_of(value.get("errors", value.get("Errors")), show),
            }
    return {"detail": show(text, is_cut=is_cut) or None}


def _text_of(value: Mapping[str, Any], show: Show, *names: str) -> str | None:
    for name in names:
        text = value.get(name)
        if isinstance(text, str) and text.strip():
            return show(text)
    return None


def _errors_of(value: object, show: Show) -> dict[str, list[str]]:
    fields = value if isinstance(value, dict) else {"errors": value}
    return {
        show(name): [show(message) for message in found]
        for name, messages in list(fields.items())[:MAX_MESSAGES]
        if (found := _messages_of(messages))
    }


def _messages_of(value: object) -> list[str]:
    messages = value if isinstance(value, list) else [value]
    kept = [message for message in messages[:MAX_MESSAGES] if message not in (None, "")]
    # In full, so that nothing is shortened before the key is blotted out of it.
    return [message if isinstance(message, str) else repr(message) for message in kept]
