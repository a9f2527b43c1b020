"""
The HTML report as a person sees it in a browser. It needs no Airflow.

Pictures are kept in ``.airflow/screenshots``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, expect, sync_playwright

from lucca_provider.reports import Details, Table, closing_table, to_html
from tests.system.test_browser import NARROW, OFFLINE, SCREENSHOTS, WIDE, program
from tests.unit.reports.samples import HEAD, NASTY

__all__ = ["program"]

TITLES = [f"Chairs{text}Desks" for text in NASTY]


@pytest.fixture(scope="module")
def page(program: str) -> Iterator[Page]:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OFFLINE)
        yield browser.new_page(viewport=WIDE, locale="en-GB", color_scheme="light")
        browser.close()


def show(page: Page, table: Table, folder: Path) -> list[str]:
    """Open a report as a file, and return what else was loaded for it."""
    file = folder / "report.html"
    file.write_text(to_html(table))
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    page.goto(file.as_uri())
    page.remove_listener("request", note)
    return [address for address in asked if address != file.as_uri()]


def closing(titles: list[str]) -> Table:
    """Return a closing of purchases with these titles, of which the last three were not closed."""
    details = {
        number: Details(title, "Ferrand Mobilier", Decimal("1240.50") * number, "EUR", "Closed")
        for number, title in enumerate(titles, 3_100)
    }
    *closed, refused, unresolved, left_out = details
    for number in (refused, unresolved, left_out):
        details[number] = replace(details[number], state="Ongoing")
    report = {
        "closed": closed,
        "already_closed": [],
        "rejected": [
            {
                "id": refused,
                "status": 409,
                "title": "Purchase has open documents",
                "detail": "invoice F2606-669 of 2026-06-18: to review, not paid",
            }
        ],
        "unresolved": [{"id": unresolved, "reason": "still open: 3 closings got no clear answer"}],
    }
    why = {left_out: "invoice F2605-14 of 2026-05-02: payment on hold"}
    return closing_table(report, replace(HEAD, map_index=None), details=details, left_out=why)


def test_each_purchase_is_a_row_that_can_be_seen_whatever_its_title_holds(page: Page, tmp_path: Path) -> None:
    table = closing(TITLES)
    assert show(page, table, tmp_path) == []
    rows = page.locator("h2 ~ div tbody tr")
    assert rows.locator("td:first-child").all_inner_texts() == [str(row.id) for row in table.rows]
    for row in rows.all():
        cells = row.locator("td")
        assert cells.count() == 6
        expect(cells.nth(1)).to_contain_text("Chairs")
        expect(cells.nth(3)).to_contain_text("EUR")
        for cell in cells.all():
            box = cell.bounding_box()
            assert box
            assert box["width"] > 30
            assert box["x"] + box["width"] <= WIDE["width"]
    page.screenshot(path=SCREENSHOTS / "report-titles.png", full_page=True)


def test_what_was_not_closed_is_seen_first_with_its_reason(page: Page, tmp_path: Path) -> None:
    show(page, closing([f"Office supplies {month:02}/2026" for month in range(1, 13)]), tmp_path)
    headings = page.get_by_role("heading", level=2)
    assert headings.all_inner_texts() == ["Refused by Lucca (1)", "Unresolved (1)", "Left out (1)", "Closed (9)"]
    tops = [box["y"] for heading in headings.all() if (box := heading.bounding_box())]
    assert tops == sorted(tops)
    refused = page.locator("table").filter(has_text="State in Lucca").first
    expect(refused.get_by_role("row").nth(1)).to_contain_text("invoice F2606-669 of 2026-06-18: to review, not paid")
    page.screenshot(path=SCREENSHOTS / "report.png", full_page=True)


def test_a_phone_shows_the_summary_without_scrolling_sideways(page: Page, tmp_path: Path) -> None:
    page.set_viewport_size(NARROW)
    show(page, closing(["Chairs"] * 9), tmp_path)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    page.screenshot(path=SCREENSHOTS / "report-narrow.png", full_page=True)
    page.set_viewport_size(WIDE)
