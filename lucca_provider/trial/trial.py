"""The requests of a trial, in their order: six to read, and up to four more to close one purchase twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from lucca_provider.exceptions import LuccaAccessError, LuccaError, LuccaNotSentError, LuccaThrottledError
from lucca_provider.limits import Clock
from lucca_provider.reading.lists import DOCUMENTS, PURCHASES, ListReader, page_params
from lucca_provider.reading.states import CLOSED_STATE
from lucca_provider.trial.answers import Answer, Source, state_of

__all__ = ["SETTLING", "Trial", "run_trial"]

MAX_SECONDS = 300.0
"""Seconds after which nothing more is asked. One wait that a 429 asks for may still come on top."""
SETTLING = 5.0
"""Seconds after which Lucca has given up on a request, so that a state read then is the one that stays."""
MAX_ID = 2**31 - 1
NOTHING = Answer(not_asked="nothing was there to ask for")
NO_ID = "run it again with the parameter purchase_id"
NOT_HERE = "closings are tried in a test, demo or sandbox environment, or on this machine, only"


@dataclass(slots=True)
class Trial:
    """
    What was asked, and what the answers were.

    :param source: the tenant
    :param natures: the cheapest call
    :param purchases: the first page of the list of purchases, as closings ask for it
    :param small: its first page with a ``limit`` of 1
    :param second: the page after that one
    :param reader: what the provider makes of these two
    :param purchase: one purchase
    :param documents: the first page of the list of documents, as checks ask for it
    :param first: a closing of that purchase
    :param after: reading it right after that
    :param settled: reading it again, 5 seconds later
    :param again: a second closing of it
    :param errors: what was raised, in order
    :param learnt: whether Lucca clearly said yes to anything
    """

    source: Source
    natures: Answer = NOTHING
    purchases: Answer = NOTHING
    small: Answer = NOTHING
    second: Answer = NOTHING
    reader: ListReader = field(default_factory=lambda: ListReader(PURCHASES))
    purchase: Answer = NOTHING
    documents: Answer = NOTHING
    first: Answer = NOTHING
    after: Answer = NOTHING
    settled: Answer = NOTHING
    again: Answer = NOTHING
    errors: list[LuccaError] = field(default_factory=list)
    learnt: bool = False


def run_trial(source: Source, purchase_id: int | None, clock: Clock) -> Trial:
    """
    Ask a tenant what Lucca's documentation leaves open.

    :param source: the tenant
    :param purchase_id: the purchase to close twice, where that is allowed; ``None`` to read only
    :param clock: where the time comes from
    :return: what was found, whatever the tenant answers
    """
    trial = Trial(source)
    asker = _Asker(trial, clock)
    trial.natures = asker.ask(source.probe)
    trial.purchases = asker.ask(partial(source.get_page, PURCHASES, page_params(None)))
    _turn_pages(trial, asker)
    chosen = _first_id(trial.purchases) if purchase_id is None else purchase_id
    if chosen is not None:
        trial.purchase = asker.ask(partial(source.get_purchase, chosen))
    trial.documents = asker.ask(partial(source.get_page, DOCUMENTS, page_params(None)))
    if purchase_id is None:
        trial.first = trial.again = Answer(not_asked=NO_ID)
    elif not source.may_be_closed_in:
        trial.first = trial.again = Answer(not_asked=NOT_HERE)
    elif not trial.purchase.is_yes:
        # As for every closing: none is sent without a reading.
        trial.first = trial.again = Answer(not_asked="the purchase could not be read")
    else:
        _close_twice(trial, asker, purchase_id)
    return trial


class _Asker:
    """Makes requests one after another, as long as that makes sense."""

    def __init__(self, trial: Trial, clock: Clock) -> None:
        self._trial = trial
        self._clock = clock
        self._until = clock.now() + MAX_SECONDS
        self._stopped: str | None = None

    def ask(self, call: Callable[[], Any]) -> Answer:
        if self._stopped is None and self._clock.now() > self._until:
            self._stopped = f"{MAX_SECONDS / 60:.0f} minutes were over"
        if self._stopped is not None:
            return Answer(not_asked=self._stopped)
        trial, value, error = self._trial, None, None
        before = len(trial.source.heads)
        try:
            value = call()
        except LuccaError as raised:
            error = raised
            trial.errors.append(raised)
            self._stopped = self._find_end(raised)
        trial.learnt |= error is None
        heads = trial.source.heads
        # After a 429 a request may be made again, and get no answer.
        answered = len(heads) > before and (error is None or error.status is not None)
        return Answer(value, error, heads[-1] if answered else None)

    def _find_end(self, error: LuccaError) -> str | None:
        """Say why nothing more is to be asked, if that is so."""
        if isinstance(error, LuccaThrottledError):
            return "the tenant's rate limit is used up"
        if isinstance(error, LuccaNotSentError):
            return "there was no connection"
        if isinstance(error, LuccaAccessError) and not self._trial.learnt:
            return "key or host is wrong"
        return None

    def settle(self) -> None:
        self._clock.sleep(SETTLING)


def _turn_pages(trial: Trial, asker: _Asker) -> None:
    """Find out how the list is read on, with pages so small that two purchases are enough."""
    if not trial.purchases.is_yes:
        trial.small = trial.second = Answer(not_asked="the list could not be read")
        return
    get_page, reader = trial.source.get_page, trial.reader
    trial.small = asker.ask(partial(get_page, PURCHASES, page_params(None) | {"limit": "1"}))
    if trial.small.is_yes:
        reader.take(trial.small.value)
    if trial.small.is_yes and not reader.ended:
        trial.second = asker.ask(partial(get_page, PURCHASES, page_params(reader.page) | {"limit": "1"}))
    if trial.second.is_yes:
        reader.take(trial.second.value)


def _first_id(page: Answer) -> int | None:
    """Return the id of a listed purchase."""
    items = ListReader(PURCHASES).take(page.value)
    return next((item["id"] for item in items if 0 < item["id"] <= MAX_ID), None)


def _close_twice(trial: Trial, asker: _Asker, purchase_id: int) -> None:
    read, close = (partial(call, purchase_id) for call in (trial.source.get_purchase, trial.source.close_purchase))
    trial.first = asker.ask(close)
    trial.after = trial.settled = asker.ask(read)
    if trial.after.not_asked is None and state_of(trial.after) != CLOSED_STATE:
        asker.settle()
        trial.settled = asker.ask(read)
    trial.again = asker.ask(close)
