"""
Checks and closings as people read them: Markdown, one HTML page for a mail, and CSV for a spreadsheet.

:mod:`lucca_provider.reports.tables` sorts purchases into a table, in the order in which a person wants to know of them;
the other modules write it down. Nothing here knows Airflow or asks Lucca.
"""

from __future__ import annotations

from lucca_provider.reports.html import to_html
from lucca_provider.reports.markdown import approval_body, to_markdown
from lucca_provider.reports.sheet import STYLES, to_csv
from lucca_provider.reports.sorting import check_table, closing_table, read_details, reasons_of
from lucca_provider.reports.tables import Details, Group, Head, Row, Section, Table

__all__ = [
    "STYLES",
    "Details",
    "Group",
    "Head",
    "Row",
    "Section",
    "Table",
    "approval_body",
    "check_table",
    "closing_table",
    "read_details",
    "reasons_of",
    "to_csv",
    "to_html",
    "to_markdown",
]
