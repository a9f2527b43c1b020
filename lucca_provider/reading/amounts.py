"""Amounts of money, as Lucca answers them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

__all__ = ["read_amount", "without_noise", "write_amount"]

_MAX_DIGITS = 15
_MAX_DECIMALS = 8
"""What stands behind comes of binary fractions, such as 0.30000000000000004."""


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


def without_noise(amount: Decimal) -> Decimal:
    """
    Return an amount without what comes of binary fractions; any other is returned as it is.

    :param amount: as :func:`read_amount` returns it
    """
    return amount if _decimals(amount) <= _MAX_DECIMALS else round(amount, _MAX_DECIMALS)


def write_amount(amount: Decimal, *, grouped: bool = False) -> str:
    """
    Write an amount with a decimal point and at least two decimals. It is never rounded, and zero has no sign.

    :param amount: a finite number
    :param grouped: whether commas part the thousands
    """
    amount = amount or Decimal()
    return f"{amount:{',' if grouped else ''}.{max(2, _decimals(amount.normalize()))}f}"


def _decimals(amount: Decimal) -> int:
    exponent = amount.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0
