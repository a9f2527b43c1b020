"""Amounts of money, as Lucca answers them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

__all__ = ["read_amount"]

_MAX_DIGITS = 15


def read_amount(value: object, *path: str) -> Decimal | None:
    """
    Read an amount in the tenant's currency, the same for all documents of a purchase.

    Lucca publishes ``{"counter": {"value": …}}`` for documents; the shape of a purchase's amounts is not published.

    :param value: the member of a purchase or a document
    :param path: names between ``counter`` and ``value``
    :return: ``None`` for what is missing or no amount
    """
    for key in ("counter", *path, "value"):
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    # More digits than an amount has are a mistake, and could overflow or fill the memory.
    return amount if amount.is_finite() and amount.adjusted() < _MAX_DIGITS else None
