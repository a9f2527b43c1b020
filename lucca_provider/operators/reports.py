"""The operator for reports."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from lucca_provider.compat import AirflowException, AirflowFailException, BaseOperator
from lucca_provider.exceptions import LuccaError, LuccaUnresolvedError
from lucca_provider.inputs import InvalidInputError
from lucca_provider.links.lucca import lucca_links
from lucca_provider.reading.purchases import read_back
from lucca_provider.reports import Head, Table, to_markdown
from lucca_provider.reports.markdown import MAX_BODY_BYTES
from lucca_provider.reports.readback import count_groups, say_unconfirmed
from lucca_provider.tasks.common import connect, push_link, push_result, say_listed
from lucca_provider.tasks.reporting import Arguments, Files, Result, read_reporting, write_files

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from lucca_provider.compat import Context, XComArg
    from lucca_provider.hooks.lucca import LuccaHook

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
    - A file is whole or not there. One that this task of this run wrote before is replaced, another one never.

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
    :param approved_by: who approved: a name, or the output of an ``ApprovalOperator``. (templated)
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
        self.csv_style = csv_style
        self.lucca_conn_id = lucca_conn_id

    def execute(self, context: Context) -> Result:
        """Read back, and write the files."""
        arguments = read_reporting(self)
        account = arguments.account
        hook = connect(self.lucca_conn_id)
        try:
            account.assert_tenant(hook.base_url)
        except InvalidInputError as error:
            raise AirflowFailException(str(error)) from None
        push_link(context, hook)
        head = _build_head(context, hook)
        self.log.info("Reading back %s purchases at %s.", len(account.purchase_ids), hook.base_url)
        read = read_back(account.purchase_ids, hook, closed=account.closed)
        table = account.table(head, read)
        self.log.info("Read back: %s", table.summary)
        return self._hand_over(context, table, arguments, read.error)

    def _hand_over(self, context: Context, table: Table, arguments: Arguments, error: LuccaError | None) -> Result:
        # Before the files, so that it is there whatever becomes of them.
        self._push_markdown(context, table, arguments)
        files = write_files(table, arguments)
        result = Result(counts=count_groups(table), paths=list(files.sha256), sha256=dict(files.sha256))
        try:
            _raise_problems(table, files, error)
        except Exception:
            push_result(self, context, result)
            raise
        return result

    def _push_markdown(self, context: Context, table: Table, arguments: Arguments) -> None:
        if self.do_xcom_push:
            text = to_markdown(table, max_bytes=MAX_BODY_BYTES, link=", ".join(arguments.paths))
            context["ti"].xcom_push(key="markdown", value=text)


def _build_head(context: Context, hook: LuccaHook) -> Head:
    ti: Any = context["ti"]
    return Head(
        tenant=hook.base_url,
        environment=hook.environment,
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=ti.map_index if ti.map_index >= 0 else None,
        read_back_at=datetime.now(timezone.utc),
    )


def _raise_problems(table: Table, files: Files, error: LuccaError | None) -> None:
    """Raise what is worst of all that went wrong, and name the rest."""
    unconfirmed = say_unconfirmed(table)
    if unconfirmed:
        message = (
            f"{len(unconfirmed)} purchases were reported as closed, but Lucca does not confirm it. A retry reads their "
            "state again."
        )
        raise LuccaUnresolvedError(
            say_listed(message, [*files.problems, *unconfirmed]),
            retry_after=error.retry_after if error else None,
            outage=error is not None and error.outage,
        ) from error
    if error is not None:
        raise error
    if files.problems:
        message = "Not all files could be written. What was read back is in this task's XComs; a retry reads again."
        message = say_listed(message, files.problems)
        raise AirflowException(message) if files.can_be_retried else AirflowFailException(message)
