"""Outcomes, and the report that has a list for each."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucca_provider.closing.records import decision_records, read_record
from lucca_provider.outcomes import Decision, Outcome, ReportEntry, build_report, describe_report, read_report
from lucca_provider.reports import Head, closing_table

REJECTED = {"id": 3, "status": 409, "title": "Open invoices", "detail": "669"}
REPORT: dict[str, Any] = {
    "closed": [1, 6],
    "already_closed": [2],
    "rejected": [REJECTED],
    "unresolved": [{"id": 4, "reason": "not reached: killed"}],
}


def test_each_purchase_stands_in_the_list_of_its_outcome_in_the_order_asked_for():
    decisions = {
        1: Decision(Outcome.CLOSED),
        2: Decision(Outcome.ALREADY_CLOSED),
        3: Decision(Outcome.REJECTED, 409, "Open invoices", "669"),
        4: Decision(Outcome.UNRESOLVED, detail="not reached: killed"),
        6: Decision(Outcome.CLOSED),
    }
    assert build_report([6, 4, 3, 2, 1], decisions) == {**REPORT, "closed": [6, 1]}


def test_a_list_of_the_report_is_named_as_its_outcome():
    assert list(build_report([], {})) == [outcome.value for outcome in Outcome]


def test_what_gives_no_reason_is_unresolved_all_the_same():
    assert build_report([5], {5: Decision(Outcome.UNRESOLVED)})["unresolved"] == [{"id": 5, "reason": "unknown"}]


def test_no_purchase_is_left_out():
    with pytest.raises(KeyError):
        build_report([1, 2], {1: Decision(Outcome.CLOSED)})


def test_only_what_is_closed_is_what_a_task_wants():
    assert [outcome for outcome in Outcome if outcome.is_closed] == [Outcome.CLOSED, Outcome.ALREADY_CLOSED]


def test_a_person_reads_a_line_for_each_purchase():
    assert describe_report(REPORT) == {
        1: "closed",
        6: "closed",
        2: "closed already",
        3: "refused by Lucca: 669 (409 Open invoices)",
        4: "unresolved: not reached: killed",
    }


@pytest.mark.parametrize("report", [None, {}])
def test_nothing_is_said_of_a_report_that_was_not_made(report):
    assert describe_report(report) == {}


@pytest.mark.parametrize("name", REPORT)
def test_a_report_may_lack_a_list(name):
    assert len(describe_report({name: REPORT[name]})) == len(REPORT[name])


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (Decision(Outcome.CLOSED), "closed"),
        (Decision(Outcome.ALREADY_CLOSED), "closed already"),
        (Decision(Outcome.UNRESOLVED), "unresolved"),
        (Decision(Outcome.UNRESOLVED, detail="why"), "unresolved: why"),
        (Decision(Outcome.REJECTED, 400), "refused by Lucca: no reason given (400)"),
        (Decision(Outcome.REJECTED, 400, "t"), "refused by Lucca: no reason given (400 t)"),
        (Decision(Outcome.REJECTED, 400, detail="d"), "refused by Lucca: d (400)"),
        (Decision(Outcome.REJECTED, 400, "t", "d"), "refused by Lucca: d (400 t)"),
    ],
)
def test_a_decision_says_itself(decision, words):
    assert str(decision) == words


def test_an_outcome_that_needs_no_reason_has_words():
    assert {outcome.words for outcome in Outcome} >= {"closed", "refused by Lucca"}


# -- whatever the outcomes are ---------------------------------------------------------------------------------------

WORDS = st.none() | st.text(min_size=1, max_size=20)


@st.composite
def decisions(draw: st.DrawFn) -> Decision:
    outcome = draw(st.sampled_from(Outcome))
    if outcome.entry is ReportEntry.ID:
        return Decision(outcome)
    if outcome.entry is ReportEntry.REASON:
        return Decision(outcome, detail=draw(st.text(min_size=1, max_size=20)))
    return Decision(outcome, draw(st.none() | st.integers(400, 499)), draw(WORDS), draw(WORDS))


JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)
BY_PURCHASE = st.dictionaries(st.integers(1, 2**31 - 1), decisions(), max_size=8)


@given(BY_PURCHASE)
def test_a_report_tells_all_that_is_decided(decided):
    assert dict(read_report(build_report(decided, decided))) == decided


@given(BY_PURCHASE)
def test_the_journal_keeps_what_is_final_and_nothing_else(decided):
    entries = [read_record(record) for record in decision_records(decided)]
    kept = {each: entry.decision for entry in entries for each in entry.ids}
    assert kept == {each: known for each, known in decided.items() if known.outcome.record is not None}


@given(BY_PURCHASE)
def test_a_table_has_a_section_for_each_outcome_and_a_row_for_each_purchase(decided):
    table = closing_table(build_report(decided, decided), Head())
    rows = {row.id: (section.group, row.reason) for section in table.sections for row in section.rows}
    assert rows == {each: (known.outcome, known.reason) for each, known in decided.items()}


@given(st.fixed_dictionaries({"id": st.integers(1, 9)}, optional=dict.fromkeys(("status", "title", "detail"), JSON)))
def test_a_refusal_of_another_version_is_a_row_whatever_else_it_says(entry):
    report = {"closed": [], "already_closed": [], "rejected": [entry], "unresolved": []}
    (section,) = closing_table(report, Head()).sections
    assert [(row.id, type(row.reason)) for row in section.rows] == [(entry["id"], str)]


def test_problems_come_first_in_a_table():
    decided = {number: Decision(outcome, detail="why") for number, outcome in enumerate(Outcome, start=1)}
    groups = [section.group for section in closing_table(build_report(decided, decided), Head()).sections]
    assert groups == sorted(Outcome, key=lambda outcome: outcome.is_closed)
