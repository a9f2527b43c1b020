"""What a generated tenant holds: purchases and booked documents, the same for the same seed.

Names and shapes follow Lucca's published examples as far as they go. Invented here: every value, the amounts of
a purchase in the shape that Lucca publishes for those of a document, and the supplier of a document.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from typing import Any

Json = dict[str, Any]

CONFORMITY_STATES = (
    "ToReview",
    "PendingBreakdown",
    "Confirmed",
    "Litigation",
    "Discarded",
    "Removed",
    "Bypassed",
)
PAYMENT_STATES = ("None", "ToPay", "UnderReview", "Emitting", "Paid", "OnHold", "Rejected", "Cancelled")
APPROVED = frozenset({"Confirmed", "Bypassed"})
CANCELLED = frozenset({"Discarded", "Removed"})

DEFAULT_SHARES: Mapping[str, float] = {
    "closable": 0.70,
    "closed": 0.08,
    "blocked": 0.16,
    "Created": 0.02,
    "Denied": 0.02,
    "Cancelled": 0.02,
}
"""Share of each kind of purchase in a tenant, unless it is told otherwise."""

# The words of the provider's check, so that a rehearsal reads like the day itself.
_CONFORMITY_WORDS = {
    "ToReview": "to review",
    "PendingBreakdown": "breakdown pending",
    "Confirmed": "approved",
    "Litigation": "in litigation",
    "Bypassed": "bypassed",
}
_PAYMENT_WORDS = {
    "None": "not paid",
    "ToPay": "not paid",
    "UnderReview": "payment under review",
    "Emitting": "payment being sent",
    "Paid": "paid",
    "OnHold": "payment on hold",
    "Rejected": "payment rejected",
}

NATURES = ("Software", "Travel", "Office supplies", "Telecom", "Training", "Consulting")
COST_CENTERS = (("Operations", "OPS"), ("Marketing", "MKT"), ("Research", "RND"), ("People", "HRD"))
SUPPLIERS = (
    "Aubépine Conseil",
    "Boréal Télécom",
    "Clair & Fils",
    "Dune Hosting",
    "Éclat Formation",
    "Ferrand Mobilier",
    "Grand Large Voyages",
    "Horizon Papeterie",
)
_ITEMS = (
    "Annual licence",
    "Team building",
    "Meeting room chairs",
    "Object storage",
    "Safety training",
    "Printed brochures",
    "Train tickets",
    "Audit of the accounts",
    "Mobile plans",
    "Laptop repair",
)

_EPOCH = datetime(2025, 1, 6, 9, 0, tzinfo=timezone.utc)


def is_settled(document: Mapping[str, Any]) -> bool:
    """
    Return whether a document lets its purchase be closed: approved and paid, or cancelled.

    :param document: a booked document
    """
    conformity, payment = document["conformityState"], document["paymentState"]
    return _is_cancelled(document) or (conformity in APPROVED and payment == "Paid")


def settled(document: Json) -> Json:
    """
    Return a document approved and paid, or as it is if it keeps no purchase from being closed.

    :param document: a booked document; it is not changed
    """
    if is_settled(document):
        return document
    paid = {**document, "conformityState": "Confirmed", "paymentState": "Paid"}
    paid.setdefault("paymentDate", _later(paid["documentDate"]))
    return paid


def _is_cancelled(document: Mapping[str, Any]) -> bool:
    return document["conformityState"] in CANCELLED or document["paymentState"] == "Cancelled"


def plan(count: int, shares: Mapping[str, float], rng: random.Random) -> list[tuple[str, list[Json]]]:
    """
    Return the state and the documents of each purchase, in shuffled order.

    Every pair of conformity and payment state comes up once the set is large enough (60 purchases are).

    :param count: how many purchases
    :param shares: weight by kind: ``closable``, ``blocked``, ``closed``, or a state of Lucca's (``Created`` …)
    :param rng: where chance comes from
    :raises ValueError: if the weights can't be shared out
    """
    kinds = _apportion(count, shares)
    rng.shuffle(kinds)
    pairs = [
        {"conformityState": conformity, "paymentState": payment}
        for conformity, payment in itertools.product(CONFORMITY_STATES, PAYMENT_STATES)
    ]
    rng.shuffle(pairs)
    settled = itertools.cycle([pair for pair in pairs if is_settled(pair)])
    open_pairs = [pair for pair in pairs if not is_settled(pair)]
    blocked = itertools.cycle(open_pairs)
    # Few blocked purchases carry several open documents each, so that all reasons are still seen.
    most_open = min(5, max(1, math.ceil(len(open_pairs) / max(1, kinds.count("blocked")))))
    return [_plan_one(kind, most_open, settled, blocked, rng) for kind in kinds]


def _plan_one(
    kind: str, most_open: int, settled: Iterator[Json], blocked: Iterator[Json], rng: random.Random
) -> tuple[str, list[Json]]:
    if kind == "blocked":
        return "Ongoing", [dict(next(blocked)) for _ in range(most_open)]
    if kind in ("closable", "closed"):
        state = "Ongoing" if kind == "closable" else "Closed"
        ordinary = [{"conformityState": "Confirmed", "paymentState": "Paid"}]
        special = [dict(next(settled)) for _ in range(rng.randint(0, 2))]
        return state, ordinary * rng.randint(1, 3) + special
    return kind, []


def _apportion(count: int, shares: Mapping[str, float]) -> list[str]:
    """Share ``count`` out by weight, the rounding going to the largest remainders."""
    if count < 0:
        raise ValueError(f"purchases is {count}: it must be 0 or more")
    total = sum(shares.values())
    if min(shares.values(), default=0) < 0 or not total > 0:
        raise ValueError(f"states {dict(shares)!r}: weights must not be negative, and one must be above 0")
    named = {"Ongoing": "closable", "Closed": "closed"}
    exact = {kind: count * weight / total for kind, weight in shares.items()}
    whole = {kind: math.floor(value) for kind, value in exact.items()}
    by_remainder = sorted(exact, key=lambda kind: whole[kind] - exact[kind])
    for kind in by_remainder[: count - sum(whole.values())]:
        whole[kind] += 1
    return [named.get(kind, kind) for kind, number in whole.items() for _ in range(number)]


class Writer:
    """
    Writes the JSON of purchases and documents, with ids that grow in gaps as real ones do.

    :param rng: where chance comes from
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._purchase_id = rng.randint(2_000, 7_000)
        self._document_id = rng.randint(12_000, 30_000)
        self._created = _EPOCH

    def purchase(self, fields: Mapping[str, Any]) -> Json:
        """
        Return a new purchase without its state.

        :param fields: members that win over what is made up
        """
        rng = self._rng
        self._purchase_id += rng.randint(1, 9)
        self._created += timedelta(minutes=rng.randint(7, 900), microseconds=rng.randint(0, 999_999))
        number = self._purchase_id
        kind = "OneTime" if rng.random() < 0.7 else "Subscription"
        nature, supplier = rng.randrange(len(NATURES)), rng.randrange(len(SUPPLIERS))
        cost_center = rng.randrange(len(COST_CENTERS))
        made_up: Json = {
            "id": number,
            "type": kind,
            "title": f"{rng.choice(_ITEMS)} {self._created:%m/%Y}",
            "commitment": {"id": number - 400, "type": f"{kind}Commitment", "state": "Provisioned"},
            "owner": {"id": 416, "name": "Camille Roux", "firstName": "Camille", "lastName": "Roux"},
            "nature": {"id": nature + 1, "name": NATURES[nature]},
            "costCenter": {"id": cost_center + 1, "name": COST_CENTERS[cost_center][0]},
            "establishment": {"id": 1, "name": "Nantes"},
            "department": {"id": 14, "name": "Finance"},
            "supplier": {"id": supplier + 1, "name": SUPPLIERS[supplier]},
        }
        return {**made_up, **fields}

    def document(self, purchase: Mapping[str, Any] | None, given: Mapping[str, Any]) -> Json:
        """
        Return a new booked document.

        :param purchase: the purchase that it belongs to, if any
        :param given: members that win over what is made up; ``amount``, in euro with taxes, stands for the whole
            ``amountIncludingTaxes``
        """
        rng = self._rng
        self._document_id += rng.randint(1, 5)
        day = (self._created + timedelta(days=rng.randint(1, 20))).date()
        fields = dict(given)
        amount = fields.pop("amount", None)
        cents = rng.randint(1_500, 480_000) if amount is None else round(float(amount) * 100)
        document: Json = {
            "id": self._document_id,
            "type": "Invoice",
            "expectedAmount": both_currencies(money(cents)),
            "documentDate": day.isoformat(),
            "documentNumber": f"F{day:%y%m}-{self._document_id}",
            "amountIncludingTaxes": _with_taxes(cents),
            "dueDate": (day + timedelta(days=30)).isoformat(),
            "conformityState": "Confirmed",
            "paymentState": "Paid",
            "flag": "Unflagged",
            "commentsCount": 0,
            "createdAt": timestamp(self._created + timedelta(days=(day - self._created.date()).days, hours=2)),
        }
        if purchase is not None:
            document["purchase"] = _reference(purchase)
            document["supplier"] = purchase["supplier"]
        document.update(fields)
        if document["paymentState"] == "Paid":
            document.setdefault("paymentDate", _later(document["documentDate"]))
        return document


