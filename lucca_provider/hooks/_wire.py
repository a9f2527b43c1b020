"""
What one request does on its connection, known from this side alone.

Three questions cannot be answered by what a server or a proxy says: whether any byte of the request went out, whether
the next answer on this connection will be the answer to the next request, and how long an answer has taken.
"""

from __future__ import annotations

import http.client
import io
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, PoolManager
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HeaderParsingError
from urllib3.util.response import assert_header_parsing

__all__ = ["Exchange", "WatchedAdapter", "exchange", "watch"]

MAX_INTERIM = 20
"""Answers below 200 that are skipped before the one that counts."""

MAX_LINE = 65536
"""Bytes of a line between chunks."""
MAX_TRAILERS = 100
"""Headers that are skipped after the last chunk."""

_current = threading.local()


class Exchange:
    """
    One request and its answer, made by the thread that began it.

    :param alone: whether the request goes out on a connection that no other request has used
    :param seconds: how long the whole answer may take, which is also the time-out of the connection
    """

    def __init__(self, seconds: float, *, alone: bool = False) -> None:
        self.seconds = seconds
        self.alone = alone
        self.answer: _FinalAnswer | None = None
        """The answer, once its head has begun."""
        self.began = False
        """Whether a byte of the request may have gone out, to the server itself and not to a proxy's CONNECT."""
        self.over = False
        """Whether the answer has been judged. Its connection goes back to the pool only after that."""
        self.headers_whole = True
        """Whether all headers of the answer could be read."""

    @property
    def has_more(self) -> bool:
        """Whether something came after the answer, which has been read: then nobody knows what belongs to what."""
        return self.answer is not None and self.answer.has_more()


@contextmanager
def exchange(seconds: float, *, alone: bool = False) -> Iterator[Exchange]:
    """
    Watch the one request that this thread makes meanwhile, through a :class:`WatchedAdapter`.

    :param seconds: how long the whole answer may take, which is also the time-out of the connection
    :param alone: whether it goes out on a connection that no other request has used
    """
    _current.exchange = watched = Exchange(seconds, alone=alone)
    try:
        yield watched
    finally:
        _current.exchange = None


def _exchange() -> Exchange | None:
    return getattr(_current, "exchange", None)


