"""The sandbox itself: a tenant served on a port of this machine for as long as a ``with`` block lasts."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .api import Behaviour, Gate, create_app
from .dataset import Json
from .faults import FaultPlan, Faults
from .tenant import Closing, Request, Tenant

if TYPE_CHECKING:
    from typing_extensions import Self

_STOP_SECONDS = 1.0
"""How long a client that never completes its request may hold up the end."""


def steady_clock() -> Callable[[], float]:
    """Return a clock of seconds since 1970 that never jumps, whatever happens to the system's time."""
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()


class Sandbox:
    """A Lucca tenant on this machine.

    .. code-block:: python

        with Sandbox(purchases=5, faults={"error_after": 0.2}) as lucca:
            os.environ.update(lucca.environ)
            ...
            assert lucca.closed_ids == lucca.purchase_ids

    It may be entered once. All members may be used from any thread.

    :param purchases: how many purchases to generate.
    :param port: TCP port; 0 takes a free one.
    :param host: address to listen on.
    :param limit: requests allowed in any window; 0 for no limit.
    :param window: length of the window in seconds.
    :param latency: seconds that each request takes before anything happens.
    :param seed: makes ids, content and faults repeatable.
    :param faults: probability (0 to 1) by name of fault; see :data:`lucca_provider.sandbox.FAULTS`.
    :param fault_on: whether faults hit closing POSTs only (``"closing"``) or every request (``"all"``).
    :param api_key: the key that the tenant accepts.
    :param states: weight of each kind of purchase: ``closable``, ``blocked``, ``closed``, or a state of Lucca's
        such as ``Denied``; about 70 % are closable by default.
    :param clock: returns the time in seconds since 1970; the limit and all records go by it.
    :param keep_requests: how many of the newest requests :attr:`requests` holds; counts go over all of them.
    :param hang_seconds: see :class:`Behaviour`, like all that follow.
    :raises ValueError: if a value makes no sense.
    """

    def __init__(
        self,
        purchases: int = 60,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        limit: int = 50,
        window: float = 60.0,
        latency: float = 0.0,
        seed: int = 1,
        faults: Mapping[str, float] | None = None,
        fault_on: Literal["closing", "all"] = "closing",
        api_key: str = "sandbox-key",
        states: Mapping[str, float] | None = None,
        clock: Callable[[], float] | None = None,
        keep_requests: int = 50_000,
        hang_seconds: float = 30.0,
        retry_after: float | None = None,
        retry_after_date: bool = False,
        may_close: bool = True,
        wrong_module: bool = False,
        missing_state: bool = False,
        list_status: int | None = None,
        list_ignores_limit: bool = False,
        list_repeats_token: bool = False,
        list_tokens: bool = True,
    ) -> None:
        if not api_key.isascii() or not api_key.isprintable() or not api_key.strip():
            raise ValueError("api_key must be printable ASCII and not empty")
        if fault_on not in ("closing", "all"):
            raise ValueError(f"fault_on is {fault_on!r}: use 'closing' or 'all'")
        if latency < 0 or hang_seconds < 0:
            raise ValueError("latency and hang_seconds must not be negative")
        clock = clock or steady_clock()
        self.behaviour = Behaviour(
            latency=latency,
            hang_seconds=hang_seconds,
            retry_after=retry_after,
            retry_after_date=retry_after_date,
            may_close=may_close,
            wrong_module=wrong_module,
            missing_state=missing_state,
            list_status=list_status,
            list_ignores_limit=list_ignores_limit,
            list_repeats_token=list_repeats_token,
            list_tokens=list_tokens,
        )
        self._tenant = Tenant(
            purchases,
            seed=seed,
            clock=clock,
            limit=limit,
            window=window,
            states=states,
            keep_requests=keep_requests,
        )
        self._plan = FaultPlan(faults or {}, seed=seed, everywhere=fault_on == "all")
        self._limit, self._window = limit, window
        self._gate = Gate(self._tenant, self._plan, self.behaviour, api_key=api_key, clock=clock)
        # The page reloads itself when it finds another run behind the same address.
        show = {"run": f"{time.time_ns():x}", "limit": limit, "window": window}
        app = create_app(self._tenant, self._gate, self.behaviour, show=show)
        self._server = _Server(app, self._gate.stopping)
        self.host = host
        self.port = port
        self.api_key = api_key

    def __enter__(self) -> Self:
        """Start listening.

        :raises OSError: if the address can't be had, for instance because the port is taken.
        """
        self.port = self._server.start(self.host, self.port)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop()

    @property
    def url(self) -> str:
        """Address of the tenant, such as ``http://127.0.0.1:40123``."""
        return f"http://{self._netloc_host}:{self.port}"

    @property
    def connection_uri(self) -> str:
        """An Airflow connection to the tenant, in Airflow's URI form. It tells the client of a smaller limit."""
        extra = {}
        if self._window != 60:
            extra["window_seconds"] = f"{self._window:g}"
        if 0 < self._limit < 45:
            extra["requests_per_minute"] = str(self._limit)
        query = f"?{urlencode(extra)}" if extra else ""
        return f"lucca://:{quote(self.api_key, safe='')}@{self._netloc_host}:{self.port}/http{query}"

    @property
    def environ(self) -> dict[str, str]:
        """Environment variables that make this tenant Airflow's connection ``lucca_default``."""
        return {"AIRFLOW_CONN_LUCCA_DEFAULT": self.connection_uri}

    @property
    def _netloc_host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    # --- what the tenant holds ---

    @property
    def purchase_ids(self) -> list[int]:
        """Ids of all purchases."""
        return self._tenant.ids()

    @property
    def closable_ids(self) -> list[int]:
        """Ids of the purchases that a closing would close now."""
        return self._tenant.ids("closable")

    @property
    def closed_ids(self) -> list[int]:
        """Ids of the purchases that are closed now."""
        return self._tenant.ids("closed")

    @property
    def blocked_ids(self) -> list[int]:
        """Ids of the purchases that can't be closed now and are not closed."""
        return self._tenant.ids("blocked")

    def purchase(self, purchase_id: int) -> Json:
        """Return a purchase as GET answers it.

        :raises KeyError: if there is no such purchase.
        """
        with_state = not self.behaviour.missing_state
        return copy.deepcopy(self._tenant.purchase(purchase_id, with_state=with_state))

    @property
    def documents(self) -> list[Json]:
        """All booked documents, as the list answers them, oldest first."""
        return copy.deepcopy(self._tenant.documents())

    def add_purchase(
        self,
        state: str | None = "Ongoing",
        invoices: Iterable[Mapping[str, Any]] = ({"conformityState": "Confirmed", "paymentState": "Paid"},),
        **fields: Any,
    ) -> int:
        """Add a purchase and return its id.

        :param state: Lucca's word; ``None`` for an ongoing purchase whose answers lack the state.
        :param invoices: members of its documents; ``amount`` (euro with taxes) stands for all amounts.
        :param fields: members of the purchase.
        :raises ValueError: if ``fields`` holds an id that exists already.
        """
        return self._tenant.add_purchase(state, [dict(invoice) for invoice in invoices], fields)

    def set_purchase(self, purchase_id: int, **fields: Any) -> None:
        """Change members of a purchase.

        ``state=None`` lets the answers lack the state, whatever it is; ``invoices`` replaces the documents.

        :raises KeyError: if there is no such purchase.
        """
        self._tenant.set_purchase(purchase_id, fields)

    def add_document(self, purchase_id: int | None = None, **fields: Any) -> int:
        """Add a booked document, to a purchase or to none, and return its id.

        :raises KeyError: if there is no such purchase.
        """
        return self._tenant.add_document(purchase_id, fields)

    # --- what happened ---

    @property
    def closings(self) -> list[Closing]:
        """The closings that took effect, in order."""
        return self._tenant.closings

    @property
    def requests(self) -> list[Request]:
        """The requests so far, oldest first; paths of the sandbox's own page are not among them."""
        return self._tenant.requests

    @property
    def throttled(self) -> int:
        """How many requests were answered 429."""
        return self._tenant.throttled

    def posts(self, purchase_id: int) -> int:
        """Return how many closings of this purchase were asked for, whatever became of them."""
        return self._tenant.posts(purchase_id)

    def reset_requests(self) -> None:
        """Forget the requests and their counts; closings and the limit's window stay as they are."""
        self._tenant.reset_requests()

    # --- what goes wrong ---

    @property
    def faults(self) -> Faults:
        """Probability by name of fault; may be changed at any time."""
        return self._plan.faults

    @faults.setter
    def faults(self, faults: Mapping[str, float]) -> None:
        self._plan.faults = Faults(faults)

    def fail_next(
        self, fault_name: str, purchase_id: int | None = None, times: int = 1, *, method: str | None = None
    ) -> None:
        """Let the next matching requests meet a fault, before any that is left to chance.

        :param fault_name: one of :data:`lucca_provider.sandbox.FAULTS`.
        :param purchase_id: only requests for this purchase.
        :param times: how many requests.
        :param method: requests of this method, whatever ``fault_on`` says; without it, those of ``fault_on``.
        :raises ValueError: if the fault is unknown or ``times`` is below 1.
        """
        self._plan.script(fault_name, purchase_id=purchase_id, method=method, times=times)


