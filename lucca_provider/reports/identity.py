"""Which task's report a file holds: named in each form where people read it or may ignore it, and read from there."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser

from lucca_provider.outcomes import Outcome
from lucca_provider.reports.tables import Head

__all__ = ["FORMS", "IDENTITY_BYTES", "meta_tags", "read_identity", "read_rows"]

FORMS = ("csv", "html", "md")
"""The forms of a report, as files end."""
IDENTITY_BYTES = 2_000_000
"""What of a file's beginning is enough for :func:`read_identity`: of CSV it is two lines, with their longest cells."""

_META = {
    "lucca-dag": "DAG",
    "lucca-run": "Run",
    "lucca-task": "Task",
    "lucca-tenant": "Tenant",
    "lucca-map-index": "Map index",
}
_COLUMNS = tuple(_META.values())
_HEADINGS = {"html": r"<h2\b[^>]*>", "md": r"^#### "}
_ROWS = {"html": r"<td nowrap>(\d+)</td>", "md": r"^\| (\d+) \|"}
"""No other text can look like these: in HTML ``<`` is escaped, in Markdown a text never begins a line."""


def meta_tags(head: Head) -> Sequence[tuple[str, str]]:
    """
    Return what an HTML page says in its head: the name of each meta tag, and its content.

    :param head: what the page is about
    :return: nothing, unless DAG, run and task are known
    """
    if not (head.dag_id and head.run_id and head.task_id):
        return ()
    index = [] if head.map_index is None else [str(head.map_index)]
    return tuple(zip(_META, [head.dag_id, head.run_id, head.task_id, head.tenant or "", *index], strict=False))


def read_identity(beginning: bytes, form: str) -> tuple[str, ...] | None:
    """
    Return which task wrote a file: DAG, run, task, tenant and map index, as they stand there.

    :param beginning: the file, or its first :data:`IDENTITY_BYTES`
    :param form: one of :data:`FORMS`
    :return: equal for two reports of the same form and task; ``None`` if the file is no report of a task
    """
    text = beginning.decode("utf-8-sig", errors="replace")
    found = {"csv": _read_csv, "html": _read_html, "md": _read_markdown}[form](text)
    identity = tuple(found.get(name, "") for name in _COLUMNS)
    return identity if all(identity[:3]) else None


def read_rows(content: bytes, form: str) -> frozenset[tuple[str, str]]:
    """
    Return what a report says that must not be lost: which purchases it names, and which were closed by its run.

    :param content: the whole file
    :param form: one of :data:`FORMS`
    :return: the id of each purchase with ``named``, and of each closed one also with ``closed``
    """
    text = content.decode("utf-8-sig", errors="replace")
    if form == "csv":
        lines = [row for row in _csv_rows(text) if row.get("Purchase")]
        rows = [(row["Purchase"], row["Outcome"] == Outcome.CLOSED.words) for row in lines]
    else:
        _, *sections = re.split(_HEADINGS[form], text, flags=re.MULTILINE)
        # "Closed already" is another heading.
        heading, row_of = f"{Outcome.CLOSED.heading} (", re.compile(_ROWS[form], re.MULTILINE)
        rows = [(number, part.startswith(heading)) for part in sections for number in row_of.findall(part)]
    closed = {(number, "closed") for number, is_closed in rows if is_closed}
    return frozenset({(number, "named") for number, _ in rows} | closed)


def _read_csv(text: str) -> dict[str, str]:
    """Read the first line below the header: all lines name the same task."""
    row = next(_csv_rows(text), None)
    return {name: row[name] for name in _COLUMNS} if row else {}


def _csv_rows(text: str) -> Iterator[dict[str, str]]:
    """Read the lines below the header as long as they name a task, in whatever style."""
    for delimiter in (";", ","):
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        try:
            for row in reader:
                if not all(isinstance(row.get(name), str) for name in _COLUMNS):
                    break
                yield row
        except csv.Error:
            continue


def _read_html(text: str) -> dict[str, str]:
    reader = _MetaReader()
    reader.feed(text.partition("</head>")[0])
    return reader.found


def _read_markdown(text: str) -> dict[str, str]:
    """Read the facts above the tables. A task and its index stand in one line."""
    found: dict[str, str] = {}
    for line in text.split("\n"):
        name, separator, value = line.removeprefix("- ").partition(": ")
        if line.startswith("- ") and separator and name in _COLUMNS:
            found.setdefault(name, value.strip())
    return found


class _MetaReader(HTMLParser):
    """Collects what :func:`meta_tags` says."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a tag."""
        given = dict(attrs)
        name = _META.get(given.get("name") or "") if tag == "meta" else None
        if name:
            self.found[name] = given.get("content") or ""
