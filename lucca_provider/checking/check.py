"""The check: reads purchases and their documents in as few requests as it can, and says what a closing would do."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from lucca_provider.checking.readiness import Finding, Rules, find_readiness, needs_documents
from lucca_provider.reading.lists import DOCUMENTS, ListReader
from lucca_provider.reading.purchases import Purchases, Source, read_page

__all__ = ["Blocked", "Check", "Source", "Unknown", "check_purchases"]

log = logging.getLogger(__name__)


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
    findings = {
        purchase_id: _find(purchase_id, purchases, documents, rules, documents_since) for purchase_id in purchase_ids
    }
    return _build_check(findings)


def _find(purchase_id: int, purchases: Purchases, documents: _Documents, rules: Rules, since: str | None) -> Finding:
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
            self._take_page(read_page(reader, self.source))
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
