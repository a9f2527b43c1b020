"""CSV as Python reads it back, in both styles."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given

from lucca_provider.inputs import InvalidInputError
from lucca_provider.reports import STYLES, Details, Head, check_table, closing_table, to_csv
from lucca_provider.reports.text import one_line
from tests.unit.reports.samples import CHECK, HEAD, REPORT, check_of, closing_of, texts

DELIMITERS = {"fr": ";", "en": ","}
DETAILS = {101: Details("Chairs; desks, lamps", "Ferrand", Decimal("-1234567.5"), "EUR", "Closed")}


def read(text: str, style: str) -> list[dict[str, str]]:
    """Read a file as a spreadsheet would."""
    data = text.encode()
    assert data.startswith(b"\xef\xbb\xbf")
    file = io.StringIO(data.decode("utf-8-sig"), newline="")
    return list(csv.DictReader(file, delimiter=DELIMITERS[style], strict=True))


def title_in(text: str, style: str = "en") -> str:
    (row,) = read(to_csv(check_of(1, text), style), style)
    return row["Title"]


@pytest.mark.parametrize(("style", "amount"), [("fr", "-1234567,50"), ("en", "-1234567.50")])
def test_a_style_has_its_delimiter_and_its_decimals(style: str, amount: str) -> None:
    text = to_csv(closing_table(REPORT, HEAD, details=DETAILS), style)
    row = {row["Purchase"]: row for row in read(text, style)}["101"]
    assert row == {
        "Purchase": "101",
        "Title": "Chairs; desks, lamps",
        "Supplier": "Ferrand",
        "Billed amount": amount,
        "Currency": "EUR",
        "Outcome": "closed",
        "Reason": "",
        "State in Lucca": "Closed",
        "Read back": "2026-07-01T06:12:00+00:00",
        "Comment sent": "Month-end",
        "Closing date sent": "2026-06-30",
        "Tenant": "https://acme.ilucca.net",
        "Environment": "production",
        "DAG": "close_month_end",
        "Run": "manual__2026-07-01",
        "Task": "close",
        "Map index": "2",
        "Approved by": "Anna Keller",
    }
    assert not text.startswith(("sep=", "\ufeffsep="))
    assert set(DELIMITERS) == set(STYLES)


def test_a_check_has_no_columns_of_a_closing() -> None:
    rows = read(to_csv(check_table(CHECK, HEAD), "en"), "en")
    assert [row["Purchase"] for row in rows] == ["101", "102", "104", "105", "103"]
    assert rows[2]["Outcome"] == "not ready"
    assert rows[2]["Reason"] == "invoice F1: not paid; invoice F2: to review"
    assert not {"State in Lucca", "Read back", "Comment sent", "Closing date sent"} & set(rows[0])


def test_what_is_not_known_is_empty() -> None:
    (row,) = read(to_csv(check_table({**{n: [] for n in CHECK}, "closable": [1]}, Head()), "fr"), "fr")
    assert {name for name, cell in row.items() if cell} == {"Purchase", "Outcome"}


@pytest.mark.parametrize("style", DELIMITERS)
@given(text=texts)
def test_a_purchase_is_a_line_whatever_its_title_holds(style: str, text: str) -> None:
    written = to_csv(closing_of(text), style)
    rows = read(written, style)
    assert [row["Purchase"] for row in rows] == ["102", "103", "101"]
    assert len(written.splitlines()) == len(rows) + 1
    for row in rows:
        assert None not in row
        assert None not in row.values()
    line = one_line(text, 32_000)
    assert rows[2]["Title"] in (line, f"'{line}")
    assert rows[2]["Billed amount"] == {"fr": "100,00", "en": "100.00"}[style]
    assert not any(cell.lstrip().startswith(tuple("=+-@")) for row in rows for cell in row.values())


@pytest.mark.parametrize("blanks", ["", " ", "   ", "\xa0", "\u3000", "\u200b"])
@pytest.mark.parametrize("start", "=+-@")
def test_a_text_that_could_be_a_formula_begins_with_an_apostrophe(start: str, blanks: str) -> None:
    text = f"{blanks}{start}1+1"
    assert title_in(text) == "'" + one_line(text)


@pytest.mark.parametrize("blanks", ["", " "])
@pytest.mark.parametrize("start", "\t\r\n\0")
def test_so_does_one_that_begins_with_a_control_character(start: str, blanks: str) -> None:
    assert title_in(f"{blanks}{start}Chairs") == "'Chairs"


@pytest.mark.parametrize("text", ["Chairs", "a=b", "1-2", "'quoted", "é@x", "#1", " Chairs", "_x", "", "a\n=b"])
def test_other_texts_are_left_alone(text: str) -> None:
    assert title_in(text) == one_line(text)


@pytest.mark.parametrize("value", ["-1", "-0.01", "-250000", "12.125"])
def test_amounts_are_numbers_and_never_touched(value: str) -> None:
    details = {1: Details(amount=Decimal(value), currency="EUR")}
    table = check_table({**{n: [] for n in CHECK}, "closable": [1]}, Head(), details=details)
    (row,) = read(to_csv(table, "en"), "en")
    assert Decimal(row["Billed amount"]) == Decimal(value)
    (row,) = read(to_csv(table, "fr"), "fr")
    assert Decimal(row["Billed amount"].replace(",", ".")) == Decimal(value)


def test_texts_about_the_run_are_made_safe_too() -> None:
    head = dict.fromkeys(("tenant", "environment", "dag_id", "run_id", "task_id", "approved_by"), "=1")
    rows = read(to_csv(closing_of("=1", **head, closing_date="=1"), "en"), "en")
    assert {cell for row in rows for cell in row.values() if "=1" in cell} >= {"'=1"}
    assert not any(cell.startswith("=") for row in rows for cell in row.values())


def test_a_cell_fits_into_excel() -> None:
    assert len(title_in("x" * 100_000)) == 32_000
    assert len(title_in("=" + "x" * 100_000)) <= 32_767


@pytest.mark.parametrize("style", ["de", "", "FR", None])
def test_another_style_is_refused(style: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"style: .*'fr', 'en'"):
        to_csv(check_of(1), style)
