"""Reports for the tests, and texts that try to break out of a cell."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from lucca_provider.reports import Details, Head, Table, check_table, closing_table

HEAD = Head(
    tenant="https://acme.ilucca.net",
    environment="production",
    dag_id="close_month_end",
    run_id="manual__2026-07-01",
    task_id="close",
    map_index=2,
    closing_date="2026-06-30",
    comment="Month-end",
    approved_by="Anna Keller",
    read_back_at=datetime(2026, 7, 1, 8, 12, tzinfo=timezone(timedelta(hours=2))),
)
CHECK: dict[str, Any] = {
    "closable": [101, 102],
    "already_closed": [103],
    "blocked": [{"id": 104, "reasons": ["invoice F1: not paid", "invoice F2: to review"]}],
    "unknown": [{"id": 105, "reason": "Lucca has no such purchase"}],
}
REPORT: dict[str, Any] = {
    "closed": [101],
    "already_closed": [102],
    "rejected": [{"id": 103, "status": 409, "title": "Conflict", "detail": "an invoice is not paid"}],
    "unresolved": [{"id": 104, "reason": "no clear answer"}],
}
# Line breaks of every kind, what ends or opens cells, code, HTML and formulas, and what turns the reading order round.
NASTY = [
    *"\n\r\t\0\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\xa0\u200b\u200e\u200f\u202e\u2066\u2069\ufeff\ud800",
    *"|\\`*_<>&\"'=+-@;,$~[]!#:{}()אب👩‍💻",
    "\r\n",
    "| 9 | x |\n| 250 |",
    "</td></tr></table>",
    "<script>alert(1)</script>",
    "<!--",
    "&#124;",
    "```",
    "{{ 7 * 7 }}",
    "https://example.com/?a=b|c",
    "=HYPERLINK(1)",
    "x" * 3_000,
]
texts = st.lists(st.one_of(st.sampled_from(NASTY), st.text(max_size=8)), max_size=6).map("".join)


def closing_of(text: str, **head: Any) -> Table:
    """Return a closing of three purchases in which a text stands wherever one can stand."""
    details = {101: Details(text, text, Decimal("100"), "EUR", "Closed"), 102: Details(text, text, None, None, text)}
    report = {
        "closed": [101],
        "already_closed": [],
        "rejected": [{"id": 102, "status": 409, "title": text, "detail": text}],
        "unresolved": [{"id": 103, "reason": text}],
    }
    about = {"tenant": text, "comment": text, "run_id": text, "approved_by": text, "read_back_at": HEAD.read_back_at}
    return closing_table(report, Head(**{**about, **head}), details=details, unread={103: text})


def check_of(count: int, text: str = "Chairs", **head: Any) -> Table:
    """Return a check of purchases that can be closed, each of 10.25 EUR."""
    details = {number: Details(text, "Ferrand", Decimal("10.25"), "EUR") for number in range(1, count + 1)}
    check = {"closable": list(details), "already_closed": [], "blocked": [], "unknown": []}
    return check_table(check, Head(**{"tenant": "acme.ilucca.net", "environment": "test", **head}), details=details)
