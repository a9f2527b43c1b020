"""Readiness: whether a purchase can be closed, told by its state and by those of its invoices."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from lucca_provider.closing.run import CLOSED_STATE, OPEN_STATES

__all__ = ["Finding", "Rules", "find_readiness"]

# What Lucca publishes (developers.lucca.fr, "Booked documents"), in a finance person's words.
_CONFORMITY = {
    "ToReview": "to review",
    "PendingBreakdown": "breakdown pending",
    "Confirmed": "approved",
    "Litigation": "in litigation",
    "Discarded": "discarded",
    "Removed": "removed",
    "Bypassed": "approval bypassed",
}
_PAYMENT = {
    "None": "not paid",
    "ToPay": "not paid",
    "UnderReview": "payment under review",
    "Emitting": "payment being sent",
    "Paid": "paid",
    "OnHold": "payment on hold",
    "Rejected": "payment rejected",
    "Cancelled": "payment cancelled",
}
_TYPES = {"Invoice": "invoice", "CreditNote": "credit note"}
_SHOWN_LENGTH = 60
MAX_REASONS = 10
"""Documents that are named for one purchase."""


@dataclass(frozen=True, slots=True)
class Rules:
    """
    Which of Lucca's states let a purchase be closed. Lucca does not publish which of them it counts for what.

    :param approved_states: ``conformityState`` of a document that counts as approved
    :param paid_states: ``paymentState`` of a document that counts as paid
    :param cancelled_states: either state of a document that counts as cancelled, and then needs neither
    :param closable_states: ``state`` of a purchase that may be closed
    """

    approved_states: frozenset[str] = frozenset({"Confirmed", "Bypassed"})
    paid_states: frozenset[str] = frozenset({"Paid"})
    cancelled_states: frozenset[str] = frozenset({"Discarded", "Removed", "Cancelled"})
    closable_states: frozenset[str] = frozenset({"Ongoing"})


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What a closing would do to a purchase.

    :param verdict: ``closable``, ``already_closed``, ``blocked``, or ``unknown``
    :param reasons: why it is blocked or unknown, each a sentence
    """

    verdict: str
    reasons: Sequence[str] = ()


def needs_documents(purchase: Mapping[str, Any], rules: Rules) -> bool:
    """
    Say whether the state of a purchase leaves it open whether it can be closed.

    :param purchase: as Lucca answers it
    :param rules: which states count for what
    """
    return _text(purchase, "state") in rules.closable_states


def find_readiness(
    purchase: Mapping[str, Any], documents: Collection[Mapping[str, Any]], rules: Rules, *, since: str | None = None
) -> Finding:
    """
    Judge one purchase. What is not clearly ready is never ``closable``.

    :param purchase: as Lucca answers it
    :param documents: all its booked documents that were found
    :param rules: which states count for what
    :param since: the day from which documents were looked for, ``YYYY-MM-DD``; ``None`` for all
    """
    state = _text(purchase, "state")
    if state == CLOSED_STATE:
        return Finding("already_closed")
    if state in rules.closable_states:
        return _judge_documents(purchase, documents, rules, since)
    if state in OPEN_STATES:
        wanted = " or ".join(sorted(rules.closable_states))
        return Finding("blocked", [f"the purchase is {state}, not {wanted}"])
    if state is None:
        return Finding("unknown", ["Lucca tells no state of it"])
    return Finding("unknown", [f"Lucca tells the state {_shown(state)}, which this version does not know"])


def _judge_documents(
    purchase: Mapping[str, Any], documents: Collection[Mapping[str, Any]], rules: Rules, since: str | None
) -> Finding:
    problems = [problem for document in documents if (problem := _find_problem(document, rules))]
    if any(problem.clear for problem in problems):
        return Finding("blocked", _limited([problem.text for problem in problems]))
    if problems:
        return Finding("unknown", _limited([problem.text for problem in problems]))
    gap = _find_gap(purchase, documents, rules, since)
    return Finding("unknown", [gap]) if gap else Finding("closable")


