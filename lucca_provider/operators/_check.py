"""The operator that checks purchases."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from lucca_provider.compat import BaseOperator
from lucca_provider.links.lucca import lucca_links

if TYPE_CHECKING:
    import datetime
    import os

    from lucca_provider.checking import Check
    from lucca_provider.compat import Context, XComArg

__all__ = ["CheckPurchasesOperator"]


class CheckPurchasesOperator(BaseOperator):
    """
    Find out for each purchase what a closing would do. Nothing is closed, so this is also the dry run.

    A purchase can be closed once all its invoices are approved and paid, or cancelled. The purchases and all booked
    documents are read, in pages of up to 1000 if that takes fewer requests than asking for each purchase.

    The task returns ``{"closable": [id, …], "already_closed": [id, …], "blocked": [{"id", "reasons": [text, …]}, …],
    "unknown": [{"id", "reason"}, …], "left_out": [{"id", "reason"}, …]}``, and pushes it also when it fails. It
    names every purchase once. Each of the five lists is also an XCom of its own, so that ``check.output["closable"]``
    can be passed on to a closing. What is not clearly ready is never ``closable``. An empty list skips the task.

    Three more XComs come from the same reading: ``table``, what was found as Markdown; ``approval``, the text that a
    person approves, with the table in it unless it would be too long; and ``snapshot``, amounts, states and documents
    of each closable purchase, for ``unchanged_since`` of another check. With ``path`` the table is also written to
    files, which the text names; ``paths`` and ``sha256`` are pushed as by
    :class:`~lucca_provider.operators.reports.ReportClosingsOperator`. A file that cannot be written fails the task.

    .. seealso:: the guide :doc:`docs/validating`

    :param purchase_ids: what to check, in the shapes that
        :class:`~lucca_provider.operators.purchases.ClosePurchaseOperator` takes. (templated)
    :param on_blocked: what to do if a purchase is ``blocked`` or ``unknown``: ``fail``; ``warn`` and pass the closable
        ones on; ``skip`` those, pass the closable ones on, and skip this task if there are none
    :param documents_since: look only for documents that were created on this day or later, a date or ``YYYY-MM-DD``. A
        purchase of whose amount they account for a part only is ``unknown``. (templated)
    :param unchanged_since: the ``snapshot`` that another check pushed: a purchase that is not as it was then, or is not
        in it, is ``blocked``. (templated)
    :param approved_by: the output of an ``ApprovalOperator``. Unless it says *Approve*, and who gave it, the task fails
        before anything is sent, and no purchase is ``closable``: a task that was set to success by hand says neither.
        The name is pushed as ``approved_by``. Needs version 1.8 of the provider *standard*. (templated)
    :param exclude: purchases to leave out, in the shapes of ``purchase_ids``. (templated)
    :param document_dates: first and last day: a purchase without a document that is dated from the one to the other
        is left out. (templated)
    :param closing_date: the day that the closing is going to send, which the approval's text names. (templated)
    :param path: where the table is written for the person who approves, one path or several, each ending with ``.csv``,
        ``.html`` or ``.md``. Default: nowhere. (templated)
    :param csv_style: of ``.csv`` files: ``fr`` (semicolon, decimal comma) or ``en`` (comma, point)
    :param approved_states: ``conformityState`` of a document that counts as approved
    :param paid_states: ``paymentState`` of a document that counts as paid
    :param cancelled_states: ``conformityState`` or ``paymentState`` of a document that counts as cancelled
    :param closable_states: ``state`` of a purchase that may be closed
    :param lucca_conn_id: the Airflow connection, of type ``lucca``. (templated)
    :raises AirflowFailException: for arguments or a connection that cannot be used, and without the approval that
        ``approved_by`` asks for, before anything is sent; with ``on_blocked="fail"`` if a purchase is blocked
    :raises LuccaUnresolvedError: with ``on_blocked="fail"`` if none is blocked and some are unknown; a retry may know
    :raises AirflowSkipException: if there is nothing to check; with ``on_blocked="skip"`` if nothing can be closed and
        not all are closed already
    :raises LuccaError: if the key is wrong, or the limit stays used up
    """

    template_fields: Sequence[str] = (
        "purchase_ids",
        "documents_since",
        "unchanged_since",
        "approved_by",
        "exclude",
        "document_dates",
        "closing_date",
        "path",
        "lucca_conn_id",
    )
    operator_extra_links = lucca_links()
    ui_color = "#f5d9c8"

    def __init__(
        self,
        *,
        purchase_ids: object | XComArg,
        on_blocked: str = "fail",
        documents_since: datetime.date | str | None = None,
        unchanged_since: object | XComArg | None = None,
        approved_by: object | XComArg | None = None,
        exclude: object | XComArg = (),
        document_dates: Sequence[datetime.date | str] | XComArg | None = None,
        closing_date: datetime.date | str | None = None,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
        csv_style: str = "fr",
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
        self.unchanged_since = unchanged_since
        self.approved_by = approved_by
        self.exclude = exclude
        self.document_dates = document_dates
        self.closing_date = closing_date
        self.path = path
        self.csv_style = csv_style
        self.unrendered = {
            "purchase_ids": purchase_ids,
            "documents_since": documents_since,
            "unchanged_since": unchanged_since,
            "approved_by": approved_by,
            "exclude": exclude,
            "document_dates": document_dates,
            "closing_date": closing_date,
        }
        self.approved_states = approved_states
        self.paid_states = paid_states
        self.cancelled_states = cancelled_states
        self.closable_states = closable_states
        self.lucca_conn_id = lucca_conn_id

    def execute(self, context: Context) -> Check:
        """Check the purchases."""
        # Not needed to read a DAG file, which happens far more often.
        from lucca_provider.tasks.check import check

        return check(self, context)
