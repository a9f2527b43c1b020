"""Says what to do about a connection that does not work."""

from __future__ import annotations

from lucca_provider.exceptions import (
    LuccaError,
    LuccaForbiddenError,
    LuccaNotFoundError,
    LuccaRefusedError,
    LuccaUnclearError,
)
from lucca_provider.hooks._tenant import RIGHTS_GUIDE, TESTING_GUIDE, field_label

__all__ = ["advise"]


def advise(error: LuccaError) -> str:
    """
    Say what is wrong with a connection of which not even the cheapest call works, and what to do.

    :param error: what that call raised
    """
    if (isinstance(error, LuccaRefusedError) and error.web_page) or isinstance(error, LuccaNotFoundError):
        return (
            f"Lucca Invoices does not answer there ({error.status}). Check that {field_label('host')} is your tenant, "
            f"such as acme.ilucca.net, and that it has the Invoices module {TESTING_GUIDE}."
        )
    if isinstance(error, LuccaForbiddenError):
        return (
            "The API key is valid, but its role has no right on Lucca Invoices (403). Give the role the rights to view "
            f"purchases and to manage invoices and payments of approved purchases {RIGHTS_GUIDE}."
        )
    if isinstance(error, LuccaUnclearError):
        return f"Lucca Invoices does not answer there. Check {field_label('host')} {TESTING_GUIDE}. {error.message}"
    return error.message
