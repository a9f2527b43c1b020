"""The hook: an Airflow connection in, authenticated calls of the Lucca Invoices API out."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import requests

from lucca_provider import __version__
from lucca_provider.compat import AirflowNotFoundException, BaseHook, mask_secret
from lucca_provider.exceptions import LuccaConfigurationError, LuccaError
from lucca_provider.get_provider_info import CONNECTION_FIELDS, FIELD_BEHAVIOUR
from lucca_provider.hooks._lists import Query, read_pages, read_query
from lucca_provider.hooks._tenant import Tenant
from lucca_provider.hooks.advice import advise
from lucca_provider.hooks.client import InvoicesClient
from lucca_provider.inputs import parse_closing_date, parse_comment, parse_purchase_ids
from lucca_provider.limits import Pacer, Window
from lucca_provider.reading.lists import DOCUMENTS, PURCHASES, ListPage, ListReader

if TYPE_CHECKING:
    import datetime

__all__ = ["LuccaHook"]

log = logging.getLogger(__name__)

_NOT_PICKLED = ("tenant", "client", "pacer")


class LuccaHook(BaseHook):
    """
    Connects to a tenant of Lucca Invoices.

    The methods that talk to Lucca raise the errors of :mod:`lucca_provider.exceptions`, which say what Lucca
    certainly did, and :class:`~lucca_provider.exceptions.LuccaConfigurationError` before anything is sent if the
    connection is wrong.

    They go through :attr:`pacer`: one after another, within the connection's share of the tenant's rate limit. After a
    429 they wait as long as Lucca asks, up to ten minutes in all, and then raise
    :class:`~lucca_provider.exceptions.LuccaThrottledError`. A request that certainly was not sent is tried four times.
    So is a read without a clear answer. A closing that may have been processed is never repeated. To close many
    purchases, use :class:`~lucca_provider.operators.purchases.ClosePurchaseOperator`.

    :param lucca_conn_id: the Airflow connection, of type ``lucca``
    """

    conn_name_attr = "lucca_conn_id"
    default_conn_name = "lucca_default"
    conn_type = "lucca"
    hook_name = "Lucca"

    def __init__(self, lucca_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.lucca_conn_id = lucca_conn_id

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
        """
        Return which fields of the connection form are hidden or renamed, for Airflow before 3.2.

        Extra is not hidden: the page of 2.11 on which a connection is edited makes no editor for a hidden one, and the
        handler of its button *Test* fails without an editor.
        """
        behaviour = {name.replace("-", "_"): value for name, value in FIELD_BEHAVIOUR.items()}
        return behaviour | {"hidden_fields": [name for name in behaviour["hidden_fields"] if name != "extra"]}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what holds the API key or a lock: a pickled hook reads its connection again."""
        return {name: value for name, value in self.__dict__.items() if name not in _NOT_PICKLED}

    # -- the connection --------------------------------------------------------------------------------------------

    @cached_property
    def tenant(self) -> Tenant:
        """
        The connection, read and checked.

        :raises LuccaConfigurationError: naming the connection id and the field
        :raises AirflowNotFoundException: if there is no such connection
        """
        # Not kept in a variable: a log of this frame's would show the key.
        return Tenant.from_connection(self._find_connection(), mask=mask_secret)

    def _find_connection(self) -> Any:
        try:
            return self.get_connection(self.lucca_conn_id)
        except AirflowNotFoundException:
            raise AirflowNotFoundException(
                f"There is no connection {self.lucca_conn_id!r}. Create it, or correct lucca_conn_id (guide "
                '"Connection").'
            ) from None

    @property
    def base_url(self) -> str:
        """Scheme, host and port of the tenant, without a slash at the end."""
        return self.tenant.base_url

    @property
    def environment(self) -> str:
        """``production``, ``test``, ``demo``, ``sandbox`` or ``other``, told by the host name."""
        return self.tenant.environment

    @cached_property
    def client(self) -> InvoicesClient:
        """
        What makes single requests at once: nothing is repeated or waited for, and nothing counts them.

        :raises LuccaConfigurationError: if the connection is wrong
        """
        from airflow import __version__ as airflow_version

        user_agent = f"airflow-provider-lucca/{__version__} apache-airflow/{airflow_version}"
        return InvoicesClient(self.tenant, user_agent=user_agent)

    def get_conn(self) -> requests.Session:
        """
        Return the session, which puts the key on requests to the tenant. Several threads may use it.

        It has a default time-out, follows no redirect, always checks certificates, and sends a request once.

        :raises LuccaConfigurationError: if the connection is wrong
        """
        return self.client.session

    @cached_property
    def pacer(self) -> Pacer:
        """
        What keeps the calls of this hook within the connection's share of the tenant's rate limit.

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
        close = partial(
            self.client.close_purchase,
            _one_id(purchase_id),
            comment=parse_comment(comment),
            closing_date=parse_closing_date(closing_date),
        )
        self.pacer.call(close, repeat_in_doubt=False)

    def get_purchase(self, purchase_id: int) -> dict[str, Any]:
        """
        Read a purchase: ``GET /cleemy-procurement/api/purchases/{id}``.

        :return: Lucca's JSON object. ``state`` is the only sign of a closing; a missing one means unknown, not open
        :raises ValueError: for an id that cannot be one
        :raises LuccaError: as :mod:`lucca_provider.exceptions` says
        """
        return self.pacer.call(partial(self.client.get_purchase, _one_id(purchase_id)), repeat_in_doubt=True)

    def list_purchases(self, query: Query | None = None) -> Iterator[Mapping[str, Any]]:
        """
        Read all purchases: ``GET /cleemy-procurement/api/purchases``, up to 1000 with each request.

        A page is read when its first purchase is needed, as soon as the rate limit allows.

        :param query: query parameters to send. Which filters this list has is not documented, so whatever
            matters has to be filtered again by the caller
        :return: Lucca's JSON objects, each with an integer ``id``
        :raises ValueError: for parameters that cannot be used; nothing was sent
        :raises LuccaError: as :mod:`lucca_provider.exceptions` says; also if the list cannot be read as a whole
        """
        return _items_of(self.purchase_pages(query))

    def purchase_pages(self, query: Query | None = None) -> Iterator[ListPage]:
        """
        Read all purchases as :meth:`list_purchases`, by pages, each of which may tell how many there are in all.

        :param query: query parameters to send
        :raises ValueError: for parameters that cannot be used; nothing was sent
        :raises LuccaError: as :meth:`list_purchases`
        """
        return self._pages(ListReader(PURCHASES, read_query(query)), "Listing purchases")

    def list_booked_documents(
        self, created_since: datetime.date | str | None = None, query: Query | None = None
    ) -> Iterator[Mapping[str, Any]]:
        """
        Read invoices and credit notes: ``GET /cleemy-procurement/api/booked-documents``, up to 1000 with each request.

        A page is read when its first document is needed, as soon as the rate limit allows.

        :param created_since: only those that were created on this day or later, a date or ``YYYY-MM-DD``
        :param query: query parameters to send. Lucca documents ``invoice.conformityStates`` and
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
        :param query: query parameters to send
        :raises ValueError: for arguments that cannot be used; nothing was sent
        :raises LuccaError: as :meth:`list_booked_documents`
        """
        given = read_query(query)
        if (day := parse_closing_date(created_since, name="created_since")) is not None:
            given["createdAt.from"] = [day]
        return self._pages(ListReader(DOCUMENTS, given), "Listing booked documents")

    def _pages(self, reader: ListReader, what: str) -> Iterator[ListPage]:
        return read_pages(reader, lambda: self.get_page(reader.path, reader.params), what=what)

    def get_page(self, path: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """
        Read one page of a list.

        :param path: of the list below ``/cleemy-procurement/api``, such as ``/purchases``
        :param params: query parameters
        :return: Lucca's JSON object, not interpreted
        :raises LuccaError: as :mod:`lucca_provider.exceptions` says
        """
        return self.pacer.call(partial(self.client.get_page, path, params), repeat_in_doubt=True)

    def probe(self) -> None:
        """
        Make the cheapest call that reads no personal or bank data: ``GET /cleemy-procurement/api/natures?limit=1``.

        :raises LuccaError: as :mod:`lucca_provider.exceptions` says
        """
        self.pacer.call(self.client.probe, repeat_in_doubt=True)

    def test_connection(self) -> tuple[bool, str]:
        """
        Try the connection with one cheap GET, which is not waited for or repeated.

        :return: whether it works, and a message that says which tenant, or what is wrong and what to do
        """
        try:
            self.client.probe()
        except LuccaConfigurationError as error:
            return False, self._without_id(str(error))
        except LuccaError as error:
            # For a support ticket; on the page its ids would only push aside what to do.
            log.warning("The test of the connection failed: %s", error)
            return False, self._without_id(advise(error))
        kind = "" if self.environment == "other" else f" ({self.environment})"
        return True, (
            f"Connected to {self.base_url}{kind}. This does not show whether the API key may view or close purchases; "
            "it needs both rights."
        )

    def _without_id(self, message: str) -> str:
        """Leave out the connection's id: Airflow tests a connection under another one, which nobody has seen."""
        return message.removeprefix(f"Connection {self.lucca_conn_id!r}: ").replace(f" {self.lucca_conn_id!r}", "")


def _one_id(value: int) -> int:
    (purchase_id,) = parse_purchase_ids([value], name="purchase_id")
    return purchase_id


def _items_of(pages: Iterator[ListPage]) -> Iterator[Mapping[str, Any]]:
    return (item for page in pages for item in page.items)
