"""Operators for purchases."""

from __future__ import annotations

import base64
import inspect
import json
import logging
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
    BaseOperator,
    Stats,
    conf,
)

from lucca_provider.checking import Check, Unknown
from lucca_provider.closing import (
    PROGRESS_VERSION,
    ClosingRun,
    Driver,
    Kind,
    Ledger,
    MemoryLedger,
    Outcome,
    Report,
    Step,
)
from lucca_provider.exceptions import LuccaError, LuccaUnresolvedError
from lucca_provider.inputs import InvalidInputError, parse_closing_date, parse_comment, parse_purchase_ids, parse_states
from lucca_provider.limits import Window
from lucca_provider.links.lucca import LuccaInvoicesLink
from lucca_provider.reading.states import KNOWN_STATES
from lucca_provider.tasks.checking import read_arguments, say_open
from lucca_provider.tasks.common import connect, push_link, push_result, say_counts, say_listed

if TYPE_CHECKING:
    import datetime

    from airflow.providers.common.compat.sdk import Context, XComArg

    from lucca_provider.hooks.lucca import LuccaHook

__all__ = ["CheckPurchasesOperator", "ClosePurchaseOperator", "ListPurchasesOperator"]

LEAVE_AFTER = 1 / 6
"""Share of the window from which a deferrable task leaves its worker: 10 of 60 seconds. Coming back costs a few."""
KILLED = "the task was killed"
MAX_IN_FLIGHT = 32


