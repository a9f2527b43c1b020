"""Operators for purchases."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
    BaseOperator,
    Stats,
    conf,
)

from lucca_provider.closing import (
    PROGRESS_VERSION,
    ClosingRun,
    Driver,
    InvalidInputError,
    Kind,
    Ledger,
    MemoryLedger,
    Outcome,
    Report,
    Step,
    Window,
    parse_closing_date,
    parse_comment,
    parse_purchase_ids,
)
from lucca_provider.exceptions import LuccaConfigurationError, LuccaUnresolvedError
from lucca_provider.links.lucca import LuccaInvoicesLink

if TYPE_CHECKING:
    import datetime

    from airflow.providers.common.compat.sdk import Context, XComArg

    from lucca_provider.hooks.lucca import LuccaHook

__all__ = ["ClosePurchaseOperator"]

LEAVE_AFTER = 1 / 6
"""Share of the window from which a deferrable task leaves its worker: 10 of 60 seconds. Coming back costs a few."""
KILLED = "the task was killed"
MAX_IN_FLIGHT = 32
NAMED_IN_ERROR = 50
"""Purchases that an error names; the report has them all."""


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
        ti = context["ti"]
        purchase_ids, comment, closing_date = self._read_arguments()
        hook = self._connect()
        ti.xcom_push(key=LuccaInvoicesLink.xcom_key, value=LuccaInvoicesLink.address(hook.base_url))
        if not purchase_ids:
            self._push(context, ClosingRun([], ledger=MemoryLedger(), window=Window(1)).report())
            raise AirflowSkipException("There are no purchases to close.")
        if progress is None:
            self._announce(purchase_ids, hook)
        elif (progress.get("version"), progress.get("tenant")) != (PROGRESS_VERSION, hook.base_url):
            raise LuccaUnresolvedError(
                "While this task waited, its connection was changed to another tenant or the provider to another "
                "version. Nothing more was sent. The next try looks before it posts."
            )
        first_try = ti.try_number <= 1
        run = ClosingRun(
            purchase_ids,
            ledger=self._ledger(context, tenant=hook.base_url, first_try=first_try),
            window=Window(hook.tenant.requests_per_minute, hook.tenant.window_seconds),
            on_outcome=partial(_count, hook.environment),
            progress=progress,
            retry_rejected=_was_cleared(ti, self.retries or 0),
        )
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
            self._push(context, run.report())
            raise
        if moment is not None:
            # Should Airflow end the task while it waits, this is what the next one gets.
            self._push(context, run.report())
            self._leave_until(moment, {**run.carry(), "tenant": hook.base_url})
        return self._finish(context, run)

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

    def _connect(self) -> LuccaHook:
        from lucca_provider.hooks.lucca import LuccaHook

        # The run itself decides about every repetition, so that each request is counted.
        hook = LuccaHook(self.lucca_conn_id, retries=0)
        try:
            hook.get_conn()
        except LuccaConfigurationError as error:
            raise AirflowFailException(str(error)) from error
        return hook

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
        from lucca_provider.operators._task_state import TaskStateLedger

        return TaskStateLedger(store, tenant=tenant, first_try=first_try)

    def _leave_until(self, moment: float, progress: dict[str, Any]) -> None:
        from lucca_provider.triggers.lucca import LuccaWaitTrigger

        done = sum(len(progress[name]) for name in ("closed", "already_closed", "rejected", "unresolved"))
        self.log.info("%s purchases done. The tenant's limit is used up; leaving the worker meanwhile.", done)
        self.defer(trigger=LuccaWaitTrigger(moment, _pack(progress)), method_name="execute_complete")

    def _finish(self, context: Context, run: ClosingRun) -> Report:
        report = run.report()
        counts = ", ".join(f"{len(purchases)} {name}" for name, purchases in report.items())  # type: ignore[arg-type]
        self.log.info("Report: %s.", counts)
        if report["unresolved"]:
            self._push(context, report)
            raise LuccaUnresolvedError(_say_unresolved(report), retry_after=run.retry_after)
        if report["rejected"]:
            self._push(context, report)
            raise AirflowFailException(_say_rejected(report))
        return report

    def _push(self, context: Context, report: Report) -> None:
        """Push the report as the return value, which Airflow itself does only for a task that succeeds."""
        if not self.do_xcom_push:
            return
        try:
            context["ti"].xcom_push(key="return_value", value=report)
        except Exception:
            # What the task is about to raise says more than this.
            self.log.exception("The report could not be pushed: %s", report)


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
    return _listed(
        f"Lucca refused to close {len(lines)} purchase(s); a retry would not help. Mend the cause in Lucca, then clear "
        "this task. Purchases already closed are not closed again.",
        lines,
    )


def _say_unresolved(report: Report) -> str:
    lines = [f"purchase {unresolved['id']}: {unresolved['reason']}" for unresolved in report["unresolved"]]
    refused = f" Lucca also refused {len(report['rejected'])}, see the report." if report["rejected"] else ""
    return _listed(
        f"Of {len(lines)} purchase(s) it is not known whether they are closed. Trying this task again is safe: it "
        f"looks before it posts.{refused}",
        lines,
    )


def _listed(message: str, lines: Sequence[str]) -> str:
    shown = list(lines[:NAMED_IN_ERROR])
    if len(lines) > NAMED_IN_ERROR:
        shown.append(f"and {len(lines) - NAMED_IN_ERROR} more, see the report")
    return "\n- ".join([message, *shown])
