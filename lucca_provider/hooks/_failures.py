"""Turns the failure of a request without an answer into an error that says whether anything was sent."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator

import requests
from urllib3.exceptions import HTTPError
from urllib3.util.ssl_match_hostname import CertificateError

from lucca_provider.exceptions import LuccaAccessError, LuccaError, LuccaInDoubtError, LuccaNotSentError
from lucca_provider.hooks._answers import Asked
from lucca_provider.hooks._tenant import field_label
from lucca_provider.hooks._words import Show

__all__ = ["explain_failure"]

MAX_CAUSES = 10
"""Failures within each other that are looked at."""


def explain_failure(failure: Exception, asked: Asked, show: Show, *, began: bool) -> LuccaError:
    """
    Return the error for a request without an answer.

    Raise it outside of the ``except`` clause: ``failure`` holds the request, and that the API key.

    :param failure: what was raised; what it says may be written by the other side, and decides nothing
    :param asked: the request
    :param show: makes the failure's text fit for a log
    :param began: whether a byte of the request may have gone out, as this side knows it
    """
    reason = show(_reason(failure))
    host = field_label("host")
    if began:
        kind: type[LuccaError] = LuccaInDoubtError
        message = f"no answer ({reason}). {asked.doubt}"
    elif _is_untrusted(failure):
        kind = LuccaAccessError
        message = (
            f"the server's certificate is not trusted ({reason}). Nothing was sent; check the connection's {host} and "
            "the worker's CA certificates."
        )
    elif _cannot_be_made(failure):
        kind = LuccaAccessError
        message = (
            f"the request cannot be made ({reason}). Nothing was sent; check the connection's {host} and the worker's "
            "proxy and CA settings."
        )
    else:
        kind = LuccaNotSentError
        message = f"no connection ({reason}). Nothing was sent; check the connection's {host} and the network."
    return kind(
        f"{asked.what}: {message}",
        purchase_id=asked.purchase_id,
        correlation_id=asked.correlation_id,
        outage=kind is LuccaNotSentError or (asked.reads and kind is LuccaInDoubtError),
    )


def _is_untrusted(failure: BaseException) -> bool:
    return any(isinstance(cause, (ssl.SSLCertVerificationError, CertificateError)) for cause in _causes(failure))


def _cannot_be_made(failure: Exception) -> bool:
    # All errors of an address or a header are a ValueError too. A plain OSError is about a CA file that is not there:
    # whatever happens to a connection comes as a RequestException.
    return isinstance(failure, ValueError) or not isinstance(failure, (requests.RequestException, HTTPError))


def _causes(failure: BaseException) -> Iterator[BaseException]:
    """Yield a failure, and the one that it was made of, and so on; what was being handled meanwhile is none of them."""
    cause: object = failure
    for _ in range(MAX_CAUSES):
        if not isinstance(cause, BaseException):
            return
        yield cause
        inner = getattr(cause, "reason", None)
        cause = inner if isinstance(inner, BaseException) else next(_inner(cause), None)


def _inner(cause: BaseException) -> Iterator[BaseException]:
    return (part for part in cause.args if isinstance(part, BaseException))


def _reason(failure: BaseException) -> str:
    *_, innermost = (cause for cause in _causes(failure) if str(cause) or cause is failure)
    # "HTTPSConnection(host='…', port=443): Failed to establish …" and the like: the object is noise.
    text = re.sub(r"^<?[\w.]+(\(.*?\)| object at 0x[0-9a-f]+>): ", "", str(innermost))
    return f"{type(failure).__name__}: {text}"
