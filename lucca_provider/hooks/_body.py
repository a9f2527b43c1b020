"""Reads the body of an answer: any size, any type, packed or not, broken off or not."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from lucca_provider.hooks._failed import says_failed
from lucca_provider.hooks._words import Show
from lucca_provider.inputs.members import unique_members

__all__ = ["Body", "read_body"]

MAX_BODY = 32 * 1024 * 1024
"""Bytes of a good answer that are read: a page of 1000 documents is a few megabytes."""
MAX_ERROR_BODY = 64 * 1024
"""Bytes of any other answer that are read."""
MAX_MESSAGES = 20
"""Fields that are kept of Lucca's ``errors``, and messages of each."""
_CHUNK = 64 * 1024
_PACKED = ("gzip", "x-gzip", "deflate")
_HTML_TYPES = ("text/html", "application/xhtml+xml")


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
    :param repeats_key: whether it is a success that holds the API key, which would go wherever the answer goes
    :param title: see :class:`~lucca_provider.exceptions.LuccaError`, as ``detail`` and ``errors``; fit for one line
        of a log, and empty for an answer that does not say that it failed
    """

    value: Any = field(default=None, repr=False)  # may repeat the key, and some tracebacks show local variables
    is_json: bool = False
    is_blank: bool = False
    is_html: bool = False
    complete: bool = True
    says_failed: bool = False
    repeats_key: bool = False
    title: str | None = None
    detail: str | None = None
    errors: dict[str, list[str]] = field(default_factory=dict)


def read_body(response: requests.Response, *, show: Show, reads: bool = False, headers_whole: bool = True) -> Body:
    """
    Read a body, and nothing into it.

    :param show: makes what is shown of it fit for a log, and knows the API key
    :param reads: whether it is the answer to a request that reads
    :param headers_whole: whether all headers could be read; what is missing may say what the body is, or how long
    """
    good = 200 <= response.status_code < 300
    raw, read = _read(response, MAX_BODY if good else MAX_ERROR_BODY)
    said = _Said(raw, is_packed=_encoding_of(response) not in ("", "identity", *_PACKED))
    # Several, with a comma between them, where there are several headers.
    content_type = response.headers.get("Content-Type", "").lower()
    is_html = said.is_html(content_type.partition(";")[0].strip())
    failed = good and ("problem" in content_type or says_failed(said.value, reads=reads))
    has_end, is_complete = _ending(response, said, reads=reads) if read and headers_whole else (False, False)
    is_success = good and not failed
    return Body(
        said.value,
        is_json=said.is_json,
        is_blank=said.is_blank,
        is_html=is_html,
        complete=is_complete,
        says_failed=failed,
        repeats_key=good and show.is_in(said.text, said.value),
        **({} if is_html or is_success else _details(said.text, show, is_cut=not has_end)),
    )


class _Said:
    """What bytes say, as text and as JSON; nothing if they are still packed, whatever they look like."""

    def __init__(self, raw: bytes, *, is_packed: bool) -> None:
        # What JSON may be written in. Web pages in UTF-16 are recognised by it, too.
        encoding = json.detect_encoding(raw)
        self.text = raw.decode(encoding, "replace").lstrip("\ufeff")
        self.value: Any
        self.value, self.is_json = (None, False) if is_packed else _parse(raw, encoding)
        # A byte order mark alone is something.
        self.is_blank = not (raw if is_packed else raw.strip(b" \t\r\n"))

    @property
    def has_end(self) -> bool:
        """Whether it shows itself that nothing is missing."""
        return isinstance(self.value, (dict, list))

    def is_html(self, content_type: str) -> bool:
        """Return whether it is a web page, by how it begins or by its type."""
        start = self.text.lstrip()[:1]
        return start == "<" or bool(start and content_type in _HTML_TYPES and not self.is_json)


def _encoding_of(response: requests.Response) -> str:
    return response.headers.get("Content-Encoding", "").strip().lower()


def _read(response: requests.Response, limit: int) -> tuple[bytes, bool]:
    """Read at most ``limit`` bytes; say whether that was all of it."""
    raw = bytearray()
    unpack = _Unpack(_encoding_of(response))
    try:
        # What has arrived, as it arrives: it is shown, should the rest not come. Unpacked here, since urllib3 does not
        # say whether what was packed is whole.
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            raw += unpack(chunk, limit + 1 - len(raw))
            if len(raw) > limit:
                return bytes(raw[:limit]), False
    except (OSError, HTTPError, zlib.error):
        return bytes(raw), False
    return bytes(raw), unpack.is_whole


class _Unpack:
    """Unpacks gzip and deflate. What is packed otherwise was not asked for, and stays as it is."""

    def __init__(self, encoding: str) -> None:
        self._inflate = zlib.decompressobj(32 + zlib.MAX_WBITS) if encoding in _PACKED else None
        self._begun = False

    def __call__(self, chunk: bytes, most: int) -> bytes:
        self._begun = True
        return self._inflate.decompress(chunk, most) if self._inflate else chunk

    @property
    def is_whole(self) -> bool:
        if not self._inflate or not self._begun:
            return True
        return self._inflate.eof and not self._inflate.unused_data


def _is_framed(headers: Mapping[str, str], *, reads: bool) -> bool:
    """Return whether there is one way only to read how long an answer is (RFC 9112, 6.3)."""
    if "Content-Length" not in headers:
        return True
    # Several, with a comma between them, where there are several headers.
    lengths = {length.strip() for length in headers["Content-Length"].split(",")}
    is_one = len(lengths) == 1 and all(re.fullmatch("[0-9]+", length) for length in lengths)
    # Chunks go before a length. For what only reads that is good enough.
    return is_one and (reads or "Transfer-Encoding" not in headers)


def _ending(response: requests.Response, said: _Said, *, reads: bool) -> tuple[bool, bool]:
    """Return whether an answer that was read says where it ends, and whether it certainly is whole."""
    if not _is_framed(response.headers, reads=reads):
        return False, False
    has_end = _has_end(response)
    return has_end, has_end or said.has_end


def _has_end(response: requests.Response) -> bool:
    """Return whether the answer says how long it is; one that ends with its connection may have broken off."""
    headers = response.headers
    if "Transfer-Encoding" in headers:
        return headers["Transfer-Encoding"].strip().lower() == "chunked"
    return response.status_code == 204 or "Content-Length" in headers


def _parse(raw: bytes, encoding: str) -> tuple[Any, bool]:
    try:
        text = raw.decode(encoding).lstrip("\ufeff")
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=unique_members), True
    except (ValueError, RecursionError):
        return None, False


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


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
