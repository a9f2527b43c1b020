"""The operator that closes purchases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lucca_provider.compat import BaseOperator, conf
from lucca_provider.links.lucca import lucca_links

if TYPE_CHECKING:
    import datetime

    from lucca_provider.compat import Context, XComArg
    from lucca_provider.outcomes import Report
    from lucca_provider.tasks.stay import Stay

__all__ = ["ClosePurchaseOperator"]


class ClosePurchaseOperator(BaseOperator):
    """
    Close purchases in Lucca Invoices, each exactly once, within the tenant's rate limit.

    **A closing cannot be undone.** All ids are checked before the first request. Before each closing this try reads the
    purchase's state; a purchase that is already closed is left alone, whoever closed it. A purchase that Lucca refuses
    does not stop the others. If the answer to a closing was lost, the state is read again, and the closing is repeated
    only if the purchase is still open.

    The task returns a report, and pushes it as its return value also when it fails:
    ``{"closed": [id, …], "already_closed": [id, …], "rejected": [{"id", "status", "title", "detail"}, …],
    "unresolved": [{"id", "reason"}, …]}``. It names every purchase once. Each of the four lists is also an XCom of
    its own, so that ``close.output["closed"]`` can be passed on. The XCom ``sent`` holds what is sent with each
    closing, ``{"tenant", "comment", "closing_date"}``; it is pushed before the first request.

    - Refusals fail the task without a retry, because a retry would not help. Fix the cause in Lucca, then clear the
      task to try the refused purchases again.
    - Unresolved purchases fail the task so that Airflow retries it. The retry reads states before it sends anything.
    - An empty list skips the task.

    .. seealso:: the guide :doc:`docs/closing`

    :param purchase_ids: what to close: an ``XComArg``, any iterable of ids, one id, or text that renders to a JSON
        list, to comma-separated ids or to one id. An id is an integer from 1 to 2,147,483,647, also as numeric text,
        or a row with it as its only column. Duplicates are closed once. (templated)
    :param comment: text sent with each closing; none is sent if ``None``. (templated)
    :param closing_date: day of the closings: a date, a datetime or ``YYYY-MM-DD``; none is sent if ``None``.
        (templated)
    :param lucca_conn_id: the Airflow connection, of type ``lucca``. (templated)
    :param max_in_flight: requests at the same time, 1 to 32; 1 sends one after the other
    :param deferrable: leave the worker while the rate limit is used up. Default: Airflow's ``default_deferrable``
    :param durable: keep a journal in Airflow's task state store (3.3 and later). Without it a retry is just as
        safe, but says ``already_closed`` of what an earlier try closed, and tries refused purchases again
    :raises AirflowFailException: for wrong arguments or a wrong connection, before anything is sent; and at the end if
        Lucca refused purchases and none is unresolved
    :raises AirflowSkipException: if there is nothing to close
    :raises LuccaUnresolvedError: at the end, if some purchases are unresolved
    """

    template_fields: Sequence[str] = ("purchase_ids", "comment", "closing_date", "lucca_conn_id")
    operator_extra_links = lucca_links()
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
        self._stay: Stay | None = None
        self._killed = False

    def execute(self, context: Context) -> Report:
        """Close the purchases."""
        return self._begin_stay(context).close()

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Report:
        """
        Go on after a wait.

        :param context: Airflow's context
        :param event: what :class:`~lucca_provider.triggers.lucca.LuccaWaitTrigger` handed back
        :raises LuccaUnresolvedError: for any other event; the retry reads states before it posts
        """
        return self._begin_stay(context).go_on(event)

    def on_kill(self) -> None:
        """Stop sending; what is in flight is waited for and recorded."""
        self._killed = True
        if self._stay is not None:
            self._stay.kill()

    def _begin_stay(self, context: Context) -> Stay:
        # Not needed to read a DAG file, which happens far more often.
        from lucca_provider.tasks.stay import Stay

        self._stay = Stay(self, context)
        if self._killed:
            self._stay.kill()
        return self._stay
