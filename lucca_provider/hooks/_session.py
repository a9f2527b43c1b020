"""The HTTP session: cannot forget its time-out, follow a redirect, skip TLS checks, or send a POST twice."""

from __future__ import annotations

import datetime
import email.utils
import math
import re
import time
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from lucca_provider.hooks._tenant import Tenant

__all__ = ["build_session", "read_retry_after"]

MAX_RETRY_AFTER = 60.0
"""Seconds that a transport retry waits at most: the length of Lucca's window. urllib3's own cap is six hours."""
MAX_BACKOFF = 8.0
"""Seconds between two tries to connect, at most."""


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
    moment, now = _http_date(text), _http_date(date or "")
    if moment is None:
        return None
    return max(0.0, float(math.ceil(moment - (time.time() if now is None else now))))


def _http_date(text: str) -> float | None:
    try:
        moment = email.utils.parsedate_to_datetime(text)
        if moment.tzinfo is None:  # "-0000", or the form of asctime: an HTTP date is in UTC whatever it looks like
            moment = moment.replace(tzinfo=datetime.timezone.utc)
        return moment.timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


class TransportRetry(Retry):
    """
    Retries what Lucca certainly did not process, whatever the method: a failed connect and a 429.

    By default urllib3 also retries 413 and 503 when they carry ``Retry-After``, which could send a POST twice.
    """

    RETRY_AFTER_STATUS_CODES = frozenset({429})

    @classmethod
    def times(cls, retries: int) -> TransportRetry:
        """Build one with so many retries."""
        return cls(
            total=retries,
            connect=retries,
            read=False,
            redirect=False,
            status=retries,
            other=0,
            allowed_methods=None,
            status_forcelist={429},
            backoff_factor=0.5,
            raise_on_status=False,
            raise_on_redirect=False,
        )

    def get_backoff_time(self) -> float:
        """Return the seconds between two tries to connect. A cap of urllib3's own has another name in every version."""
        return min(super().get_backoff_time(), MAX_BACKOFF)

    def parse_retry_after(self, retry_after: str) -> float:
        """Return the seconds to wait, capped; a header that makes no sense counts as a whole window."""
        seconds = read_retry_after(retry_after)
        return MAX_RETRY_AFTER if seconds is None else min(seconds, MAX_RETRY_AFTER)


class _Adapter(HTTPAdapter):
    def __init__(self, *, timeout: float, retries: int, pool_size: int) -> None:
        self._timeout = timeout
        super().__init__(max_retries=TransportRetry.times(retries), pool_maxsize=pool_size)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
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


def build_session(tenant: Tenant, *, user_agent: str, retries: int, pool_size: int) -> requests.Session:
    """
    Build a session for one tenant, which several threads may use at once.

    :param user_agent: value of ``User-Agent``
    :param retries: how often to try again what Lucca certainly did not process
    :param pool_size: connections that are kept open
    """
    session = _Session()
    session.headers.update(
        {
            "Authorization": f"lucca application={tenant.api_key}",
            "Accept": "application/json",
            "User-Agent": user_agent,
        }
    )
    # Each request stands for itself: no cookie of a gateway or of a login page goes along with the next one.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    # Without this, requests would put a password of ~/.netrc in the place of the key.
    session.auth = _keep_authorization
    adapter = _Adapter(timeout=tenant.timeout, retries=retries, pool_size=pool_size)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _keep_authorization(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
