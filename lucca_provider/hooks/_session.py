"""
The HTTP session of one tenant.

It cannot forget its time-out, follow a redirect, skip TLS checks, send a request twice, or give the key to others.
"""

from __future__ import annotations

import datetime
import email.utils
import math
import re
import time
import uuid
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase
from requests.exceptions import InvalidProxyURL
from requests.utils import get_environ_proxies, select_proxy

from lucca_provider.hooks._tenant import DEFAULT_PORTS, Tenant, is_loopback
from lucca_provider.hooks._wire import WatchedAdapter

__all__ = ["CORRELATION_ID", "build_session", "new_correlation_id", "read_http_date", "read_retry_after"]

CORRELATION_ID = "X-Correlation-ID"
"""The header by which Lucca's servers and this side can find the same request in their logs."""


def read_retry_after(value: str | None, *, date: str | None = None) -> float | None:
    """
    Read a ``Retry-After`` header, in either of its forms (RFC 9110; which one Lucca uses is unknown).

    :param value: seconds or an HTTP date
    :param date: the answer's own ``Date``, by which an HTTP date is read: the worker's clock may be wrong
    :return: seconds from now, at least 0; ``None`` if it is missing or makes no sense
    """
    text = (value or "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text):
        return float(text)
    moment, now = read_http_date(text), read_http_date(date or "")
    if moment is None:
        return None
    return max(0.0, float(math.ceil(moment - (time.time() if now is None else now))))


def read_http_date(text: str) -> float | None:
    """
    Read a date in one of the forms that HTTP has for it (RFC 9110, 5.6.7).

    :param text: value of a header
    :return: seconds since the epoch; ``None`` if it is no date
    """
    try:
        moment = email.utils.parsedate_to_datetime(text)
        if moment.tzinfo is None:  # "-0000", or the form of asctime: an HTTP date is in UTC whatever it looks like
            moment = moment.replace(tzinfo=datetime.timezone.utc)
        return moment.timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def new_correlation_id() -> str:
    """Return an id for one request: random, so that it tells nothing of a DAG, a run or a purchase."""
    return str(uuid.uuid4())


class _Adapter(WatchedAdapter):
    def __init__(self, *, timeout: float, pool_size: int) -> None:
        self._timeout = timeout
        # Nothing is repeated here: a 429 counts into the tenant's limit, and who repeats a request has to know of it.
        super().__init__(max_retries=0, pool_maxsize=pool_size)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        url = request.url or ""
        if is_loopback(urlsplit(url).hostname or ""):
            proxies = {}
        elif url.startswith("http:") and select_proxy(url, dict(proxies or {})):
            raise InvalidProxyURL("a proxy of an http address would read the API key")
        if CORRELATION_ID not in request.headers:
            request.headers[CORRELATION_ID] = new_correlation_id()
        return super().send(
            request,
            stream=stream,
            timeout=self._timeout if timeout is None else timeout,
            verify=verify or True,
            cert=cert,
            proxies=proxies,
        )


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Follow none: the key must not travel, and a login page must not pass for an answer."""


class _Key(AuthBase):
    """Puts the API key on requests to the tenant, and on no others."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if _origin(request.url or "") == _origin(self._tenant.base_url):
            request.headers["Authorization"] = f"lucca application={self._tenant.api_key}"
        return request


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)


def build_session(tenant: Tenant, *, user_agent: str, pool_size: int) -> requests.Session:
    """
    Build a session for one tenant, which several threads may use at once.

    :param user_agent: value of ``User-Agent``
    :param pool_size: connections that are kept open
    :raises LuccaConfigurationError: if the key would go to a proxy in clear text
    """
    proxies = get_environ_proxies(tenant.base_url, no_proxy=None)
    if tenant.base_url.startswith("http:") and not is_loopback(tenant.host) and select_proxy(tenant.base_url, proxies):
        raise tenant.error(
            "schema",
            "'http' would send the API key unencrypted to the worker's proxy; use https, or name the host in the "
            "worker's NO_PROXY",
        )
    session = _Session()
    # gzip alone: it is the encoding of which this side knows whether all of it arrived.
    session.headers.update({"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": user_agent})
    # Each request stands for itself: no cookie of a gateway or of a login page goes along with the next one.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    # Without an auth of its own, requests would put a password of ~/.netrc in the place of the key.
    session.auth = _Key(tenant)
    adapter = _Adapter(timeout=tenant.timeout, pool_size=pool_size)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session
