"""The sandbox itself: a tenant served on a port of this machine for as long as a ``with`` block lasts."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .api import Api
from .dataset import Json
from .faults import FaultPlan, Faults
from .gate import Gate
from .listener import Listener
from .page import Page
from .record import Record, Request
from .settings import Behaviour, Settings, steady_clock
from .tenant import Closing, Tenant

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Sandbox"]


class Sandbox(Settings):
    """
    A Lucca tenant on this machine.

    .. code-block:: python

        with Sandbox(purchases=5, faults={"error_after": 0.2}) as lucca:
            os.environ.update(lucca.environ)
            ...
            assert lucca.closed_ids == lucca.purchase_ids

    It may be entered once. All members may be used from any thread. Its arguments are those of :class:`Settings`.

    :raises ValueError: if a value makes no sense
    """

    def __post_init__(self, faults: Mapping[str, float] | None) -> None:
        super().__post_init__(faults)
        # What may be changed while it runs is found under this name too.
        self.behaviour: Behaviour = self
        clock = self.clock or steady_clock()
        self._plan = FaultPlan(faults or {}, seed=self.seed, everywhere=self.fault_on == "all")
        self._tenant = Tenant(self.purchases, seed=self.seed, states=self.states, clock=clock)
        self._record = Record(self.keep_requests, clock)
        self._gate = Gate(self, self._plan, self._record, Api(self._tenant, self), clock)
        self._page = Page(self, self._tenant, self._record, self._gate)
        self._at_exit = ExitStack()
        self._was_entered = False

    def __enter__(self) -> Self:
        """
        Start listening.

        :raises OSError: if the address can't be had, for instance because the port is taken
        :raises RuntimeError: if it was entered before
        """
        if self._was_entered:
            raise RuntimeError("a Sandbox can be entered once only: make a new one")
        listener = Listener(self.host, self.port, self._page)
        self.port = listener.port
        listener.start()
        self._was_entered = True
        self._at_exit.callback(listener.stop)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._gate.stop()
        self._at_exit.close()

    # --- what the tenant holds ---

    @property
    def purchase_ids(self) -> list[int]:
        """Ids of all purchases."""
        return self._tenant.ids()

    @property
    def closable_ids(self) -> list[int]:
        """Ids of the purchases that a closing would close now."""
        return self._tenant.ids("closable")

    @property
    def closed_ids(self) -> list[int]:
        """Ids of the purchases that are closed now."""
        return self._tenant.ids("closed")

    @property
    def blocked_ids(self) -> list[int]:
        """Ids of the purchases that can't be closed now and are not closed."""
        return self._tenant.ids("blocked")

    def purchase(self, purchase_id: int) -> Json:
        """
        Return a purchase as GET answers it.

        :param purchase_id: its id
        :raises KeyError: if there is no such purchase
        """
        return copy.deepcopy(self._tenant.purchase(purchase_id, with_state=not self.missing_state))

    @property
    def documents(self) -> list[Json]:
        """All booked documents, as the list answers them, oldest first."""
        return copy.deepcopy(self._tenant.documents())

    def add_purchase(
        self,
        state: str | None = "Ongoing",
        invoices: Iterable[Mapping[str, Any]] = ({"conformityState": "Confirmed", "paymentState": "Paid"},),
        **fields: Any,
    ) -> int:
        """
        Add a purchase and return its id.

        :param state: Lucca's word; ``None`` for an ongoing purchase whose answers lack the state
        :param invoices: members of its documents; ``amount`` (euro with taxes) stands for all amounts
        :param fields: members of the purchase
        :raises ValueError: if ``fields`` holds an id that exists already
        """
        return self._tenant.add_purchase(state, [dict(invoice) for invoice in invoices], fields)

    def set_purchase(self, purchase_id: int, **fields: Any) -> None:
        """
        Change members of a purchase.

        :param purchase_id: its id
        :param fields: the members; ``state=None`` lets the answers lack the state, whatever it is, and ``invoices``
            replaces the documents
        :raises KeyError: if there is no such purchase
        """
        self._tenant.set_purchase(purchase_id, fields)

    def add_document(self, purchase_id: int | None = None, **fields: Any) -> int:
        """
        Add a booked document and return its id.

        :param purchase_id: the purchase that it is added to; ``None`` for none
        :param fields: members of the document
        :raises KeyError: if there is no such purchase
        """
        return self._tenant.add_document(purchase_id, fields)

    # --- what happened ---

    @property
    def closings(self) -> list[Closing]:
        """The closings that took effect, in order."""
        return self._tenant.closings

    @property
    def requests(self) -> list[Request]:
        """The requests so far, oldest first; those of the sandbox's own page are not among them."""
        return self._record.requests

    @property
    def throttled(self) -> int:
        """How many requests were answered 429."""
        return self._record.counts["throttled"]

    def posts(self, purchase_id: int) -> int:
        """
        Return how many closings of a purchase were asked for, whatever became of them.

        :param purchase_id: its id
        """
        return self._record.posts(purchase_id)

    def reset_requests(self) -> None:
        """Forget the requests and their counts; closings and the limit's window stay as they are."""
        self._record.reset()

    # --- what goes wrong ---

    @property
    def faults(self) -> Faults:
        """Probability by name of fault; may be changed at any time."""
        return self._plan.faults

    @faults.setter
    def faults(self, faults: Mapping[str, float]) -> None:
        self._plan.faults = Faults(faults)

    def fail_next(
        self, fault_name: str, purchase_id: int | None = None, times: int = 1, *, method: str | None = None
    ) -> None:
        """
        Let the next matching requests meet a fault, before any that is left to chance.

        :param fault_name: one of :data:`lucca_provider.sandbox.FAULTS`
        :param purchase_id: only requests for this purchase
        :param times: how many requests
        :param method: requests of this method, whatever ``fault_on`` says; without it, those of ``fault_on``
        :raises ValueError: if the fault is unknown or ``times`` is below 1
        """
        self._plan.script(fault_name, purchase_id=purchase_id, method=method, times=times)
