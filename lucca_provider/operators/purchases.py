"""Operators for purchases."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
    BaseOperator,
    conf,
)

from lucca_provider.checking import Check, Unknown
from lucca_provider.closing import ClosingRun, Driver, Report, say_problems
from lucca_provider.exceptions import LuccaError, LuccaUnresolvedError
from lucca_provider.inputs import InvalidInputError
from lucca_provider.limits import Window
from lucca_provider.links.lucca import LuccaInvoicesLink
from lucca_provider.reading.selection import SelectionError, read_selection, select
from lucca_provider.tasks.checking import read_arguments, say_open
from lucca_provider.tasks.closing import (
    KILLED,
    count_outcome,
    perform,
    push_not_begun,
    read_closing,
    say_start,
)
from lucca_provider.tasks.common import connect, push_link, push_result, say_counts, say_listed
from lucca_provider.tasks.store import MAX_EVENT_SIZE, open_journal, pack, read_attempt, unpack

if TYPE_CHECKING:
    import datetime

    from airflow.providers.common.compat.sdk import Context, XComArg

    from lucca_provider.hooks.lucca import LuccaHook

__all__ = ["CheckPurchasesOperator", "ClosePurchaseOperator", "ListPurchasesOperator"]

LEAVE_AFTER = 1 / 6
"""Share of the window from which a deferrable task leaves its worker: 10 of 60 seconds. Coming back costs a few."""


class ClosePurchaseOperator(BaseOperator):
    """
    Close purchases in Lucca Invoices, each exactly once, as fast as the tenant's rate limit allows.

    All ids are checked before the first request. Nothing is posted without a look at the purchase's state first, in
    this try: what is closed already is left alone, whoever closed it. A purchase that Lucca refuses does not stop the
    others. A closing whose answer was lost is never repeated blindly: the state is read again first.

    The task returns a report, and pushes it as its return value also when it fails:
    ``{"closed": [id, …], "already_closed": [id, …], "rejected": [{"id", "status", "title", "detail"}, …],
    "unresolved": [{"id", "reason"}, …]}``. Every purchase that was asked for is in it once. Each of the four is an XCom
    of its own too, so that ``close.output["closed"]`` can be handed on.

    - Refusals fail the task without a retry, which would not help. To try refused purchases again after fixing the
      cause in Lucca, clear the task.
    - Anything unresolved fails the task so that Airflow retries it; the retry reads states before it posts.
    - An empty list skips the task.

    .. seealso:: the guide :doc:`docs/closing`

    :param purchase_ids: what to close: an ``XComArg``, any iterable of ids, one id, or text that renders to a JSON
        list, to comma-separated ids or to one id. An id is an integer from 1 to 2,147,483,647, also as numeric text,
        or a row with it as its only column. Duplicates are closed once. (templated)
    :param comment: comment of the closings; none is sent if ``None``. (templated)
    :param closing_date: day of the closings: a date, a datetime or ``YYYY-MM-DD``; none is sent if ``None``.
        (templated)
    :param lucca_conn_id: the Airflow connection, of type ``lucca``. (templated)
    :param max_in_flight: requests at once, 1 to 32; 1 is strictly serial
    :param deferrable: leave the worker while the rate limit is used up. Default: Airflow's ``default_deferrable``
    :param durable: keep a journal in Airflow's task state store (3.3 and later). It only explains: without it a retry
        posts nothing needlessly either, but calls ``already_closed`` what an earlier try closed, and repeats refusals
    :raises AirflowFailException: for input or a connection that cannot be used, before anything is sent; and at the end
        if Lucca refused purchases and nothing is unresolved
    :raises AirflowSkipException: if there is nothing to close
    :raises LuccaUnresolvedError: at the end, if it is not known of some purchases whether they are closed
    """

    template_fields: Sequence[str] = ("purchase_ids", "comment", "closing_date", "lucca_conn_id")
    operator_extra_links = (LuccaInvoicesLink(),)
    ui_color = "#f5d9c8"

    def __init__(
        self,
        *,
        purchase_ids: object | XComArg,
        comment: str | None = None,
        closing_date: datetime.date | str | None = None,
        lucca_conn_id: str = "lucca_default",
        max_in_flight: int = 5,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        durable: bool = True,
        multiple_outputs: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(multiple_outputs=multiple_outputs, **kwargs)
        self.purchase_ids = purchase_ids
        self.comment = comment
        self.closing_date = closing_date
        self.unrendered = {"purchase_ids": purchase_ids, "comment": comment, "closing_date": closing_date}
        self.lucca_conn_id = lucca_conn_id
        self.max_in_flight = max_in_flight
        self.deferrable = deferrable
        self.durable = durable
        self._driver: Driver | None = None
        self._killed = False

    def execute(self, context: Context) -> Report:
        """Close the purchases."""
        return self._close(context, None)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Report:
        """
        Go on after a wait.

        :param context: Airflow's context
        :param event: what :class:`~lucca_provider.triggers.lucca.LuccaWaitTrigger` handed back
        :raises LuccaUnresolvedError: for any other event; the retry reads states before it posts
        """
        if not isinstance(event, dict) or event.get("status") != "success":
            raise LuccaUnresolvedError(f"The trigger came back with {str(event)[:200]!r}. Nothing more was sent.")
        try:
            carried = unpack(event["progress"])
        except (KeyError, ValueError) as error:
            raise LuccaUnresolvedError(
                f"What the trigger came back with cannot be read ({type(error).__name__}). Nothing more was sent."
            ) from error
        return self._close(context, carried)

    def on_kill(self) -> None:
        """Stop sending; what is in flight is waited for and recorded."""
        self._killed = True
        if self._driver is not None:
            self._driver.stop(KILLED)

    # -- the steps of a stay -------------------------------------------------------------------------------------

    def _close(self, context: Context, event: Mapping[str, Any] | None) -> Report:
        arguments = read_closing(self, context)
        try:
            hook = connect(self.lucca_conn_id)
            push_link(context, hook)
            if not arguments.purchase_ids:
                raise AirflowSkipException("There are no purchases to close.")
            run = self._begin(context, hook, arguments.purchase_ids, event)
        except Exception as error:
            # After a wait there is a report that says more.
            if event is None:
                push_not_begun(self, context, arguments.purchase_ids, error)
            raise
        driver = self._driver = Driver(
            run,
            partial(perform, hook.client, arguments),
            max_in_flight=self.max_in_flight,
            leave_after=LEAVE_AFTER * hook.tenant.window_seconds if self.deferrable else None,
        )
        if self._killed:
            driver.stop(KILLED)
        try:
            while (moment := driver.drive()) is not None:
                if packed := self._pack(run.leave(driver.now()), hook.base_url):
                    break
                driver.stay()
        except BaseException:
            self._push_report(context, run, run.end())
            raise
        if moment is None:
            return self._finish(context, run)
        # Should Airflow end the task while it waits, this is what the next one gets.
        self._push_report(context, run, run.report())
        return self._leave_until(moment, packed, run)

    def _pack(self, carried: Mapping[str, Any] | None, tenant: str) -> str:
        """Return what a deferral brings along; nothing if it is more than Airflow's database holds."""
        packed = "" if carried is None else pack({**carried, "tenant": tenant})
        if packed and len(packed) <= MAX_EVENT_SIZE:
            return packed
        self.log.info("The wait until then is made in the worker: it cannot be left with what is known so far.")
        return ""

    def _begin(
        self, context: Context, hook: LuccaHook, purchase_ids: Sequence[int], event: Mapping[str, Any] | None
    ) -> ClosingRun:
        if event is None:
            self.log.info(say_start(purchase_ids, hook.tenant))
        elif event.get("tenant") != hook.base_url:
            raise LuccaUnresolvedError(
                "While this task waited, its connection was changed to another tenant. Nothing more was sent."
            )
        journal = open_journal(
            context,
            read_attempt(context, event),
            tenant=hook.base_url,
            durable=self.durable,
            event=event,
            go_on=lambda: not self._killed,
        )
        return ClosingRun(
            purchase_ids,
            journal=journal,
            window=Window(hook.tenant.requests_per_minute, hook.tenant.window_seconds),
            on_outcome=partial(count_outcome, hook.environment),
        )

    def _leave_until(self, moment: float, packed: str, run: ClosingRun) -> NoReturn:
        from lucca_provider.triggers.lucca import LuccaWaitTrigger

        self.log.info("%s of %s purchases done. Leaving the worker.", len(run.decisions), len(run.purchase_ids))
        self.defer(trigger=LuccaWaitTrigger(moment, packed), method_name="execute_complete")

    def _push_report(self, context: Context, run: ClosingRun, report: Report) -> None:
        if run.is_kept:
            push_result(self, context, report)
        else:
            # A newer try's report may be there, and Airflow would let this one take its place.
            self.log.error("The journal could not be written, so the report is only logged: %s", report)

    def _finish(self, context: Context, run: ClosingRun) -> Report:
        report = run.end()
        self.log.info("Report: %s.", say_counts(report))
        if not run.is_kept:
            self._push_report(context, run, report)
            reason = run.stopped.reason if run.stopped else "the journal could not be written"
            raise LuccaUnresolvedError(f"Not reported: {reason}. A retry reads states before it posts.")
        if not report["unresolved"] and not report["rejected"]:
            return report
        self._push_report(context, run, report)
        message = say_listed(*say_problems(report))
        if report["unresolved"]:
            raise LuccaUnresolvedError(message, retry_after=run.stopped.retry_after if run.stopped else None)
        raise AirflowFailException(message)