class ClosePurchaseOperator(BaseOperator):
    """
    Close purchases in Lucca Invoices, each exactly once, as fast as the tenant's limit allows.

    All ids are checked before the first request. A purchase that Lucca refuses does not stop the others. A closing
    whose answer was lost is never repeated blindly: the purchase's state is read first.

    The task returns a report, and pushes it as its return value also when it fails:
    ``{"closed": [id, …], "already_closed": [id, …], "rejected": [{"id", "status", "title", "detail"}, …],
    "unresolved": [{"id", "reason"}, …]}``. Every purchase that was asked for is in it once.

    - Refusals fail the task without a retry, which would not help. To try refused purchases again after mending the
      cause in Lucca, clear the task.
    - Anything unresolved fails the task so that Airflow retries it; the retry looks before it posts.
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
    :param deferrable: leave the worker while the tenant's limit is used up. Default: Airflow's ``default_deferrable``
    :param durable: keep a ledger in Airflow's task state store (3.3 and later), from which a retry goes on. Without it
        a retry is just as safe, but asks Lucca about each purchase again
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
        max_in_flight: int = 4,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        durable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.purchase_ids = purchase_ids
        self.comment = comment
        self.closing_date = closing_date
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
        :raises LuccaUnresolvedError: for any other event; the retry looks before it posts
        """
        if not isinstance(event, dict) or event.get("status") != "success":
            raise LuccaUnresolvedError(f"The trigger came back with {str(event)[:200]!r}. Nothing more was sent.")
        try:
            progress = _unpack(event["progress"])
        except (KeyError, TypeError, ValueError, zlib.error) as error:
            raise LuccaUnresolvedError(
                f"What the trigger came back with cannot be read ({type(error).__name__}). Nothing more was sent."
            ) from error
        return self._close(context, progress)

    def on_kill(self) -> None:
        """Stop sending; what is in flight is waited for and recorded."""
        self._killed = True
        if self._driver is not None:
            self._driver.stop(KILLED)

    # -- the steps of a try --------------------------------------------------------------------------------------

    def _close(self, context: Context, progress: Mapping[str, Any] | None) -> Report:
        purchase_ids, comment, closing_date = self._read_arguments()
        try:
            hook, ledger, run = self._begin(context, purchase_ids, progress)
        except AirflowSkipException:
            push_result(self, context, ClosingRun([], ledger=MemoryLedger(), window=Window(1)).report())
            raise
        except Exception as error:
            # After a wait there is a report that says more.
            if progress is None:
                push_result(self, context, _not_begun(purchase_ids, error))
            raise
        self._driver = Driver(
            run,
            partial(_perform, hook, comment, closing_date),
            max_in_flight=self.max_in_flight,
            leave_after=LEAVE_AFTER * hook.tenant.window_seconds if self.deferrable else None,
        )
        if self._killed:
            self._driver.stop(KILLED)
        try:
            moment = self._driver.drive()
        except BaseException:
            self._push_report(context, ledger, run.report())
            raise
        if moment is not None:
            # Should Airflow end the task while it waits, this is what the next one gets.
            self._push_report(context, ledger, run.report())
            self._leave_until(moment, {**run.carry(), "tenant": hook.base_url, "try": context["ti"].try_number})
        return self._finish(context, ledger, run)

    def _begin(
        self, context: Context, purchase_ids: list[int], progress: Mapping[str, Any] | None
    ) -> tuple[LuccaHook, Ledger, ClosingRun]:
        ti = context["ti"]
        hook = connect(self.lucca_conn_id)
        push_link(context, hook)
        if not purchase_ids:
            raise AirflowSkipException("There are no purchases to close.")
        nothing_sent = ti.try_number <= 1
        if progress is not None and progress.get("try") != ti.try_number:
            # Airflow 2 resumes a try whose scheduler was lost as the next one, with what was known at the last wait:
            # not what was done since then.
            self.log.warning("What is known from the last wait is another try's. Looking before anything is sent.")
            progress, nothing_sent = None, False
        if progress is None:
            self._announce(purchase_ids, hook)
        elif (progress.get("version"), progress.get("tenant")) != (PROGRESS_VERSION, hook.base_url):
            raise LuccaUnresolvedError(
                "While this task waited, its connection was changed to another tenant or the provider to another "
                "version. Nothing more was sent. The next try looks before it posts."
            )
        # Only now: a ledger that was begun counts as one that knows everything.
        ledger = self._ledger(context, tenant=hook.base_url, first_try=nothing_sent)
        run = ClosingRun(
            purchase_ids,
            ledger=ledger,
            window=Window(hook.tenant.requests_per_minute, hook.tenant.window_seconds),
            on_outcome=partial(_count, hook.environment),
            progress=progress,
            retry_rejected=_was_cleared(ti, self.retries or 0),
        )
        return hook, ledger, run

    def _read_arguments(self) -> tuple[list[int], str | None, str | None]:
        try:
            if isinstance(self.max_in_flight, bool) or not isinstance(self.max_in_flight, int):
                raise InvalidInputError(f"max_in_flight: {self.max_in_flight!r} is not a whole number.")
            if not 1 <= self.max_in_flight <= MAX_IN_FLIGHT:
                raise InvalidInputError(f"max_in_flight: {self.max_in_flight} is not from 1 to {MAX_IN_FLIGHT}.")
            return (
                parse_purchase_ids(self.purchase_ids),
                parse_comment(self.comment),
                parse_closing_date(self.closing_date),
            )
        except InvalidInputError as error:
            raise AirflowFailException(str(error)) from error

    def _announce(self, purchase_ids: Sequence[int], hook: LuccaHook) -> None:
        tenant = hook.tenant
        windows = (len(purchase_ids) - 1) // tenant.requests_per_minute
        self.log.info(
            "Closing %s purchases at %s (%s). At %s requests per %.0f s this takes at least %.0f s.",
            len(purchase_ids),
            tenant.base_url,
            tenant.environment,
            tenant.requests_per_minute,
            tenant.window_seconds,
            windows * tenant.window_seconds,
        )

    def _ledger(self, context: Context, *, tenant: str, first_try: bool) -> Ledger:
        store = context.get("task_state_store") if self.durable else None
        if store is None:
            return MemoryLedger(complete=first_try)
        from lucca_provider.tasks.store import TaskStateLedger

        return TaskStateLedger(store, tenant=tenant, first_try=first_try)

    def _leave_until(self, moment: float, progress: dict[str, Any]) -> None:
        from lucca_provider.triggers.lucca import LuccaWaitTrigger

        done = sum(len(progress[name]) for name in ("closed", "already_closed", "rejected", "unresolved"))
        self.log.info("%s purchases done. The tenant's limit is used up; leaving the worker meanwhile.", done)
        self.defer(trigger=LuccaWaitTrigger(moment, _pack(progress)), method_name="execute_complete")

    def _push_report(self, context: Context, ledger: Ledger, report: Report) -> None:
        if ledger.is_taken_over():
            # Airflow would take it all the same, in the place of the other's report.
            self.log.error("Another try has taken over, so the report of this one is only logged: %s", report)
        else:
            push_result(self, context, report)

    def _finish(self, context: Context, ledger: Ledger, run: ClosingRun) -> Report:
        report = run.report()
        self.log.info("Report: %s.", say_counts(report))
        if report["unresolved"]:
            self._push_report(context, ledger, report)
            raise LuccaUnresolvedError(_say_unresolved(report), retry_after=run.retry_after)
        if report["rejected"]:
            self._push_report(context, ledger, report)
            raise AirflowFailException(_say_rejected(report))
        return report


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
            states, filters, fields = self._read_arguments()
            purchases = connect(self.lucca_conn_id).list_purchases(self.query)
        except InvalidInputError as error:
            raise AirflowFailException(str(error)) from error
        # What is within a field may be another thing in another tenant: only a filter on it could not do without.
        missing = {*filters, *(name.partition(".")[0] for name in fields or ())}
        seen: set[str] = set()
        stateless: list[int] = []
        found: dict[int, Any] = {}
        read = 0
        for purchase in purchases:
            read += 1
            missing = {name for name in missing if _field(purchase, name) is _NOTHING}
            state = purchase.get("state")
            if not isinstance(state, str):
                stateless.append(purchase["id"])
                continue
            seen.add(state)
            if state in states and self._is_wanted(purchase, filters):
                found[purchase["id"]] = purchase["id"] if fields is None else _chosen(purchase, fields)
            else:
                found.pop(purchase["id"], None)  # a list that moves while it is read shows some twice
        _check_names(states - seen if seen else (), missing if read else ())
        if stateless and not seen:
            raise AirflowFailException(
                f"Lucca's list tells no state of any of its {read} purchases, so none can be chosen by state. Take the "
                "ids from elsewhere; CheckPurchasesOperator and ClosePurchaseOperator ask for each purchase itself."
            )
        if stateless:
            shown = ", ".join(map(str, stateless))
            self.log.warning("Lucca tells no state of %s purchases, so they are left out: %s", len(stateless), shown)
        result = list(found.values())
        self._check_size(result)
        self.log.info("%s of %s purchases are returned.", len(result), read)
        return result

    def _read_arguments(self) -> tuple[frozenset[str], Mapping[str, Any], Sequence[str] | None]:
        if isinstance(self.max_bytes, bool) or not isinstance(self.max_bytes, int) or self.max_bytes < 1:
            raise InvalidInputError(f"max_bytes: {self.max_bytes!r} is not a number of bytes above 0.")
        if self.predicate is not None and (not callable(self.predicate) or inspect.iscoroutinefunction(self.predicate)):
            raise InvalidInputError(
                f"predicate: {self.predicate!r} is no plain function; give a function of a purchase."
            )
        filters = {} if self.filters is None else self.filters
        if not isinstance(filters, Mapping) or not _are_names(filters):
            raise InvalidInputError(f"filters: {filters!r} is not a mapping of field names to values.")
        for name, value in filters.items():
            if isinstance(value, (list, tuple, set, frozenset)):
                raise InvalidInputError(
                    f"filters: {name!r} has several values, {value!r}. Give one; for one of several use predicate."
                )
        fields = self.fields
        if fields is not None and (not isinstance(fields, (list, tuple)) or not _are_names(fields)):
            raise InvalidInputError(f"fields: {fields!r} is not a list of field names, such as ['title'].")
        return parse_states(self.states, name="states"), filters, fields

    def _is_wanted(self, purchase: Mapping[str, Any], filters: Mapping[str, Any]) -> bool:
        if not all(_equals(_field(purchase, name), value) for name, value in filters.items()):
            return False
        try:
            return self.predicate is None or bool(self.predicate(purchase))
        except Exception:
            self.log.error("predicate: it failed for purchase %s.", purchase["id"])
            raise

    def _check_size(self, found: Sequence[Any]) -> None:
        size = len(json.dumps(found).encode())
        if size > self.max_bytes:
            raise AirflowFailException(
                f"{len(found)} purchases make {size} bytes of JSON, more than max_bytes={self.max_bytes}. Choose fewer "
                "with filters or predicate, name fewer fields, or raise max_bytes if your XCom holds as much."
            )


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
        self.unrendered = {"documents_since": documents_since}
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
        self.log.info(
            "Checking %s purchases at %s (%s). The first two requests tell how many it takes.",
            len(arguments.purchase_ids),
            hook.base_url,
            hook.environment,
        )
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
                f"{len(lines)} purchase(s) cannot be closed now, so nothing is passed on. Mend the cause in Lucca and "
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


