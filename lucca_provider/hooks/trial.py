"""The tenant of a connection as a trial asks it: single requests within the rate limit, and what their heads said."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import requests

from lucca_provider.hooks._deprecation import describe_deprecation
from lucca_provider.hooks._session import CORRELATION_ID, read_retry_after
from lucca_provider.hooks._tenant import is_loopback
from lucca_provider.hooks._words import Show
from lucca_provider.trial import Head

if TYPE_CHECKING:
    from lucca_provider.hooks.lucca import LuccaHook

__all__ = ["TriedTenant"]

T = TypeVar("T")

FOR_TRIALS = ("test", "demo", "sandbox")
"""Environments in which closings do no harm, besides this machine."""
_KINDS = {"application/json": "JSON", "application/problem+json": "problem details", "text/html": "a web page"}
_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"


class TriedTenant:
    """
    Asks the tenant of a connection. A request is repeated after a 429, or if it certainly was not sent.

    :param hook: the connection. From now on it notes the head of each answer
    :raises LuccaConfigurationError: if the connection is wrong
    """

    def __init__(self, hook: LuccaHook) -> None:
        self.heads: list[Head] = []
        """What the heads of all answers so far said."""
        self.requests = 0
        """How many requests were made, those included that were not sent for want of a connection."""
        self._hook = hook
        self._show = Show(hook.tenant.api_key)
        self._call = ""
        hook.get_conn().hooks["response"].append(self._note)

    @property
    def environment(self) -> str:
        """As :attr:`LuccaHook.environment` says, or ``this machine``."""
        return "this machine" if is_loopback(self._hook.tenant.host) else self._hook.environment

    @property
    def may_be_closed_in(self) -> bool:
        """Whether a purchase may be closed there to see what happens."""
        return self.environment in (*FOR_TRIALS, "this machine")

    def probe(self) -> None:
        """Make the cheapest call."""
        self._make("natures", self._hook.client.probe)

    def get_page(self, path: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """
        Return the JSON of a page of a list.

        :param path: of the list
        :param params: query parameters
        """
        return self._make(path.strip("/"), partial(self._hook.client.get_page, path, params))

    def get_purchase(self, purchase_id: int) -> dict[str, Any]:
        """Return the JSON of a purchase."""
        return self._make("one purchase", partial(self._hook.client.get_purchase, purchase_id))

    def close_purchase(self, purchase_id: int) -> None:
        """Close a purchase."""
        close = partial(self._hook.client.close_purchase, purchase_id, comment="Trial by Airflow", closing_date=None)
        self._make("closing", close)

    def _make(self, call: str, perform: Callable[[], T]) -> T:
        def counted() -> T:
            self.requests += 1
            return perform()

        self._call = call
        return self._hook.pacer.call(counted, repeat_in_doubt=False)

    def _note(self, response: requests.Response, **_: Any) -> None:
        headers = response.headers
        theirs, ours = headers.get(CORRELATION_ID), response.request.headers.get(CORRELATION_ID)
        size = headers.get("Content-Length", "").strip()
        self.heads.append(
            Head(
                call=self._call,
                status=response.status_code,
                seconds=response.elapsed.total_seconds(),
                kind=_kind_of(headers),
                size=int(size) if re.fullmatch(r"[0-9]{1,12}", size) else None,
                retry_after=_form_of_wait(headers),
                correlation_id=None if not theirs else "repeated" if theirs == ours else "of its own",
                has_cf_ray="CF-RAY" in headers,
                deprecation=_deprecation_of(headers, self._show),
            )
        )


def _kind_of(headers: Mapping[str, str]) -> str:
    given = headers.get("Content-Type")
    return "no type" if given is None else _KINDS.get(given.partition(";")[0].strip().lower(), "another type")


def _form_of_wait(headers: Mapping[str, str]) -> str | None:
    wait = headers.get("Retry-After")
    if wait is None:
        return None
    if read_retry_after(wait) is None:
        return "in another form"
    return "seconds" if re.fullmatch(r"[0-9.]+", wait.strip()) else "a date"


def _deprecation_of(headers: Mapping[str, str], show: Show) -> str | None:
    words = describe_deprecation(headers, show)
    if words is None or re.fullmatch(rf"is deprecated(?: since {_DAY})?(?: and goes away on {_DAY})?", words):
        return words
    # What is no date is not repeated.
    return "is deprecated, with a date in another form"