class ListPurchasesOperator(BaseOperator):
    """
    List the purchases that are in certain states, and return their ids, or chosen fields of them.

    All purchases are read, up to 1000 with a request, and filtered here: Lucca documents no filter of this list. A
    purchase that Lucca tells no state of is left out, with a warning.

    .. seealso:: the guide :doc:`docs/validating`

    :param states: ``state`` of the purchases to return, one or several of ``Created``, ``Processing``, ``Ongoing``,
        ``Denied``, ``Closed`` and ``Cancelled``. (templated)
    :param filters: field to value: only purchases that have all these values are returned. A field within another is
        named with a dot, such as ``supplier.name``. (templated)
    :param predicate: only purchases for which this is true are returned. It is given Lucca's JSON object
    :param fields: return an object for each purchase with its ``id`` and these fields, named as in ``filters``; a
        field that a purchase lacks is ``None``. Default: the ids alone. (templated)
    :param query: query parameters to send along, should you know of a filter that Lucca has. (templated)
    :param max_bytes: size as JSON above which the result is refused, since XCom is not made for large ones
    :param lucca_conn_id: the Airflow connection, of type ``lucca``. (templated)
    :raises AirflowFailException: for arguments or a connection that cannot be used, before anything is sent; for a
        state that Lucca does not document and no purchase is in; for a field that no purchase has; for a result that is
        too large
    :raises LuccaError: if the list cannot be read as a whole
    """

    template_fields: Sequence[str] = ("states", "filters", "fields", "query", "lucca_conn_id")
    ui_color = "#f5d9c8"

    def __init__(
        self,
        *,
        states: Collection[str] | str = ("Ongoing",),
        filters: Mapping[str, Any] | None = None,
        predicate: Callable[[Mapping[str, Any]], object] | None = None,
        fields: Sequence[str] | None = None,
        query: Mapping[str, Any] | None = None,
        max_bytes: int = 1_000_000,
        lucca_conn_id: str = "lucca_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.states = states
        self.filters = filters
        self.predicate = predicate
        self.fields = fields
        self.query = query
        self.max_bytes = max_bytes
        self.lucca_conn_id = lucca_conn_id

    def execute(self, context: Context) -> list[Any]:
        """List the purchases."""
        try:
            selection = read_selection(
                states=self.states,
                filters=self.filters,
                predicate=self.predicate,
                fields=self.fields,
                max_bytes=self.max_bytes,
            )
            return select(selection, connect(self.lucca_conn_id).list_purchases(self.query))
        except (InvalidInputError, SelectionError) as error:
            raise AirflowFailException(str(error)) from error


class CheckPurchasesOperator(BaseOperator):
    """
    Say of each purchase what a closing would do. Nothing is closed: this is also the dry run.

    A purchase can be closed once all its invoices are approved and paid, or cancelled. The purchases and all booked
    documents are read, by pages of up to 1000 where that takes fewer requests than to ask for each purchase.

    The task returns ``{"closable": [id, …], "already_closed": [id, …], "blocked": [{"id", "reasons": [text, …]}, …],
    "unknown": [{"id", "reason"}, …]}``, and pushes it also when it fails. Every purchase that was asked for is in it
    once. Each of the four is an XCom of its own too, so that ``check.output["closable"]`` can be closed. What is not
    clearly ready is never ``closable``. An empty list skips the task.

    .. seealso:: the guide :doc:`docs/validating`

    :param purchase_ids: what to check, in the shapes that :class:`ClosePurchaseOperator` takes. (templated)
    :param on_blocked: what to do if a purchase is ``blocked`` or ``unknown``: ``fail``; ``warn`` and pass the closable
        ones on; ``skip`` those, pass the closable ones on, and skip this task if there are none
    :param documents_since: look only for documents that were created on this day or later, a date or ``YYYY-MM-DD``. A
        purchase of whose amount they account for a part only is ``unknown``. (templated)
    :param approved_states: ``conformityState`` of a document that counts as approved
    :param paid_states: ``paymentState`` of a document that counts as paid
    :param cancelled_states: ``conformityState`` or ``paymentState`` of a document that counts as cancelled
    :param closable_states: ``state`` of a purchase that may be closed
    :param lucca_conn_id: the Airflow connection, of type ``lucca``. (templated)
    :raises AirflowFailException: for arguments or a connection that cannot be used, before anything is sent; with
        ``on_blocked="fail"`` if a purchase is blocked
    :raises LuccaUnresolvedError: with ``on_blocked="fail"`` if none is blocked and some are unknown; a retry may know
    :raises AirflowSkipException: if there is nothing to check; with ``on_blocked="skip"`` if nothing can be closed
    :raises LuccaError: if the key is wrong, or the limit stays used up
    """

    template_fields: Sequence[str] = ("purchase_ids", "documents_since", "lucca_conn_id")
    operator_extra_links = (LuccaInvoicesLink(),)
    ui_color = "#f5d9c8"

    def __init__(
        self,
        *,
        purchase_ids: object | XComArg,
        on_blocked: str = "fail",
        documents_since: datetime.date | str | None = None,
        approved_states: Collection[str] = ("Confirmed", "Bypassed"),
        paid_states: Collection[str] = ("Paid",),
        cancelled_states: Collection[str] = ("Discarded", "Removed", "Cancelled"),
        closable_states: Collection[str] = ("Ongoing",),
        lucca_conn_id: str = "lucca_default",
        multiple_outputs: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(multiple_outputs=multiple_outputs, **kwargs)
        self.purchase_ids = purchase_ids
        self.on_blocked = on_blocked
        self.documents_since = documents_since
        self.unrendered = {"purchase_ids": purchase_ids, "documents_since": documents_since}
        self.approved_states = approved_states
        self.paid_states = paid_states
        self.cancelled_states = cancelled_states
        self.closable_states = closable_states
        self.lucca_conn_id = lucca_conn_id

    def execute(self, context: Context) -> Check:
        """Check the purchases."""
        if self.on_blocked not in ("fail", "warn", "skip"):
            raise AirflowFailException(f"on_blocked: {self.on_blocked!r} is none of 'fail', 'warn' and 'skip'.")
        arguments = read_arguments(self)
        hook = connect(self.lucca_conn_id)
        push_link(context, hook)
        if not arguments.purchase_ids:
            push_result(self, context, Check(closable=[], already_closed=[], blocked=[], unknown=[]))
            raise AirflowSkipException("There are no purchases to check.")
        self.log.info("Checking %s purchases at %s (%s).", len(arguments.purchase_ids), hook.base_url, hook.environment)
        try:
            check = arguments.check(hook)
        except LuccaError as error:
            unknown = [Unknown(id=purchase_id, reason=str(error)) for purchase_id in arguments.purchase_ids]
            push_result(self, context, Check(closable=[], already_closed=[], blocked=[], unknown=unknown))
            raise
        self.log.info("Found: %s.", say_counts(check))
        return self._pass_on(context, check)

    def _pass_on(self, context: Context, check: Check) -> Check:
        lines = say_open(check)
        if self.on_blocked == "fail" and lines:
            push_result(self, context, check)
            message = (
                f"{len(lines)} purchase(s) cannot be closed now, so nothing is passed on. Fix the cause in Lucca and "
                "clear this task, or pass on the others with on_blocked='warn'."
            )
            error = AirflowFailException if check["blocked"] else LuccaUnresolvedError
            raise error(say_listed(message, lines))
        for line in lines:
            self.log.log(logging.WARNING if self.on_blocked == "warn" else logging.INFO, "Left out: %s", line)
        if self.on_blocked == "skip" and lines and not check["closable"]:
            push_result(self, context, check)
            raise AirflowSkipException(say_listed("None of the purchases can be closed now.", lines))
        return check
