"""Texts and amounts as a cell of a table shows them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from decimal import Decimal

from lucca_provider.reading.amounts import write_amount
from lucca_provider.reading.counts import say_count

__all__ = [
    "MAX_CURRENCIES",
    "NAME_LENGTH",
    "REASON_LENGTH",
    "one_line",
    "plain_number",
    "say_amount",
    "say_amounts",
]

NAME_LENGTH = 200
"""Characters of a title or a name that are shown."""
REASON_LENGTH = 2_000
"""Characters of a reason that are shown: more than a check or a closing gives."""

MAX_CURRENCIES = 10
"""Currencies of a total that are named where there is little room."""
_JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
"""The only unseen characters that writing needs: in Persian and Indian words, and within emoji."""
_SHOWN_AS = {
    # Line breaks of every kind, and what Python, browsers or spreadsheets may take for one.
    "Cc": " ",
    "Zl": " ",
    "Zp": " ",
    # They are not seen, but can turn round what stands beside them, amounts too.
    "Cf": "",
    # Half a character, which no file can hold.
    "Cs": "\N{REPLACEMENT CHARACTER}",
}


def one_line(text: str, length: int = NAME_LENGTH) -> str:
    """
    Make a text fit for one cell: one line without control characters, in which nothing unseen changes what is seen.

    :param text: any text
    :param length: characters that are kept; where more are cut off, an ellipsis says so
    """
    if not text.isprintable():
        text = "".join(c if c in _JOINERS else _SHOWN_AS.get(unicodedata.category(c), c) for c in text)
    line = re.sub(" +", " ", text).strip()
    return line if len(line) <= length else line[: length - 1] + "…"


def plain_number(amount: Decimal) -> str:
    """
    Write an amount with a decimal point and at least two decimals. It is never rounded.

    :param amount: a finite number
    """
    return write_amount(amount)


def say_amount(amount: Decimal | None, currency: str | None) -> str:
    """
    Say an amount, for a person.

    :param amount: ``None`` if it is not known
    :param currency: ``None`` if it is not known
    """
    if amount is None:
        return "unknown"
    return f"{write_amount(amount, grouped=True)}\N{NO-BREAK SPACE}{currency or '(unknown currency)'}"


def say_amounts(amounts: Mapping[str | None, Decimal], unknown: int, *, most: int | None = None) -> str:
    """
    Say totals, for a person.

    :param amounts: currency, or ``None`` for an unknown one, to the total in it
    :param unknown: purchases whose amount is not known
    :param most: currencies that are named, before the others are counted; ``None`` for all
    """
    said = [say_amount(amount, currency) for currency, amount in amounts.items()]
    if most is not None and len(said) > most:
        said[most:] = [f"amounts in {say_count(len(said) - most, 'more currency', 'more currencies')}"]
    if unknown:
        said.append(f"{unknown} of unknown amount")
    return _listed(said) or "nothing"


def _listed(parts: Iterable[str]) -> str:
    *others, last = list(parts) or [""]
    return f"{', '.join(others)} and {last}" if others else last
