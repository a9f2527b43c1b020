"""Sensors for purchases."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.exceptions import AirflowRescheduleException

from lucca_provider.compat import (
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)
from lucca_provider.exceptions import LuccaError, LuccaForbiddenError, LuccaThrottledError, LuccaUnresolvedError
from lucca_provider.links.lucca import lucca_links
from lucca_provider.reading.counts import say_count
from lucca_provider.tasks.checking import Arguments, read_arguments, say_open
from lucca_provider.tasks.common import connect, push_link, say_counts, say_listed

if TYPE_CHECKING:
    import datetime

    from lucca_provider.compat import Context, XComArg
    from lucca_provider.hooks.lucca import LuccaHook

__all__ = ["PurchasesClosableSensor"]


class _Watched:
    """
    Reads as the hook does, and remembers that the key lacks a right: a check takes that for an unknown purchase.

    :param hook: the connection
    """

    def __init__(self, hook: LuccaHook) -> None:
        self.forbidden: LuccaForbiddenError | None = None
        """What Lucca said, if so."""
        self._hook = hook

    def get_purchase(self, purchase_id: int) -> Any:
        return self._watch(self._hook.get_purchase, purchase_id)

    def get_page(self, path: str, params: Mapping[str, Any]) -> object:
        return self._watch(self._hook.get_page, path, params)

    def _watch(self, read: Callable[..., Any], *arguments: object) -> Any:
        try:
            return read(*arguments)
        except LuccaForbiddenError as error:
            self.forbidden = error
            raise


class PurchasesClosableSensor(BaseSensorOperator):
    """
    Wait until purchases can be closed: until all their invoices are approved and paid, or cancelled.

    Each poke checks the purchases as :class:`~lucca_provider.operators.purchases.CheckPurchasesOperator` does, with as
    many requests. The task returns the ids that can be closed, without those that are already closed. When it times
    out, the error names what still blocks. An empty list skips the task.

    A poke without a clear answer from Lucca counts as "not yet".

    .. seealso:: the guide :doc:`docs/validating`

    :param purchase_ids: what to wait for, in the shapes that
        :class:`~lucca_provider.operators.purchases.ClosePurchaseOperator` takes. (templated)
    :param wait_for: ``all``: until each is closable or closed already; ``any``: until one is closable, or all
        are closed already
    :param documents_since: look only for documents that were created on this day or later, a date or ``YYYY-MM-DD``. A
        purchase whose billed amount is not the sum of these documents is not closable. (templated)
    :param approved_states: ``conformityState`` of a document that counts as approved
    :param paid_states: ``paymentState`` of a document that counts as paid
    :param cancelled_states: ``conformityState`` or ``paymentState`` of a document that counts as cancelled
    :param closable_states: ``state`` of a purchase that may be closed
    :param lucca_conn_id: the Airflow connection, of type ``lucca``. (templated)
    :param deferrable: wait in the triggerer instead of being rescheduled; ``timeout`` then counts from the start of
        the try. Default (``None``): Airflow's ``default_deferrable``, but never with ``exponential_backoff``
    :param mode: ``reschedule`` leaves the worker between two pokes, ``poke`` does not
    :param poke_interval: seconds between two pokes, not fewer than the window of the tenant's limit (60), which
        ``exponential_backoff`` keeps to as well
    :raises AirflowFailException: for arguments or a connection that cannot be used, before anything is sent, also with
        ``soft_fail``
    :raises AirflowSkipException: if there is nothing to wait for; after a time-out with ``soft_fail``
    :raises AirflowSensorTimeout: after ``timeout`` seconds, with what still blocks
    :raises LuccaError: if the key is wrong, also with ``soft_fail``
    """

    template_fields: Sequence[str] = ("purchase_ids", "documents_since", "lucca_conn_id")
    operator_extra_links = lucca_links()
    ui_color = "#f5d9c8"

    def __init__(
        self,
        *,
        purchase_ids: object | XComArg,
        wait_for: str = "all",
        documents_since: datetime.date | str | None = None,
        approved_states: Collection[str] = ("Confirmed", "Bypassed"),
        paid_states: Collection[str] = ("Paid",),
        cancelled_states: Collection[str] = ("Discarded", "Removed", "Cancelled"),
        closable_states: Collection[str] = ("Ongoing",),
        lucca_conn_id: str = "lucca_default",
        deferrable: bool | None = None,
        mode: str = "reschedule",
        poke_interval: datetime.timedelta | float = 900,
        **kwargs: Any,
    ) -> None:
        super().__init__(mode=mode, poke_interval=poke_interval, **kwargs)
        self.purchase_ids = purchase_ids
        self.wait_for = wait_for
        self.documents_since = documents_since
        self.unrendered = {"purchase_ids": purchase_ids, "documents_since": documents_since}
        self.approved_states = approved_states
        self.paid_states = paid_states
        self.cancelled_states = cancelled_states
        self.closable_states = closable_states
        self.lucca_conn_id = lucca_conn_id
        if deferrable is None:
            # What a cluster prefers must not break a sensor that cannot do it.
            preferred = conf.getboolean("operators", "default_deferrable", fallback=False)
            deferrable = preferred and not self.exponential_backoff
        self.deferrable = deferrable
        self._still: Sequence[str] = ()
        self._fault: Exception | None = None
        self._window = 0.0

    def execute(self, context: Context) -> Any:
        """Wait for the purchases."""
        return self._look(context, time.time())

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """
        Go on after a wait in the triggerer.

        :param context: Airflow's context
        :param event: what :class:`~lucca_provider.triggers.lucca.LuccaWaitTrigger` handed back
        :raises LuccaUnresolvedError: for any other event
        """
        try:
            if event is None or event["status"] != "success":
                raise ValueError("not the event of this trigger")
            started = float(event["progress"])
        except (KeyError, TypeError, ValueError) as error:
            raise LuccaUnresolvedError(f"The trigger returned {str(event)[:200]!r}. A retry checks anew.") from error
        return self._look(context, started)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Let no fault become a skip either when Airflow goes on after a wait."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSkipException:
            self._raise_fault_of_soft_fail()
            raise

    def poke(self, context: Context) -> PokeReturnValue:
        """Check the purchases once."""
        self._still, self._fault = (), None
        try:
            return self._poke(context)
        except AirflowSkipException:
            raise
        except Exception as error:
            self._fault = error
            raise

    def _poke(self, context: Context) -> PokeReturnValue:
        arguments = read_arguments(self)
        if self.wait_for not in ("all", "any"):
            raise AirflowFailException(f"wait_for: {self.wait_for!r} is neither 'all' nor 'any'.")
        if self.deferrable and self.exponential_backoff:
            raise AirflowFailException("exponential_backoff: it does nothing with deferrable=True. Leave one out.")
        try:
            hook = connect(self.lucca_conn_id)
        except AirflowNotFoundException as error:
            raise AirflowFailException(str(error)) from None
        # The requests of two pokes never fall into one window, which neither of them would notice.
        self._window = hook.tenant.window_seconds
        if self.poke_interval < self._window:
            raise AirflowFailException(
                f"poke_interval: {self.poke_interval:g} s is too short. Give at least {self._window:g} s, the window "
                "of the tenant's rate limit."
            )
        push_link(context, hook)
        if not arguments.purchase_ids:
            raise AirflowSkipException("There are no purchases to wait for.")
        return self._check(arguments, hook)

    def _check(self, arguments: Arguments, hook: LuccaHook) -> PokeReturnValue:
        self.log.info("Checking %s at %s.", say_count(len(arguments.purchase_ids)), hook.base_url)
        watched = _Watched(hook)
        try:
            check = arguments.check(watched)
        except LuccaError as error:
            self._still = [f"the last check got no clear answer: {error}"]
            if not isinstance(error, LuccaThrottledError):
                raise
            self.log.warning("No clear answer; checking again at the next poke: %s", error)
            return PokeReturnValue(is_done=False)
        self._still, self._fault = say_open(check), watched.forbidden
        self.log.info("Found %s.", say_counts(check))
        for line in self._still:
            self.log.info("Still waiting: %s", line)
        done = not self._still or (self.wait_for == "any" and bool(check["closable"]))
        return PokeReturnValue(is_done=done, xcom_value=check["closable"])

    def _get_next_poke_interval(self, *args: Any, **kwargs: Any) -> float:
        # Exponential backoff begins with half of poke_interval, and ends with what is left of the time-out.
        return max(self._window, super()._get_next_poke_interval(*args, **kwargs))

    def _look(self, context: Context, started: float) -> Any:
        if self.deferrable:
            self.mode = "reschedule"
        # Airflow warns of an ``execute`` that it did not call itself (2.11 even if an overriding one calls it).
        execute = inspect.unwrap(BaseSensorOperator.execute)
        try:
            return execute(self, context)
        except AirflowRescheduleException as leave:
            if not self.deferrable:
                raise
            self._defer_until(leave.reschedule_date.timestamp(), started)
        except (AirflowSensorTimeout, AirflowSkipException) as error:
            if isinstance(error, AirflowSkipException):
                self._raise_fault_of_soft_fail()
            # Where Airflow makes a skip of an error, the error is its cause, which no log would show.
            why = self._still or ([str(error.__cause__)] if error.__cause__ else [])
            raise type(error)(say_listed(str(error), why, most=None)) from None

    def _raise_fault_of_soft_fail(self) -> None:
        """Raise what was wrong at the last poke, of which ``soft_fail`` would make a skip, and so a green run."""
        if self.soft_fail and self._fault is not None:
            raise self._fault

    def _defer_until(self, moment: float, started: float) -> NoReturn:
        from lucca_provider.triggers.lucca import LuccaWaitTrigger

        if time.time() - started > self.timeout:
            self._raise_fault_of_soft_fail()
            message = say_listed(f"Not closable within the time-out of {self.timeout:g} s.", self._still, most=None)
            raise (AirflowSkipException if self.soft_fail else AirflowSensorTimeout)(message)
        self.defer(trigger=LuccaWaitTrigger(moment, str(started)), method_name="execute_complete")
