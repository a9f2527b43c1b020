"""What closing does in a worker, from when a task arrives there until it ends or leaves."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from lucca_provider.closing import TOO_MUCH, ClosingRun, Driver, clock_time, say_problems
from lucca_provider.compat import AirflowFailException, AirflowSkipException
from lucca_provider.exceptions import LuccaUnresolvedError
from lucca_provider.limits import Window
from lucca_provider.outcomes import Report
from lucca_provider.reading.counts import say_count
from lucca_provider.tasks.announcing import announce
from lucca_provider.tasks.closing import (
    KILLED,
    count_outcome,
    perform,
    push_not_begun,
    push_sent,
    read_closing,
    say_start,
)
from lucca_provider.tasks.common import connect, push_link, push_result, say_counts, say_listed
from lucca_provider.tasks.store import MAX_EVENT_SIZE, is_test, mark_event, open_journal, pack, read_attempt, unpack

if TYPE_CHECKING:
    from lucca_provider.compat import Context
    from lucca_provider.hooks.lucca import LuccaHook
    from lucca_provider.operators.purchases import ClosePurchaseOperator
    from lucca_provider.tasks.closing import Arguments

__all__ = ["Stay"]

LEAVE_AFTER = 1 / 6
"""Share of the window from which a deferrable task leaves its worker: 10 of 60 seconds. Coming back costs a few."""


class Stay:
    """
    One stay of a closing in a worker: the whole task, or the part of a deferrable one between two waits.

    :param task: the operator
    :param context: Airflow's context
    """

    def __init__(self, task: ClosePurchaseOperator, context: Context) -> None:
        self._task = task
        self._context = context
        self._driver: Driver | None = None
        """What a kill signal has to stop, once there is anything."""
        self._killed = False
        """Whether a kill signal has come: it may come before there is a driver."""

    def close(self) -> Report:
        """
        Close the purchases.

        :raises TaskDeferred: to wait outside the worker
        :raises Exception: as the operator says
        """
        return self._close(None)

    def go_on(self, event: object) -> Report:
        """
        Go on after a wait.

        :param event: what the trigger handed back
        :raises TaskDeferred: to wait again
        :raises Exception: as the operator says
        """
        if not isinstance(event, dict) or event.get("status") != "success":
            raise LuccaUnresolvedError(
                f"The trigger returned {str(event)[:200]!r}. Nothing more was sent; a retry reads states first."
            )
        try:
            carried = unpack(event["progress"])
            if "tenant" not in carried:
                raise ValueError("no event of this provider")
        except (KeyError, ValueError) as error:
            raise LuccaUnresolvedError(
                f"What the trigger returned cannot be read ({type(error).__name__}). Nothing more was sent; a retry "
                "reads states first."
            ) from error
        return self._close(carried)

    def kill(self) -> None:
        """Stop sending; what is in flight is waited for and recorded."""
        self._killed = True
        if self._driver is not None:
            self._driver.stop(KILLED)

    def _close(self, event: Mapping[str, Any] | None) -> Report:
        arguments = read_closing(self._task, self._context)
        hook, run = self._prepare(arguments, event)
        driver = self._driver = Driver(
            run,
            partial(perform, hook.client, arguments),
            max_in_flight=self._task.max_in_flight,
            leave_after=LEAVE_AFTER * hook.tenant.window_seconds if self._may_leave else None,
        )
        if self._killed:
            driver.stop(KILLED)
        try:
            while (moment := driver.drive()) is not None:
                if packed := self._pack(run.leave(driver.now()), hook.base_url):
                    break
                driver.stay()
            report = run.end() if moment is None else run.report()
            if moment is not None:
                # Should Airflow end the task while it waits, this is what the next one gets.
                self._push_report(run, report)
        except BaseException:
            # An interruption comes at any line, and what was closed is told all the same.
            self._push_report(run, run.end())
            raise
        return self._finish(run, report) if moment is None else self._leave_until(moment, packed, run)

    def _prepare(self, arguments: Arguments, event: Mapping[str, Any] | None) -> tuple[LuccaHook, ClosingRun]:
        """Connect and open the journal; push a report if that fails."""
        environment = "unknown"
        try:
            hook = connect(self._task.lucca_conn_id)
            environment = hook.environment
            push_link(self._context, hook)
            if not arguments.purchase_ids:
                raise AirflowSkipException("There are no purchases to close.")
            return hook, self._begin(hook, arguments, event)
        except BaseException as error:
            # After a wait there is a report that says more.
            if event is None:
                push_not_begun(self._task, self._context, arguments.purchase_ids, error, environment)
            raise

    @property
    def _may_leave(self) -> bool:
        # The trigger of a test would wake the real task, which goes on beside the test.
        return bool(self._task.deferrable) and not is_test(self._context)

    def _pack(self, carried: Mapping[str, Any] | None, tenant: str) -> str:
        """Return what a deferral brings along; nothing if it is more than Airflow's database holds."""
        packed = "" if carried is None else pack(mark_event(carried, self._context, tenant))
        if len(packed) <= MAX_EVENT_SIZE:
            return packed
        self._task.log.info(TOO_MUCH)
        return ""

    def _begin(self, hook: LuccaHook, arguments: Arguments, event: Mapping[str, Any] | None) -> ClosingRun:
        if event is None:
            push_sent(self._task, self._context, hook.base_url, arguments)
            self._task.log.info(say_start(arguments.purchase_ids, hook.tenant))
        elif event.get("tenant") != hook.base_url:
            # A retry would close purchases there that were meant for the first one.
            raise AirflowFailException(
                "The connection was changed to another tenant while this task waited. Nothing more was sent. Start a "
                "new DAG run for the other tenant."
            )
        journal = open_journal(
            self._context,
            read_attempt(self._context, event),
            tenant=hook.base_url,
            durable=self._task.durable,
            event=event,
            go_on=lambda: not self._killed,
        )
        return ClosingRun(
            arguments.purchase_ids,
            journal=journal,
            window=Window(hook.tenant.requests_per_minute, hook.tenant.window_seconds),
            on_outcome=partial(count_outcome, hook.environment),
        )

    def _leave_until(self, moment: float, packed: str, run: ClosingRun) -> NoReturn:
        # It brings Airflow's triggers along, which only a wait outside the worker needs.
        from lucca_provider.triggers.lucca import LuccaWaitTrigger

        done = f"{len(run.decisions)} of {say_count(len(run.purchase_ids))}"
        self._task.log.info("%s done. Deferred; resuming at %s.", done, clock_time(moment))
        self._task.defer(trigger=LuccaWaitTrigger(moment, packed), method_name="execute_complete")

    def _push_report(self, run: ClosingRun, report: Report) -> None:
        if run.is_kept:
            push_result(self._task, self._context, report)
        else:
            # A newer try's report may be there, and Airflow would let this one take its place.
            self._task.log.error("The journal could not be written, so the report is only logged: %s", report)

    def _finish(self, run: ClosingRun, report: Report) -> Report:
        self._task.log.info("%s.", say_counts(report).capitalize())
        if not run.is_kept:
            self._push_report(run, report)
            reason = run.stopped.reason if run.stopped else "the journal could not be written"
            raise LuccaUnresolvedError(f"No report was written: {reason}. A retry is safe: it reads states first.")
        unresolved = run.decisions.unresolved()
        if all(decision.outcome.is_closed for decision in run.decisions.values()):
            announce(self._context, self._task.outlets, report)
            return report
        self._push_report(run, report)
        message = say_listed(*say_problems(report, run.journal.in_doubt(unresolved)))
        if not unresolved:
            raise AirflowFailException(message)
        retry_after = run.stopped.retry_after if run.stopped else None
        raise LuccaUnresolvedError(message, retry_after=retry_after, outage=run.outage)
