"""A report as one HTML page that needs nothing else: fit for a mail, a browser and the printer."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from lucca_provider.reports.facts import list_facts
from lucca_provider.reports.identity import meta_tags
from lucca_provider.reports.tables import Table
from lucca_provider.reports.text import NAME_LENGTH, REASON_LENGTH, one_line, say_amount

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["to_html"]


def to_html(table: Table) -> str:
    """
    Write a report as a page: a summary, then a table for each outcome. Styles are inline; there are no scripts, and
    nothing is loaded.

    :param table: a check or a closing
    """
    facts = list_facts(table.head, is_closing=table.is_closing)
    return _template().render(
        table=table, facts=facts, tags=meta_tags(table.head), with_state=table.head.read_back_at is not None
    )


@cache
def _template() -> Template:
    # DAG files that import an operator never need it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["name"] = partial(_line, length=NAME_LENGTH)
    environment.filters["words"] = partial(_line, length=REASON_LENGTH)
    environment.globals["say_amount"] = say_amount
    return environment.get_template("page.html.jinja")


def _line(text: str | None, length: int) -> str:
    return one_line(text or "", length) or "–"
