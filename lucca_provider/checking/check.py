"""The check: reads purchases and their documents in as few requests as it can, and says what a closing would do."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict

from lucca_provider.checking.readiness import Finding, Rules, find_readiness, needs_documents, tells_state
from lucca_provider.exceptions import (
    LuccaForbiddenError,
    LuccaInDoubtError,
    LuccaNotFoundError,
    LuccaNotSentError,
    LuccaRefusedError,
)
from lucca_provider.reading.lists import DOCUMENTS, PURCHASES, ListReader

__all__ = ["Blocked", "Check", "Source", "Unknown", "check_purchases"]

log = logging.getLogger(__name__)

STREAK = 5
"""Purchases in a row that could not be read, after which the others are not asked for."""

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


class Source(Protocol):
    """Where a check reads from: the hook, or anything like it. Both raise :class:`LuccaError`."""

    def get_purchase(self, purchase_id: int) -> Mapping[str, Any]:
        """Return one purchase."""

    def get_page(self, path: str, params: Mapping[str, Any]) -> object:
        """
        Return the JSON of a page of a list, whatever it is.

        :param path: of the list
        :param params: query parameters
        """


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
    purchases = _Purchases(purchase_ids, source)
    purchases.read()
    documents = _Documents(source, documents_since)
    undecided = [number for number, purchase in purchases.found.items() if needs_documents(purchase, rules)]
    if undecided:
        documents.read()
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


def _read_page(reader: ListReader, source: Source) -> Sequence[Mapping[str, Any]]:
    """Return the items of the next page; none after an error that concerns this list only."""
    try:
        answer = source.get_page(reader.path, reader.params)
    except _GOES_ON as error:
        reader.fail(str(error))
        return []
    return reader.take(answer)


@dataclass
class _Purchases:
    """Finds the purchases, in the list or one by one."""

    ids: Collection[int]
    source: Source
    found: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    problems: dict[int, str] = field(default_factory=dict)
    _listed: set[int] = field(default_factory=set)

    def read(self) -> None:
        """Read them, by pages as long as there are fewer of them than purchases to find."""
        reader = ListReader(PURCHASES)
        wanted = frozenset(self.ids)
        while reader.is_worth_reading(self._missing):
            for item in _read_page(reader, self.source):
                # The list may leave out what the purchase itself says.
                if item["id"] in wanted and tells_state(item):
                    self.found[item["id"]] = item
                    self._listed.add(item["id"])
        if self._missing:
            why = f": the rest of the purchases list cannot be used ({reader.problem})" if reader.problem else ""
            log.info("Reading %s purchases one by one%s.", self._missing, why)
        self._ask_one_by_one()

    @property
    def _missing(self) -> int:
        return len(self.ids) - len(self.found)

    def ask_again(self, purchase_ids: Iterable[int]) -> None:
        """Ask for purchases themselves that so far only the list has told of."""
        for purchase_id in purchase_ids:
            if purchase_id in self._listed:
                del self.found[purchase_id]
        self._ask_one_by_one()

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
            purchase = self.source.get_purchase(purchase_id)
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
    _unlinked: int = 0

    def read(self) -> None:
        """Read all of them."""
        reader = ListReader(DOCUMENTS, {} if self.since is None else {"createdAt.from": [self.since]})
        while not reader.ended:
            self._take_page(_read_page(reader, self.source))
        if reader.problem:
            self.problem = f"its documents could not be read: {reader.problem}"
        if self._unlinked:
            log.info("%s documents belong to no purchase; they are left out.", self._unlinked)

    def _take_page(self, documents: Sequence[Mapping[str, Any]]) -> None:
        for document in documents:
            if "purchase" not in document:
                # It may belong to any of them. null is another thing: Lucca says that it belongs to none.
                self.problem = f"document {document['id']} does not say to which purchase it belongs"
                continue
            purchase = document["purchase"]
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
