"""The tenant in memory: purchases, booked documents, the rule for closing, and a record of all requests.

Lucca publishes neither status nor body of a closing that it refuses. The sandbox answers 404 for an unknown id and
409 for a purchase that is closed already, that is not ongoing, or that has open documents. A purchase without
documents can be closed: there is nothing that it would have to wait for.
"""

from __future__ import annotations

import copy
import itertools
import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import dataset
from .dataset import Json
from .limit import SlidingWindow

INT32_MAX = 2**31 - 1


class Problem(Exception):
    """A request that the tenant refuses, as RFC 7807 puts it.

    :param status: HTTP status.
    :param title: what kind of problem it is.
    :param detail: what it is this time.
    :param errors: messages by field name.
    """

    def __init__(
        self, status: int, title: str, detail: str = "", errors: Mapping[str, list[str]] | None = None
    ) -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = dict(errors or {})


@dataclass(frozen=True)
class Closing:
    """A closing that took effect.

    :param purchase_id: the purchase that was closed.
    :param at: when, in seconds since 1970.
    :param comment: the comment sent along, if any.
    :param date: the date sent along (``YYYY-MM-DD``), if any.
    """

    purchase_id: int
    at: float
    comment: str | None
    date: str | None


@dataclass
class Request:
    """A request as the server saw it.

    :param number: counts up from 1 over the life of the sandbox.
    :param at: when it had arrived in full, in seconds since 1970.
    :param method: such as ``POST``.
    :param path: without the query.
    :param query: values by name; a repeated name has its values joined by commas.
    :param headers: values by name in lower case; that of ``authorization`` is replaced by ``***``.
    :param body: the parsed JSON, else the text; ``None`` without a body.
    :param purchase_id: the purchase in the path, if there is one.
    :param status: status of the answer; ``None`` if none was sent, or none yet.
    :param fault: name of the fault that it met, if any.
    :param effect: whether it closed the purchase.
    :param done: whether the server is through with it.
    """

    number: int
    at: float
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    purchase_id: int | None
    status: int | None = None
    fault: str | None = None
    effect: bool = False
    done: bool = False


@dataclass
class _Purchase:
    body: Json
    state: str
    shows_state: bool
    documents: list[Json]
    standing: str = ""
    blocked_by: str = ""
    changed: int = 0


@dataclass(frozen=True)
class Standing:
    """How a purchase stands, for a person to read.

    :param purchase_id: its id.
    :param title: its title.
    :param supplier: name of its supplier.
    :param amount: euro billed.
    :param state: Lucca's word for its state.
    :param standing: ``closable``, ``closed`` or ``blocked``.
    :param blocked_by: why it can't be closed; empty if it can.
    """

    purchase_id: int
    title: str
    supplier: str
    amount: float
    state: str
    standing: str
    blocked_by: str


@dataclass(frozen=True)
class Changes:
    """What happened to a tenant since somebody last looked.

    :param version: to be handed in next time, for purchases.
    :param seen: to be handed in next time, for requests.
    :param counts: purchases by standing, and how many requests and 429 there were.
    :param used: requests in the window that ends now.
    :param purchases: those that changed.
    :param requests: those that came, and those that were not done before.
    """

    version: int
    seen: int
    counts: dict[str, int]
    used: int
    purchases: list[Standing]
    requests: list[Request]


@dataclass
class _Record:
    """The newest requests, and counts over all of them."""

    kept: deque[Request]
    number: int = 0
    posts: Counter[int] = field(default_factory=Counter)
    throttled: int = 0
    closings: list[Closing] = field(default_factory=list)