_NOTHING = object()


def _field(purchase: Mapping[str, Any], name: str) -> Any:
    """Return a field, within others if its name has dots; what is within nothing (``null``) is nothing too."""
    value: Any = purchase
    for part in name.split("."):
        if value is not None:
            value = value.get(part, _NOTHING) if isinstance(value, Mapping) else _NOTHING
    return value


def _are_names(names: Iterable[object]) -> bool:
    return all(isinstance(name, str) for name in names)


def _check_names(states: Collection[str], fields: Collection[str]) -> None:
    """
    Tell a misspelt name from a list that is empty, which would pass for a month with nothing to do.

    :param states: those asked for that no purchase is in
    :param fields: those asked for that no purchase has
    """
    unknown = sorted(set(states) - KNOWN_STATES)
    if unknown:
        raise AirflowFailException(
            f"states: no purchase is in {', '.join(map(repr, unknown))}. Correct the name; "
            f"Lucca has {', '.join(sorted(KNOWN_STATES))}."
        )
    if fields:
        raise AirflowFailException(
            f"filters and fields: no purchase has {', '.join(map(repr, sorted(fields)))}. "
            "Correct the name; a field within another is named with a dot, such as 'supplier.name'."
        )


def _chosen(purchase: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    values = {name: _field(purchase, name) for name in fields}
    return {"id": purchase["id"]} | {name: None if value is _NOTHING else value for name, value in values.items()}


def _equals(actual: object, wanted: object) -> bool:
    # What a template renders is text.
    return actual == wanted or (isinstance(wanted, str) and type(actual) is int and str(actual) == wanted)


def _pack(progress: Mapping[str, Any]) -> str:
    """Make it small: some of Airflow's databases hold 64 KB for a trigger."""
    return base64.b64encode(zlib.compress(json.dumps(progress).encode())).decode()


def _unpack(text: str) -> dict[str, Any]:
    progress = json.loads(zlib.decompress(base64.b64decode(text, validate=True)))
    if not isinstance(progress, dict):
        raise TypeError("not an object")
    return progress


def _perform(hook: LuccaHook, comment: str | None, closing_date: str | None, step: Step) -> object:
    """Make the request of a step."""
    Stats.incr("lucca.requests", tags={"kind": step.kind.value})
    if step.kind is Kind.CLOSE:
        hook.close_purchase(step.purchase_id, comment=comment, closing_date=closing_date)
        return None
    if step.kind is Kind.LOOK:
        return hook.get_purchase(step.purchase_id).get("state")
    if step.kind is Kind.LIST:
        return hook.get_purchase_states(step.cursor)
    hook.probe()
    return None


def _not_begun(purchase_ids: Collection[int], error: Exception) -> Report:
    """Build the report of a try that could not begin: its connection or its ledger is of no use."""
    # Of other errors it is not known what their text holds.
    told = isinstance(error, (AirflowFailException, AirflowNotFoundException))
    run = ClosingRun(purchase_ids, ledger=MemoryLedger(), window=Window(1))
    run.stop(str(error) if told else f"the task could not begin ({type(error).__name__})")
    return run.report()


def _count(environment: str, purchase_id: int, outcome: Outcome) -> None:
    Stats.incr("lucca.purchases", tags={"outcome": outcome.state, "environment": environment})


def _was_cleared(ti: Any, retries: int) -> bool:
    """
    Tell a task that a person cleared from one that Airflow retries.

    Clearing raises the number of tries that the task instance may have; its own retries do not.
    """
    return int(getattr(ti, "max_tries", retries)) > retries


def _say_rejected(report: Report) -> str:
    lines = [
        f"purchase {rejected['id']}: {Outcome('rejected', rejected['status'], rejected['title'], rejected['detail'])}"
        for rejected in report["rejected"]
    ]
    return say_listed(
        f"Lucca refused to close {len(lines)} purchase(s); a retry would not help. Mend the cause in Lucca, then clear "
        "this task. Purchases already closed are not closed again.",
        lines,
    )


def _say_unresolved(report: Report) -> str:
    lines = [f"purchase {unresolved['id']}: {unresolved['reason']}" for unresolved in report["unresolved"]]
    refused = f" Lucca also refused {len(report['rejected'])}, see the report." if report["rejected"] else ""
    return say_listed(
        f"Of {len(lines)} purchase(s) it is not known whether they are closed. Trying this task again is safe: it "
        f"looks before it posts.{refused}",
        lines,
    )
