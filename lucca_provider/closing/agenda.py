"""The agenda: the purchases of a run that are not decided yet, and which of them is next."""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Container, Iterable, Iterator
from dataclasses import replace

from lucca_provider.closing.purchase import UNREAD, Purchase, next_kind
from lucca_provider.closing.steps import Kind, Step

__all__ = ["GROUP", "Agenda"]

GROUP = 8
"""Closings whose intents are written together. So many are read ahead, where they are read one by one."""


class Agenda:
    """
    Where each undecided purchase waits for its next request.

    A purchase is in one place: unlisted, to be read singly, waiting, or open; or in none while a request about it is on
    its way.
    """

    def __init__(self) -> None:
        self.unlisted: dict[int, None] = {}
        """Unread, and the list may tell: in the order asked for."""
        self.intended: set[int] = set()
        """Open, with an intent that was written and not used."""
        self.expiries = 0
        """How often readings became too old since a purchase was decided: if ever, the worker is not left again."""
        self._was_late = False
        """Whether readings became too old in this stay."""
        self._counted_at = 0.0
        """When that was last counted. What was read before, on later pages of the same list, is not counted again."""
        self._known: dict[int, Purchase] = {}
        """What is known, where that is anything."""
        self._single: deque[int] = deque()
        """To be read one by one: the list does not tell, or is not worth reading."""
        self._waiting: list[tuple[float, int, int]] = []
        """A heap of moment, ticket and purchase: to be read again, not before its moment."""
        self._open: OrderedDict[int, None] = OrderedDict()
        """To be closed, the oldest reading first."""
        self._later: list[int] = []
        """Read before a wait, but too many to be closed while that counts: to be listed anew after the open ones."""
        self._tickets = 0
        """Keeps what waits for the same moment in order."""

    def __getitem__(self, purchase_id: int) -> Purchase:
        """Return what is known of a purchase."""
        return self._known.get(purchase_id, UNREAD)

    def takes_pages(self, purchase_id: int) -> bool:
        """
        Return whether a page of the list may change what is known of a purchase: nothing about it is on its way or due.

        :param purchase_id: which one
        """
        return purchase_id in self.unlisted or purchase_id in self._open

    def items(self) -> Iterator[tuple[int, Purchase]]:
        """Yield each purchase of which anything is known."""
        return iter(self._known.items())

    @property
    def is_read_singly(self) -> bool:
        """Whether purchases are left that the list does not tell of."""
        return bool(self._single)

    @property
    def is_read_later(self) -> bool:
        """Whether purchases are left that are to be listed anew after the open ones."""
        return bool(self._later)

    def fill(
        self, purchase_ids: Iterable[int], decided: Container[int], *, singly: bool = False, later: bool = False
    ) -> None:
        """
        Take on the purchases that are not here yet: nothing is known of them.

        :param purchase_ids: in the order in which they are to be closed
        :param decided: those of them that need nothing any more
        :param singly: whether the list is known not to tell of them
        :param later: whether they need not be read before the open ones are closed
        """
        unread = (each for each in purchase_ids if each not in decided and each not in self._known)
        if later:
            self._later.extend(unread)
        elif singly:
            self._single.extend(unread)
        else:
            self.unlisted.update(dict.fromkeys(unread))

    def put(self, purchase_id: int, purchase: Purchase, *, first: bool = False) -> None:
        """
        Let a purchase wait for its next request, by what is known of it.

        :param purchase_id: which one
        :param purchase: what is known of it now
        :param first: whether it goes before the others, since its reading is older
        """
        self._known[purchase_id] = purchase
        self.unlisted.pop(purchase_id, None)
        if purchase.read_at is None:
            self._open.pop(purchase_id, None)
            self.intended.discard(purchase_id)
            self._tickets += 1
            heapq.heappush(self._waiting, (purchase.ready_at, self._tickets, purchase_id))
        else:
            self._open[purchase_id] = None
            if first:
                self._open.move_to_end(purchase_id, last=False)

    def drop(self, purchase_id: int) -> None:
        """
        Forget a purchase that is decided.

        :param purchase_id: which one
        """
        self._known.pop(purchase_id, None)
        self.unlisted.pop(purchase_id, None)
        self._open.pop(purchase_id, None)
        self.intended.discard(purchase_id)
        self.expiries = 0

    def read_singly(self) -> None:
        """Read the unlisted ones one by one."""
        self._single.extend(self.unlisted)
        self.unlisted.clear()

    def renew(self, now: float) -> bool:
        """
        Find out what is to be read again.

        :param now: the present moment
        :return: whether that needs the list from its first page
        """
        # Both, whatever the first one finds: what has expired is what is open no more.
        expired = self.expire(now)
        return self.resume() or expired

    def resume(self) -> bool:
        """
        Take up what was to come later, if its time has come.

        :return: whether the list is to be read anew for it
        """
        if self._open or not self._later:
            return False
        self.unlisted.update(dict.fromkeys(self._later))
        self._later.clear()
        return True

    def expire(self, now: float) -> bool:
        """
        Take the open purchases whose reading has become too old for unread.

        :param now: the present moment
        :return: whether there were any
        """
        expired, counted = False, False
        while self._open and next_kind(known := self[purchase_id := self._next_open()], now) is not Kind.CLOSE:
            del self._open[purchase_id]
            self._known[purchase_id] = replace(known, read_at=None)
            self.intended.discard(purchase_id)
            self.unlisted[purchase_id] = None
            expired = True
            counted |= known.read_at is not None and known.read_at >= self._counted_at
        if counted:
            self.expiries += 1
            self._counted_at = now
        self._was_late |= expired
        return expired

    @property
    def is_pressed(self) -> bool:
        """Whether what is open is to be closed before more is read, since readings became too old in this stay."""
        return self._was_late and bool(self._open)

    def next(self, now: float) -> tuple[Step, float] | None:
        """
        Find the next request about a single purchase, and when it may go out, whatever the limit says.

        :param now: the present moment
        :return: ``None`` if there is none before another answer has come
        """
        if self._open and self._next_open() in self.intended:
            return self._step(self._next_open(), now), now
        if self._waiting and self._waiting[0][0] <= now:
            return self._step(self._waiting[0][2], now), now
        if self._single and len(self._open) < GROUP and not self.is_pressed:
            return self._step(self._single[0], now), now
        if self._open:
            return self._step(self._next_open(), now), now
        if self._waiting:
            return self._step(self._waiting[0][2], now), self._waiting[0][0]
        return None

    def _next_open(self) -> int:
        return next(iter(self._open))

    def _step(self, purchase_id: int, now: float) -> Step:
        return Step(next_kind(self[purchase_id], now), purchase_id)

    def group(self) -> list[int]:
        """Return the purchases that are closed next, whose intents are written together."""
        return [purchase_id for purchase_id, _ in zip(self._open, range(GROUP), strict=False)]

    def open_ids(self) -> list[int]:
        """Return the open purchases, in the order in which they are closed."""
        return list(self._open)

    def take(self, step: Step) -> None:
        """
        Take a purchase out of its place: the request about it goes out.

        :param step: what :meth:`next` said, or a step about no single purchase
        """
        if step.kind is Kind.CLOSE:
            del self._open[step.purchase_id]
            self.intended.discard(step.purchase_id)
        elif step.kind is Kind.READ and self._waiting and self._waiting[0][2] == step.purchase_id:
            heapq.heappop(self._waiting)
        elif step.kind is Kind.READ:
            self._single.popleft()
