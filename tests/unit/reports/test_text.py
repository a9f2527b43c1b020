"""Texts and amounts as a cell shows them, whatever they hold."""

from __future__ import annotations

import unicodedata
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucca_provider.reports.text import one_line, plain_number, say_amount, say_amounts
from tests.unit.reports.samples import texts

BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
TURNS = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c"


@given(texts)
def test_any_text_is_one_line_that_can_be_stored(text: str) -> None:
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert not {unicodedata.category(c) for c in line} & {"Cc", "Cs", "Zl", "Zp"}
    assert line == line.strip()
    assert line.encode().decode() == line
    assert len(line) <= 200
    assert one_line(line) == line


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=200))
def test_what_can_be_seen_is_kept(text: str) -> None:
    assert one_line(text) == text


@pytest.mark.parametrize("c", BREAKS + "\t\0\x7f")
def test_a_break_becomes_a_blank(c: str) -> None:
    assert one_line(f"{c}a{c}{c}b{c}") == "a b"


@pytest.mark.parametrize("c", TURNS + "\u200b\ufeff\xad\U000e0041")
def test_what_is_unseen_but_changes_what_is_seen_is_taken_out(c: str) -> None:
    assert one_line(f"12{c}34") == "1234"


def test_scripts_and_emoji_stay_whole() -> None:
    for text in ("שולחנות", "می\u200cخواهم", "👩\u200d💻", "Prix\xa0: 10 €"):
        assert one_line(text) == text


def test_a_long_text_shows_that_it_is_cut() -> None:
    assert one_line("x" * 201) == "x" * 199 + "…"
    assert one_line("x" * 200) == "x" * 200
    assert one_line("abcdef", 3) == "ab…"


@pytest.mark.parametrize(
    ("amount", "number", "words"),
    [
        ("1234567.5", "1234567.50", "1,234,567.50 EUR"),
        ("-12.5", "-12.50", "-12.50 EUR"),
        ("0", "0.00", "0.00 EUR"),
        ("-0", "0.00", "0.00 EUR"),
        ("-0.000", "0.00", "0.00 EUR"),
        ("1E+3", "1000.00", "1,000.00 EUR"),
        ("100.00", "100.00", "100.00 EUR"),
        ("0.125", "0.125", "0.125 EUR"),
        ("2.5000", "2.50", "2.50 EUR"),
    ],
)
def test_amounts_are_never_rounded(amount: str, number: str, words: str) -> None:
    assert plain_number(Decimal(amount)) == number
    assert say_amount(Decimal(amount), "EUR") == words.replace(" ", "\N{NO-BREAK SPACE}")


@given(st.decimals(min_value=-(10**15), max_value=10**15, allow_nan=False, places=8))
def test_a_number_is_the_amount(amount: Decimal) -> None:
    assert Decimal(plain_number(amount)) == amount


def test_what_is_not_known_is_said() -> None:
    assert say_amount(None, "EUR") == "unknown"
    assert say_amount(Decimal(1), None) == "1.00\N{NO-BREAK SPACE}(unknown currency)"
    assert say_amounts({}, 0) == "nothing"
    assert say_amounts({}, 3) == "3 of unknown amount"


def test_very_many_currencies_are_all_named_where_there_is_room() -> None:
    amounts: dict[str | None, Decimal] = {f"C{number}": Decimal(1) for number in range(500)}
    assert say_amounts(amounts, 0).count("1.00") == 500
    said = say_amounts(amounts, 0, most=10)
    assert said.endswith("and amounts in 490 more currencies")
    assert said.count("1.00") == 10


def test_half_a_character_is_shown_as_missing() -> None:
    assert one_line("a\ud800b") == "a\N{REPLACEMENT CHARACTER}b"
