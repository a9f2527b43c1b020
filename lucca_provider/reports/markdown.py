"""A report as Markdown with GFM tables, and the text that a person approves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from lucca_provider.reading.counts import say_count
from lucca_provider.reports.facts import list_facts
from lucca_provider.reports.tables import Group, Row, Section, Table
from lucca_provider.reports.text import REASON_LENGTH, one_line, say_amount

__all__ = ["MAX_BODY_BYTES", "MIN_BODY_BYTES", "approval_body", "to_markdown"]

MAX_BODY_BYTES = 48_000
"""Airflow's tables hold 65,535 bytes of an approval's body on MySQL; the rest is for what a DAG adds."""
MIN_BODY_BYTES = 28_000
"""What a body without a table takes at most, with the longest addresses of files."""

_SPECIAL = re.compile(r"([\\`*_\[\]<>&~|$])")
_AUTOLINK = re.compile(r"(?:https?|ftp):(?=//)|www(?=\.)|(?=@)", re.IGNORECASE)
"""Where renderers of GFM begin a link of their own accord. A backslash does not keep all of them from it."""
_LINK_LENGTH = 1_000
_MAX_FILES = 3
"""Files that a body names: there are three forms."""
_FACT_LENGTH = 270
"""Longer than the longest id that Airflow has, with a map index: a file tells its task by it."""


def to_markdown(table: Table, *, max_bytes: int | None = None, link: str | None = None) -> str:
    """
    Write a report as Markdown: a summary, then a table for each outcome.

    :param table: a check or a closing
    :param max_bytes: size in UTF-8 above which there are no tables of purchases, rather than one that is cut
    :param link: where the tables are to be read then: an address, or words such as a file's path
    :return: text with a row for each purchase, whatever its title holds
    """
    head = [f"### {table.title}", f"**{table.summary}**", *_counts(table), _facts(table)]
    text = _joined([*head, *_tables(table)])
    if max_bytes is None or len(text.encode()) <= max_bytes:
        return text
    return _joined([*head, _elsewhere(table, f"Read it here: {_link(link)}" if link else "Read it in the report.")])


def approval_body(
    table: Table,
    *,
    link: str | None = None,
    files: Sequence[str] = (),
    exclude_param: str | None = None,
    document_dates: tuple[str, str] | None = None,
    max_bytes: int = MAX_BODY_BYTES,
) -> str:
    """
    Write what a person approves: what *Approve* and *Reject* do, and the table.

    Above ``max_bytes`` there is no table, rather than one that is cut: the numbers and totals, and where the table is.

    :param table: a check
    :param link: where the whole table is to be read: an address, or words such as a file's path
    :param files: addresses or paths of files that hold the whole table; three of them are named
    :param exclude_param: the parameter of the DAG run that takes ids to leave out, if there is one
    :param document_dates: first and last day, ``YYYY-MM-DD``, if purchases without a document of these days were left
        out
    :param max_bytes: size of the body in UTF-8 above which it has no table
    :raises ValueError: if ``max_bytes`` is too small even for a body without a table
    """
    if max_bytes < MIN_BODY_BYTES:
        raise ValueError(f"max_bytes: {max_bytes!r} is below {MIN_BODY_BYTES}, what a body without a table may take.")
    head = [*_choices(table, exclude_param, document_dates), *_counts(table), _facts(table)]
    kept = [_link(file) for file in files[:_MAX_FILES]]
    body = _joined([*head, *([f"The same is in {', '.join(kept)}"] if kept else []), *_tables(table)])
    if len(body.encode()) <= max_bytes:
        return body
    places = ", ".join([*kept, _link(link)] if link else kept)
    where = f"Read it before you approve: {places}" if places else "Read it in the result of the check."
    return _joined([*head, _elsewhere(table, where)])


def _choices(table: Table, exclude_param: str | None, document_dates: tuple[str, str] | None) -> Iterator[str]:
    ready = table.section(Group.READY)
    at = f" at {_cell(table.head.tenant)}" if table.head.tenant else ""
    kind = f" ({_cell(table.head.environment)})" if table.head.environment else ""
    yield f"**Approve closes {say_count(len(ready.rows))} in Lucca{at}{kind}: {_cell(ready.short_total)}.**"
    how = f"with their ids in the parameter `{exclude_param}`" if exclude_param else "without them"
    day = table.head.closing_date
    date = (
        f"Closing date: {_cell(day)}, sent to Lucca whatever the day is by then."
        if day
        else "No closing date is known here: the check was not told of one."
    )
    month = (
        "Only purchases with a document dated {} to {} are listed as ready.".format(*map(_cell, document_dates))
        if document_dates
        else "Purchases are listed whatever their month: Lucca documents no date of a purchase."
    )
    yield "\n".join(
        [
            f"- *Approve* closes all purchases under “{ready.group.heading}”. A closing cannot be undone.",
            "- *Reject* closes none.",
            f"- Nothing can be left out here. To leave some out, reject, and start a new run {how}.",
            f"- {date}",
            f"- {month}",
        ]
    )


def _elsewhere(table: Table, where: str) -> str:
    return f"**The table of {say_count(len(table.rows))} is too long to be shown here.** {where}"


def _link(link: str) -> str:
    line = one_line(link, _LINK_LENGTH)
    if not re.match(r"https?://", line, re.IGNORECASE):
        return _cell(line, _LINK_LENGTH)
    # Nothing else ends an address in angle brackets.
    return "<" + line.replace(" ", "%20").replace("<", "%3C").replace(">", "%3E") + ">"


def _counts(table: Table) -> Iterator[str]:
    if table.sections:
        rows = [[section.group.heading, str(len(section.rows)), section.short_total] for section in table.sections]
        rows.append(["Total", str(len(table.rows)), table.short_total])
        yield _table(["Outcome", "Purchases", "Billed"], rows, right=(1, 2))


def _facts(table: Table) -> str:
    facts = list_facts(table.head, is_closing=table.is_closing)
    return "\n".join(f"- {name}: {_cell(value, _FACT_LENGTH)}" for name, value in facts)


def _tables(table: Table) -> Iterator[str]:
    names = ["Purchase", "Title", "Supplier", "Billed", "Outcome"]
    with_state = table.head.read_back_at is not None
    for section in table.sections:
        yield f"#### {section.group.heading} ({len(section.rows)})"
        yield section.group.meaning
        yield _table([*names, "State in Lucca"] if with_state else names, _rows(section, with_state), right=(3,))


def _rows(section: Section, with_state: bool) -> Iterator[Sequence[str]]:
    for row in section.rows:
        cells = _cells(row)
        yield [*cells, row.state] if with_state else cells


def _cells(row: Row) -> Sequence[str]:
    details = row.details
    amount = say_amount(details.amount, details.currency)
    names = (one_line(name or "") or "–" for name in (details.title, details.supplier))
    return [str(row.id), *names, amount, row.reason or row.outcome]


def _table(names: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Write a table, whose cells are any text."""
    rule = "|".join("--:" if column in right else "---" for column in range(len(names)))
    lines = [" | ".join(_cell(cell, REASON_LENGTH, with_links=False) for cell in row) for row in (names, *rows)]
    lines = [f"| {line} |" for line in lines]
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def _cell(text: str, length: int = 200, *, with_links: bool = True) -> str:
    """
    Write any text so that it is shown as it is, and stays within its cell.

    :param text: any text
    :param length: characters that are shown
    :param with_links: whether an address may become a link. One in a title could be taken for Lucca's
    """
    line = one_line(text, length)
    if not with_links:
        line = _AUTOLINK.sub("\\g<0>\N{WORD JOINER}", line)
    return _SPECIAL.sub(r"\\\1", line)


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(parts) + "\n"
