"""
One purchase: what is known of it, and what an answer changes about that.

It knows neither the rate limit nor the journal nor Airflow. Every function takes what was known before an answer and
returns what is known after it, or the decision; nothing is changed in place. So an answer may be taken twice, from the
same state, with the same result.

======================  ============================================================  ================================
It is                   because                                                       next
======================  ============================================================  ================================
unread                  no reading counts, or none counts any more                    a page of the list, or GET it
open                    a reading showed it open                                      POST the closing
in doubt                a closing got no clear answer: it may have taken effect       wait 5 seconds, then GET it
refused                 a closing got a clear no                                      GET it: was it closed before?
decided                 see :class:`~lucca_provider.outcomes.Outcome`                 nothing
======================  ============================================================  ================================
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lucca_provider.closing.report import NOT_ANSWERED, NOT_REACHED, NOT_READ
from lucca_provider.closing.steps import Kind
from lucca_provider.exceptions import (
    LuccaError,
    LuccaInDoubtError,
    LuccaNotFoundError,
    LuccaNotSentError,
    LuccaRefusedError,
    LuccaThrottledError,
)
from lucca_provider.limits import MAX_READS, backoff
from lucca_provider.outcomes import ALREADY_CLOSED, CLOSED, Decision, Outcome
from lucca_provider.reading.states import CLOSED_STATE, OPEN_STATES

__all__ = [
    "MAX_SENDS",
    "READING_AGE",
    "SETTLE_SECONDS",
    "UNREAD",
    "Purchase",
    "closing_answered",
    "next_kind",
    "page_read",
    "reading_answered",
    "shorten",
    "shows_no_effect",
    "undecided",
]

SETTLE_SECONDS = 5.0
"""Lucca aborts a request after 5 seconds, so a reading after that sees the effect of one whose answer was lost."""
READING_AGE = 600.0
"""Seconds for which a reading lets a closing be sent, counted from when it was asked for."""
MAX_SENDS = 3
"""Closings of one purchase in one try that end without a clear answer, or were not sent at all."""
REASON_LENGTH = 500
"""Characters of Lucca's words that are kept for each purchase."""


@dataclass(frozen=True, slots=True)
class Purchase:
    """
    What one try knows of one purchase. Moments are seconds on the run's clock.

    :param read_at: when the reading that shows it open was asked for; ``None`` if there is none
    :param ready_at: nothing is asked about it before, and no page that was asked for before counts
    :param sends: closings in this try that ended without a clear answer, or were not sent
    :param reads: readings in a row without a clear answer
    :param maybe: whether a closing that this task sent may have taken effect
    :param refusal: Lucca's clear no, until a reading shows whether the purchase was closed before
    """

    read_at: float | None = None
    ready_at: float = 0.0
    sends: int = 0
    reads: int = 0
    maybe: bool = False
    refusal: Decision | None = None


UNREAD = Purchase()
"""Nothing is known of it, and nothing stands against asking."""


def next_kind(purchase: Purchase, now: float) -> Kind:
    """
    Say what to ask next. This is the only place where a closing is allowed.

    :param purchase: what is known
    :param now: when it would be sent
    """
    fresh = purchase.read_at is not None and now - purchase.read_at <= READING_AGE
    return Kind.CLOSE if fresh else Kind.READ


def closing_answered(purchase: Purchase, answer: object, now: float) -> Purchase | Decision:
    """
    Take the answer to a closing.

    :param purchase: what was known when it was sent
    :param answer: ``None`` for a clear yes, or an error
    :param now: when the answer came, or when the request was given up
    """
    if not isinstance(answer, LuccaError):
        return CLOSED
    if isinstance(answer, LuccaThrottledError):
        return purchase
    if isinstance(answer, LuccaNotSentError):
        sends = purchase.sends + 1
        if sends >= MAX_SENDS:
            return _unresolved(f"not sent: {sends} attempts failed. {answer}", outage=answer.outage)
        return replace(purchase, sends=sends)
    if isinstance(answer, LuccaInDoubtError):
        sends = purchase.sends + 1
        return Purchase(ready_at=now + SETTLE_SECONDS, sends=sends, maybe=True)
    if isinstance(answer, LuccaRefusedError):
        return Purchase(ready_at=now, sends=purchase.sends, refusal=_refusal(answer))
    return _unresolved(str(answer))


