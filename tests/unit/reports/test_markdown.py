"""Markdown as a parser of GFM tables reads it, and the text that a person approves."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import example, given
from markdown_it import MarkdownIt
from markdown_it.token import Token

from lucca_provider.reports import Head, Table, approval_body, check_table, closing_table, to_markdown
from lucca_provider.reports.markdown import MAX_BODY_BYTES, MIN_BODY_BYTES
from lucca_provider.reports.text import REASON_LENGTH, one_line
from tests.unit.reports.samples import CHECK, HEAD, REPORT, check_of, closing_of, texts

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
LINKING = MarkdownIt("gfm-like")
"""It makes links of addresses that nobody marked as such."""
assert LINKING.linkify
# Unlike GFM it would make one of every name that ends with .com.
LINKING.linkify.set({"fuzzy_link": False})
PLAIN = {"text", "text_special"}
UNSEEN = "\N{WORD JOINER}"


def shown(inline: Token) -> str:
    """Return the text of a cell in which nothing is marked up."""
    parts = inline.children or []
    assert {part.type for part in parts} <= PLAIN
    return "".join(part.content for part in parts).replace(UNSEEN, "")


def tables(markdown: str) -> Iterator[list[list[str]]]:
    """Return the rows of each table as a reader sees them, the heading first."""
    rows: list[list[str]] = []
    cell = False
    for token in PARSER.parse(markdown):
        if token.type == "table_open":
            rows = []
        elif token.type == "tr_open":
            rows.append([])
        elif token.type in ("td_open", "th_open"):
            cell = True
        elif token.type == "inline" and cell:
            rows[-1].append(shown(token))
            cell = False
        elif token.type == "table_close":
            yield rows


def lines(markdown: str) -> list[str]:
    """Return the text of what is in no table."""
    return [token.content for token in PARSER.parse(markdown) if token.type == "inline"]


@given(texts)
@example("a\r| 9 | x | y | 250,000.00 EUR | closed |")
@example("\\|")
@example("\\\\|`|`")
def test_a_row_stays_a_row_and_shows_its_text(text: str) -> None:
    counts, *sections = tables(to_markdown(closing_of(text)))
    assert [row[0] for row in counts[1:]] == ["Refused by Lucca", "Unresolved", "Closed", "Total"]
    assert [[row[0] for row in section[1:]] for section in sections] == [["102"], ["103"], ["101"]]
    title = one_line(text) or "–"
    for section in sections:
        assert {len(row) for row in section} == {6}
    (refused,), (unresolved,), (closed,) = (section[1:] for section in sections)
    assert closed == ["101", title, title, "100.00\N{NO-BREAK SPACE}EUR", "closed", "Closed"]
    assert refused[1:4] == [title, title, "unknown"]
    assert unresolved[1:4] == ["–", "–", "unknown"]
    assert unresolved[4] == one_line(text or "unresolved", REASON_LENGTH)


@pytest.mark.parametrize(
    "address",
    [
        "https://example.com/invoice",
        "HTTP://EXAMPLE.COM",
        "ftp://example.com",
        "billing@example.com",
        "mailto:billing@example.com",
    ],
)
def test_an_address_in_a_title_is_no_link(address: str) -> None:
    tokens = LINKING.parse(to_markdown(closing_of(f"see {address}, please", tenant="https://acme.ilucca.net")))
    cells = [token for before, token in itertools.pairwise(tokens) if before.type == "td_open"]
    assert f"see {address}, please" in {shown(cell) for cell in cells}
    linked = [child for token in tokens for child in token.children or [] if child.type == "link_open"]
    # A line above the table may name the tenant, and what else the DAG's author wrote.
    assert "https://acme.ilucca.net" in [child.attrs["href"] for child in linked]


@given(texts)
def test_what_stands_above_the_table_stays_in_its_line(text: str) -> None:
    table = closing_of(text)
    expected = to_markdown(closing_of(text, tenant="t", comment="c", run_id="r", approved_by="a"))
    kinds = [token.type for token in PARSER.parse(to_markdown(table)) if token.type in ("heading_open", "table_open")]
    assert kinds == [t.type for t in PARSER.parse(expected) if t.type in ("heading_open", "table_open")]


def test_the_summary_comes_first_then_the_facts_then_the_purchases() -> None:
    said = lines(to_markdown(closing_table(REPORT, HEAD)))
    facts = [
        "Tenant: https://acme.ilucca.net",
        "Environment: production",
        r"DAG: close\_month\_end",
        r"Run: manual\_\_2026-07-01",
        r"Task: close \[2\]",
        "Closing date sent: 2026-06-30",
        "Comment sent: Month-end",
        "Approved by: Anna Keller",
        "Read back from Lucca: 2026-07-01 06:12 UTC",
    ]
    assert said[0] == "Closing of purchases in Lucca"
    assert said[1].startswith("**4 purchases: ")
    start = said.index(facts[0])
    assert said[start : start + len(facts)] == facts
    assert start < said.index("Reported as closed, not confirmed by Lucca (2)")


def test_a_table_without_a_reading_back_has_no_column_for_it() -> None:
    sections = list(tables(to_markdown(closing_table(REPORT, replace(HEAD, read_back_at=None)))))[1:]
    assert {tuple(section[0]) for section in sections} == {("Purchase", "Title", "Supplier", "Billed", "Outcome")}


def test_taxes_are_spoken_of_as_far_as_known() -> None:
    said = {
        taxes: next(
            line for line in lines(to_markdown(check_table(CHECK, Head(taxes_included=taxes)))) if "Amounts" in line
        )
        for taxes in (True, False, None)
    }
    assert len(set(said.values())) == 3
    assert not list(tables(to_markdown(check_table({name: [] for name in CHECK}, Head()))))


# -- the approval ----------------------------------------------------------------------------------------------------


def ids_of(body: str) -> list[str]:
    return [row[0] for section in list(tables(body))[1:] for row in section[1:]]


def test_an_approval_shows_every_purchase_below_what_it_means() -> None:
    body = approval_body(check_table(CHECK, HEAD), exclude_param="exclude")
    assert ids_of(body) == ["101", "102", "104", "105", "103"]
    above = body.partition("\n|")[0]
    for part in (
        "https://acme.ilucca.net",
        "production",
        "2 purchases",
        "2026-06-30",
        "Approve",
        "Reject",
        "`exclude`",
    ):
        assert part in above


def test_an_approval_says_which_month_it_is_about() -> None:
    table = check_table(CHECK, HEAD)
    assert "2026-06-01 to 2026-06-30" in approval_body(table, document_dates=("2026-06-01", "2026-06-30"))
    assert "whatever their month" in approval_body(table)


def test_an_approval_says_what_is_not_known_of_the_run() -> None:
    body = approval_body(check_of(3, tenant=None, environment=None))
    assert "3 purchases in Lucca: 30.75" in body
    assert "No closing date" in body


@pytest.mark.parametrize(("count", "has_table"), [(300, True), (5_000, False)])
def test_a_table_is_whole_or_not_there(count: int, has_table: bool) -> None:
    table = check_of(count, "Chairs and desks for the office in Nantes")
    body = approval_body(table, link="https://files.example/check.html")
    assert len(body.encode()) <= MAX_BODY_BYTES
    assert ids_of(body) == ([str(row.id) for row in table.rows] if has_table else [])
    assert ("<https://files.example/check.html>" in body) is not has_table
    assert str(count) in body
    assert f"{count * 10.25:,.2f}\N{NO-BREAK SPACE}EUR" in body


@pytest.mark.parametrize("count", [3, 5_000])
def test_files_with_the_table_are_named_and_linked_where_they_have_an_address(count: int) -> None:
    files = ["https://files.example/check.html", "/data/check.csv"]
    body = approval_body(check_of(count), link="https://airflow.example/xcom", files=files)
    assert "<https://files.example/check.html>, /data/check.csv" in body
    assert ("<https://airflow.example/xcom>" in body) is (count > 3)


def test_the_size_is_counted_in_bytes() -> None:
    table = check_of(150, "椅" * 100)
    assert len(approval_body(table, max_bytes=1_000_000)) < MAX_BODY_BYTES
    assert not ids_of(approval_body(table))


def test_the_last_byte_still_fits() -> None:
    table = check_of(500)
    size = len(approval_body(table, max_bytes=1_000_000).encode())
    assert size > MIN_BODY_BYTES
    assert len(ids_of(approval_body(table, max_bytes=size))) == 500
    assert not ids_of(approval_body(table, max_bytes=size - 1))


@pytest.mark.parametrize("text", ["|" * 500, "椅" * 500, "\U0001f4ba" * 1_000])
def test_a_body_without_a_table_always_fits(text: str) -> None:
    about = dict.fromkeys(("tenant", "environment", "dag_id", "run_id", "task_id", "closing_date", "comment"), text)
    table: Table = check_of(200, text, approved_by=text, **about)
    for link in (None, text, f"https://files.example/{text}", f"https://files.example/{text[:900]}"):
        files = [link or text] * 5
        body = approval_body(table, link=link, files=files, exclude_param="exclude", max_bytes=MIN_BODY_BYTES)
        assert len(body.encode()) <= MIN_BODY_BYTES
        assert not ids_of(body)


@pytest.mark.parametrize(
    ("link", "href"),
    [
        ("https://files.example/a b>.html", "https://files.example/a%20b%3E.html"),
        ("HTTPS://files.example/?a=1&b=%20#x", "HTTPS://files.example/?a=1&b=%20#x"),
        ("/data/check of June.html", None),
        ("javascript:alert(1)", None),
    ],
)
def test_a_link_leads_to_an_address_and_anything_else_is_text(link: str, href: str | None) -> None:
    body = approval_body(check_of(1_500), link=link)
    children = [child for token in PARSER.parse(body) for child in token.children or []]
    found = [child.attrs["href"] for child in children if child.type == "link_open"]
    assert found == ([href] if href else [])
    assert href or link in "".join(child.content for child in children)


def test_a_size_that_nothing_fits_into_is_refused() -> None:
    with pytest.raises(ValueError, match="max_bytes"):
        approval_body(check_of(1), max_bytes=MIN_BODY_BYTES - 1)
