"""A file tells whose report it is, in each form, and whatever its other texts say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from lucca_provider.reports import Table, closing_table, to_csv, to_html, to_markdown
from lucca_provider.reports.identity import FORMS, IDENTITY_BYTES, read_identity
from tests.unit.reports.samples import HEAD, REPORT, closing_of, texts

NOTHING: dict[str, Any] = {name: [] for name in REPORT}
WRITERS = {
    "csv": [lambda table: to_csv(table, "fr"), lambda table: to_csv(table, "en")],
    "html": [to_html],
    "md": [to_markdown],
}


def written(table: Table, form: str) -> list[bytes]:
    return [write(table).encode() for write in WRITERS[form]]


def identities(table: Table, form: str) -> set[tuple[str, ...] | None]:
    return {read_identity(data, form) for data in written(table, form)}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("report", [REPORT, NOTHING])
def test_a_report_names_its_task_also_without_a_purchase(form: str, report: dict[str, Any]) -> None:
    (identity,) = identities(closing_table(report, HEAD), form)
    assert identity is not None
    assert "2026-07-01" in identity[1]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "other",
    [
        {"dag_id": "another"},
        {"run_id": "another"},
        {"task_id": "another"},
        {"map_index": 3},
        {"map_index": None},
        {"tenant": "https://acme.ilucca-test.net"},
        {"tenant": None},
    ],
)
def test_another_dag_run_task_index_or_tenant_is_another_one(form: str, other: dict[str, Any]) -> None:
    same = identities(closing_table(NOTHING, replace(HEAD, comment="Other")), form)
    assert same == identities(closing_table(REPORT, HEAD), form)
    assert same.isdisjoint(identities(closing_table(REPORT, replace(HEAD, **other)), form))


@pytest.mark.parametrize("form", FORMS)
def test_the_longest_ids_that_airflow_has_are_told_apart(form: str) -> None:
    long = "x" * 249
    one, two = (identities(closing_table(REPORT, replace(HEAD, run_id=long + end)), form) for end in "ab")
    assert one.isdisjoint(two)
    mapped = replace(HEAD, task_id=long + "a")
    one, two = (identities(closing_table(REPORT, replace(mapped, map_index=index)), form) for index in (1023, 1024))
    assert one.isdisjoint(two)


@pytest.mark.parametrize("form", FORMS)
@given(text=texts)
def test_no_other_text_changes_it(form: str, text: str) -> None:
    about: dict[str, Any] = {"dag_id": "a", "run_id": "b", "task_id": "c", "map_index": 1, "tenant": "d"}
    table = closing_of(text, **about)
    assert identities(table, form) == identities(closing_table(NOTHING, replace(HEAD, **about)), form)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"a;b\n1;2\n",
        b"<html></html>",
        b"# Report\n\n- a\n",
        b"Purchase;DAG\n1;a\n",
        b'"' * 10**6,
    ],
)
def test_what_is_no_report_has_none(form: str, content: bytes) -> None:
    assert read_identity(content, form) is None


@pytest.mark.parametrize(
    ("form", "added"), [("md", b"- Run: another\n"), ("html", b'<meta name="lucca-run" content="another">')]
)
def test_what_somebody_adds_at_the_end_does_not_count(form: str, added: bytes) -> None:
    for data in written(closing_table(REPORT, HEAD), form):
        assert read_identity(data + added, form) == read_identity(data, form)


@pytest.mark.parametrize("form", FORMS)
def test_a_report_of_no_task_has_none(form: str) -> None:
    assert identities(closing_table(REPORT, replace(HEAD, run_id=None)), form) == {None}


@pytest.mark.parametrize("form", FORMS)
def test_the_beginning_of_the_longest_file_is_enough(form: str) -> None:
    long = "椅" * 100_000
    table = closing_of(long, dag_id="a", run_id="b", task_id="c", comment=long, approved_by=long)
    many = replace(table, sections=[replace(section, rows=[*section.rows] * 40) for section in table.sections])
    for data in written(many, form):
        assert read_identity(data[:IDENTITY_BYTES], form)[:3] == ("a", "b", "c")
