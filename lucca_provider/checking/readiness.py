"""Readiness: whether a purchase can be closed, told by its state and by those of its invoices."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from lucca_provider.reading.amounts import read_amount
from lucca_provider.reading.counts import say_count
from lucca_provider.reading.states import CLOSED_STATE, OPEN_STATES

__all__ = ["Finding", "Rules", "find_readiness"]

# What Lucca publishes (developers.lucca.fr, "Booked documents"), in a finance person's words.
_CONFORMITY = {
    "ToReview": "to review",
    "PendingBreakdown": "breakdown pending",
    "Litigation": "in litigation",
    "Discarded": "discarded",
    "Removed": "removed",
}
_PAYMENT = {
    "None": "not paid",
    "ToPay": "not paid",
    "UnderReview": "payment under review",
    "Emitting": "payment being sent",
    "OnHold": "payment on hold",
    "Rejected": "payment rejected",
    "Cancelled": "payment cancelled",
}
_COMPLETION = {"Disputed": "disputed", "Partial": "only partly complete"}
_TYPES = {"Invoice": "invoice", "CreditNote": "credit note"}
_SHOWN_LENGTH = 60
MAX_REASONS = 10
"""Documents, or changes, that are named for one purchase."""


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

    :param verdict: ``closable``, ``already_closed``, ``blocked``, ``unknown``, or ``left_out``
    :param reasons: why it is blocked, unknown or left out, each a sentence
    """

    verdict: str
    reasons: Sequence[str] = ()


