"""What can go wrong with Lucca, told by what Lucca certainly did.

.. code-block:: text

    LuccaError
    ├── LuccaConfigurationError   a field of the connection is wrong; nothing was sent
    ├── LuccaNotSentError         no connection, no name, no answer to the connect: Lucca never saw the request
    ├── LuccaThrottledError       429: Lucca saw the request and did not process it
    ├── LuccaRefusedError         a clear no (4xx)
    │   ├── LuccaForbiddenError   403
    │   └── LuccaNotFoundError    404: missing, or not visible to this key
    ├── LuccaAccessError          401, a redirect, 407, an untrusted certificate: nothing else will work either
    ├── LuccaInDoubtError         no answer, a broken one, 408 or 5xx: it may or may not have happened
    │   └── LuccaUnclearError     a whole answer with a success that is no clear yes
    └── LuccaUnresolvedError      a batch ended with purchases of which it is not known whether they are closed
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "LuccaAccessError",
    "LuccaConfigurationError",
    "LuccaError",
    "LuccaForbiddenError",
    "LuccaInDoubtError",
    "LuccaNotFoundError",
    "LuccaNotSentError",
    "LuccaRefusedError",
    "LuccaThrottledError",
    "LuccaUnclearError",
    "LuccaUnresolvedError",
]

GUIDE = re.compile(r' \(guide "[^)]*\)')
"""How the words of an error name the page of the docs that explains it."""


class LuccaError(Exception):
    """
    Base of every error of this provider.

    :param message: what happened and what to do, for a person; never contains the API key
    :param status: HTTP status of Lucca's answer, if there was one
    :param title: ``title`` of Lucca's problem details (RFC 7807)
    :param detail: ``detail`` of Lucca's problem details, or the start of a plain-text answer
    :param errors: ``errors`` of Lucca's problem details: field name to list of messages
    :param purchase_id: the purchase that the request was about
    :param retry_after: seconds that Lucca asked to wait
    :param outage: whether Lucca was down, and the same may be asked again once it is back
    :param web_page: whether a web page answered instead of the API
    :param correlation_id: what the request carried as ``X-Correlation-ID``, logged as ``lucca_correlation_id``
    :param server_correlation_id: Lucca's own ``X-Correlation-ID``, if it answered with one
    :param cf_ray: ``CF-RAY`` of the answer, if it had one
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        title: str | None = None,
        detail: str | None = None,
        errors: Mapping[str, Sequence[str]] | None = None,
        purchase_id: int | None = None,
        retry_after: float | None = None,
        outage: bool = False,
        web_page: bool = False,
        correlation_id: str | None = None,
        server_correlation_id: str | None = None,
        cf_ray: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = dict(errors or {})
        self.purchase_id = purchase_id
        self.retry_after = retry_after
        self.outage = outage
        self.web_page = web_page
        self.correlation_id = correlation_id
        self.server_correlation_id = server_correlation_id
        self.cf_ray = cf_ray

    @property
    def message(self) -> str:
        """What happened and what to do, without the ids that :meth:`__str__` adds for a support ticket."""
        return str(self.args[0])

    def __str__(self) -> str:
        ids = {
            "lucca_correlation_id": self.correlation_id,
            "X-Correlation-ID": self.server_correlation_id,
            "CF-RAY": self.cf_ray,
        }
        known = ", ".join(f"{name} {value}" for name, value in ids.items() if value)
        return f"{self.message} ({known})" if known else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # The default rebuilds from `args` alone and would lose the keyword-only facts.
        return type(self), self.args, self.__dict__


class LuccaConfigurationError(LuccaError):
    """A field of the Airflow connection is missing or wrong. Nothing was sent."""


class LuccaNotSentError(LuccaError):
    """The request certainly never reached Lucca: refused connection, DNS failure, connect time-out."""


class LuccaThrottledError(LuccaError):
    """429: the tenant's limit is used up. The request was not processed; ``retry_after`` says how long to wait."""


class LuccaRefusedError(LuccaError):
    """Lucca clearly said no (a 4xx). Sending the same again will not help."""


class LuccaForbiddenError(LuccaRefusedError):
    """403: the API key is good, but its role has no right to do this."""


class LuccaNotFoundError(LuccaRefusedError):
    """404: there is no such thing, or this API key may not see it."""


class LuccaAccessError(LuccaError):
    """The key, the host, its certificate or a proxy is wrong, so no other request will work either."""


class LuccaInDoubtError(LuccaError):
    """The request was sent, but it is not known whether it took effect. Read the state before repeating it."""


class LuccaUnclearError(LuccaInDoubtError):
    """A complete answer with a 2xx that is not a clear yes: text, a web page, another status. No sign of an outage."""


class LuccaUnresolvedError(LuccaError):
    """A batch ended with purchases ``unresolved``. Trying the task again is safe: it reads their state first."""