class _Timed(io.RawIOBase):
    """
    Reads an answer until its time is over, however slowly it drips in: a socket's time-out begins anew with each byte.

    :param sock: the socket
    :param raw: reads from it
    :param seconds: how long the whole answer may take, which is also the socket's time-out
    """

    def __init__(self, sock: Any, raw: Any, seconds: float) -> None:
        self._sock = sock
        self._raw = raw
        self._timeout = seconds
        self._until = time.monotonic() + seconds
        self.is_over = False
        """Whether nothing more is read from the socket."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.is_over:
            return 0
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long")
        self._sock.settimeout(left)
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        with suppress(OSError):  # it has been closed
            self._sock.settimeout(self._timeout)
        self._raw.close()
        super().close()


class _Lines:
    """Reads lines of a file, and keeps the last one."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.last = b""

    def readline(self, limit: int) -> bytes:
        self.last = self._file.readline(limit)
        return self.last

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class _FinalAnswer(http.client.HTTPResponse):
    """An answer that is never a ``102`` or ``103``, and that keeps its connection until it has been judged."""

    _watched: Exchange | None = None

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._timed: _Timed | None = None
        """Reads the socket, where somebody watches the request."""
        if watched := _exchange():
            self._timed = _Timed(sock, self.fp.detach(), watched.seconds)
            self.fp = io.BufferedReader(self._timed)
        self._has_more = False
        """Whether bytes were left when the answer ended."""

    def has_more(self) -> bool:
        """Return whether bytes came after the end of the answer."""
        self._look_beyond()
        return self._has_more

    def _look_beyond(self) -> None:
        if self.fp is not None and self._timed is not None:
            self._timed.is_over = True
            # Some servers end a body with an empty line of their own.
            self._has_more = bool(self.fp.peek(1).strip(b"\r\n"))

    def _close_conn(self) -> None:
        self._look_beyond()
        super()._close_conn()  # type: ignore[misc]

    def begin(self) -> None:
        """Read the head of the answer, skipping those that announce it (RFC 9110, 15.2)."""
        self._watched = _exchange()
        if self._watched:
            self._watched.answer = self
        self._begin_one()
        for _ in range(MAX_INTERIM):
            # 101 is final: nobody asked for another protocol, and what follows is not HTTP.
            if self.status >= 200 or self.status == 101:
                return
            # Python skips only 100. Without headers it begins anew.
            self.headers = self.msg = None  # type: ignore[assignment]
            self._begin_one()
        if self.status < 200:
            raise http.client.HTTPException(f"more than {MAX_INTERIM} answers below 200")

    def _begin_one(self) -> None:
        plain, lines = self.fp, _Lines(self.fp)
        self.fp = lines  # type: ignore[assignment]
        super().begin()
        self.fp = plain
        # Python takes a connection that ends among the headers for their end.
        if lines.last not in (b"\r\n", b"\n"):
            raise http.client.HTTPException("the connection ended among the headers")
        self._note_broken_headers()

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]
        # Python reads the number as it reads its own: +200, 2_00. A proxy's answer to CONNECT is read elsewhere.
        line = self.fp.last if isinstance(self.fp, _Lines) else None
        if line is not None and not re.fullmatch(rb"HTTP/1\.[0-9] [0-9]{3}(?: [^\r\n]*)?\r?\n", line):
            raise http.client.BadStatusLine("")
        return version, status, reason

    def _note_broken_headers(self) -> None:
        try:
            assert_header_parsing(self.headers)
        except (HeaderParsingError, TypeError):
            if self._watched:
                self._watched.headers_whole = False
            # urllib3 would log what could not be read, which may be the API key.
            self.headers.defects.clear()
            self.headers.set_payload("")

    def _get_chunk_left(self) -> int | None:
        """
        Return how much is left of a chunk, of the next one after its end, and ``None`` after the last one.

        In the place of Python's own, which takes a connection that ends in the size of a chunk, or in what follows the
        last one, for the end of the answer, and reads sizes as Python writes numbers (RFC 9112, 7.1).
        """
        if not self.chunk_left:
            if self.chunk_left is not None and self.fp.read(2) != b"\r\n":
                raise http.client.IncompleteRead(b"")
            self.chunk_left = self._read_size() or None
            if self.chunk_left is None:
                self._skip_trailers()
                self._close_conn()
        return self.chunk_left

    def _read_size(self) -> int:
        size = re.fullmatch(rb"([0-9a-fA-F]+)[ \t]*(;[^\r\n]*)?\r\n", self.fp.readline(MAX_LINE))
        if not size:
            raise http.client.IncompleteRead(b"")
        return int(size[1], 16)

    def _skip_trailers(self) -> None:
        for _ in range(MAX_TRAILERS):
            line = self.fp.readline(MAX_LINE)
            if line == b"\r\n":
                return
            if not line.endswith(b"\n"):
                break
        raise http.client.IncompleteRead(b"")

    def isclosed(self) -> bool:
        """
        Return whether the answer has been read, which is when urllib3 gives its connection to the next request.

        Not before this one is judged: only then it is known whether the connection can be trusted.
        """
        return super().isclosed() and (self._watched is None or self._watched.over)


class _Watched(HTTPConnection):
    """Notes when a request begins to go out."""

    response_class = _FinalAnswer
    _connecting = False

    def connect(self) -> None:
        """Connect, with TLS and a proxy's tunnel where there is one: what is sent for that is no request."""
        self._connecting = True
        try:
            super().connect()
        finally:
            self._connecting = False

    def send(self, data: Any) -> None:
        """Send a part of a request."""
        if self.sock is None:
            self.connect()
        if not self._connecting and (watched := _exchange()):
            watched.began = True
        super().send(data)


class _Fresh(HTTPConnectionPool):
    """Connects anew for each request that goes out alone."""

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection = super()._get_conn(timeout)
        if (watched := _exchange()) and watched.alone:
            connection.close()
        return connection


class WatchedAdapter(HTTPAdapter):
    """Makes each request exactly once, on a connection that :func:`exchange` can watch."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Let the pools make connections that are watched."""
        super().init_poolmanager(*args, **kwargs)
        watch(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> PoolManager:
        """Return the pools of a proxy, likewise."""
        return watch(super().proxy_manager_for(proxy, **kwargs))


def watch(manager: PoolManager) -> PoolManager:
    """
    Let pools make connections that are watched.

    :param manager: of the pools
    """
    # Those of a SOCKS proxy have classes of their own, so what is there is extended, not replaced.
    pools = manager.pool_classes_by_scheme.items()
    manager.pool_classes_by_scheme = {scheme: _watched(pool) for scheme, pool in pools}
    return manager


@cache
def _watched(pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
    if issubclass(pool.ConnectionCls, _Watched):
        return pool
    connection = type(f"Watched{pool.ConnectionCls.__name__}", (_Watched, pool.ConnectionCls), {})
    return type(pool.__name__, (_Fresh, pool), {"ConnectionCls": connection})
