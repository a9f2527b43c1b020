"""The check: reads purchases and their documents in as few requests as it can, and says what a closing would do."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from lucca_provider.checking.changes import find_changes
from lucca_provider.checking.readiness import Finding, Rules, find_readiness, limit_reasons, needs_documents
from lucca_provider.checking.snapshot import SeenPurchase, see_purchase
from lucca_provider.reading.counts import say_count
from lucca_provider.reading.lists import DOCUMENTS, ListReader
from lucca_provider.reading.purchases import Purchases, Source, read_page

__all__ = [
    "Blocked",
    "Check",
    "Conditions",
    "Examination",
    "LeftOut",
    "Source",
    "Unknown",
    "check_purchases",
    "examine_purchases",
    "unread_check",
]

log = logging.getLogger(__name__)


class Blocked(TypedDict):
    """A purchase that a closing would not close, and why, each reason a sentence."""

    id: int
    reasons: list[str]


class Unknown(TypedDict):
    """A purchase of which it is not known whether it can be closed, and why."""

    id: int
    reason: str


class LeftOut(TypedDict):
    """A purchase that was left out on purpose, and why."""

    id: int
    reason: str


class Check(TypedDict):
    """Every purchase that was asked for, once, in the order asked for within each list."""

    closable: list[int]
    already_closed: list[int]
    blocked: list[Blocked]
    unknown: list[Unknown]
    left_out: list[LeftOut]


@dataclass(frozen=True, slots=True)
class Conditions:
    """
    What else is asked of a purchase that could be closed.

    :param excluded: purchases that are left out
    :param document_dates: first and last day, ``YYYY-MM-DD``: purchases without a document of these days are left out
    :param approved: purchase id to what was approved of it: whatever has changed since is blocked
    """

    excluded: Collection[int] = ()
    document_dates: tuple[str, str] | None = None
    approved: Mapping[int, SeenPurchase] | None = None


@dataclass(frozen=True, slots=True)
class Examination:
    """
    A check, and what was read for it.

    :param check: what a closing would do
    :param purchases: purchase id to Lucca's JSON object, of those that could be read
    :param seen: purchase id to what a snapshot holds of it, of those that can be closed
    :param has_gaps: whether a purchase or the documents could not be read
    """

    check: Check
    purchases: Mapping[int, Mapping[str, Any]]
    seen: Mapping[int, SeenPurchase]
    has_gaps: bool

    @property
    def is_in_vain(self) -> bool:
        """Whether nothing came of it because something could not be read: a later one may find more."""
        check = self.check
        return self.has_gaps and bool(check["unknown"]) and not check["closable"] and not check["blocked"]


def check_purchases(
    purchase_ids: Collection[int], source: Source, rules: Rules, *, documents_since: str | None = None
) -> Check:
    """
    Find out for each purchase what a closing would do. Nothing is changed.

    :param purchase_ids: which purchases, without duplicates
    :param source: where to read
    :param rules: which states count for what
    :param documents_since: look only for documents created on this day or later, ``YYYY-MM-DD``
    :raises LuccaError: for what no other request would escape, such as a wrong key
    """
    return examine_purchases(purchase_ids, source, rules, Conditions(), documents_since=documents_since).check


def examine_purchases(
    purchase_ids: Collection[int],
    source: Source,
    rules: Rules,
    conditions: Conditions,
    *,
    documents_since: str | None = None,
) -> Examination:
    """
    Check purchases, and keep what was read for it. Nothing is changed.

    :param purchase_ids: which purchases, without duplicates
    :param source: where to read
    :param rules: which states count for what
    :param conditions: what else is asked of a purchase that could be closed
    :param documents_since: look only for documents created on this day or later, ``YYYY-MM-DD``
    :raises LuccaError: for what no other request would escape, such as a wrong key
    """
    purchases = Purchases(purchase_ids, source)
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
    judge = _Judge(purchases, documents, rules, conditions)
    check = _build_check({number: judge.find(number) for number in purchase_ids}, conditions.excluded)
    seen = {number: judge.see(number) for number in check["closable"]}
    return Examination(check, purchases.found, seen, has_gaps=judge.has_gaps)


def unread_check(purchase_ids: Collection[int], conditions: Conditions, reason: str) -> Check:
    """
    Return the check of purchases that could not be read.

    :param purchase_ids: which purchases, without duplicates
    :param conditions: as for :func:`examine_purchases`
    :param reason: why they could not be read, as a sentence
    """
    excluded = conditions.excluded
    findings = {
        number: Finding("left_out", [_EXCLUDED]) if number in excluded else Finding("unknown", [reason])
        for number in purchase_ids
    }
    return _build_check(findings, excluded)


_EXCLUDED = "excluded from this run"
_NOT_ASKED_FOR = "excluded from this run, but not among the purchases to check"
_NOT_APPROVED = "not among what was approved"


@dataclass(frozen=True, slots=True)
class _Judge:
    """Says of one purchase after the other what a closing would do, from what was read of all of them."""

    purchases: Purchases
    documents: _Documents
    rules: Rules
    conditions: Conditions

    @property
    def has_gaps(self) -> bool:
        """Whether a purchase or the documents could not be read."""
        return bool(self.purchases.problems or self.documents.problem)

    def find(self, number: int) -> Finding:
        """Return what a closing would do, under the conditions."""
        if number in self.conditions.excluded:
            return Finding("left_out", [_EXCLUDED])
        finding = self._find_readiness(number)
        if self._is_of_other_days(number):
            first, last = self.conditions.document_dates or ("", "")
            return Finding("left_out", [f"it has no document dated {first} to {last}"])
        if self.conditions.approved is None or finding.verdict == "already_closed":
            return finding
        return self._compare(number, finding, self.conditions.approved.get(number))

    def see(self, number: int) -> SeenPurchase:
        """Return what a snapshot holds of a purchase that was read."""
        return see_purchase(self.purchases.found[number], self._documents_of(number))

    def _documents_of(self, number: int) -> Sequence[Mapping[str, Any]]:
        return self.documents.by_purchase.get(number, [])

    def _find_readiness(self, number: int) -> Finding:
        if number in self.purchases.problems:
            return Finding("unknown", [self.purchases.problems[number]])
        purchase, documents = self.purchases.found[number], self.documents
        finding = find_readiness(purchase, self._documents_of(number), self.rules, since=documents.since)
        # What was read of the documents can block it; that nothing in them blocks says nothing.
        if documents.problem and needs_documents(purchase, self.rules) and finding.verdict in ("closable", "unknown"):
            return Finding("unknown", [documents.problem])
        return finding

    def _is_of_other_days(self, number: int) -> bool:
        """Return whether all documents of a purchase are known, and none is of the days that are asked for."""
        days = self.conditions.document_dates
        if days is None or not self.documents.has_all or number not in self.purchases.found:
            return False
        if not needs_documents(self.purchases.found[number], self.rules):
            return False
        dates = [str(document.get("documentDate"))[:10] for document in self._documents_of(number)]
        return not any(days[0] <= date <= days[1] for date in dates)

    def _compare(self, number: int, finding: Finding, approved: SeenPurchase | None) -> Finding:
        """Block what is not as it was approved; what could not be read stays unknown."""
        if approved is None:
            changes = [_NOT_APPROVED]
        elif number in self.purchases.found:
            changes = find_changes(approved, self.see(number), has_all=self.documents.has_all)
        else:
            changes = []
        if not changes:
            return finding
        return Finding("blocked", [*limit_reasons(changes, "change"), *finding.reasons])


def _build_check(findings: Mapping[int, Finding], excluded: Collection[int]) -> Check:
    check = Check(closable=[], already_closed=[], blocked=[], unknown=[], left_out=[])
    for purchase_id, finding in findings.items():
        if finding.verdict == "closable":
            check["closable"].append(purchase_id)
        elif finding.verdict == "already_closed":
            check["already_closed"].append(purchase_id)
        elif finding.verdict == "blocked":
            check["blocked"].append({"id": purchase_id, "reasons": list(finding.reasons)})
        elif finding.verdict == "left_out":
            check["left_out"].append({"id": purchase_id, "reason": "; ".join(finding.reasons)})
        else:
            check["unknown"].append({"id": purchase_id, "reason": "; ".join(finding.reasons)})
    # A mistyped id would leave in what somebody wanted to leave out, so it is named.
    check["left_out"] += [LeftOut(id=number, reason=_NOT_ASKED_FOR) for number in excluded if number not in findings]
    return check


@dataclass
class _Documents:
    """Finds the documents of all purchases: a filter by purchase is not documented."""

    source: Source
    since: str | None
    by_purchase: defaultdict[int, list[Mapping[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    problem: str | None = None
    has_all: bool = False
    """Whether all were read, so that what is not there does not exist."""
    _unlinked: int = 0

    def read(self) -> None:
        """Read all of them."""
        reader = ListReader(DOCUMENTS, {} if self.since is None else {"createdAt.from": [self.since]})
        while not reader.ended:
            self._take_page(read_page(reader, self.source))
        if reader.problem:
            self.problem = f"its documents could not be read: {reader.problem}"
        self.has_all = self.problem is None
        if self._unlinked:
            log.info("Ignoring %s without a purchase.", say_count(self._unlinked, "document"))

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
