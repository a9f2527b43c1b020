"""What a task says of the purchases that it could not close."""

from __future__ import annotations

import pytest

from lucca_provider.closing import say_problems
from tests.unit.test_outcomes import REJECTED, REPORT


@pytest.mark.parametrize(
    ("left_out", "summary", "lines"),
    [
        ("unresolved", ["1 of 4 purchases was refused"], ["3 refused by Lucca: 669 (409 Open invoices)"]),
        ("rejected", ["1 of 4 purchases was not closed: killed."], ["4 unresolved: not reached"]),
        (
            None,
            ["1 of 5 purchases was refused", "1 of 5 purchases was not closed: killed."],
            ["3 refused by Lucca: 669 (409 Open invoices)", "4 unresolved: not reached"],
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


def test_a_guide_that_reasons_name_does_not_make_them_the_same():
    refused = 'no right (guide "Connection", The rights of the API key). Lucca said: '
    reasons = [f"not reached: {refused}{said}" for said in ("A (no. 1)", "B (no. 2)", "B (no. 3)")]
    summary, _ = say_problems(unresolved(*reasons), ())
    assert summary.startswith(f"3 of 3 purchases were not closed, 2 of them for this reason: {refused}B")


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
    assert say_problems(report, ())[1] == ["3 refused by Lucca: 669 (409 Open invoices)", "1 unresolved"]
