"""The HTTP face of the tenant: Lucca's endpoints, and what every request passes on its way to them.

Choices where Lucca publishes nothing, or where a stand-in has to decide:

* The limit comes first: a request with a wrong key counts, one that is answered 429 does not.
* A bad body is answered 400, a key without the right to close 403; for the rest see :mod:`.tenant`.
* Paths that do not exist get 404, known paths with another method 405.
* Unknown query parameters are ignored. A list has 100 items to a page unless ``limit`` says otherwise, and ``next``
  and ``prev``, when asked for, are ``null`` at the ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from datetime import date
from email.utils import formatdate
from importlib import resources
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from . import lists
from .dataset import Json
from .faults import FaultPlan
from .tenant import INT32_MAX, Problem, Tenant, unknown
from .tenant import Request as Entry

ROOT = "/cleemy-procurement/api"
_CLOSING = re.compile(rf"{ROOT}/purchases/([^/]+)/closing")
_PURCHASE = re.compile(rf"{ROOT}/purchases/(\d{{1,10}})(?:/closing)?")
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_MOST_SHOWN = 500
_LOGIN_PAGE = (
    "<!DOCTYPE html><html><head><title>Lucca - Sign in</title></head>"
    "<body><h1>Sign in</h1><form method='post'><input name='login'></form></body></html>"
)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass
class Behaviour:
    """How the server behaves apart from its faults; every member may be changed while it runs.

    :param latency: seconds that each request takes before anything happens.
    :param hang_seconds: how long the fault ``hang`` keeps a connection open.
    :param retry_after: seconds that the faults ``throttle`` (1 without it) and ``unavailable`` (no header without
        it) ask to wait.
    :param retry_after_date: write ``Retry-After`` as an HTTP date instead of seconds.
    :param may_close: whether the key has the right to close purchases.
    :param wrong_module: answer 404 to everything, as a tenant without Lucca Invoices.
    :param missing_state: leave ``state`` out of purchases.
    :param list_status: answer lists of purchases and of booked documents with this status.
    :param list_ignores_limit: keep to pages of 100 whatever ``limit`` says.
    :param list_repeats_token: let ``next`` always lead to the second page.
    :param list_tokens: page lists by token; otherwise by number from 1, and ``next`` is always ``null``.
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


class Gate:
    """What each request passes: record, limit, key, latency, faults."""

    def __init__(
        self,
        tenant: Tenant,
        plan: FaultPlan,
        behaviour: Behaviour,
        *,
        api_key: str,
        clock: Callable[[], float],
    ) -> None:
        self._tenant = tenant
        self._plan = plan
        self._behaviour = behaviour
        self._authorization = f"lucca application={api_key}".encode()
        self._clock = clock
        self.stopping = asyncio.Event()

    async def __call__(self, request: Request, handle: Handler) -> Response:
        """Answer a request, or close its connection."""
        try:
            body = await request.body()
        except ClientDisconnect:  # nobody is left to answer
            return Response(status_code=400)
        entry = self._record(request, body)
        request.state.entry = entry
        try:
            answer = await self._answer(request, entry, handle)
        except Problem as problem:
            answer = problem_response(problem)
        self._tenant.answered(entry, None if answer is None else answer.status_code)
        if answer is None:
            request.scope["lucca.transport"].abort()
            return Response()  # uvicorn wants one; nothing of it is sent
        return answer

    def _record(self, request: Request, body: bytes) -> Entry:
        path = request.url.path
        purchase = _PURCHASE.fullmatch(path)
        query: dict[str, str] = {}
        for name, value in request.query_params.multi_items():
            query[name] = f"{query[name]},{value}" if name in query else value
        headers = {name.lower(): value for name, value in request.headers.items()}
        if "authorization" in headers:
            headers["authorization"] = "***"
        return self._tenant.arrived(
            method=request.method,
            path=path,
            query=query,
            headers=headers,
            body=_readable(body),
            purchase_id=int(purchase[1]) if purchase else None,
            closing=_is_closing(request.method, path),
        )

    async def _answer(self, request: Request, entry: Entry, handle: Handler) -> Response | None:
        """Return the answer, or ``None`` if the connection is to be closed without one."""
        wait = self._tenant.wait(entry.at)
        if wait:
            return self._too_many(wait)
        authorized = self._is_authorized(request)
        if authorized:
            entry.fault = self._plan.choose(
                entry.method,
                entry.path,
                purchase_id=entry.purchase_id,
                closing=_is_closing(entry.method, entry.path),
            )
        if entry.fault == "throttle":
            retry_after = self._behaviour.retry_after
            return self._too_many(1.0 if retry_after is None else retry_after)
        self._tenant.count(entry.at)
        await self._pause(self._behaviour.latency)
        if not authorized:
            raise Problem(401, "Unauthorized", "The Authorization header does not hold a key of this tenant.")
        if entry.fault is None:
            return await self._carry_out(request, handle)
        return await self._go_wrong(entry.fault, request, handle)

    async def _carry_out(self, request: Request, handle: Handler) -> Response:
        if self._behaviour.wrong_module:
            raise Problem(404, "Not found", "This tenant does not have Lucca Invoices.")
        return await handle(request)

    async def _go_wrong(self, fault: str, request: Request, handle: Handler) -> Response | None:
        name, _, moment = fault.partition("_")
        if moment == "after":
            with contextlib.suppress(Problem):  # refused, but the client does not get to know
                await self._carry_out(request, handle)
        if name == "drop":
            return None
        if name == "hang":
            await self._pause(self._behaviour.hang_seconds)
            return None
        if name == "login":
            return Response(status_code=302, headers={"Location": f"/identity/login?returnUrl={ROOT}"})
        if name == "html":
            return login_page()
        if name == "timeout":
            raise Problem(408, "Request timeout", "The request took more than 5 seconds and was aborted.")
        if name == "unavailable":
            answer = problem_response(Problem(503, "Service unavailable", "Lucca Invoices is being updated."))
            if self._behaviour.retry_after is not None:
                answer.headers["Retry-After"] = self._retry_after(self._behaviour.retry_after)
            return answer
        raise Problem(500, "Internal server error", "An unexpected error occurred.")

    def _is_authorized(self, request: Request) -> bool:
        values = [value for name, value in request.headers.raw if name.lower() == b"authorization"]
        return len(values) == 1 and secrets.compare_digest(values[0], self._authorization)

    def _too_many(self, wait: float) -> Response:
        answer = problem_response(
            Problem(429, "Too many requests", "The tenant's limit of requests is used up for now.")
        )
        answer.headers["Retry-After"] = self._retry_after(wait)
        return answer

    def _retry_after(self, seconds: float) -> str:
        """Write a wait, rounded up so that whoever keeps to it is not early."""
        if self._behaviour.retry_after_date:
            return formatdate(math.ceil(self._clock() + seconds), usegmt=True)
        return str(math.ceil(seconds))

    async def _pause(self, seconds: float) -> None:
        """Wait, but not beyond the end of the server."""
        if seconds > 0:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), seconds)


