"""The client: one request of the Invoices API for each call, never repeated, never waited for."""

from __future__ import annotations

import http.client
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from lucca_provider.exceptions import LuccaInDoubtError
from lucca_provider.hooks._answers import Asked, find_problem
from lucca_provider.hooks._body import read_body
from lucca_provider.hooks._deprecation import describe_deprecation
from lucca_provider.hooks._failures import explain_failure
from lucca_provider.hooks._session import CORRELATION_ID, build_session, new_correlation_id
from lucca_provider.hooks._tenant import Tenant
from lucca_provider.hooks._wire import Exchange, exchange
from lucca_provider.hooks._words import Show
from lucca_provider.reading.states import CLOSED_STATE

__all__ = ["InvoicesClient"]

log = logging.getLogger(__name__)

_warned: set[tuple[str, str]] = set()
"""Tenants and deprecations that this process has logged: each comes with every answer. A task that comes back to a
worker is another process, and so warns once more."""

API_PATH = "/cleemy-procurement/api"
POOL_SIZE = 32
"""Connections that are kept open."""


class InvoicesClient:
    """
    Makes single requests of the Invoices API.

    Each call sends exactly one request and returns only if Lucca clearly said yes. Otherwise it raises the error of
    :mod:`lucca_provider.exceptions` that says what Lucca certainly did. Several threads may use one client.

    What reads may use a connection that was kept. A closing gets one of its own: whatever a server or a proxy sends
    late, or twice, is never read as the answer to another one, and none is lost with a connection kept too long.

    :param tenant: whom to talk to, and with which key
    :param user_agent: value of ``User-Agent``
    :raises LuccaConfigurationError: if the key would go to a proxy in clear text
    """

    def __init__(self, tenant: Tenant, *, user_agent: str) -> None:
        self.session = build_session(tenant, user_agent=user_agent, pool_size=POOL_SIZE)
        self._tenant = tenant
        self._show = Show(tenant.api_key)

    def close_purchase(self, purchase_id: int, *, comment: str | None, closing_date: str | None) -> None:
        """
        Close a purchase: ``POST /cleemy-procurement/api/purchases/{id}/closing``. This cannot be undone.

        :param purchase_id: 1 to 2,147,483,647
        :param comment: sent only if given
        :param closing_date: day of the closing, ``YYYY-MM-DD``; sent only if given
        :raises LuccaError: as :mod:`lucca_provider.exceptions` says
        """
        body = {"comment": comment, "date": closing_date}
        self._call(
            "POST",
            f"/purchases/{purchase_id}/closing",
            what=f"Closing purchase {purchase_id}",
            purchase_id=purchase_id,
            check=partial(_is_closing, purchase_id),
            json={name: value for name, value in body.items() if value is not None},
        )

    def get_purchase(self, purchase_id: int) -> dict[str, Any]:
        """
        Read a purchase: ``GET /cleemy-procurement/api/purchases/{id}``.

        :param purchase_id: 1 to 2,147,483,647
        :return: Lucca's JSON object. ``state`` is the only sign of a closing; a missing one means unknown, not open
        :raises LuccaError: as :mod:`lucca_provider.exceptions` says
        """
        purchase: dict[str, Any] = self._call(
            "GET",
            f"/purchases/{purchase_id}",
            what=f"Reading purchase {purchase_id}",
            purchase_id=purchase_id,
            check=partial(_is_purchase, purchase_id),
        )
        return purchase

    def get_page(self, path: str, params: Mapping[str, str | list[str]]) -> dict[str, Any]:
        """
        Read one page of a list.

        :param path: of the list below ``/cleemy-procurement/api``, such as ``/purchases``
        :param params: query parameters
        :return: Lucca's JSON object, not interpreted
        :raises LuccaError: as :mod:`lucca_provider.exceptions` says
        """
        page: dict[str, Any] = self._call(
            "GET", path, what=f"Listing {path.strip('/').replace('-', ' ')}", check=_is_object, params=params
        )
        return page

    def probe(self) -> None:
        """
        Make the cheapest call that reads no personal or bank data: ``GET /cleemy-procurement/api/natures?limit=1``.

        Returns only if what answers speaks JSON as the API does: other hosts answer 200 as well.

        :raises LuccaError: as :mod:`lucca_provider.exceptions` says
        """
        self._call("GET", "/natures", what="Testing the connection", check=_is_json, params={"limit": "1"})

    def _call(
        self,
        method: str,
        path: str,
        *,
        what: str,
        check: Callable[[Any], str | None],
        purchase_id: int | None = None,
        params: Mapping[str, Any] | None = None,
        json: dict[str, Any] | None = None,
    ) -> Any:
        """Make one call and return the JSON of a clear yes, ``None`` if it has none."""
        tenant = self._tenant
        asked = Asked(
            f"{what} at {tenant.base_url}", method == "GET", purchase_id, new_correlation_id(), check, tenant.conn_id
        )
        headers = {CORRELATION_ID: asked.correlation_id}
        url = f"{tenant.base_url}{API_PATH}{path}"
        log.debug("%s %s: lucca_correlation_id=%s", method, path, asked.correlation_id)
        with exchange(tenant.timeout, alone=not asked.reads) as watched:
            try:
                response = self.session.request(method, url, params=params, json=json, headers=headers, stream=True)
            except (OSError, HTTPError, http.client.HTTPException, ValueError) as failure:
                error = explain_failure(failure, asked, self._show, began=watched.began)
            else:
                return self._take(response, asked, watched)
        # Not within the clause above: the failure holds the request and its headers, and would go along as context.
        raise error

    def _take(self, response: requests.Response, asked: Asked, watched: Exchange) -> Any:
        with response:  # closes its connection, unless that was given back before
            body = read_body(response, show=self._show, reads=asked.reads, headers_whole=watched.headers_whole)
            if watched.has_more:
                body = replace(body, complete=False)
            error = find_problem(response, body, asked, self._show)
            watched.over = True
            # After an answer that is not understood, the next one on this connection may belong to anything.
            if asked.reads and body.complete and not isinstance(error, LuccaInDoubtError):
                response.raw.release_conn()
        self._warn_once(response, asked)
        if error:
            log.debug("%s: %s, lucca_correlation_id=%s", asked.what, response.status_code, asked.correlation_id)
            raise error
        return body.value

    def _warn_once(self, response: requests.Response, asked: Asked) -> None:
        deprecation = describe_deprecation(response.headers, self._show)
        if deprecation and (known := (self._tenant.base_url, deprecation)) not in _warned:
            _warned.add(known)
            log.warning(
                "Lucca says that a call %s. Check whether there is a newer version of this provider; Lucca sends "
                "notices to the API key's technical contact. (%s, lucca_correlation_id=%s)",
                deprecation,
                asked.what,
                asked.correlation_id,
            )


