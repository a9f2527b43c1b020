"""Says what to do about a connection that does not work."""

from __future__ import annotations

from lucca_provider.exceptions import (
    LuccaError,
    LuccaForbiddenError,
    LuccaInDoubtError,
    LuccaNotFoundError,
    LuccaRefusedError,
    LuccaThrottledError,
    LuccaUnclearError,
)
from lucca_provider.hooks._tenant import field_label

__all__ = ["advise"]


def advise(error: LuccaError) -> str:
    """
    Say what is wrong with a connection of which not even the cheapest call works, and what to do.

    :param error: what that call raised
    """
    if (isinstance(error, LuccaRefusedError) and error.web_page) or isinstance(error, LuccaNotFoundError):
        return (
            f"nothing there answers as Lucca Invoices ({error.status}). Check that {field_label('host')} is your "
            "tenant, such as acme.ilucca.net, and that it has the Invoices module."
        )
    if isinstance(error, LuccaForbiddenError):
        return (
            "the API key is good, but its role has no right on Lucca Invoices (403). Give the key's role the rights to "
            "view purchases and to manage invoices and payments of approved purchases."
        )
    if isinstance(error, LuccaUnclearError):
        return f"{error} Nothing there answers as Lucca Invoices; check {field_label('host')}."
    if isinstance(error, (LuccaThrottledError, LuccaInDoubtError)):
        return f"{error} Try again later."
    return str(error)
