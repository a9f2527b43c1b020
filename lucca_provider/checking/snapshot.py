"""
Snapshots: what was read of purchases that can be closed, so that a later check can tell what has changed since.

A snapshot goes through XCom, so it is JSON, and compact: a row for each purchase and each document, with the names of
the columns once. It holds what was read, not a hash of it, so that both values can be named.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, TypedDict

from lucca_provider.inputs.approval import read_moment
from lucca_provider.inputs.errors import InvalidInputError, shown
from lucca_provider.reading.amounts import read_amount, without_noise

__all__ = ["Seen", "SeenDocument", "SeenPurchase", "Snapshot", "read_snapshot", "see_purchase", "take_snapshot"]

_TEXT_LENGTH = 200
"""Characters of a text that are kept: as many as a table shows."""


class Snapshot(TypedDict):
    """What was read of purchases. A column that Lucca does not tell is ``None``."""

    tenant: str
    taken_at: str
    """ISO 8601."""
    purchase: list[str]
    """Columns of a purchase; the last one holds its documents."""
    document: list[str]
    """Columns of a document."""
    purchases: dict[str, list[Any]]
    """A row for each purchase, by its id."""


@dataclass(frozen=True, slots=True)
class SeenDocument:
    """
    A document as it was read.

    :param type: ``Invoice`` or ``CreditNote``
    :param number: as the supplier gave it
    :param date: ``documentDate``
    :param approval: ``conformityState``
    :param payment: ``paymentState``
    :param completion: whether it is disputed or only partly complete
    :param amount: including taxes, with its currency
    :param net: excluding taxes
    :param expected: ``expectedAmount``
    """

    type: str | None
    number: str | None
    date: str | None
    approval: str | None
    payment: str | None
    completion: str | None
    amount: str | None
    net: str | None
    expected: str | None


@dataclass(frozen=True, slots=True)
class SeenPurchase:
    """
    A purchase as it was read.

    :param state: such as ``Ongoing``
    :param title: its first 200 characters
    :param supplier: its name
    :param supplier_id: its id
    :param billed: ``billedAmount``, with its currency
    :param requested: ``requestedAmount``
    :param committed: ``committedAmount``
    :param confirmed: ``confirmedAmount``
    :param available: ``availableAmount``
    :param documents: id to document
    """

    state: str | None
    title: str | None
    supplier: str | None
    supplier_id: str | None
    billed: str | None
    requested: str | None
    committed: str | None
    confirmed: str | None
    available: str | None
    documents: Mapping[int, SeenDocument]


@dataclass(frozen=True, slots=True)
class Seen:
    """
    Purchases as they were read.

    :param tenant: whose they are, its address
    :param taken_at: when they had been read, with a time zone
    :param purchases: purchase id to what was read
    """

    tenant: str
    taken_at: datetime
    purchases: Mapping[int, SeenPurchase]


_PURCHASE = [column.name for column in fields(SeenPurchase)]
_DOCUMENT = ["id", *(column.name for column in fields(SeenDocument))]


def see_purchase(purchase: Mapping[str, Any], documents: Collection[Mapping[str, Any]]) -> SeenPurchase:
    """
    Keep of a purchase what a snapshot holds.

    :param purchase: as Lucca answers it
    :param documents: all its booked documents; of one that was read twice, the last reading counts
    """
    supplier = purchase.get("supplier")
    return SeenPurchase(
        state=_text(purchase.get("state")),
        title=_text(purchase.get("title")),
        supplier=_text(supplier.get("name") if isinstance(supplier, Mapping) else supplier),
        supplier_id=_text(supplier.get("id")) if isinstance(supplier, Mapping) else None,
        billed=_money(purchase.get("billedAmount")),
        requested=_money(purchase.get("requestedAmount")),
        committed=_money(purchase.get("committedAmount")),
        confirmed=_money(purchase.get("confirmedAmount")),
        available=_money(purchase.get("availableAmount")),
        documents={document["id"]: _see_document(document) for document in documents},
    )


def _see_document(document: Mapping[str, Any]) -> SeenDocument:
    with_taxes = document.get("amountIncludingTaxes")
    # Lucca documents it within the amount with taxes.
    net = _known_money(with_taxes, "excludingTaxes") or _money(document.get("amountExcludingTaxes"))
    return SeenDocument(
        type=_text(document.get("type")),
        number=_text(document.get("documentNumber")),
        date=_text(document.get("documentDate")),
        approval=_text(document.get("conformityState")),
        payment=_text(document.get("paymentState")),
        completion=_text(document.get("completion")),
        amount=_money(with_taxes, "includingTaxes"),
        net=net,
        expected=_money(document.get("expectedAmount")),
    )


def take_snapshot(seen: Seen) -> Snapshot:
    """
    Write a snapshot.

    :param seen: what was read
    """
    rows = {
        str(number): [*_values(purchase)[:-1], [[key, *_values(one)] for key, one in purchase.documents.items()]]
        for number, purchase in seen.purchases.items()
    }
    return Snapshot(
        tenant=seen.tenant,
        taken_at=seen.taken_at.isoformat(),
        purchase=[*_PURCHASE],
        document=[*_DOCUMENT],
        purchases=rows,
    )


def read_snapshot(value: object, *, name: str) -> Seen:
    """
    Read a snapshot that a task pushed.

    :param value: what XCom holds
    :param name: what the argument is called in the error
    :raises InvalidInputError: if it has another shape
    """
    advice = "Pass the snapshot of another check as it is, such as check.output['snapshot']."
    if not isinstance(value, Mapping) or set(value) != set(Snapshot.__annotations__):
        raise InvalidInputError(f"{name}: {shown(value)} is no snapshot. {advice}")
    if value["purchase"] != _PURCHASE or value["document"] != _DOCUMENT:
        raise InvalidInputError(
            f"{name}: the snapshot has other columns than this version of the provider writes, so nothing can be "
            "compared. Run the check again that took it."
        )
    rows, taken_at = value["purchases"], read_moment(value["taken_at"])
    if not isinstance(value["tenant"], str) or not isinstance(rows, Mapping) or taken_at is None:
        raise InvalidInputError(f"{name}: {shown(value)} is no snapshot. {advice}")
    try:
        purchases = {_number(number): _read_purchase(row) for number, row in rows.items()}
    except ValueError as error:
        raise InvalidInputError(f"{name}: the snapshot holds {error}. {advice}") from None
    return Seen(value["tenant"], taken_at, purchases)


def _read_purchase(row: object) -> SeenPurchase:
    *texts, documents = _columns(row, len(_PURCHASE))
    if not isinstance(documents, list):
        raise ValueError(f"{shown(documents)} in place of documents")
    columns: dict[str, Any] = dict(zip(_PURCHASE, map(_read_text, texts), strict=False))
    seen = [_columns(document, len(_DOCUMENT)) for document in documents]
    columns["documents"] = {_number(number): SeenDocument(*map(_read_text, rest)) for number, *rest in seen}
    return SeenPurchase(**columns)


def _columns(row: object, count: int) -> Sequence[object]:
    if not isinstance(row, list) or len(row) != count:
        raise ValueError(f"{shown(row)} in place of {count} columns")
    return row


def _read_text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{shown(value)} in place of a text")
    return value


def _number(value: object) -> int:
    if type(value) is int:
        return value
    if not isinstance(value, str) or not value.isdecimal():
        raise ValueError(f"{shown(value)} in place of an id")
    return int(value)


def _values(seen: SeenPurchase | SeenDocument) -> list[Any]:
    return [getattr(seen, column.name) for column in fields(seen)]


def _text(value: object) -> str | None:
    """Return a member as text, whatever its type, without what a database may refuse."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text[:_TEXT_LENGTH].replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def _money(value: object, *path: str) -> str | None:
    """
    Return an amount as decimal text, which is exact, with its currency; one of another shape as it is.

    :param value: the member of a purchase or a document
    :param path: names between ``counter`` and ``value``
    """
    known = _known_money(value, *path)
    return json.dumps(value, sort_keys=True) if known is None and value is not None else known


def _known_money(value: object, *path: str) -> str | None:
    """Return an amount in the tenant's currency, and in any other, such as ``base``, in which it is another one."""
    if not isinstance(value, Mapping):
        return None
    said = _amount(value.get("counter"), *path)
    if said is None:
        return None
    others = {name: _amount(other, *path) for name, other in value.items() if name != "counter"}
    differing = [f"{name} {other}" for name, other in sorted(others.items()) if other not in (None, said)]
    return " / ".join([said, *differing])


def _amount(value: object, *path: str) -> str | None:
    amount = read_amount({"counter": value}, *path)
    if amount is None:
        return None
    for key in path:
        value = value[key] if isinstance(value, Mapping) else None
    currency = _text(value.get("currency")) if isinstance(value, Mapping) else None
    # Adding 0 makes a plain 0 of a negative one.
    number = f"{without_noise(amount).normalize() + 0:f}"
    return number if currency is None else f"{number} {currency}"