def _is_closing(purchase_id: int, value: object) -> str | None:
    """Expect nothing, since the answer is not documented; but if it shows a purchase, then this one, and closed."""
    while isinstance(value, dict) and len(value) == 1 and not value.keys() & {"id", "state"}:
        (value,) = value.values()  # an envelope
    shown = value if isinstance(value, list) else [value]
    problems = (_shows_another(purchase_id, each) for each in shown if isinstance(each, dict))
    return next((problem for problem in problems if problem), None)


def _shows_another(purchase_id: int, value: Mapping[str, Any]) -> str | None:
    lower = {name.lower(): said for name, said in value.items()}
    if isinstance(lower.get("state"), str) and lower["state"] != CLOSED_STATE:
        return "Lucca's answer does not show the purchase as closed."
    return _is_purchase(purchase_id, lower)


def _is_json(value: object) -> str | None:
    return None if isinstance(value, (dict, list)) else "Lucca's answer is neither a JSON object nor a list."


def _is_object(value: object) -> str | None:
    return None if isinstance(value, dict) else "Lucca's answer is not a JSON object."


def _is_purchase(purchase_id: int, value: object) -> str | None:
    if not isinstance(value, dict):
        return _is_object(value)
    # A cache gone wrong, say: the state of another purchase must not pass for this one's.
    return None if value.get("id", purchase_id) == purchase_id else "Lucca's answer is about another purchase."
