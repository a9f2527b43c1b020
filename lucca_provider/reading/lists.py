"""
Lucca's lists, read page by page, by token or by number.

A :class:`ListReader` sends nothing: it says what to ask, and takes the answer. So closing, check and hook read lists
alike, each with its own way to make requests.

A page is evidence by itself. Whether a list is *whole* matters only to who asks which things there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["DOCUMENTS", "LISTED_FROM", "MAX_PAGES", "PAGE_SIZE", "PURCHASES", "ListPage", "ListReader", "page_params"]

PURCHASES = "/purchases"
"""Path of the list of purchases. Its query parameters are not documented; those of its siblings are sent."""
DOCUMENTS = "/booked-documents"
"""Path of the list of invoices and credit notes."""
PAGE_SIZE = 1000
"""Items a page; the most that Lucca's lists document."""
MAX_PAGES = 10_000
"""Pages of one list: more are a server that never comes to an end."""
LISTED_FROM = 3
"""Purchases from which the list is tried first. Its first page, of up to 1000, tells whether to read on."""


@dataclass(frozen=True, slots=True)
class ListPage:
    """
    A page of a list.

    :param items: Lucca's JSON objects, each with an integer ``id``
    :param count: how many the whole list has; ``None`` if Lucca does not say
    """

    items: Sequence[Mapping[str, Any]]
    count: int | None = None


def page_params(page: str | None) -> dict[str, Any]:
    """
    Return the query parameters of one page.

    :param page: token or number of the page; ``None`` for the first one
    """
    return {"limit": str(PAGE_SIZE), "fields.root": "next,count"} | ({} if page is None else {"page": page})


class ListReader:
    """
    How far a list has been read.

    :param path: of the list, below the API's own
    :param query: query parameters besides those for paging
    """

    def __init__(self, path: str, query: Mapping[str, Any] | None = None) -> None:
        self.path = path
        self.pages = 0
        """Pages read."""
        self.count: int | None = None
        """Things that the whole list has, as far as Lucca says so."""
        self.ended = False
        """Whether no page is left to ask for."""
        self.problem: str | None = None
        """Why it is not known whether the list was read as a whole, as a sentence."""
        self.failures = 0
        """Times in a row that a page got no clear answer."""
        self._query = dict(query or {})
        self._page: str | None = None
        self._size = 0
        """Items of the first page, which later ones are taken to have as well."""
        self._items = 0
        """Items so far, those that came twice included."""
        self._seen: set[int] = set()
        self._tokens: set[str] = set()

    @property
    def page(self) -> str | None:
        """Token or number of the page to ask for next; ``None`` for the first one."""
        return self._page

    @property
    def params(self) -> dict[str, Any]:
        """Query parameters of the page to ask for next."""
        return {**self._query, **page_params(self._page)}

    def take(self, answer: object) -> Sequence[Mapping[str, Any]]:
        """
        Take the answer to the page that was asked for.

        :param answer: JSON of any shape
        :return: its items that have an integer ``id``, also those that came before: their state may have changed
        """
        found = answer.get("items") if isinstance(answer, Mapping) else None
        if not isinstance(answer, Mapping) or not isinstance(found, list):
            self.fail("Lucca's answer has no items.")
            return []
        self.pages += 1
        self.failures = 0
        items = [item for item in found if isinstance(item, Mapping) and type(item.get("id")) is int]
        self._size = self._size or len(found)
        self._items += len(found)
        new = {item["id"] for item in items} - self._seen
        self._seen |= new
        self._move(answer, found=bool(found), new=bool(new), complete=len(items) == len(found))
        return items

    def fail(self, problem: str) -> None:
        """
        Read no further.

        :param problem: why, as a sentence
        """
        self.ended, self.problem = True, problem

    def _move(self, answer: Mapping[str, Any], *, found: bool, new: bool, complete: bool) -> None:
        """Find out which page comes next, or what speaks against reading on."""
        before, self.count = self.count, _count_of(answer, self.count)
        if not complete:
            self.fail("Lucca's answer has an item without an id.")
        elif before not in (None, self.count):
            self.fail(f"the list changed while it was read, from {before} to {self.count}. Try again.")
        elif self.count is not None and len(self._seen) > self.count:
            self.fail(f"Lucca gave {len(self._seen)} of {self.count}, so the list is not known. Try again.")
        else:
            self._turn(_token_of(answer), found=found, new=new)

    def _turn(self, token: str | None, *, found: bool, new: bool) -> None:
        if token is None and self._is_last(found=found):
            told = None if self.count is None else f"Lucca gave {len(self._seen)} of {self.count}"
            self._end(told and f"{told}, so the list is not whole. Try again.")
        elif not new or token in self._tokens:
            self._end(f"page {self.pages} leads back to what came before, so the rest is not known.")
        elif self.pages >= MAX_PAGES:
            self.fail(f"no end after {MAX_PAGES} pages.")
        else:
            self._page = token or str(self.pages + 1)
            self._tokens |= {token} if token else set()

    def _is_last(self, *, found: bool) -> bool:
        """Return whether a page without a token is the last one: tokens lead to an end, numbers until all is there."""
        return bool(self._tokens) or self._has_all or not found

    @property
    def _has_all(self) -> bool:
        return self.count is not None and len(self._seen) >= self.count

    def _end(self, problem: str | None) -> None:
        """Read no further: the list is at its end, unless things are missing."""
        self.ended, self.problem = True, None if self._has_all else problem

    @property
    def requests_left(self) -> int | None:
        """How many pages are to come; ``None`` if Lucca does not say."""
        if self.ended:
            return 0
        if self.count is None:
            return None
        return -(-max(0, self.count - self._items) // max(1, self._size))

    def is_worth_reading(self, missing: int, affordable: float = float("inf")) -> bool:
        """
        Return whether the rest of the list takes fewer requests than asking for each thing.

        :param missing: things still looked for
        :param affordable: requests that may be made at all
        """
        if self.ended:
            return False
        if not self.pages:
            return missing >= LISTED_FROM
        left = self.requests_left
        if left is None:
            # A list that does not tell its length is taken to be half read: it costs twice too much at worst.
            return self.pages < min(missing, affordable)
        return 0 < left < missing and left <= affordable

    def carry(self) -> list[Any]:
        """Return what the process that goes on after a wait must know, as JSON."""
        return [self._page, self.pages, self.count, self._size, self._items, bool(self._tokens), self.failures]

    @classmethod
    def restore(cls, path: str, carried: Sequence[Any]) -> ListReader:
        """
        Go on with what :meth:`carry` returned. Whether the list is whole is not known after that.

        :param path: as for the first one
        :param carried: what was carried
        """
        reader = cls(path)
        page, pages, count, size, items, tokens, failures = carried
        reader._page = None if page is None else str(page)
        reader.pages, reader._size, reader._items = int(pages), int(size), int(items)
        reader.count = None if count is None else int(count)
        reader._tokens = {""} if tokens else set()
        reader.failures = int(failures)
        return reader


def _count_of(answer: Mapping[str, Any], before: int | None) -> int | None:
    count = answer.get("count")
    return count if type(count) is int and count >= 0 else before


def _token_of(answer: Mapping[str, Any]) -> str | None:
    token = answer.get("next")
    return token if isinstance(token, str) and token else None