def create_app(tenant: Tenant, gate: Gate, behaviour: Behaviour, *, show: Json) -> FastAPI:
    """Return the web application of a tenant.

    :param show: what the page shows about the sandbox besides the tenant (name, limit, window …).
    """
    app = FastAPI(openapi_url=None)
    app.include_router(_control(tenant, show))
    app.include_router(_Endpoints(tenant, behaviour, _route_through(gate)).router)
    return app


def problem_response(problem: Problem) -> Response:
    """Return a problem as ``application/problem+json``."""
    content = {
        "type": "about:blank",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "errors": problem.errors,
    }
    return _json(content, status=problem.status, media_type="application/problem+json")


def login_page() -> Response:
    """Return the kind of page that a browser without a session would get."""
    return Response(_LOGIN_PAGE, media_type="text/html")


def _route_through(gate: Gate) -> type[APIRoute]:
    """Return a route class whose requests all pass the gate."""

    class GatedRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()

            async def through(request: Request) -> Response:
                return await gate(request, handle)

            return through

    return GatedRoute


class _Endpoints:
    """Lucca's endpoints, on a router that sends all requests through the gate."""

    def __init__(self, tenant: Tenant, behaviour: Behaviour, route_class: type[APIRoute]) -> None:
        self._tenant = tenant
        self._behaviour = behaviour
        self.router = APIRouter(route_class=route_class)
        add = self.router.add_api_route
        add(f"{ROOT}/purchases/{{number}}/closing", self.close, methods=["POST"])
        add(f"{ROOT}/purchases/{{number}}", self.get_purchase)
        add(f"{ROOT}/purchases", self.list_purchases)
        add(f"{ROOT}/booked-documents", self.list_documents)
        add(f"{ROOT}/invoices/{{number}}", self.get_invoice)
        add(f"{ROOT}/natures", self.list_natures)
        add(f"{ROOT}/costcenters", self.list_cost_centers)
        add(f"{ROOT}/suppliers", self.list_suppliers)
        self._known = list(self.router.routes)
        add("/{path:path}", self.anything_else, methods=_METHODS)

    async def close(self, request: Request, number: str) -> Response:
        if not self._behaviour.may_close:
            raise Problem(403, "Forbidden", "This key may not close purchases.")
        purchase_id = _int32(number)
        comment, day = _closing_body(request.headers.get("content-type", ""), await request.body())
        self._tenant.close(purchase_id, comment=comment, date=day)
        request.state.entry.effect = True
        return _json({})

    async def get_purchase(self, number: str) -> Response:
        try:
            return _json(self._tenant.purchase(_int32(number), with_state=not self._behaviour.missing_state))
        except KeyError:
            raise unknown("purchase", number) from None

    async def list_purchases(self, request: Request) -> Response:
        purchases = self._tenant.purchases(with_state=not self._behaviour.missing_state)
        return self._large_list(request, "purchases", purchases)

    async def list_documents(self, request: Request) -> Response:
        documents = lists.filter_documents(self._tenant.documents(), request.query_params)
        return self._large_list(request, "booked-documents", documents)

    async def get_invoice(self, number: str) -> Response:
        with contextlib.suppress(KeyError):
            document = self._tenant.document(_int32(number))
            if document["type"] == "Invoice":
                return _json(document)
        raise unknown("invoice", number)

    async def list_natures(self, request: Request) -> Response:
        return self._list(request, "natures", self._tenant.reference_list("natures"))

    async def list_cost_centers(self, request: Request) -> Response:
        return self._list(request, "costcenters", self._tenant.reference_list("costcenters"))

    async def list_suppliers(self, request: Request) -> Response:
        suppliers = lists.filter_suppliers(self._tenant.reference_list("suppliers"), request.query_params)
        return self._list(request, "suppliers", suppliers)

    async def anything_else(self, request: Request) -> Response:
        if any(route.matches(request.scope)[0] is Match.PARTIAL for route in self._known):
            raise Problem(405, "Method not allowed", f"{request.method} is not supported here.")
        raise Problem(404, "Not found", f"There is nothing at {request.url.path}.")

    def _large_list(self, request: Request, name: str, items: list[Json]) -> Response:
        status = self._behaviour.list_status
        if status is not None:
            raise Problem(status, "List refused", "This sandbox is told not to answer this list.")
        return self._list(request, name, items)

    def _list(self, request: Request, name: str, items: list[Json]) -> Response:
        return _json(lists.page(name, items, request.query_params, self._behaviour))