@dataclass(frozen=True, slots=True)
class _Problem:
    text: str
    clear: bool
    """Whether the document certainly is not settled, rather than in a state that nobody here knows."""


def _find_problem(document: Mapping[str, Any], rules: Rules) -> _Problem | None:
    conformity, payment = _text(document, "conformityState"), _text(document, "paymentState")
    if conformity in rules.cancelled_states or payment in rules.cancelled_states:
        return None
    missing = []
    if conformity not in rules.approved_states:
        missing.append((_CONFORMITY.get(conformity or ""), f"the approval state {_shown(conformity)}"))
    if payment not in rules.paid_states:
        missing.append((_PAYMENT.get(payment or ""), f"the payment state {_shown(payment)}"))
    if not missing:
        return None
    words = [known or f"{unknown} is not known to this version" for known, unknown in missing]
    return _Problem(f"{_name(document)}: {', '.join(words)}", any(known for known, _ in missing))


def _find_gap(
    purchase: Mapping[str, Any], documents: Collection[Mapping[str, Any]], rules: Rules, since: str | None
) -> str | None:
    """Say what hints at documents that were not found: older than looked for, or hidden from this API key."""
    if documents and since is None:
        return None
    billed = _amount(purchase.get("billedAmount"))
    if billed is None:
        return f"no amount billed is known, so older documents than of {since} may be missing" if since else None
    if billed in _totals(documents, rules):
        return None
    if since is None:
        return f"{billed:.2f} were billed for it, but no document of it is to be seen with this API key"
    return f"{billed:.2f} were billed for it, which its documents since {since} do not account for"


def _totals(documents: Iterable[Mapping[str, Any]], rules: Rules) -> set[Decimal]:
    """Return what the documents come to: with taxes and without, with the cancelled ones and without."""
    totals = {key: Decimal() for key in _SUMS}
    readable = set(_SUMS)
    for document in documents:
        cancelled = {_text(document, "conformityState"), _text(document, "paymentState")} & rules.cancelled_states
        sign = -1 if document.get("type") == "CreditNote" else 1
        for taxes, counted in _SUMS:
            if cancelled and counted == "uncancelled":
                continue
            amount = _amount(document.get("amountIncludingTaxes"), taxes)
            if amount is None:
                readable.discard((taxes, counted))
            else:
                totals[taxes, counted] += sign * abs(amount)
    return {totals[key] for key in readable}


_SUMS = [(taxes, counted) for taxes in ("includingTaxes", "excludingTaxes") for counted in ("all", "uncancelled")]


def _amount(value: object, *path: str) -> Decimal | None:
    """
    Read an amount in the tenant's currency, the same for all documents of a purchase.

    Lucca publishes ``{"counter": {"value": …}}`` for documents; the shape of a purchase's amounts is not published.
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
    return amount if amount.is_finite() else None


def _name(document: Mapping[str, Any]) -> str:
    kind = _TYPES.get(_text(document, "type") or "", "document")
    number = _text(document, "documentNumber") or document.get("id")
    day = _text(document, "documentDate")
    return f"{kind} {_plain(str(number))}" + (f" of {_plain(day)}" if day else "")


def _limited(reasons: list[str]) -> list[str]:
    if len(reasons) <= MAX_REASONS:
        return reasons
    return [*reasons[:MAX_REASONS], f"and {len(reasons) - MAX_REASONS} more documents"]


def _text(item: Mapping[str, Any], key: str) -> str | None:
    value = item.get(key)
    return value if isinstance(value, str) and value else None


def _plain(text: str) -> str:
    """Make Lucca's text fit for one line of a log."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= _SHOWN_LENGTH else text[:_SHOWN_LENGTH] + "…"


def _shown(state: str | None) -> str:
    return "that is missing" if state is None else repr(_plain(state))
