"""The operator for reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lucca_provider.compat import BaseOperator
from lucca_provider.links.lucca import lucca_links

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from lucca_provider.compat import Context, XComArg
    from lucca_provider.tasks.reporting import Result

__all__ = ["ReportClosingsOperator"]


class ReportClosingsOperator(BaseOperator):
    """
    Read back from Lucca what a closing reported, and keep it as files that people read.

    The state of each purchase is read: in the list where that takes fewer requests, one by one otherwise. Nothing is
    closed. The files name every purchase, with what became of it, and its state in Lucca.

    The task returns ``{"counts": {outcome: number, …}, "paths": [path, …], "sha256": {path: SHA-256, …}}``, each an
    XCom of its own too, and pushes it also when it fails. As ``markdown`` it pushes the report; above 48,000 bytes that
    has the numbers, and the paths instead of the tables.

    - Purchases that were reported as closed and that Lucca does not show as closed fail the task, after the files are
      written, so that Airflow retries it. Refused and unresolved ones do not: the closing itself has failed with them.
    - A file is whole or not there. One that this task of this run wrote before is replaced, another one never. If it
      says of purchases what the new one does not, it is kept beside that.

    .. seealso:: the guide :doc:`docs/reports`

    :param report: what the closing pushed, ``close.output``; ``None`` of a closing that left no report. (templated)
    :param path: where the report goes, one path or several, each ending with ``.csv``, ``.html`` or ``.md``: on a disk,
        or what else ``ObjectStoragePath`` takes. (templated)
    :param purchase_ids: all purchases that somebody expects to see named, in the shapes that
        :class:`~lucca_provider.operators.purchases.ClosePurchaseOperator` takes. Default: those of the report and those
        left out. (templated)
    :param sent: what the closing sent, ``close.output["sent"]``: tenant, comment and date. (templated)
    :param left_out: what was not to be closed, and why: what a check pushed, ids to reasons, ids alone, or a list of
        these. (templated)
    :param approved_by: who approved: a name, or the output of an ``ApprovalOperator``; if that is empty, what has no
        report of its closing is said to be not approved. (templated)
    :param csv_style: of ``.csv`` files: ``fr`` (semicolon, decimal comma) or ``en`` (comma, point)
    :param lucca_conn_id: the Airflow connection, of type ``lucca``. (templated)
    :raises AirflowFailException: for arguments or a connection that cannot be used, and for a connection to another
        tenant than the closing's, before anything is sent; at the end if there is another file at the path
    :raises LuccaUnresolvedError: at the end, if Lucca does not show as closed what was reported as closed
    :raises LuccaError: at the end, if the key is wrong, or the limit stays used up
    :raises AirflowException: at the end, if a file could not be written; a retry writes it
    """

    template_fields: Sequence[str] = (
        "report",
        "path",
        "purchase_ids",
        "sent",
        "left_out",
        "approved_by",
        "lucca_conn_id",
    )
    operator_extra_links = lucca_links()
    ui_color = "#f5d9c8"

    def __init__(
        self,
        *,
        report: Mapping[str, Any] | XComArg | str | None,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        purchase_ids: object | XComArg = None,
        sent: Mapping[str, Any] | XComArg | str | None = None,
        left_out: object | XComArg = None,
        approved_by: Mapping[str, Any] | XComArg | str | None = None,
        csv_style: str = "fr",
        lucca_conn_id: str = "lucca_default",
        multiple_outputs: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(multiple_outputs=multiple_outputs, **kwargs)
        self.report = report
        self.path = path
        self.purchase_ids = purchase_ids
        self.sent = sent
        self.left_out = left_out
        self.approved_by = approved_by
        self.unrendered = {"approved_by": approved_by}
        self.csv_style = csv_style
        self.lucca_conn_id = lucca_conn_id

    def execute(self, context: Context) -> Result:
        """Read back, and write the files."""
        # Not needed to read a DAG file, which happens far more often.
        from lucca_provider.tasks.report import report

        return report(self, context)