def _control(tenant: Tenant, show: Json) -> APIRouter:
    """Return the routes for people: neither limited nor recorded."""
    control = APIRouter()
    page = resources.files(__package__).joinpath("web/index.html").read_text(encoding="utf-8")

    @control.get("/")
    async def index() -> Response:
        return Response(page, media_type="text/html")

    @control.get(ROOT.removesuffix("/api"))
    async def invoices() -> Response:
        """Where Lucca's own pages are, and Airflow's link to them leads."""
        return Response(status_code=302, headers={"Location": "/"})

    @control.get("/favicon.ico")
    async def icon() -> Response:
        return Response(status_code=204)

    @control.get("/identity/login")
    async def login() -> Response:
        return login_page()

    @control.get("/_sandbox/state")
    async def state(version: int = 0, seen: int = 0) -> Response:
        changes = tenant.changes(version=version, seen=seen, most=_MOST_SHOWN)
        return _json({**show, **asdict(changes)}, headers={"Cache-Control": "no-store"})

    return control


def _is_closing(method: str, path: str) -> bool:
    return method == "POST" and _CLOSING.fullmatch(path) is not None


def _int32(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text, re.ASCII) or int(text) > INT32_MAX:
        raise Problem(400, "Bad request", errors={"id": [f"{text!r} is not an int32."]})
    return int(text)


def _closing_body(content_type: str, body: bytes) -> tuple[str | None, str | None]:
    """Return comment and date of a closing.

    :raises Problem: 400 if the body is not what the contract allows.
    """
    if not body:
        return None, None
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Problem(400, "Bad request", errors={"Content-Type": ["The body must be application/json."]})
    content = _readable(body)
    if not isinstance(content, dict):
        raise Problem(400, "Bad request", errors={"body": ["The body must be a JSON object."]})
    errors: dict[str, list[str]] = {
        name: ["There is no such member."] for name in content if name not in ("comment", "date")
    }
    comment, day = content.get("comment"), content.get("date")
    if "comment" in content and not isinstance(comment, str):
        errors["comment"] = ["The comment must be text."]
    if "date" in content and not _is_day(day):
        errors["date"] = ["The date must be a day of the calendar, as YYYY-MM-DD."]
    if errors:
        raise Problem(400, "Bad request", "The body has errors.", errors)
    return comment, day


def _is_day(value: object) -> bool:
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _readable(body: bytes) -> Any:
    """Return the parsed JSON of a body, else its text, or ``None`` without a body."""
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def _json(
    content: object,
    *,
    status: int = 200,
    media_type: str = "application/json",
    headers: dict[str, str] | None = None,
) -> Response:
    return Response(json.dumps(content), status_code=status, media_type=media_type, headers=headers)