def reading_answered(purchase: Purchase, answer: object, asked_at: float, now: float) -> Purchase | Decision:
    """
    Take the answer to a reading of this one purchase.

    :param purchase: what was known when it was asked for
    :param answer: its ``state``, or an error
    :param asked_at: when it was asked for
    :param now: when the answer came, or when the request was given up
    """
    if isinstance(answer, LuccaThrottledError):
        return purchase
    if isinstance(answer, (LuccaInDoubtError, LuccaNotSentError)):
        reads = purchase.reads + 1
        if reads < MAX_READS:
            return replace(purchase, read_at=None, reads=reads, ready_at=now + backoff(reads + 1))
    if isinstance(answer, LuccaError):
        return _unreadable(purchase, answer)
    return _state_known(purchase, answer if isinstance(answer, str) else None, asked_at)


def shows_no_effect(kind: Kind, answer: object) -> bool:
    """
    Return whether an answer shows that no closing of the purchase so far has taken effect.

    :param kind: what was asked
    :param answer: a state, or an error
    """
    if kind is Kind.CLOSE:
        return isinstance(answer, (LuccaNotSentError, LuccaThrottledError, LuccaRefusedError))
    return kind is Kind.READ and isinstance(answer, str) and answer in OPEN_STATES


def page_read(purchase: Purchase, state: object, asked_at: float) -> Purchase | Decision:
    """
    Take what a page of the list says. It counts only if it was asked for after everything else that is known, and never
    for a purchase that is in doubt or refused.

    :param purchase: what is known now, with no request about it on its way
    :param state: its ``state`` on the page
    :param asked_at: when the page was asked for
    """
    known_at = purchase.ready_at if purchase.read_at is None else max(purchase.read_at, purchase.ready_at)
    if purchase.maybe or purchase.refusal is not None or asked_at < known_at or not isinstance(state, str):
        return purchase
    # What an earlier page showed open may be closed by now, or in a state that only a reading of its own can decide.
    if state == CLOSED_STATE:
        return ALREADY_CLOSED
    if (state in OPEN_STATES) == (purchase.read_at is not None):
        return purchase
    return replace(purchase, read_at=asked_at if state in OPEN_STATES else None)


def undecided(purchase: Purchase, why: str, *, in_flight: bool) -> Decision:
    """
    Decide a purchase of which no more can be found out in this try.

    :param purchase: what is known
    :param why: why the run ends before that
    :param in_flight: whether a closing of it is on its way
    """
    if in_flight or purchase.maybe:
        return _unresolved(f"{NOT_ANSWERED}{why}")
    if purchase.refusal is not None:
        # It may have been refused because it was closed before.
        return _unresolved(f"{purchase.refusal}, and its state was not read: {why}")
    return _unresolved(f"{NOT_REACHED}{why}")


def _state_known(purchase: Purchase, state: str | None, asked_at: float) -> Purchase | Decision:
    if state == CLOSED_STATE:
        return CLOSED if purchase.maybe else ALREADY_CLOSED
    if state in OPEN_STATES:
        # It is certainly open, so whatever was sent before had no effect.
        if purchase.refusal is not None:
            return purchase.refusal
        if purchase.sends >= MAX_SENDS:
            return _unresolved(f"still open: {purchase.sends} closings got no clear answer")
        return Purchase(read_at=asked_at, ready_at=purchase.ready_at, sends=purchase.sends)
    if purchase.refusal is not None and not purchase.maybe:
        return purchase.refusal
    if state is None:
        return _unresolved("Lucca returned no state for it, so it is not safe to close it")
    return _unresolved(f"this version does not know its state {shorten(state)!r}, so it is not safe to close it")


def _unreadable(purchase: Purchase, error: LuccaError) -> Decision:
    """Decide without a state: Lucca does not show the purchase to this key, or does not answer."""
    clear = isinstance(error, (LuccaRefusedError, LuccaInDoubtError, LuccaNotSentError))
    if clear and not purchase.maybe:
        if purchase.refusal is not None:
            return purchase.refusal
        if isinstance(error, LuccaNotFoundError):
            return _refusal(error)
    return _unresolved(f"{NOT_READ}{error}", outage=error.outage)


def _refusal(error: LuccaRefusedError) -> Decision:
    # The messages of single fields often hold the real reason.
    fields = "; ".join(f"{name}: {', '.join(messages)}" for name, messages in error.errors.items())
    detail = " ".join(part for part in (error.detail, f"[{fields}]" if fields else None) if part)
    title = None if error.title is None else shorten(error.title)
    return Decision(Outcome.REJECTED, error.status, title, shorten(detail) or None)


def _unresolved(reason: str, *, outage: bool = False) -> Decision:
    return Decision(Outcome.UNRESOLVED, detail=shorten(reason), outage=outage)


def shorten(text: str, length: int = REASON_LENGTH) -> str:
    """
    Cut a text that is too long to be kept for each purchase.

    :param text: any text
    :param length: characters that are kept
    """
    return text if len(text) <= length else text[:length] + "…"
