"""What became of the purchases, in the shapes that tasks and people read."""

from __future__ import annotations

from typing import Any

import pytest

from lucca_provider.closing import Outcome, build_report, describe_report

REJECTED = {"id": 3, "status": 409, "title": "Open invoices", "detail": "669"}
REPORT: dict[str, Any] = {
    "closed": [1, 6],
    "already_closed": [2],
    "rejected": [REJECTED],
    "unresolved": [{"id": 4, "reason": "not reached: killed"}],
}


def test_each_purchase_stands_in_the_list_of_its_outcome_in_the_order_asked_for():
    outcomes = {
        1: Outcome("closed"),
        2: Outcome("already_closed"),
        3: Outcome("rejected", 409, "Open invoices", "669"),
        4: Outcome("unresolved", detail="not reached: killed"),
        6: Outcome("closed"),
    }
    assert build_report([6, 4, 3, 2, 1], outcomes) == {**REPORT, "closed": [6, 1]}


@pytest.mark.parametrize("outcome", [Outcome("unresolved"), Outcome("a state of the future")])
def test_what_gives_no_reason_is_unresolved_all_the_same(outcome):
    assert build_report([5], {5: outcome})["unresolved"] == [{"id": 5, "reason": "unknown"}]


def test_no_purchase_is_left_out():
    with pytest.raises(KeyError):
        build_report([1, 2], {1: Outcome("closed")})


def test_a_person_reads_a_line_for_each_purchase():
    assert describe_report(REPORT) == {
        1: "closed",
        6: "closed",
        2: "was closed already",
        3: "rejected by Lucca (409 Open invoices: 669)",
        4: "unresolved: not reached: killed",
    }


@pytest.mark.parametrize("report", [None, {}])
def test_nothing_is_said_of_a_report_that_was_not_made(report):
    assert describe_report(report) == {}


@pytest.mark.parametrize("name", REPORT)
def test_a_report_may_lack_a_list(name):
    assert len(describe_report({name: REPORT[name]})) == len(REPORT[name])


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome("closed"), "closed"),
        (Outcome("unresolved", detail="why"), "unresolved: why"),
        (Outcome("rejected", 400), "rejected by Lucca (400)"),
        (Outcome("rejected", 400, detail="d"), "rejected by Lucca (400 d)"),
        (Outcome("rejected", 400, "t", "d"), "rejected by Lucca (400 t: d)"),
    ],
)
def test_an_outcome_says_itself(outcome, words):
    assert str(outcome) == words
