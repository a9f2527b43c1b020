"""The HTML page as Python's parser reads it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from hypothesis import given

from lucca_provider.reports import Details, Head, check_table, closing_table, to_html
from lucca_provider.reports.text import REASON_LENGTH, one_line
from tests.unit.reports.samples import CHECK, HEAD, REPORT, check_of, closing_of, texts

VOID = {"meta"}


class Page(HTMLParser):
    """What stands in each row of each table, and every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.headings: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag in ("h1", "h2"):
            self.headings.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data
        elif {"h1", "h2"} & set(self.open):
            self.headings[-1] += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


@given(texts)
def test_a_row_stays_a_row_and_shows_its_text(text: str) -> None:
    _, facts, refused, unresolved, closed = Page(to_html(closing_of(text))).tables
    title = one_line(text) or "–"
    assert closed[1:] == [["101", title, title, "100.00\N{NO-BREAK SPACE}EUR", "closed", "Closed"]]
    assert [row[:4] for row in refused[1:]] == [["102", title, title, "unknown"]]
    assert [row[:5] for row in unresolved[1:]] == [
        ["103", "–", "–", "unknown", one_line(text or "unresolved", REASON_LENGTH) or "–"]
    ]
    if text:
        assert ["Run", one_line(text, REASON_LENGTH) or "–"] in facts


@given(texts)
def test_whatever_a_text_holds_no_tag_comes_of_it(text: str) -> None:
    page, plain = Page(to_html(closing_of(text))), Page(to_html(closing_of("x")))
    count = len(page.tags) - len(plain.tags)
    # Facts that are empty are left out: a row, its two cells and the isolation of its text.
    assert count == (0 if text else -4 * 4)


def test_the_page_is_self_contained() -> None:
    for tag, attributes in Page(to_html(closing_table(REPORT, HEAD))).tags:
        assert tag not in ("script", "link", "style", "img", "iframe", "object", "form", "base", "a")
        assert not {"src", "href", "background", "srcset", "action"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
        assert "url(" not in (attributes.get("style") or "")


def test_a_reader_finds_the_summary_then_what_was_not_closed_then_what_was() -> None:
    page = Page(to_html(closing_table(REPORT, replace(HEAD, read_back_at=None), left_out={105: "not paid"})))
    assert page.headings == [
        "Closing of purchases in Lucca",
        "Refused by Lucca (1)",
        "Unresolved (1)",
        "Left out (1)",
        "Closed (1)",
        "Closed already (1)",
    ]
    assert page.tables[0][0] == ["Outcome", "Purchases", "Billed"]
    assert page.tables[0][-1] == ["Total", "5", "5 of unknown amount"]
    assert page.tables[1][0] == ["Tenant", "https://acme.ilucca.net"]
    assert page.tables[4][1][4] == "not paid"
    assert page.tables[2][0] == ["Purchase", "Title", "Supplier", "Billed", "Outcome"]


def test_a_check_and_an_empty_report_are_pages_too() -> None:
    page = Page(to_html(check_table(CHECK, HEAD)))
    assert page.headings[1] == "Ready to be closed (2)"
    assert ["Closing date to be sent", "2026-06-30"] in page.tables[1]
    assert len(Page(to_html(closing_table({name: [] for name in REPORT}, HEAD))).headings) == 1


@pytest.mark.parametrize("count", [5_000])
def test_a_large_report_has_a_row_for_each_purchase(count: int) -> None:
    page = Page(to_html(check_of(count)))
    assert [row[0] for row in page.tables[2][1:]] == [str(number) for number in range(1, count + 1)]


def test_a_total_names_every_currency() -> None:
    details = {number: Details("Chairs", None, Decimal(1), f"C{number:02}") for number in range(40)}
    report = {"closed": list(details), "already_closed": [], "rejected": [], "unresolved": []}
    page = to_html(closing_table(report, Head(), details=details))
    # In its row, for each outcome and for all of them.
    assert all(page.count(f"C{number:02}") == 3 for number in range(40))