def amounts(documents: Sequence[Mapping[str, Any]]) -> Json:
    """
    Return the amounts of a purchase that its documents add up to; what is cancelled is not billed.

    A purchase is taken to have been requested and committed for what was billed, and never for less than 100 euro.

    :param documents: those of the purchase
    """
    billed = sum(_cents(document) for document in documents if not _is_cancelled(document))
    confirmed = sum(_cents(document) for document in documents if document["conformityState"] in APPROVED)
    committed = max(billed, 10_000)
    return {
        "requestedAmount": both_currencies(money(committed)),
        "committedAmount": both_currencies(money(committed)),
        "billedAmount": both_currencies(money(billed)),
        "confirmedAmount": both_currencies(money(confirmed)),
        "availableAmount": both_currencies(money(committed - billed)),
    }


def reference_lists() -> dict[str, list[Json]]:
    """Return the small lists that purchases refer to, by the last part of their path."""
    natures = [{"id": i, "name": name, "state": "Enabled"} for i, name in enumerate(NATURES, 1)]
    centers = [
        {"id": i, "name": name, "code": code, "state": "Enabled"} for i, (name, code) in enumerate(COST_CENTERS, 1)
    ]
    suppliers: list[Json] = [{"id": i, "name": name, "state": "Active"} for i, name in enumerate(SUPPLIERS, 1)]
    suppliers.append({"id": len(suppliers) + 1, "name": "Zénith Anciens Établissements", "state": "Archived"})
    return {"natures": natures, "costcenters": centers, "suppliers": suppliers}


