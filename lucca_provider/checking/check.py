"""The check: reads purchases and their documents in as few requests as it can, and says what a closing would do."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict

from lucca_provider.checking.readiness import Finding, Rules, find_readiness, needs_documents, tells_state
from lucca_provider.exceptions import (
    LuccaError,
    LuccaForbiddenError,
    LuccaInDoubtError,
    LuccaNotFoundError,
    LuccaNotSentError,
    LuccaRefusedError,
)

__all__ = ["Blocked", "Check", "ListPage", "Source", "Unknown", "check_purchases"]

log = logging.getLogger(__name__)

STREAK = 5
"""Purchases in a row that could not be read, after which the others are not asked for."""
LISTED_FROM = 3
"""Purchases from which the list is tried first. Its first page, of up to 1000, tells whether it is worth going on."""

_GOES_ON = (LuccaRefusedError, LuccaInDoubtError, LuccaNotSentError)
"""What is wrong with one answer only. Other errors (a wrong key, a used-up limit) end a check."""


class Blocked(TypedDict):
    """A purchase that a closing would not close, and why, each reason a sentence."""

    id: int
    reasons: list[str]


class Unknown(TypedDict):
    """A purchase of which it is not known whether it can be closed, and why."""

    id: int
    reason: str


class Check(TypedDict):
    """Every purchase that was asked for, once, in the order asked for within each list."""

    closable: list[int]
    already_closed: list[int]
    blocked: list[Blocked]
    unknown: list[Unknown]


@dataclass(frozen=True, slots=True)
class ListPage:
    """
    A page of a list.

    :param items: Lucca's JSON objects, each with an integer ``id``
    :param count: how many the whole list has; ``None`` if Lucca does not say
    """

    items: Sequence[Mapping[str, Any]]
    count: int | None = None


class Source(Protocol):
    """Where a check reads from. All raise :class:`LuccaError`."""

    def purchase(self, purchase_id: int) -> Mapping[str, Any]:
        """Return one purchase."""

    def purchase_pages(self) -> Iterator[ListPage]:
        """Yield the pages of all purchases, a request each."""

    def document_pages(self, since: str | None) -> Iterator[ListPage]:
        """Yield the pages of the booked documents that were created on a day or later, a request each."""


def check_purchases(
    purchase_ids: Collection[int], source: Source, rules: Rules, *, documents_since: str | None = None
) -> Check:
    """
    Say of each purchase what a closing would do. Nothing is changed.

    :param purchase_ids: which purchases, without duplicates
    :param source: where to read
    :param rules: which states count for what
    :param documents_since: look only for documents created on this day or later, ``YYYY-MM-DD``
    :raises LuccaError: for what no other request would escape, such as a wrong key
    """
    documents = _Documents(source, documents_since)
    purchases = _Purchases(purchase_ids, source)
    purchases.begin()
    documents.begin()
    log.info(
        "This check takes %s more requests for purchases, and %s for documents.",
        purchases.requests_left,
        "an unknown number" if documents.requests_left is None else documents.requests_left,
    )
    purchases.finish()
    undecided = [number for number, purchase in purchases.found.items() if needs_documents(purchase, rules)]
    if undecided:
        documents.finish()
    # The list may leave out the amount, which is all that hints at documents that this key cannot see.
    if not documents.problem:
        purchases.ask_again(
            number
            for number in undecided
            if number not in documents.by_purchase and purchases.found[number].get("billedAmount") is None
        )
    findings = {
        purchase_id: _find(purchase_id, purchases, documents, rules, documents_since) for purchase_id in purchase_ids
    }
    return _build_check(findings)


def _find(purchase_id: int, purchases: _Purchases, documents: _Documents, rules: Rules, since: str | None) -> Finding:
    if purchase_id in purchases.problems:
        return Finding("unknown", [purchases.problems[purchase_id]])
    purchase = purchases.found[purchase_id]
    finding = find_readiness(purchase, documents.by_purchase.get(purchase_id, []), rules, since=since)
    # What was read of the documents can block it; that nothing in them blocks says nothing.
    if documents.problem and needs_documents(purchase, rules) and finding.verdict in ("closable", "unknown"):
        return Finding("unknown", [documents.problem])
    return finding


def _build_check(findings: Mapping[int, Finding]) -> Check:
    check = Check(closable=[], already_closed=[], blocked=[], unknown=[])
    for purchase_id, finding in findings.items():
        if finding.verdict == "closable":
            check["closable"].append(purchase_id)
        elif finding.verdict == "already_closed":
            check["already_closed"].append(purchase_id)
        elif finding.verdict == "blocked":
            check["blocked"].append({"id": purchase_id, "reasons": list(finding.reasons)})
        else:
            check["unknown"].append({"id": purchase_id, "reason": "; ".join(finding.reasons)})
    return check


class _Pages:
    """Reads a list page by page, and keeps what ended it."""

    def __init__(self, pages: Iterator[ListPage]) -> None:
        self._pages = pages
        self._size = 0
        self._items = 0
        self.read = 0
        self.ended = False
        self.count: int | None = None
        self.error: LuccaError | None = None

    def next(self) -> Sequence[Mapping[str, Any]]:
        """Return the items of the next page; none at the end or after an error that concerns this list only."""
        try:
            page = next(self._pages, None)
        except _GOES_ON as error:
            self.error, page = error, None
        if page is None:
            self.ended = True
            return []
        self._size = self._size or len(page.items)
        self._items += len(page.items)
        self.read += 1
        self.count = page.count
        return page.items

    @property
    def requests_left(self) -> int | None:
        """How many pages are to come, as far as that is known."""
        if self.ended:
            return 0
        if self.count is None:
            return None
        return -(-max(0, self.count - self._items) // max(1, self._size))


@dataclass
class _Purchases:
    """Finds the purchases, in the list or one by one."""

    ids: Collection[int]
    source: Source
    found: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    problems: dict[int, str] = field(default_factory=dict)
    _pages: _Pages | None = None
    _listed: set[int] = field(default_factory=set)

    def begin(self) -> None:
        """Read what tells how many requests it takes."""
        if len(self.ids) >= LISTED_FROM:
            self._pages = _Pages(self.source.purchase_pages())
            self._take_page(self._pages)

    @property
    def requests_left(self) -> int:
        """How many requests are to come, if the list has all purchases."""
        missing = len(self.ids) - len(self.found)
        pages = self._pages.requests_left if self._pages else 0
        return min(missing, pages) if pages else missing

    def finish(self) -> None:
        """Read the rest, by pages as long as there are fewer of them than purchases to find."""
        pages = self._pages
        while pages and not pages.ended:
            missing = len(self.ids) - len(self.found)
            left = pages.requests_left
            # A list that does not tell its length is taken to be half read: it costs twice too much at worst.
            if missing <= (pages.read if left is None else left):
                break
            self._take_page(pages)
        if pages and pages.error:
            log.info("The purchases list cannot be used (%s); asking for each purchase instead.", pages.error)
        self._ask_one_by_one()

    def ask_again(self, purchase_ids: Iterable[int]) -> None:
        """Ask for purchases themselves that so far only the list has told of."""
        for purchase_id in purchase_ids:
            if purchase_id in self._listed:
                del self.found[purchase_id]
        self._ask_one_by_one()

    def _take_page(self, pages: _Pages) -> None:
        wanted = set(self.ids)
        for item in pages.next():
            # The list may leave out what the purchase itself says.
            if item["id"] in wanted and tells_state(item):
                self.found[item["id"]] = item
                self._listed.add(item["id"])

    def _ask_one_by_one(self) -> None:
        silent = failed = 0
        why = ""
        for purchase_id in self.ids:
            if purchase_id in self.found or purchase_id in self.problems:
                continue
            if why:
                self.problems[purchase_id] = f"not read; {why}"
                continue
            try:
                problem = self._ask(purchase_id)
            except _GOES_ON as error:
                problem = f"its state could not be read: {error}"
                failed += 1
            else:
                failed = 0
                silent += bool(problem)
            if problem:
                self.problems[purchase_id] = problem
            if failed >= STREAK or (silent >= STREAK and not self.found):
                why = f"given up after {STREAK} purchases in a row. The last: {problem}"

    def _ask(self, purchase_id: int) -> str | None:
        """Ask for a purchase, and say why a clear answer tells nothing about it."""
        try:
            purchase = self.source.purchase(purchase_id)
        except LuccaNotFoundError:
            return "Lucca has no such purchase, or this API key may not see it (404)"
        except LuccaForbiddenError:
            return "this API key may not read it (403)"
        if not tells_state(purchase):
            return "Lucca tells no state of it"
        self.found[purchase_id] = purchase
        return None


@dataclass
class _Documents:
    """Finds the documents of all purchases: a filter by purchase is not documented."""

    source: Source
    since: str | None
    by_purchase: defaultdict[int, list[Mapping[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    problem: str | None = None
    _pages: _Pages = field(init=False)
    _unlinked: int = 0

    def begin(self) -> None:
        """Read what tells how many requests it takes."""
        self._pages = _Pages(self.source.document_pages(self.since))
        self._take_page()

    @property
    def requests_left(self) -> int | None:
        """How many requests are to come; ``None`` if Lucca does not tell."""
        return self._pages.requests_left

    def finish(self) -> None:
        """Read the rest."""
        while not self._pages.ended:
            self._take_page()
        if self._pages.error:
            self.problem = f"its documents could not be read: {self._pages.error}"
        if self._unlinked:
            log.info("%s documents belong to no purchase; they are left out.", self._unlinked)

    def _take_page(self) -> None:
        for document in self._pages.next():
            purchase = document.get("purchase")
            if purchase is None:
                self._unlinked += 1
                continue
            purchase_id = purchase.get("id") if isinstance(purchase, Mapping) else purchase
            if isinstance(purchase_id, str) and re.fullmatch(r"[0-9]{1,30}", purchase_id):
                purchase_id = int(purchase_id)
            if type(purchase_id) is int:
                # A list that moves while it is read may show one twice; in two states, both count.
                if document not in self.by_purchase[purchase_id]:
                    self.by_purchase[purchase_id].append(document)
            else:
                self.problem = f"document {document['id']} names its purchase in a form that this version cannot read"
