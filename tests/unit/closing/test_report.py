"""What became of the purchases, in the shapes that tasks and people read."""

from __future__ import annotations

from typing import Any

import pytest

from lucca_provider.closing import Decision, Outcome, build_report, describe_report, say_problems

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
        2: "was closed already",
        3: "refused: 669 (409 Open invoices)",
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
        (Decision(Outcome.ALREADY_CLOSED), "was closed already"),
        (Decision(Outcome.UNRESOLVED), "unresolved"),
        (Decision(Outcome.UNRESOLVED, detail="why"), "unresolved: why"),
        (Decision(Outcome.REJECTED, 400), "refused: 400"),
        (Decision(Outcome.REJECTED, 400, "t"), "refused: 400 t"),
        (Decision(Outcome.REJECTED, 400, detail="d"), "refused: d (400)"),
        (Decision(Outcome.REJECTED, 400, "t", "d"), "refused: d (400 t)"),
    ],
)
def test_a_decision_says_itself(decision, words):
    assert str(decision) == words


def test_an_outcome_that_needs_no_reason_has_words():
    assert {outcome.words for outcome in Outcome} >= {"closed", "refused by Lucca"}


@pytest.mark.parametrize(
    ("left_out", "summary", "lines"),
    [
        ("unresolved", ["1 of 4 purchases was refused"], ["3 refused: 669 (409 Open invoices)"]),
        ("rejected", ["1 of 4 purchases was not closed: killed."], ["4 unresolved: not reached"]),
        (
            None,
            ["1 of 5 purchases was refused", "1 of 5 purchases was not closed: killed."],
            ["3 refused: 669 (409 Open invoices)", "4 unresolved: not reached"],
        ),
    ],
)
def test_a_task_says_what_it_could_not_close_and_what_to_do(left_out, summary, lines):
    report = {**REPORT, left_out: []} if left_out else REPORT
    said, listed = say_problems(report, ())
    assert all(part in said for part in summary)
    assert ("clear this task" in said) == bool(report["rejected"])
    assert ("retry" in said) == bool(report["unresolved"])
    assert listed == lines


def unresolved(*reasons):
    listed = [{"id": number, "reason": reason} for number, reason in enumerate(reasons, 1)]
    return {"closed": [], "already_closed": [], "rejected": [], "unresolved": listed}


def test_a_reason_that_many_share_is_said_once():
    reason = "Lucca refused the API key. Correct API key (password). (Closing purchase 1: 401)"
    said, listed = say_problems(unresolved(*[f"not reached: {reason}"] * 129), ())
    assert f"129 of 129 purchases were not closed: {reason}. A retry" in said
    assert listed == [", ".join(map(str, range(1, 51))) + " and 79 more unresolved: not reached"]


def test_the_reason_of_most_follows_the_number_and_is_not_said_again_below():
    reasons = ["not reached: killed", "its state could not be read: No connection.", "No connection."]
    said, listed = say_problems(unresolved(*reasons), ())
    assert said.startswith("3 of 3 purchases were not closed, 2 of them for this reason: No connection. A retry")
    assert listed == [
        "1 unresolved: not reached: killed",
        "2 unresolved: its state could not be read",
        "3 unresolved",
    ]


@pytest.mark.parametrize(
    ("reasons", "in_doubt", "said"),
    [
        (["not reached: killed"], (), "1 of 1 purchase was not closed: killed. A retry"),
        (
            ["sent, but the answer is not known: killed"],
            {1},
            "1 of 1 purchase is unresolved: killed. It may be closed.",
        ),
        (["not reached: killed"] * 3, {2}, "3 of 3 purchases are unresolved: killed. 1 may be closed."),
        (["not reached: killed"] * 3, {2, 3}, "3 of 3 purchases are unresolved: killed. 2 may be closed."),
    ],
)
def test_only_where_a_closing_was_sent_a_purchase_may_be_closed(reasons, in_doubt, said):
    assert say_problems(unresolved(*reasons), in_doubt)[0].startswith(said)


def test_a_refusal_keeps_its_reason_where_the_same_is_said_of_others():
    report = {**unresolved("669"), "rejected": [REJECTED]}
    assert say_problems(report, ())[1] == ["3 refused: 669 (409 Open invoices)", "1 unresolved"]
