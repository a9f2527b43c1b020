"""
What one request does on its connection, known from this side alone.

Two questions cannot be answered by what a server or a proxy says: whether any byte of the request went out, and
whether the next answer on this connection will be the answer to the next request.
"""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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
    """One request and its answer, made by the thread that began it."""

    def __init__(self) -> None:
        self.began = False
        """Whether a byte of the request may have gone out, to the server itself and not to a proxy's CONNECT."""
        self.over = False
        """Whether the answer has been judged. Its connection goes back to the pool only after that."""
        self.headers_whole = True
        """Whether all headers of the answer could be read."""


@contextmanager
def exchange() -> Iterator[Exchange]:
    """Watch the one request that this thread makes meanwhile, through a :class:`WatchedAdapter`."""
    _current.exchange = watched = Exchange()
    try:
        yield watched
    finally:
        _current.exchange = None


def _exchange() -> Exchange | None:
    return getattr(_current, "exchange", None)


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

    def begin(self) -> None:
        """Read the head of the answer, skipping those that announce it (RFC 9110, 15.2)."""
        self._watched = _exchange()
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
                self._close_conn()  # type: ignore[attr-defined]
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
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})