class _Server(uvicorn.Server):
    """uvicorn in a thread of its own, which starts and stops without waiting for its next tick."""

    def __init__(self, app: Any, stopping: asyncio.Event) -> None:
        config = uvicorn.Config(
            app,
            http=_AbortableProtocol,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
        )
        super().__init__(config)
        self._stopping = stopping
        self._ready = threading.Event()
        self._listeners: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run_in_thread, name="lucca-sandbox", daemon=True)
        self._wake: Callable[[], object] = self._ready.set  # until there is a loop to wake

    def start(self, host: str, port: int) -> int:
        """Listen, and return the port.

        :raises OSError: if the address can't be had.
        :raises RuntimeError: if this server was started before, or does not come up.
        """
        if self._listeners:
            raise RuntimeError("a Sandbox can be entered once only: make a new one")
        self._listeners.append(_listen(host, port))
        number: int = self._listeners[0].getsockname()[1]
        self._thread.start()
        self._ready.wait()
        if not self.started:
            self._thread.join()
            raise RuntimeError("the sandbox's server did not start: see the error of its thread")
        return number

    def stop(self) -> None:
        """Close all connections and wait for the thread to end."""
        self.should_exit = True
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            self._wake()
        self._thread.join()

    def _run_in_thread(self) -> None:
        try:
            self.run(self._listeners)
        finally:
            self._listeners[0].close()
            self._ready.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        loop = asyncio.get_running_loop()
        self._wake = lambda: loop.call_soon_threadsafe(self._stopping.set)
        self._ready.set()

    async def main_loop(self) -> None:
        # Tick 0 renews the Date header and says whether to end; uvicorn itself would look every 0.1 s.
        while not await self.on_tick(0):
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 1.0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.remove_reader(listener)
        # A connection that was just accepted needs two turns of the loop to become one that can be closed; from
        # Python 3.12 on its socket would leak otherwise.
        for _ in range(3):
            await asyncio.sleep(0)
        loop.call_later(_STOP_SECONDS, self._abort_connections)
        await super().shutdown(sockets=sockets)

    def _abort_connections(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Made for TCP by name, or asyncio leaves Nagle's algorithm on and each answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(512)
    except OSError:
        listener.close()
        raise
    return listener


class _AbortableProtocol(H11Protocol):
    """Hands the transport to the application, which may then close a connection without an answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app = self.app

        async def with_transport(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "lucca.transport": transport}, receive, send)

        self.app = with_transport
