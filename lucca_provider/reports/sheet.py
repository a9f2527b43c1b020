"""A report as CSV that a spreadsheet opens as it should, and that holds no formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timezone

from lucca_provider.inputs import InvalidInputError
from lucca_provider.reports.tables import Row, Table
from lucca_provider.reports.text import one_line, plain_number

__all__ = ["STYLES", "Style", "to_csv"]

BYTE_ORDER_MARK = "\ufeff"
"""Without it Excel takes UTF-8 for something else."""
MAX_CELL = 32_000
"""Characters of a cell; Excel holds 32,767."""

# What a spreadsheet may take for the start of a formula, also after blanks.
_FORMULA = re.compile(r"[^\S\t\r\n]*[=+\-@\t\r\n\0]")
_COLUMNS = ("Purchase", "Title", "Supplier", "Billed amount", "Currency", "Outcome", "Reason")
_COLUMNS_OF_CLOSING = ("State in Lucca", "Read back", "Comment sent", "Closing date sent")
_COLUMNS_OF_RUN = ("Tenant", "Environment", "DAG", "Run", "Task", "Map index", "Approved by")


@dataclass(frozen=True, slots=True)
class Style:
    """
    How a country's spreadsheets read CSV.

    :param delimiter: between two cells
    :param decimal: between the whole units of an amount and their fractions
    """

    delimiter: str
    decimal: str


STYLES = {"fr": Style(";", ","), "en": Style(",", ".")}
"""The styles by name."""


def to_csv(table: Table, style: str) -> str:
    """
    Write a report as CSV, a line for each purchase, to be encoded in UTF-8. If there are none, one line says so.

    Amounts are plain numbers, dates are ISO 8601. A text that a spreadsheet could take for a formula begins with an
    apostrophe.

    :param table: a check or a closing
    :param style: ``fr`` (semicolon, decimal comma) or ``en`` (comma, decimal point)
    :raises InvalidInputError: for another style
    """
    if style not in STYLES:
        raise InvalidInputError(f"style: {style!r} is none of {', '.join(map(repr, STYLES))}.")
    decimal = STYLES[style].decimal
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=STYLES[style].delimiter)
    writer.writerow([*_COLUMNS, *(_COLUMNS_OF_CLOSING if table.is_closing else ()), *_COLUMNS_OF_RUN])
    about = _about(table)
    for section in table.sections:
        for row in section.rows:
            sent = _sent(table, row) if table.is_closing else []
            writer.writerow([*_purchase(row, decimal), *map(_text, [row.outcome, row.reason, *sent]), *about])
    if not table.sections:
        # It names the run, without which nobody knows whose file this is.
        row = Row(0, "no purchases")
        sent = _sent(table, row) if table.is_closing else []
        writer.writerow([*[""] * 5, *map(_text, [row.outcome, row.reason, *sent]), *about])
    return BYTE_ORDER_MARK + file.getvalue()


def _purchase(row: Row, decimal: str) -> Sequence[object]:
    details = row.details
    amount = "" if details.amount is None else plain_number(details.amount).replace(".", decimal)
    return [row.id, _text(details.title), _text(details.supplier), amount, _text(details.currency)]


def _sent(table: Table, row: Row) -> Sequence[str | None]:
    moment = table.head.read_back_at
    read_back = None if moment is None else moment.astimezone(timezone.utc).isoformat(timespec="seconds")
    return [row.state, read_back, row.comment, row.closing_date]


def _about(table: Table) -> Sequence[object]:
    head = table.head
    texts = [_text(text) for text in (head.tenant, head.environment, head.dag_id, head.run_id, head.task_id)]
    return [*texts, "" if head.map_index is None else head.map_index, _text(head.approved_by)]


def _text(text: str | None) -> str:
    """Write a text so that it stays on its line, and no spreadsheet calculates it."""
    cell = one_line(text or "", MAX_CELL)
    # What looks like the start of a formula only after what is unseen was taken out, is one too.
    return f"'{cell}" if _FORMULA.match(text or "") or _FORMULA.match(cell) else cell