class Tenant:
    """A tenant that any number of threads may use.

    :param purchases: how many purchases to generate.
    :param seed: makes ids and content repeatable.
    :param clock: returns the time in seconds since 1970.
    :param limit: requests allowed in any window; 0 for no limit.
    :param window: length of the window in seconds.
    :param states: weight of each kind of purchase: ``closable``, ``blocked``, ``closed``, or a state of Lucca's.
    :param keep_requests: how many of the newest requests are kept; counts go over all of them.
    :raises ValueError: if a value makes no sense.
    """

    def __init__(
        self,
        purchases: int,
        *,
        seed: int,
        clock: Callable[[], float],
        limit: int,
        window: float,
        states: Mapping[str, float] | None,
        keep_requests: int,
    ) -> None:
        if keep_requests < 1:
            raise ValueError(f"keep_requests is {keep_requests}: it must be 1 or more")
        self._lock = threading.RLock()
        self._clock = clock
        self._window = SlidingWindow(limit, window)
        self._record = _Record(deque(maxlen=keep_requests))
        self._purchases: dict[int, _Purchase] = {}
        self._documents: dict[int, Json] = {}
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
        """Add a purchase with its documents and return its id; without a state, it is ongoing but does not say so.

        :raises ValueError: if ``fields`` holds an id that exists already.
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
        """Change members of a purchase.

        ``state=None`` lets the answers lack the state, whatever it is; ``invoices`` replaces the documents.

        :raises KeyError: if there is no such purchase.
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
        """Add a booked document, to a purchase or to none, and return its id.

        :raises KeyError: if there is no such purchase.
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
        """Return a purchase as GET answers it. What is nested in it is the tenant's own: only read it.

        :raises KeyError: if there is no such purchase.
        """
        with self._lock:
            return _answer(self._purchases[purchase_id], with_state)

    def purchases(self, *, with_state: bool = True) -> list[Json]:
        """Return all purchases as a list answers them. What is nested in them is the tenant's own: only read it."""
        with self._lock:
            return [_answer(purchase, with_state) for purchase in self._purchases.values()]

    def ids(self, standing: str | None = None) -> list[int]:
        """Return the ids of all purchases, or of those that stand as ``closable``, ``closed`` or ``blocked``."""
        with self._lock:
            return [i for i, p in self._purchases.items() if standing in (None, p.standing)]

    def document(self, document_id: int) -> Json:
        """Return a booked document. It is the tenant's own: only read it.

        :raises KeyError: if there is no such document.
        """
        with self._lock:
            return self._documents[document_id]

    def documents(self) -> list[Json]:
        """Return all booked documents, oldest first. They are the tenant's own: only read them."""
        with self._lock:
            return list(self._documents.values())

    def reference_list(self, name: str) -> list[Json]:
        """Return ``natures``, ``costcenters`` or ``suppliers``."""
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

    # --- closing ---

    def close(self, purchase_id: int, *, comment: str | None, date: str | None) -> None:
        """Close a purchase.

        :raises Problem: if it can't be closed; nothing has changed then.
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
            self._record.closings.append(Closing(purchase_id, self._clock(), comment, date))

    # --- limit and record ---

    def wait(self, now: float) -> float:
        """Return the seconds until the window has room again: 0 if it has."""
        with self._lock:
            return self._window.wait(now)

    def count(self, now: float) -> None:
        """Count a request against the limit."""
        with self._lock:
            self._window.count(now)

    def arrived(
        self,
        *,
        method: str,
        path: str,
        query: dict[str, str],
        headers: dict[str, str],
        body: Any,
        purchase_id: int | None,
        closing: bool,
    ) -> Request:
        """Record a request that has just arrived."""
        with self._lock:
            record = self._record
            record.number += 1
            request = Request(record.number, self._clock(), method, path, query, headers, body, purchase_id)
            record.kept.append(request)
            if closing and purchase_id is not None:
                record.posts[purchase_id] += 1
            return request

    def answered(self, request: Request, status: int | None) -> None:
        """Record how a request ended: with a status, or without an answer."""
        with self._lock:
            request.status = status
            request.done = True
            self._record.throttled += status == 429

    @property
    def requests(self) -> list[Request]:
        """The newest requests, oldest first."""
        with self._lock:
            return list(self._record.kept)

    @property
    def closings(self) -> list[Closing]:
        """The closings that took effect, in order."""
        with self._lock:
            return list(self._record.closings)

    @property
    def throttled(self) -> int:
        """How many requests were answered 429."""
        with self._lock:
            return self._record.throttled

    def posts(self, purchase_id: int) -> int:
        """Return how many closings of this purchase were asked for."""
        with self._lock:
            return self._record.posts[purchase_id]

    def reset_requests(self) -> None:
        """Forget the requests and their counts; the closings and the limit's window stay as they are."""
        with self._lock:
            record = self._record
            record.kept.clear()
            record.posts.clear()
            record.throttled = 0

    def changes(self, *, version: int, seen: int, most: int) -> Changes:
        """Return what happened since ``version`` and request ``seen``: at most ``most`` of each kind."""
        with self._lock:
            newest_first = itertools.takewhile(lambda r: r.number > seen, reversed(self._record.kept))
            requests = list(itertools.islice(newest_first, most))[::-1]
            # A request that is not done is sent again next time: its row is still to be completed.
            pending = [r.number for r in requests if not r.done]
            return Changes(
                version=self._version,
                seen=min(pending) - 1 if pending else self._record.number,
                counts={
                    **{name: self._standings[name] for name in ("closable", "closed", "blocked")},
                    "requests": self._record.number,
                    "throttled": self._record.throttled,
                },
                used=self._window.used(self._clock()),
                purchases=[
                    _standing(p) for p in itertools.islice(self._purchases.values(), most) if p.changed > version
                ],
                requests=[copy.copy(request) for request in requests],
            )


def unknown(kind: str, number: object) -> Problem:
    """Return the problem of an id that the tenant does not have."""
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
    )
