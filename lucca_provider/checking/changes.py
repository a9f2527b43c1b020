"""Changes: what is no longer as it was when a snapshot was taken, in words that name both values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from decimal import Decimal, InvalidOperation

from lucca_provider.checking.readiness import name_document, plain
from lucca_provider.checking.snapshot import SeenDocument, SeenPurchase
from lucca_provider.reading.amounts import write_amount

__all__ = ["find_changes"]

_VALUE_LENGTH = 200


def find_changes(before: SeenPurchase, now: SeenPurchase, *, has_all: bool) -> list[str]:
    """
    Say what has changed of a purchase since it was approved, each change a sentence.

    :param before: as it was read then
    :param now: as it was read now
    :param has_all: whether all its documents were read now, so that one that is not there has gone
    """
    return [*_compare(before, now), *_compare_documents(before, now, has_all=has_all)]


def _compare(before: SeenPurchase | SeenDocument, now: SeenPurchase | SeenDocument) -> Iterator[str]:
    """Compare whatever is kept of a thing, also what is added here in future."""
    for column in fields(before):
        was, is_now = getattr(before, column.name), getattr(now, column.name)
        if column.name != "documents" and was != is_now:
            label, say = _WORDS.get(column.name, (column.name, _say))
            yield f"{label} {say(was)} when approved, {say(is_now)} now"


def _compare_documents(before: SeenPurchase, now: SeenPurchase, *, has_all: bool) -> Iterator[str]:
    for number, document in before.documents.items():
        name = _name(number, document)
        if number in now.documents:
            yield from (f"{name}: {change}" for change in _compare(document, now.documents[number]))
        elif has_all:
            yield f"{name} ({_say_money(document.amount)}): there when approved, gone now"
    for number, document in now.documents.items():
        if number not in before.documents:
            yield f"{_name(number, document)} ({_say_money(document.amount)}): not there when approved, there now"


def _name(number: int, document: SeenDocument) -> str:
    return name_document(document.type, document.number or str(number), document.date)


def _say(text: str | None) -> str:
    return plain(text, _VALUE_LENGTH) if text else "unknown"


def _quote(text: str | None) -> str:
    return "unknown" if text is None else repr(plain(text, _VALUE_LENGTH))


def _say_money(text: str | None) -> str:
    if text is None:
        return "unknown amount"
    main, *others = text.split(" / ")
    number, _, currency = main.partition(" ")
    try:
        amount = write_amount(Decimal(number), grouped=True)
    except InvalidOperation:
        # An amount of a shape that nobody here knows is shown as Lucca wrote it.
        return plain(text, _VALUE_LENGTH)
    return " / ".join([f"{amount} {plain(currency)}" if currency else amount, *(plain(other) for other in others)])


_WORDS: dict[str, tuple[str, Callable[[str | None], str]]] = {
    "title": ("title", _quote),
    "supplier": ("supplier", _quote),
    "supplier_id": ("supplier's id", _say),
    **{name: (name, _say_money) for name in ("billed", "requested", "committed", "confirmed", "available")},
    "approval": ("approval state", _say),
    "payment": ("payment state", _say),
    "amount": ("amount", _say_money),
    "net": ("amount without taxes", _say_money),
    "expected": ("expected amount", _say_money),
}
"""What columns are called, and how their values are said, where their own name would not do."""
