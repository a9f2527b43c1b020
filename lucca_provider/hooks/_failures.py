"""Turns the failure of a request without an answer into an error that says whether anything was sent."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator

import requests
from urllib3.exceptions import HTTPError, NameResolutionError
from urllib3.util.ssl_match_hostname import CertificateError

from lucca_provider.exceptions import LuccaAccessError, LuccaError, LuccaInDoubtError, LuccaNotSentError
from lucca_provider.hooks._answers import Asked
from lucca_provider.hooks._tenant import TESTING_GUIDE, connection_name, field_label
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
    kind, message = _judge(failure, asked, began=began)
    return kind(
        f"{message} ({asked.what}: {show(_reason(failure))})",
        purchase_id=asked.purchase_id,
        correlation_id=asked.correlation_id,
        outage=_is_outage(kind, failure, asked),
    )


def _judge(failure: Exception, asked: Asked, *, began: bool) -> tuple[type[LuccaError], str]:
    """Return what certainly happened, and what to do about it."""
    if began:
        return LuccaInDoubtError, f"Lucca gave no answer. {asked.doubt}"
    kind: type[LuccaError] = LuccaNotSentError
    advice = f"Check {field_label('host')} of {connection_name(asked.conn_id)}"
    if _is_untrusted(failure):
        kind, what = LuccaAccessError, "The server's certificate is not trusted"
        advice += " and the worker's CA certificates"
    elif _cannot_be_made(failure):
        kind, what = LuccaAccessError, "The request cannot be made"
        advice += " and the worker's proxy and CA settings"
    elif _speaks_http(failure):
        what = "The server speaks http, not https"
        advice = f"For a test server, set {field_label('schema')} to http in {connection_name(asked.conn_id)}"
    else:
        what = "The host name was not found" if _is_unknown_host(failure) else "No connection to Lucca"
        advice += ", and the network"
    return kind, f"{what}. {advice}. Nothing was sent {TESTING_GUIDE}."


def _is_outage(kind: type[LuccaError], failure: Exception, asked: Asked) -> bool:
    """Return whether waiting may be all that it takes: it is not where the host or its schema looks wrong."""
    if kind is LuccaNotSentError:
        return not (_speaks_http(failure) or _is_unknown_host(failure))
    return asked.reads and kind is LuccaInDoubtError


def _is_unknown_host(failure: BaseException) -> bool:
    causes = list(_causes(failure))
    # A name server that does not answer says nothing about the name.
    if any(isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_AGAIN for cause in causes):
        return False
    return any(isinstance(cause, (NameResolutionError, socket.gaierror)) for cause in causes)


def _speaks_http(failure: BaseException) -> bool:
    """Return whether what should have been the server's side of a TLS handshake was something else."""
    return any(isinstance(cause, ssl.SSLError) and cause.reason == "WRONG_VERSION_NUMBER" for cause in _causes(failure))


def _is_untrusted(failure: BaseException) -> bool:
    return any(isinstance(cause, (ssl.SSLCertVerificationError, CertificateError)) for cause in _causes(failure))


def _cannot_be_made(failure: Exception) -> bool:
    # All errors of an address or a header are a ValueError too. A plain OSError is about a CA file that is not there:
    # whatever happens to a connection comes as a RequestException.
    return isinstance(failure, ValueError) or not isinstance(failure, (requests.RequestException, HTTPError))


def _causes(failure: BaseException) -> Iterator[BaseException]:
    """Yield a failure, what caused it, and so on; not what merely was being handled at the time."""
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
