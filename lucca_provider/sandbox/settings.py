"""Every setting of a sandbox, in one place: the command line is made from these classes too."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, InitVar, dataclass
from typing import Literal
from urllib.parse import quote, urlencode

__all__ = ["Behaviour", "Settings", "steady_clock"]


@dataclass(kw_only=True, eq=False, repr=False)
class Behaviour:
    """
    How the server behaves apart from its faults. Every member may be changed while it runs.

    :param latency: seconds that each request takes before anything happens
    :param hang_seconds: how long the fault ``hang`` keeps a connection open
    :param retry_after: seconds that the faults ``throttle`` (1 without it) and ``unavailable`` (no header without it)
        ask to wait
    :param retry_after_date: write ``Retry-After`` as an HTTP date instead of seconds
    :param may_close: whether the key has the right to close purchases; otherwise closings are answered 403
    :param wrong_module: answer 404 to everything, as a tenant without Lucca Invoices
    :param missing_state: leave ``state`` out of purchases
    :param list_status: answer lists of purchases and of booked documents with this status
    :param list_ignores_limit: keep to pages of 100 whatever ``limit`` says
    :param list_repeats_token: let ``next`` always lead to the second page
    :param list_tokens: page lists by token; otherwise by number from 1, and ``next`` is always ``null``
    """

    latency: float = 0.0
    hang_seconds: float = 30.0
    retry_after: float | None = None
    retry_after_date: bool = False
    may_close: bool = True
    wrong_module: bool = False
    missing_state: bool = False
    list_status: int | None = None
    list_ignores_limit: bool = False
    list_repeats_token: bool = False
    list_tokens: bool = True


@dataclass(eq=False, repr=False)
class Settings(Behaviour):
    """
    What a sandbox is made with, the members of :class:`Behaviour` among it, and how Airflow reaches it.

    :param purchases: how many purchases to generate
    :param port: TCP port; 0 takes a free one
    :param host: address to listen on
    :param limit: requests allowed in any window; 0 for no limit
    :param window: length of the window in seconds
    :param seed: makes ids, content and faults repeatable
    :param faults: probability (0 to 1) by name of fault; see :data:`lucca_provider.sandbox.FAULTS`
    :param fault_on: whether faults hit closing POSTs only (``"closing"``) or every request (``"all"``)
    :param api_key: the key that the tenant accepts
    :param states: weight of each kind of purchase: ``closable``, ``blocked``, ``closed``, or a state of Lucca's such
        as ``Denied``; about 70 % are closable by default
    :param clock: returns the time in seconds since 1970; the limit and all records go by it
    :param keep_requests: how many of the newest requests are kept; counts go over all of them
    :raises ValueError: if a value makes no sense
    """

    purchases: int = 60
    _: KW_ONLY
    port: int = 0
    host: str = "127.0.0.1"
    limit: int = 50
    window: float = 60.0
    seed: int = 1
    faults: InitVar[Mapping[str, float] | None] = None
    fault_on: Literal["closing", "all"] = "closing"
    api_key: str = "sandbox-key"
    states: Mapping[str, float] | None = None
    clock: Callable[[], float] | None = None
    keep_requests: int = 50_000

    def __post_init__(self, faults: Mapping[str, float] | None) -> None:
        if self.list_status is not None and not 200 <= self.list_status <= 599:
            raise ValueError(f"list_status is {self.list_status}; it must be an HTTP status from 200 to 599")
        if not self.api_key.isascii() or not self.api_key.isprintable() or not self.api_key.strip():
            raise ValueError("api_key must be printable ASCII and not empty")
        if self.fault_on not in ("closing", "all"):
            raise ValueError(f"fault_on is {self.fault_on!r}: use 'closing' or 'all'")
        if self.latency < 0 or self.hang_seconds < 0:
            raise ValueError("latency and hang_seconds must not be negative")

    @property
    def url(self) -> str:
        """Address of the tenant, such as ``http://127.0.0.1:40123``."""
        return f"http://{self._netloc_host}:{self.port}"

    @property
    def connection_uri(self) -> str:
        """An Airflow connection to the tenant, in Airflow's URI form. It tells the client of a smaller limit."""
        extra = {}
        if self.window != 60:
            extra["window_seconds"] = f"{self.window:g}"
        if 0 < self.limit < 45:
            extra["requests_per_minute"] = str(self.limit)
        if self.host not in ("127.0.0.1", "::1", "localhost"):
            extra["allow_insecure_http"] = "true"
        query = f"?{urlencode(extra)}" if extra else ""
        return f"lucca://:{quote(self.api_key, safe='')}@{self._netloc_host}:{self.port}/http{query}"

    @property
    def environ(self) -> dict[str, str]:
        """Environment variables that make this tenant Airflow's connection ``lucca_default``."""
        return {"AIRFLOW_CONN_LUCCA_DEFAULT": self.connection_uri}

    @property
    def _netloc_host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def steady_clock() -> Callable[[], float]:
    """Return a clock of seconds since 1970 that never jumps, even if the system's time is set."""
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()
