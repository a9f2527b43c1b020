"""The tenant in memory: purchases, booked documents, and the rule for closing.

Lucca publishes neither status nor body of a closing that it refuses. The sandbox answers 404 for an unknown id and
409 for a purchase that is closed already, that is not ongoing, or that has open documents. A purchase without
documents can be closed: there is nothing that it would have to wait for.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from . import dataset
from .dataset import Json
from .messages import Problem

__all__ = ["INT32_MAX", "Closing", "Standing", "Tenant", "unknown"]

INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class Closing:
    """
    A closing that took effect.

    :param purchase_id: the purchase that was closed
    :param at: when, in seconds since 1970
    :param comment: the comment sent along, if any
    :param date: the date sent along (``YYYY-MM-DD``), if any
    """

    purchase_id: int
    at: float
    comment: str | None
    date: str | None


@dataclass(frozen=True)
class Standing:
    """
    How a purchase stands, for a person to read.

    :param purchase_id: its id
    :param title: its title
    :param supplier: name of its supplier
    :param amount: euro billed
    :param state: Lucca's word for its state
    :param standing: ``closable``, ``closed`` or ``blocked``
    :param blocked_by: why it can't be closed; empty if it can
    :param approvable: whether only its documents keep it from being closed
    """

    purchase_id: int
    title: str
    supplier: str
    amount: float
    state: str
    standing: str
    blocked_by: str
    approvable: bool


@dataclass
class _Purchase:
    body: Json
    state: str
    shows_state: bool
    documents: list[Json]
    standing: str = ""
    blocked_by: str = ""
    # The version of the tenant that this purchase was last changed in.
    changed: int = 0


class Tenant:
    """
    A tenant that any number of threads may use.

    :param purchases: how many purchases to generate
    :param seed: makes ids and content repeatable
    :param states: weight of each kind of purchase: ``closable``, ``blocked``, ``closed``, or a state of Lucca's
    :param clock: returns the time in seconds since 1970
    :raises ValueError: if a value makes no sense
    """

    def __init__(
        self, purchases: int, *, seed: int, states: Mapping[str, float] | None, clock: Callable[[], float]
    ) -> None:
        self._lock = threading.RLock()
        self._clock = clock
        self._purchases: dict[int, _Purchase] = {}
        self._documents: dict[int, Json] = {}
        self._closings: list[Closing] = []
        self._standings: Counter[str] = Counter()
        self._version = 0
        self._reference_lists = dataset.reference_lists()
        rng = random.Random(seed)  # noqa: S311 - repeatable is what is wanted
        self._writer = dataset.Writer(rng)
        shares = dataset.DEFAULT_SHARES if states is None else states
        for state, documents in dataset.plan(purchases, shares, rng):
            self.add_purchase(state, documents, {})

    # --- purchases and documents ---

    def add_purchase(self, state: str | None, documents: Iterable[Json], fields: Mapping[str, Any]) -> int:
        """
        Add a purchase and return its id.

        :param state: Lucca's word; ``None`` for an ongoing purchase whose answers lack the state
        :param documents: members of its documents
        :param fields: members of the purchase
        :raises ValueError: if ``fields`` holds an id that exists already
        """
        with self._lock:
            body = self._writer.purchase(fields)
            purchase_id: int = body["id"]
            if purchase_id in self._purchases:
                raise ValueError(f"there is a purchase {purchase_id} already")
            purchase = _Purchase(body, state or "Ongoing", state is not None, [])
            self._purchases[purchase_id] = purchase
            self._set_documents(purchase, documents)
            purchase.body.update(fields)
            return purchase_id

    def set_purchase(self, purchase_id: int, fields: Mapping[str, Any]) -> None:
        """
        Change members of a purchase.

        :param purchase_id: its id
        :param fields: the members; a ``state`` of ``None`` lets the answers lack the state, whatever it is, and
            ``invoices`` replaces the documents
        :raises KeyError: if there is no such purchase
        """
        changes = dict(fields)
        with self._lock:
            purchase = self._purchases[purchase_id]
            if "state" in changes:
                state = changes.pop("state")
                purchase.shows_state = state is not None
                purchase.state = purchase.state if state is None else state
            if "invoices" in changes:
                self._set_documents(purchase, changes.pop("invoices"))
            purchase.body.update(changes)
            self._refresh(purchase)

    def add_document(self, purchase_id: int | None, fields: Mapping[str, Any]) -> int:
        """
        Add a booked document and return its id.

        :param purchase_id: the purchase that it is added to; ``None`` for none
        :param fields: members of the document
        :raises KeyError: if there is no such purchase
        """
        with self._lock:
            if purchase_id is None:
                return self._store(self._writer.document(None, fields))
            purchase = self._purchases[purchase_id]
            document = self._writer.document(purchase.body, fields)
            purchase.documents.append(document)
            self._recount(purchase)
            return self._store(document)

    def purchase(self, purchase_id: int, *, with_state: bool = True) -> Json:
        """
        Return a purchase as GET answers it. What is nested in it is the tenant's own: only read it.

        :param purchase_id: its id
        :param with_state: whether the answer may hold the state
        :raises KeyError: if there is no such purchase
        """
        with self._lock:
            return _answer(self._purchases[purchase_id], with_state)

    def purchases(self, *, with_state: bool = True) -> list[Json]:
        """
        Return all purchases as a list answers them. What is nested in them is the tenant's own: only read it.

        :param with_state: whether the answers may hold the state
        """
        with self._lock:
            return [_answer(purchase, with_state) for purchase in self._purchases.values()]

    def ids(self, standing: str | None = None) -> list[int]:
        """
        Return the ids of the purchases.

        :param standing: only those that stand as ``closable``, ``closed`` or ``blocked``
        """
        with self._lock:
            return [i for i, p in self._purchases.items() if standing in (None, p.standing)]

    def document(self, document_id: int) -> Json:
        """
        Return a booked document. It is the tenant's own: only read it.

        :param document_id: its id
        :raises KeyError: if there is no such document
        """
        with self._lock:
            return self._documents[document_id]

    def documents(self) -> list[Json]:
        """Return all booked documents, oldest first. They are the tenant's own: only read them."""
        with self._lock:
            return list(self._documents.values())

    def reference_list(self, name: str) -> list[Json]:
        """
        Return one of the small lists that purchases refer to.

        :param name: ``natures``, ``costcenters`` or ``suppliers``
        """
        return self._reference_lists[name]

    def _set_documents(self, purchase: _Purchase, documents: Iterable[Json]) -> None:
        for old in purchase.documents:
            del self._documents[old["id"]]
        purchase.documents = [self._writer.document(purchase.body, document) for document in documents]
        for new in purchase.documents:
            self._store(new)
        self._recount(purchase)

    def _store(self, document: Json) -> int:
        document_id: int = document["id"]
        self._documents[document_id] = document
        return document_id

    def _recount(self, purchase: _Purchase) -> None:
        """Work out anew what follows from the documents of a purchase."""
        purchase.body.update(dataset.amounts(purchase.documents))
        self._refresh(purchase)

    def _refresh(self, purchase: _Purchase) -> None:
        """Work out anew how a purchase stands."""
        purchase.blocked_by = dataset.open_documents(purchase.documents)
        if purchase.state not in ("Ongoing", "Closed"):
            purchase.blocked_by = f"the purchase is {purchase.state}"
        self._standings[purchase.standing] -= 1
        if purchase.state == "Closed":
            purchase.standing, purchase.blocked_by = "closed", ""
        else:
            purchase.standing = "blocked" if purchase.blocked_by else "closable"
        self._standings[purchase.standing] += 1
        self._version += 1
        purchase.changed = self._version

    # --- what people do ---

    def approve_and_pay(self, purchase_id: int) -> None:
        """
        Approve and pay the open documents of a purchase, as people do in Lucca before it is closed.

        :param purchase_id: its id
        :raises KeyError: if there is no such purchase
        """
        with self._lock:
            purchase = self._purchases[purchase_id]
            # New ones in the place of the old: an answer that holds an old one may be about to be written.
            purchase.documents = [dataset.settled(document) for document in purchase.documents]
            for document in purchase.documents:
                self._store(document)
            self._recount(purchase)

    def close(self, purchase_id: int, *, comment: str | None, date: str | None) -> None:
        """
        Close a purchase.

        :param purchase_id: its id
        :param comment: the comment sent along, if any
        :param date: the date sent along, if any
        :raises Problem: if it can't be closed; nothing has changed then
        """
        with self._lock:
            purchase = self._purchases.get(purchase_id)
            if purchase is None:
                raise unknown("purchase", purchase_id)
            if purchase.standing == "closed":
                raise Problem(409, "Purchase already closed", f"Purchase {purchase_id} is closed already.")
            if purchase.standing == "blocked":
                ongoing = purchase.state == "Ongoing"
                title = "Purchase has open documents" if ongoing else "Purchase is not ongoing"
                raise Problem(409, title, f"Purchase {purchase_id} can't be closed: {purchase.blocked_by}.")
            purchase.state = "Closed"
            self._refresh(purchase)
            self._closings.append(Closing(purchase_id, self._clock(), comment, date))

    @property
    def closings(self) -> list[Closing]:
        """The closings that took effect, in order."""
        with self._lock:
            return list(self._closings)

    # --- for the page ---

    @property
    def counts(self) -> dict[str, int]:
        """How many purchases stand as ``closable``, ``closed`` and ``blocked``."""
        with self._lock:
            return {name: self._standings[name] for name in ("closable", "closed", "blocked")}

    def news(self, version: int, most: int) -> tuple[list[Standing], int]:
        """
        Return the purchases that changed, and the version to hand in next time.

        :param version: what was returned last time; 0 for none
        :param most: how many purchases, the oldest first, are looked at
        """
        with self._lock:
            oldest = itertools.islice(self._purchases.values(), most)
            return [_standing(purchase) for purchase in oldest if purchase.changed > version], self._version


def unknown(kind: str, number: object) -> Problem:
    """
    Return the problem of an id that the tenant does not have.

    :param kind: what it is the id of
    :param number: the id
    """
    return Problem(404, "Not found", f"There is no {kind} {number} in this tenant.")


def _answer(purchase: _Purchase, with_state: bool) -> Json:
    if with_state and purchase.shows_state:
        return {**purchase.body, "state": purchase.state}
    return dict(purchase.body)


def _standing(purchase: _Purchase) -> Standing:
    body = purchase.body
    return Standing(
        purchase_id=body["id"],
        title=str(body["title"]),
        supplier=str(body["supplier"]["name"]),
        amount=body["billedAmount"]["counter"]["value"],
        state=purchase.state,
        standing=purchase.standing,
        blocked_by=purchase.blocked_by,
        approvable=purchase.standing == "blocked" and purchase.state == "Ongoing",
    )
