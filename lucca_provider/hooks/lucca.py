"""The hook: an Airflow connection in, authenticated calls of the Lucca Invoices API out."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import requests
from airflow.providers.common.compat.sdk import BaseHook
from urllib3.exceptions import HTTPError

from lucca_provider import __version__
from lucca_provider.checking import ListPage
from lucca_provider.closing import Page
from lucca_provider.exceptions import (
    LuccaAccessError,
    LuccaError,
    LuccaForbiddenError,
    LuccaInDoubtError,
    LuccaNotFoundError,
)
from lucca_provider.get_provider_info import CONNECTION_FIELDS, FIELD_BEHAVIOUR
from lucca_provider.hooks._answers import check_answer, explain_failure, read_body
from lucca_provider.hooks._lists import PAGE_SIZE, Query, has_id, read_items, read_pages, read_query, read_token
from lucca_provider.hooks._session import build_session
from lucca_provider.hooks._tenant import Tenant
from lucca_provider.inputs import parse_closing_date, parse_comment, parse_purchase_ids
from lucca_provider.limits import Pacer, Window

try:
    from airflow.sdk.log import mask_secret
except ImportError:
    # Airflow 2. The compat provider has this only in later versions than the provider needs.
    from airflow.utils.log.secrets_masker import mask_secret  # type: ignore[import-not-found,no-redef]

if TYPE_CHECKING:
    import datetime

__all__ = ["LuccaHook"]

API_PATH = "/cleemy-procurement/api"
POOL_SIZE = 32
_NOT_PICKLED = ("tenant", "_session", "_paced_session", "pacer")


class LuccaHook(BaseHook):
    """
    Connects to a tenant of Lucca Invoices.

    The methods that talk to Lucca raise the errors of :mod:`lucca_provider.exceptions`, which say what Lucca
    certainly did, and :class:`~lucca_provider.exceptions.LuccaConfigurationError` before anything is sent if the
    connection is wrong. Those that read lists keep to the connection's share of the tenant's limit by themselves. The
    others make one request at once: who makes many lets :attr:`pacer` make reads, and
    :class:`~lucca_provider.operators.purchases.ClosePurchaseOperator` closings.

    A kept connection that the server has closed is noticed before it is used again. If it closes just as a request
    goes out, nobody can tell whether the request was read: that is a
    :class:`~lucca_provider.exceptions.LuccaInDoubtError` like any other lost answer, and never repeated here.

    :param lucca_conn_id: the Airflow connection, of type ``lucca``
    :param retries: how often the transport tries again after a failed connect or a 429, neither of which can
        make a POST happen twice
    """

    conn_name_attr = "lucca_conn_id"
    default_conn_name = "lucca_default"
    conn_type = "lucca"
    hook_name = "Lucca"

    def __init__(self, lucca_conn_id: str = default_conn_name, *, retries: int = 3) -> None:
        super().__init__()
        self.lucca_conn_id = lucca_conn_id
        self._retries = retries

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the extra fields of the connection form, for Airflow before 3.2."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from flask_babel import lazy_gettext
        from wtforms import BooleanField, IntegerField, StringField
        from wtforms.validators import Optional

        # Airflow drops a hook whose form has fields of any other class, such as FloatField.
        kinds = {"integer": IntegerField, "number": StringField, "boolean": BooleanField}
        widgets = {}
        for name, spec in CONNECTION_FIELDS.items():
            kind = next(t for t in spec["schema"]["type"] if t != "null")
            options = {} if kind == "boolean" else {"widget": BS3TextFieldWidget()}
            widgets[name] = kinds[kind](
                lazy_gettext(spec["label"]), validators=[Optional()], description=spec["description"], **options
            )
        return widgets

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return which fields of the connection form are hidden or renamed, for Airflow before 3.2."""
        return {name.replace("-", "_"): value for name, value in FIELD_BEHAVIOUR.items()}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what holds the API key or a lock: a pickled hook reads its connection again."""
        return {name: value for name, value in self.__dict__.items() if name not in _NOT_PICKLED}

    # -- the connection --------------------------------------------------------------------------------------------

    @cached_property
    def tenant(self) -> Tenant:
        """
        The connection, read and checked.

        :raises LuccaConfigurationError: naming the connection id and the field
        """
        tenant = Tenant.from_connection(self.get_connection(self.lucca_conn_id))
        # Airflow masks the password as it stands; it may have been pasted with more than the key around it.
        mask_secret(tenant.api_key)
        return tenant

    @property
    def base_url(self) -> str:
        """Scheme, host and port of the tenant, without a slash at the end."""
        return self.tenant.base_url

    @property
    def environment(self) -> str:
        """``production``, ``test``, ``demo``, ``sandbox`` or ``other``, told by the host name."""
        return self.tenant.environment

    @cached_property
    def _session(self) -> requests.Session:
        return self._build_session(self._retries)

    @cached_property
    def _paced_session(self) -> requests.Session:
        """The session of what goes through the pacer, which has to count each repetition."""
        return self._build_session(0)

    def _build_session(self, retries: int) -> requests.Session:
        from airflow import __version__ as airflow_version

        user_agent = f"airflow-provider-lucca/{__version__} apache-airflow/{airflow_version}"
        return build_session(self.tenant, user_agent=user_agent, retries=retries, pool_size=POOL_SIZE)

    def get_conn(self) -> requests.Session:
        """
        Return the session, with the key in its headers. One session per hook; several threads may use it.

        It has a default time-out, follows no redirect, always checks certificates, and never repeats a POST that
        may have been processed.

        :raises LuccaConfigurationError: if the connection is wrong
        """
        return self._session

    @cached_property
    def pacer(self) -> Pacer:
        """
        What keeps the reads of this hook within the connection's share of the tenant's limit.

        :raises LuccaConfigurationError: if the connection is wrong
        """
        return Pacer(Window(self.tenant.requests_per_minute, self.tenant.window_seconds))

    # -- calls -----------------------------------------------------------------------------------------------------

    def close_purchase(
        self,
        purchase_id: int,
        *,
        comment: str | None = None,
        closing_date: datetime.date | str | None = None,
    ) -> None:
        """
        Close a purchase: ``POST /cleemy-procurement/api/purchases/{id}/closing``. This cannot be undone.

        Returns only if Lucca clearly said yes. On :class:`~lucca_provider.exceptions.LuccaInDoubtError` the closing
        may have happened: read the purchase, not sooner than 5 seconds later, before trying again.

        :param purchase_id: 1 to 2,147,483,647
        :param comment: sent only if given
        :param closing_date: day of the closing, a date or ``YYYY-MM-DD``; sent only if given
        :raises ValueError: for an argument that cannot be used; nothing was sent
        :raises LuccaError: as :mod:`lucca_provider.exceptions` says
        """
        purchase_id = _one_id(purchase_id)
        body = {"comment": parse_comment(comment), "date": parse_closing_date(closing_date)}
        self._call(
            "POST",
            f"/purchases/{purchase_id}/closing",
            what=f"Closing purchase {purchase_id}",
            purchase_id=purchase_id,
            json={name: value for name, value in body.items() if value is not None},
        )

    def get_purchase(self, purchase_id: int) -> dict[str, Any]:
        """
        Read a purchase: ``GET /cleemy-procurement/api/purchases/{id}``.

        :return: Lucca's JSON object. ``state`` is the only sign of a closing; a missing one means unknown, not open
        :raises ValueError: for an id that cannot be one
        :raises LuccaError: as :mod:`lucca_provider.exceptions` says
        """
        purchase_id = _one_id(purchase_id)
        what = f"Reading purchase {purchase_id}"
        value = self._call("GET", f"/purchases/{purchase_id}", what=what, purchase_id=purchase_id)
        if not isinstance(value, dict):
            raise LuccaInDoubtError(f"{what}: Lucca's answer is not a JSON object.", purchase_id=purchase_id)
        if value.get("id", purchase_id) != purchase_id:
            # A cache gone wrong, say: the state of another purchase must not pass for this one's.
            raise LuccaInDoubtError(f"{what}: Lucca's answer is about another purchase.", purchase_id=purchase_id)
        return value

    def get_purchase_states(self, cursor: str | None = None) -> Page:
        """
        Read the states of up to 1000 purchases: ``GET /cleemy-procurement/api/purchases``.

        The query parameters of this list are not documented; those of its siblings (``limit``, ``page``,
        ``fields.root``) are sent.

        :param cursor: ``cursor`` of the page before
        :raises LuccaError: as :mod:`lucca_provider.exceptions` says
        """
        params = {"limit": str(PAGE_SIZE), "fields.root": "next"}
        if cursor is not None:
            params["page"] = cursor
        answer = self._call("GET", "/purchases", what="Listing purchases", params=params)
        items = read_items(answer, "Listing purchases")
        states = {item["id"]: _state_of(item) for item in items if has_id(item)}
        return Page(states, read_token(answer))

    def list_purchases(self, query: Query | None = None) -> Iterator[Mapping[str, Any]]:
        """
        Read all purchases: ``GET /cleemy-procurement/api/purchases``, up to 1000 with each request.

        Lazily: a page is read once its first purchase is asked for, as soon as the limit allows.

        :param query: query parameters to send along. Which filters this list has is not documented, so whatever
            matters has to be filtered again by who reads it
        :return: Lucca's JSON objects, each with an integer ``id``
        :raises ValueError: for parameters that cannot be used; nothing was sent
        :raises LuccaError: as :mod:`lucca_provider.exceptions` says; also if the list cannot be read as a whole
        """
        return _items_of(self.purchase_pages(query))

    def purchase_pages(self, query: Query | None = None) -> Iterator[ListPage]:
        """
        Read all purchases as :meth:`list_purchases`, by pages, each of which may tell how many there are in all.

        :param query: query parameters to send along
        :raises ValueError: for parameters that cannot be used; nothing was sent
        :raises LuccaError: as :meth:`list_purchases`
        """
        return self._pages("/purchases", "Listing purchases", read_query(query))

    def list_booked_documents(
        self, created_since: datetime.date | str | None = None, query: Query | None = None
    ) -> Iterator[Mapping[str, Any]]:
        """
        Read invoices and credit notes: ``GET /cleemy-procurement/api/booked-documents``, up to 1000 with each request.

        Lazily: a page is read once its first document is asked for, as soon as the limit allows.

        :param created_since: only those that were created on this day or later, a date or ``YYYY-MM-DD``
        :param query: query parameters to send along. Lucca documents ``invoice.conformityStates`` and
            ``creditNote.conformityStates``; a filter by purchase is not documented
        :return: Lucca's JSON objects, each with an integer ``id``
        :raises ValueError: for arguments that cannot be used; nothing was sent
        :raises LuccaError: as :mod:`lucca_provider.exceptions` says; also if the list cannot be read as a whole
        """
        return _items_of(self.booked_document_pages(created_since, query))

    def booked_document_pages(
        self, created_since: datetime.date | str | None = None, query: Query | None = None
    ) -> Iterator[ListPage]:
        """
        Read documents as :meth:`list_booked_documents`, by pages, each of which may tell how many there are in all.

        :param created_since: only those that were created on this day or later, a date or ``YYYY-MM-DD``
        :param query: query parameters to send along
        :raises ValueError: for arguments that cannot be used; nothing was sent
        :raises LuccaError: as :meth:`list_booked_documents`
        """
        given = read_query(query)
        if (day := parse_closing_date(created_since, name="created_since")) is not None:
            given["createdAt.from"] = [day]
        return self._pages("/booked-documents", "Listing booked documents", given)

    def _pages(self, path: str, what: str, query: Query) -> Iterator[ListPage]:
        def fetch(params: Mapping[str, Any]) -> Any:
            call = partial(self._call, "GET", path, what=what, params=params, session=self._paced_session)
            return self.pacer.call(call, repeat_in_doubt=True)

        return read_pages(fetch, query, what=what)

    def probe(self) -> None:
        """
        Make the cheapest call that reads no personal or bank data: ``GET /cleemy-procurement/api/natures?limit=1``.

        :raises LuccaError: as :mod:`lucca_provider.exceptions` says
        """
        self._call("GET", "/natures", what="Reading the list of natures", params={"limit": "1"})

    def test_connection(self) -> tuple[bool, str]:
        """
        Try the connection with one cheap GET.

        :return: whether it works, and a message that says which tenant, or what is wrong and what to do
        """
        try:
            where = f"{self.base_url} ({self.environment})"
        except LuccaError as error:
            return False, str(error)
        try:
            self.probe()
        except LuccaForbiddenError:
            return False, (
                f"{where}: the API key is good, but its role has no right on Lucca Invoices (403). Give the key's role "
                "the rights to view purchases and to manage invoices and payments of approved purchases."
            )
        except LuccaNotFoundError:
            return False, (
                f"{where}: nothing there answers as Lucca Invoices (404). Check that Host is your tenant, such as "
                "acme.ilucca.net, and that it has the Invoices module."
            )
        except LuccaAccessError as error:
            return False, f"{where}: {error}"
        except LuccaError as error:
            return False, f"{where}: {error} Try again later."
        return (
            True,
            f"Connected to {where}. Whether the API key's role has the right to close, only a closing can tell.",
        )

    def _call(
        self,
        method: str,
        path: str,
        *,
        what: str,
        purchase_id: int | None = None,
        params: Mapping[str, Any] | None = None,
        json: dict[str, Any] | None = None,
        session: requests.Session | None = None,
    ) -> Any:
        """Make one call and return the JSON of a clear yes, ``None`` if it has none."""
        tenant = self.tenant
        what = f"{what} at {tenant.base_url}"
        doubt = "It may or may not have happened." if method == "POST" else "Nothing was changed."
        around = sys.exc_info()[1]
        try:
            response = (session or self._session).request(
                method, f"{tenant.base_url}{API_PATH}{path}", params=params, json=json, stream=True
            )
        except (OSError, HTTPError) as failure:
            error = explain_failure(
                failure, around=around, what=what, doubt=doubt, secret=tenant.api_key, purchase_id=purchase_id
            )
        else:
            with response:
                body = read_body(response, secret=tenant.api_key, deadline=tenant.timeout)
            check_answer(response, body, what=what, doubt=doubt, purchase_id=purchase_id)
            return body.value
        # Not within the clause above: the failure holds the request and its headers, and would go along as context.
        raise error


def _one_id(value: int) -> int:
    (purchase_id,) = parse_purchase_ids([value], name="purchase_id")
    return purchase_id


def _items_of(pages: Iterator[ListPage]) -> Iterator[Mapping[str, Any]]:
    return (item for page in pages for item in page.items)


def _state_of(item: Mapping[str, Any]) -> str | None:
    state = item.get("state")
    return state if isinstance(state, str) else None
