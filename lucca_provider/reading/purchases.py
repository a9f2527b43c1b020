"""Purchases as they are in Lucca now: in its list where that takes fewer requests, one by one otherwise."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from lucca_provider.exceptions import (
    LuccaError,
    LuccaForbiddenError,
    LuccaInDoubtError,
    LuccaNotFoundError,
    LuccaNotSentError,
    LuccaRefusedError,
)
from lucca_provider.reading.lists import PURCHASES, ListReader
from lucca_provider.reading.states import CLOSED_STATE, tells_state

__all__ = ["Purchases", "ReadBack", "Source", "read_back", "read_page"]

log = logging.getLogger(__name__)

STREAK = 5
"""Purchases in a row that could not be read, after which the others are not asked for."""
ASKED_AGAIN = 50
"""Purchases that the list does not show as closed and that are asked for themselves: a list may lag behind."""

_GONE = "no such purchase, or the API key may not see it (404)"
_GOES_ON = (LuccaRefusedError, LuccaInDoubtError, LuccaNotSentError)
"""What is wrong with one answer only. Other errors (a wrong key, a used-up limit) end the reading."""


class Source(Protocol):
    """Where purchases are read from: the hook, or anything like it. Both raise :class:`LuccaError`."""

    def get_purchase(self, purchase_id: int) -> Mapping[str, Any]:
        """Return one purchase."""

    def get_page(self, path: str, params: Mapping[str, Any]) -> object:
        """
        Return the JSON of a page of a list, whatever it is.

        :param path: of the list
        :param params: query parameters
        """


def read_page(reader: ListReader, source: Source) -> Sequence[Mapping[str, Any]]:
    """
    Return the items of the next page; none after an error that concerns this list only.

    :param reader: of the list
    :param source: where to read
    :raises LuccaError: for what no other request would escape, such as a wrong key
    """
    try:
        answer = source.get_page(reader.path, reader.params)
    except _GOES_ON as error:
        reader.fail(str(error))
        return []
    return reader.take(answer)


@dataclass
class Purchases:
    """
    Finds purchases, in the list or one by one.

    :param ids: which, without duplicates
    :param source: where to read
    :param is_tenant: whether the source is known to have purchases, so that "no such purchase" is an answer like others
    :param found: purchase id to Lucca's JSON object, with a state
    :param problems: purchase id to why it could not be read, in words
    """

    ids: Collection[int]
    source: Source
    is_tenant: bool = False
    found: dict[int, Mapping[str, Any]] = field(default_factory=dict, init=False)
    problems: dict[int, str] = field(default_factory=dict, init=False)
    _listed: set[int] = field(default_factory=set, init=False)

    def read(self) -> None:
        """Read them, by pages as long as there are fewer of them than purchases to find."""
        reader = ListReader(PURCHASES)
        wanted = frozenset(self.ids)
        while reader.is_worth_reading(self._missing):
            for item in read_page(reader, self.source):
                self.is_tenant = True
                # The list may leave out what the purchase itself says.
                if item["id"] in wanted and tells_state(item):
                    self.found[item["id"]] = item
                    self._listed.add(item["id"])
        if self._missing:
            why = f": the list of purchases cannot be used any further. {reader.problem}" if reader.problem else "."
            if self._missing == 1:
                log.info("Reading the purchase that is missing by itself%s", why)
            else:
                log.info("Reading %s purchases one by one%s", self._missing, why)
        self._ask_one_by_one()

    @property
    def _missing(self) -> int:
        return len(self.ids) - len(self.found)

    def ask_again(self, purchase_ids: Iterable[int]) -> None:
        """
        Ask for purchases themselves that so far only the list has told of.

        :param purchase_ids: which; others are left as they are
        """
        for purchase_id in purchase_ids:
            if purchase_id in self._listed:
                del self.found[purchase_id]
        self._ask_one_by_one()

    def _ask_one_by_one(self) -> None:
        known = {*self.found, *self.problems}
        others = [number for number in self.ids if number not in known]
        # What does not count as silence.
        clear = (None, _GONE) if self.is_tenant else (None,)
        silent = failed = 0
        for asked, purchase_id in enumerate(others, 1):
            try:
                problem = self._ask(purchase_id)
            except _GOES_ON as error:
                problem = f"its state could not be read: {error}"
                failed += 1
            else:
                failed = 0
                silent += problem not in clear
            if problem:
                self.problems[purchase_id] = problem
            if failed >= STREAK or (silent >= STREAK and not self.found):
                why = f"not read; given up after {STREAK} purchases in a row. The last: {problem}"
                self.problems |= dict.fromkeys(others[asked:], why)
                return

    def _ask(self, purchase_id: int) -> str | None:
        """Ask for a purchase, and say why a clear answer tells nothing about it."""
        try:
            purchase = self.source.get_purchase(purchase_id)
        except LuccaNotFoundError:
            return _GONE
        except LuccaForbiddenError:
            return "the API key may not read it (403)"
        if not tells_state(purchase):
            return "Lucca returned no state for it"
        self.found[purchase_id] = purchase
        return None


@dataclass(frozen=True, slots=True)
class ReadBack:
    """
    What Lucca shows of purchases.

    :param purchases: purchase id to Lucca's JSON object
    :param unread: purchase id to why its state could not be read, in words
    :param error: what ended the reading, so that no other request was made
    """

    purchases: Mapping[int, Mapping[str, Any]]
    unread: Mapping[int, str]
    error: LuccaError | None = None


def read_back(purchase_ids: Collection[int], source: Source, *, closed: Iterable[int]) -> ReadBack:
    """
    Read the states of purchases after a closing. Whatever goes wrong is in the result, for each purchase.

    :param purchase_ids: which, without duplicates
    :param source: where to read
    :param closed: those that were reported as closed: if the list shows another state, they are asked for themselves
    """
    closed = list(closed)
    purchases = Purchases(purchase_ids, source, is_tenant=bool(closed))
    listed: Mapping[int, Mapping[str, Any]] = {}
    ended = None
    try:
        purchases.read()
        listed = dict(purchases.found)
        open_ones = [number for number in closed if number in listed and listed[number]["state"] != CLOSED_STATE]
        purchases.ask_again(open_ones[:ASKED_AGAIN])
    except LuccaError as error:
        ended = error
    unread = {
        number: purchases.problems.get(number, f"not read; {ended}")
        for number in purchase_ids
        if number not in purchases.found
    }
    # What the list says of them beside the state still names them.
    return ReadBack({**listed, **purchases.found}, unread, ended)