def needs_documents(purchase: Mapping[str, Any], rules: Rules) -> bool:
    """
    Return whether the state of a purchase leaves it open whether it can be closed.

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
        return Finding("unknown", ["Lucca returned no state for it"])
    return Finding("unknown", [f"this version does not know its state {plain(state)!r}"])


def _judge_documents(
    purchase: Mapping[str, Any], documents: Collection[Mapping[str, Any]], rules: Rules, since: str | None
) -> Finding:
    problems = [problem for document in documents if (problem := _find_problem(document, rules))]
    if any(problem.clear for problem in problems):
        return Finding("blocked", limit_reasons([problem.text for problem in problems], "document"))
    if problems:
        return Finding("unknown", limit_reasons([problem.text for problem in problems], "document"))
    gap = _find_gap(purchase, documents, rules, since)
    return Finding("unknown", [gap]) if gap else Finding("closable")


@dataclass(frozen=True, slots=True)
class _Problem:
    text: str
    clear: bool
    """Whether the document certainly is not settled, rather than in a state that nobody here knows."""


def _find_problem(document: Mapping[str, Any], rules: Rules) -> _Problem | None:
    if _is_cancelled(document, rules):
        return None
    conformity, payment = _text(document, "conformityState"), _text(document, "paymentState")
    missing = []
    if conformity not in rules.approved_states:
        missing.append(_say_state("approval", conformity, _CONFORMITY))
    if payment not in rules.paid_states:
        missing.append(_say_state("payment", payment, _PAYMENT))
    completion = _text(document, "completion")
    if completion in _COMPLETION:
        # Whether such a document keeps a purchase from being closed is not published.
        missing.append((_COMPLETION[completion], False))
    if not missing:
        return None
    return _Problem(
        f"{_name(document)}: {', '.join(words for words, _ in missing)}", any(known for _, known in missing)
    )


def _say_state(kind: str, state: str | None, words: Mapping[str, str]) -> tuple[str, bool]:
    """Return a state in words, and whether it is one that Lucca publishes."""
    if state is None:
        return f"its {kind} state is missing", False
    if state in ("Confirmed", "Bypassed", "Paid"):
        return f"the {kind} state {state} does not count here", True
    if state in words:
        return words[state], True
    return f"this version does not know the {kind} state {plain(state)!r}", False


def _find_gap(
    purchase: Mapping[str, Any], documents: Collection[Mapping[str, Any]], rules: Rules, since: str | None
) -> str | None:
    """Say what hints at documents that were not found: older than looked for, or hidden from this API key."""
    told = purchase.get("billedAmount")
    billed = read_amount(told)
    if since is not None:
        return _find_older(billed, documents, rules, since)
    return _find_hidden(billed, documents) if documents else _find_all_hidden(told, billed)


def _find_older(
    billed: Decimal | None, documents: Collection[Mapping[str, Any]], rules: Rules, since: str
) -> str | None:
    """Say what hints at documents from before the day from which they were looked for."""
    if billed is None:
        return f"its billed amount is not known, so documents older than {since} may be missing"
    if billed in _totals(documents, rules):
        return None
    return f"{billed:.2f} billed, but its documents since {since} add up to something else"


def _find_hidden(billed: Decimal | None, documents: Iterable[Mapping[str, Any]]) -> str | None:
    """Say what hints at documents besides those that were found."""
    most = _most(documents)
    if billed is None or most is None or billed <= most:
        return None
    return f"{billed:.2f} billed, but the documents that this API key sees add up to {most:.2f} at most"


def _find_all_hidden(told: object, billed: Decimal | None) -> str | None:
    """Say what hints at documents where none was found."""
    if billed is None:
        return None if told is None else "this API key sees no document of it, and its billed amount cannot be read"
    return f"{billed:.2f} billed, but this API key sees no document of it" if billed else None


def _most(documents: Iterable[Mapping[str, Any]]) -> Decimal | None:
    """Return the most that could have been billed for documents, whatever of them Lucca bills."""
    most = Decimal()
    for document in documents:
        if document.get("type") == "CreditNote":
            continue
        amount = read_amount(document.get("amountIncludingTaxes"), "includingTaxes")
        if amount is None:
            return None
        most += max(amount, Decimal())
    return most


def _totals(documents: Iterable[Mapping[str, Any]], rules: Rules) -> set[Decimal]:
    """
    Return what the documents come to, with taxes and without: which of them Lucca bills is not published.

    A cancelled one does not count, or it would stand in for an older one of the same amount that was not looked for.
    """
    counted = [document for document in documents if not _is_cancelled(document, rules)]
    totals = set()
    for taxes in ("includingTaxes", "excludingTaxes"):
        amounts = [amount for document in counted if (amount := _signed_amount(document, taxes)) is not None]
        if len(amounts) == len(counted):
            totals.add(sum(amounts, Decimal()))
    return totals


def _signed_amount(document: Mapping[str, Any], taxes: str) -> Decimal | None:
    amount = read_amount(document.get("amountIncludingTaxes"), taxes)
    # Whether Lucca gives that of a credit note a sign is not published.
    return -abs(amount) if amount is not None and document.get("type") == "CreditNote" else amount


def _is_cancelled(document: Mapping[str, Any], rules: Rules) -> bool:
    return not rules.cancelled_states.isdisjoint({_text(document, "conformityState"), _text(document, "paymentState")})


def _name(document: Mapping[str, Any]) -> str:
    number = _text(document, "documentNumber") or str(document.get("id"))
    return name_document(_text(document, "type"), number, _text(document, "documentDate"))


def name_document(kind: str | None, number: str, day: str | None) -> str:
    """
    Name a document as a finance person would.

    :param kind: its ``type``
    :param number: its number, or its id
    :param day: its ``documentDate``
    """
    return f"{_TYPES.get(kind or '', 'document')} {plain(number)}" + (f" of {plain(day)}" if day else "")


def limit_reasons(reasons: Sequence[str], what: str) -> Sequence[str]:
    """
    Name the first ten reasons only.

    :param reasons: sentences
    :param what: what each is about, in the singular
    """
    if len(reasons) <= MAX_REASONS:
        return reasons
    return [*reasons[:MAX_REASONS], f"and {say_count(len(reasons) - MAX_REASONS, f'more {what}')}"]


def _text(item: Mapping[str, Any], key: str) -> str | None:
    value = item.get(key)
    return value if isinstance(value, str) and value else None


def plain(text: str, length: int = _SHOWN_LENGTH) -> str:
    """
    Make Lucca's text fit for one line of a log.

    :param text: any text
    :param length: characters that are kept
    """
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= length else text[:length] + "…"