def timestamp(moment: datetime) -> str:
    """
    Write a moment the way Lucca does: UTC, with seven decimals.

    :param moment: any moment with a time zone
    """
    return moment.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec="microseconds") + "0+00:00"


def money(cents: int) -> Json:
    """
    Return an amount of euro.

    :param cents: how many hundredths
    """
    return {"value": cents / 100, "currency": "EUR"}


def both_currencies(amount: Json) -> Json:
    """
    Return an amount in its own (``base``) and the tenant's currency (``counter``); here both are euro.

    :param amount: the amount in euro
    """
    return {"base": amount, "counter": amount, "rate": 1}


def _with_taxes(cents: int) -> Json:
    taxes = round(cents / 6)  # 20 % on top of the net amount
    return both_currencies(
        {
            "excludingTaxes": money(cents - taxes),
            "taxes": [{"rateTypeId": 1, **money(taxes)}],
            "includingTaxes": money(cents),
        }
    )


def _cents(document: Mapping[str, Any]) -> int:
    cents: int = round(document["amountIncludingTaxes"]["counter"]["includingTaxes"]["value"] * 100)
    return -cents if document["type"] == "CreditNote" else cents


def _reference(purchase: Mapping[str, Any]) -> Json:
    number = purchase["id"]
    return {
        "id": number,
        "name": purchase["title"],
        "type": purchase["type"],
        "href": f"/cleemy-procurement/api/purchases/{number}",
    }


def _later(day: str) -> str:
    return (date.fromisoformat(day) + timedelta(days=21)).isoformat()


def open_documents(documents: Iterable[Mapping[str, Any]]) -> str:
    """
    Name the documents that keep a purchase from being closed, or return an empty text.

    :param documents: those of the purchase
    """
    return "; ".join(
        f"{'credit note' if document['type'] == 'CreditNote' else 'invoice'} {document['documentNumber']} of "
        f"{document['documentDate']}: {_in_words(document)}"
        for document in documents
        if not is_settled(document)
    )


def _in_words(document: Mapping[str, Any]) -> str:
    """Tell the states of a document, such as ``approved, not paid``; one without a word here stands for itself."""
    conformity, payment = document["conformityState"], document["paymentState"]
    return f"{_CONFORMITY_WORDS.get(conformity, conformity)}, {_PAYMENT_WORDS.get(payment, payment)}"
