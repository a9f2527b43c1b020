"""How one purchase gets closed, and when a run ends early: each path of the protocol, one by one."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from lucca_provider.closing import PROGRESS_VERSION, ClosingRun, Kind, MemoryLedger, Outcome, Page, Pause, Step
from lucca_provider.exceptions import (
    LuccaAccessError,
    LuccaForbiddenError,
    LuccaInDoubtError,
    LuccaNotFoundError,
    LuccaNotSentError,
    LuccaRefusedError,
    LuccaThrottledError,
)
from lucca_provider.limits import Window

T = 1_000_000.0
REFUSED = LuccaRefusedError("409", status=409, title="Open invoices", detail="669", errors={"date": ["too late"]})
IN_DOUBT = LuccaInDoubtError("connection reset")
NOT_SENT = LuccaNotSentError("connection refused")


def close(purchase_id: int) -> Step:
    return Step(Kind.CLOSE, purchase_id)


def look(purchase_id: int) -> Step:
    return Step(Kind.LOOK, purchase_id)


def new_run(*purchase_ids: int, ledger: Any = None, limit: int = 45, **kwargs: Any) -> ClosingRun:
    return ClosingRun(
        purchase_ids, ledger=ledger if ledger is not None else MemoryLedger(), window=Window(limit), **kwargs
    )


def take(run: ClosingRun, *exchanges: tuple[Step, object], at: float = T) -> float:
    """Expect just these steps, in this order, giving each its answer; return the time afterwards."""
    for step, answer in exchanges:
        what = run.next(at)
        if isinstance(what, Pause):
            assert what.until is not None
            at = what.until
            what = run.next(at)
        assert what == step
        run.answered(step, answer, at)
    return at


def ended(run: ClosingRun, at: float = T) -> dict[str, Any]:
    assert run.next(at) is None
    return dict(run.report())


class BrokenLedger(MemoryLedger):
    def __init__(self, broken: str) -> None:
        super().__init__()
        self.broken = broken

    def write(self, purchase_id: int, entry: Any) -> None:
        if entry["state"] == self.broken:
            raise OSError("the API server is gone")
        super().write(purchase_id, entry)


# -- one purchase ----------------------------------------------------------------------------------------------------


def test_a_clear_yes_is_closed_and_the_intent_was_written_before():
    ledger = MemoryLedger()
    run = new_run(7, ledger=ledger)
    assert run.next(T) == close(7)
    assert ledger.read(7) == {"state": "sent", "at": T}
    run.answered(close(7), None, T + 1)
    assert ledger.read(7) == {"state": "closed", "at": T + 1}
    assert ended(run) == {"closed": [7], "already_closed": [], "rejected": [], "unresolved": []}


def test_a_clear_no_is_rejected_with_luccas_words_once_the_purchase_is_seen_open():
    ledger = MemoryLedger()
    run = new_run(7, ledger=ledger)
    take(run, (close(7), REFUSED), (look(7), "Ongoing"))
    rejection = {"status": 409, "title": "Open invoices", "detail": "669 [date: too late]"}
    assert ended(run)["rejected"] == [{"id": 7, **rejection}]
    assert ledger.read(7) == {"state": "rejected", "at": T, **rejection}


def test_a_clear_no_for_a_purchase_that_was_closed_is_already_closed():
    run = new_run(7)
    assert take(run, (close(7), REFUSED), (look(7), "Closed")) == T
    assert ended(run)["already_closed"] == [7]


@pytest.mark.parametrize("state", [None, "Archived"])
def test_a_clear_no_stands_when_the_state_says_nothing(state):
    run = new_run(7)
    take(run, (close(7), REFUSED), (look(7), state))
    assert [item["id"] for item in ended(run)["rejected"]] == [7]


@pytest.mark.parametrize("unreadable", [LuccaForbiddenError("403", status=403), LuccaNotFoundError("404", status=404)])
def test_a_clear_no_stands_when_the_purchase_may_not_be_read(unreadable):
    run = new_run(7)
    take(run, (close(7), REFUSED), (look(7), unreadable))
    assert ended(run)["rejected"][0]["status"] == 409


def test_in_doubt_is_looked_at_after_five_seconds_and_not_posted_again_if_it_happened():
    run = new_run(7)
    assert take(run, (close(7), IN_DOUBT)) == T
    assert run.next(T) == Pause(T + 5.0, T + 5.0)
    take(run, (look(7), "Closed"), at=T + 5.0)
    assert ended(run)["closed"] == [7]


def test_in_doubt_is_posted_again_only_after_it_was_seen_open():
    run = new_run(7)
    take(run, (close(7), IN_DOUBT), (look(7), "Ongoing"), (close(7), None))
    assert ended(run)["closed"] == [7]


def test_three_closings_in_doubt_without_effect_are_enough():
    run = new_run(7)
    take(run, *[(close(7), IN_DOUBT), (look(7), "Ongoing")] * 3)
    assert ended(run)["unresolved"][0]["reason"] == "3 attempts got no clear answer, and it is still open"


def test_a_closing_without_effect_is_not_taken_for_what_somebody_else_did_later():
    run = new_run(7)
    take(run, (close(7), IN_DOUBT), (look(7), "Ongoing"), (close(7), REFUSED), (look(7), "Closed"))
    assert ended(run)["already_closed"] == [7]


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (None, "no state"),
        ("Archived", "the state 'Archived', which this version does not know"),
        ("closed", "the state 'closed', which this version does not know"),
    ],
)
def test_a_state_that_says_neither_open_nor_closed_is_never_taken_for_open(state, told):
    run = new_run(7)
    take(run, (close(7), IN_DOUBT), (look(7), state))
    reason = f"Lucca tells {told}, so it cannot be taken for open"
    assert ended(run)["unresolved"] == [{"id": 7, "reason": reason}]


@pytest.mark.parametrize("exchanges", [[(close(7), LuccaAccessError("401"))], [(close(7), IN_DOUBT), (look(7), None)]])
def test_what_is_unresolved_is_told_and_leaves_the_intent_in_the_ledger_for_the_next_try(exchanges):
    told: list[tuple[int, str]] = []
    ledger = MemoryLedger()
    run = new_run(7, ledger=ledger, on_outcome=lambda purchase_id, outcome: told.append((purchase_id, outcome.state)))
    take(run, *exchanges)
    assert told == [(7, "unresolved")]
    assert ledger.read(7) == {"state": "sent", "at": T}


def test_a_refusal_is_written_as_soon_as_it_is_known():
    ledger = MemoryLedger()
    run = new_run(7, 8, ledger=ledger)
    take(run, (close(7), REFUSED), (look(7), "Ongoing"))
    assert ledger.read(7)["state"] == "rejected"


def test_messages_of_single_fields_follow_the_detail():
    run = new_run(7)
    errors = {"date": ["too late", "not a day"], "comment": ["too long"]}
    take(run, (close(7), LuccaRefusedError("400", status=400, detail="Wrong", errors=errors)), (look(7), "Ongoing"))
    assert ended(run)["rejected"][0]["detail"] == "Wrong [date: too late, not a day; comment: too long]"


def test_purchases_are_looked_at_in_the_order_of_their_answers():
    run = new_run(9, 8)
    steps = [run.next(T), run.next(T)]
    for step in steps:
        run.answered(step, REFUSED, T)
    take(run, (look(9), "Ongoing"), (look(8), "Ongoing"))


@pytest.mark.parametrize(
    "unreadable",
    [LuccaForbiddenError("403", status=403), LuccaNotFoundError("404", status=404)],
)
def test_in_doubt_stays_unresolved_when_the_purchase_may_not_be_read(unreadable):
    run = new_run(7)
    take(run, (close(7), IN_DOUBT), (look(7), unreadable))
    assert "could not be read" in ended(run)["unresolved"][0]["reason"]


def test_a_refusal_after_a_closing_in_doubt_does_not_hide_that_the_first_may_have_worked():
    run = new_run(7)
    take(run, (close(7), IN_DOUBT), (look(7), IN_DOUBT), (look(7), "Closed"))
    assert ended(run)["closed"] == [7]


def test_looking_is_repeated_with_growing_gaps_and_a_bound():
    run = new_run(7)
    at = take(run, (close(7), REFUSED), (look(7), IN_DOUBT), (look(7), NOT_SENT), (look(7), IN_DOUBT))
    assert at == T + 2 + 4
    assert take(run, (look(7), IN_DOUBT), at=at) == T + 2 + 4 + 8
    assert "could not be read" in ended(run)["unresolved"][0]["reason"]


def test_a_clear_answer_in_between_starts_the_count_of_looks_again():
    run = new_run(7)
    unclear = [(look(7), IN_DOUBT)] * 3
    at = take(run, (close(7), IN_DOUBT), *unclear, (look(7), "Ongoing"))
    at = take(run, (close(7), IN_DOUBT), *unclear, (look(7), "Closed"), at=at)
    assert ended(run, at)["closed"] == [7]


def test_what_was_certainly_not_sent_is_sent_again_without_a_look():
    run = new_run(7)
    take(run, (close(7), NOT_SENT), (close(7), None))
    assert ended(run)["closed"] == [7]


def test_what_cannot_be_sent_three_times_is_unresolved():
    run = new_run(7)
    take(run, *[(close(7), NOT_SENT)] * 3)
    reason = "3 attempts got no clear answer; the last failure: connection refused"
    assert ended(run)["unresolved"][0]["reason"] == reason


def test_an_unsent_request_takes_no_room_in_the_window():
    run = new_run(7, 8, limit=2)
    assert take(run, (close(7), NOT_SENT), (close(7), None), (close(8), None)) == T


def test_an_answer_that_comes_twice_counts_once():
    outcomes: list[int] = []
    run = new_run(7, on_outcome=lambda purchase_id, outcome: outcomes.append(purchase_id))
    take(run, (close(7), None))
    run.answered(close(7), IN_DOUBT, T)
    assert outcomes == [7]
    assert ended(run)["closed"] == [7]


def test_a_list_step_wants_a_page():
    run = new_run(*range(1, 20), ledger=MemoryLedger(complete=False))
    step = run.next(T) and run.next(T + 5)
    with pytest.raises(TypeError, match="Page"):
        run.answered(step, "nonsense", T + 5)


# -- the limit -------------------------------------------------------------------------------------------------------


def test_every_request_counts_against_the_limit_also_looks():
    run = new_run(7, 8, limit=2)
    take(run, (close(7), REFUSED), (look(7), "Closed"))
    assert run.next(T) == Pause(T + 60.0, T + 60.0)


def test_a_429_pauses_everything_as_long_as_asked_and_costs_nothing():
    run = new_run(7, 8)
    take(run, (close(7), LuccaThrottledError("429", retry_after=30.0)))
    assert run.next(T + 29.9) == Pause(T + 30.0, T + 30.0)
    take(run, (close(7), None), (close(8), None), at=T + 30.0)
    assert ended(run)["closed"] == [7, 8]


def test_after_a_429_one_request_finds_out_before_the_others_follow():
    run = new_run(7, 8)
    take(run, (close(7), LuccaThrottledError("429", retry_after=1.0)))
    assert run.next(T + 1.0) == close(7)
    assert run.next(T + 1.0) == Pause(None)
    run.answered(close(7), None, T + 1.1)
    assert run.next(T + 1.1) == close(8)


def test_a_429_without_retry_after_waits_longer_each_time():
    run = new_run(7)
    waits = []
    at = T
    for _ in range(7):
        take(run, (close(7), LuccaThrottledError("429")), at=at)
        pause = run.next(at)
        assert isinstance(pause, Pause)
        assert pause.until is not None
        waits.append(pause.until - at)
        at = pause.until
    assert waits == [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 60.0]


def test_a_429_for_a_look_repeats_the_look():
    run = new_run(7)
    take(run, (close(7), REFUSED), (look(7), LuccaThrottledError("429", retry_after=0.0)), (look(7), "Closed"))
    assert ended(run)["already_closed"] == [7]


def test_a_wait_beyond_ten_minutes_is_left_to_the_tasks_retry():
    run = new_run(7)
    take(run, (close(7), LuccaThrottledError("429", retry_after=601.0)))
    assert run.retry_after == 601.0
    assert run.stopped == "Lucca answers 429: the limit is used up, and it asks to wait 601 s"
    assert run.stopped in ended(run)["unresolved"][0]["reason"]


def test_a_wait_beyond_ten_minutes_after_a_503_is_left_to_the_tasks_retry_too():
    run = new_run(7)
    take(run, (close(7), LuccaInDoubtError("503", status=503, retry_after=601.0)))
    assert run.stopped == "Lucca does not answer as it should, and it asks to wait 601 s"


def test_a_wait_of_ten_minutes_is_waited_for():
    run = new_run(7)
    take(run, (close(7), LuccaThrottledError("429", retry_after=600.0)))
    assert run.next(T) == Pause(T + 600.0, T + 600.0)


def test_who_leaves_the_worker_comes_back_for_what_is_left_not_for_more():
    run = new_run(1, 2, 3, 4, 5, limit=4)
    for purchase_id in range(1, 5):
        take(run, (close(purchase_id), None), at=T + 5 * purchase_id)
    assert run.next(T + 20) == Pause(T + 65.0, T + 65.0)


def test_a_tenant_whose_limit_others_always_use_up_ends_the_run():
    run = new_run(7)
    at = T
    while run.stopped is None:
        at = take(run, (close(7), LuccaThrottledError("429", retry_after=1.0)), at=at)
        assert len(run.report()["unresolved"]) == 1
    assert 600 <= at - T < 660
    assert "only 429 for 600 s" in ended(run, at)["unresolved"][0]["reason"]
    assert run.retry_after == 1.0


def test_a_burst_of_429s_is_one_throttling_however_many_were_in_flight():
    run = new_run(*range(1, 33))
    steps = [run.next(T) for _ in range(32)]
    for step in steps:
        assert isinstance(step, Step)
        run.answered(step, LuccaThrottledError("429", retry_after=1.0), T + 0.1)
    assert run.stopped is None
    assert run.next(T + 0.1) == Pause(T + 1.1, T + 1.1)


def test_a_429_that_comes_in_a_pause_for_another_reason_is_waited_for_too():
    run = new_run(1, 2, 3)
    steps = [run.next(T) for _ in range(3)]
    answers = [IN_DOUBT, IN_DOUBT, LuccaThrottledError("429", retry_after=7.0)]
    for step, answer in zip(steps, answers, strict=True):
        assert isinstance(step, Step)
        run.answered(step, answer, T)
    assert run.stopped is None
    pause = run.next(T)
    assert isinstance(pause, Pause)
    assert pause.until == T + 7.0


def test_a_burst_of_dropped_connections_is_one_failure_however_many_were_in_flight():
    run = new_run(*range(1, 33))
    steps = [run.next(T) for _ in range(32)]
    for step in steps:
        assert isinstance(step, Step)
        run.answered(step, IN_DOUBT, T + 0.1)
    assert run.stopped is None


def test_429s_that_go_on_are_asked_about_less_and_less_often():
    run = new_run(7)
    at, waits = T, []
    for _ in range(8):
        before = at
        at = take(run, (close(7), LuccaThrottledError("429", retry_after=1.0)), at=at)
        waits.append(at - before)
    assert waits == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]


def test_a_503_with_retry_after_pauses_everything():
    run = new_run(7, 8)
    take(run, (close(7), LuccaInDoubtError("503", status=503, retry_after=20.0)))
    assert run.next(T) == Pause(T + 20.0, T + 20.0)


def test_a_single_failure_after_a_clear_answer_pauses_nothing():
    run = new_run(1, 2, 3)
    assert take(run, (close(1), None), (close(2), IN_DOUBT), (close(3), None)) == T


# -- ending early ----------------------------------------------------------------------------------------------------


def test_a_wrong_key_stops_at_once_and_what_was_not_reached_is_named():
    run = new_run(7, 8, 9)
    take(run, (close(7), LuccaAccessError("401: the API key is wrong")))
    unresolved = ended(run)["unresolved"]
    assert [item["id"] for item in unresolved] == [7, 8, 9]
    assert all("the API key is wrong" in item["reason"] for item in unresolved)
    assert run.retry_after is None


def test_a_wrong_key_while_looking_stops_too():
    run = new_run(7, 8)
    take(run, (close(7), IN_DOUBT), (close(8), None), (look(7), LuccaAccessError("401")))
    assert [item["id"] for item in ended(run)["unresolved"]] == [7]


def test_what_is_in_flight_when_the_run_stops_is_still_recorded():
    run = new_run(7, 8, 9)
    run.next(T)
    run.next(T)
    run.stop("killed")
    assert run.next(T) == Pause(None)
    run.answered(close(7), None, T)
    report = run.report()
    assert report["closed"] == [7]
    assert [item["reason"] for item in report["unresolved"]] == [
        "sent, but the answer is not known; then: killed",
        "not reached: killed",
    ]


def test_a_refused_purchase_whose_state_was_not_read_any_more_is_unresolved():
    run = new_run(7)
    take(run, (close(7), REFUSED))
    run.stop("killed")
    assert "rejected by Lucca (409 Open invoices: 669" in ended(run)["unresolved"][0]["reason"]


def test_the_first_reason_to_stop_counts():
    run = new_run(7)
    run.stop("one")
    run.stop("two")
    assert ended(run)["unresolved"][0]["reason"] == "not reached: one"


def test_what_was_not_reached_yet_is_unresolved():
    assert new_run(7).report()["unresolved"] == [{"id": 7, "reason": "not reached: the run did not get that far"}]


def test_an_answer_that_cannot_be_dealt_with_costs_its_purchase_only():
    run = new_run(1, 2)
    take(run, (close(1), IN_DOUBT), (close(2), IN_DOUBT))
    assert run.next(T + 5) == look(1)
    run.give_up(look(1), "a bug")
    assert run.outcomes == {1: Outcome("unresolved", detail="a bug")}
    assert [purchase_id for purchase_id, _ in run.carry()["purchases"]] == [2]
    take(run, (look(2), "Closed"), at=T + 5)
    assert ended(run, T + 5)["closed"] == [2]


def test_a_first_answer_that_cannot_be_dealt_with_costs_its_purchase_only():
    run = new_run(1, 2)
    assert run.next(T) == close(1)
    run.give_up(close(1), "a bug")
    take(run, (close(2), None))
    assert ended(run)["unresolved"] == [{"id": 1, "reason": "a bug"}]


def test_five_403_in_a_row_with_nothing_closed_stop_the_run():
    run = new_run(*range(1, 10))
    forbidden = LuccaForbiddenError("403", status=403)
    for purchase_id in range(1, 5):
        take(run, (close(purchase_id), forbidden), (look(purchase_id), "Ongoing"))
    take(run, (close(5), forbidden))
    report = ended(run)
    assert [item["id"] for item in report["rejected"]] == [1, 2, 3, 4]
    assert [item["id"] for item in report["unresolved"]] == [5, 6, 7, 8, 9]
    assert "5 purchases in a row were refused with 403" in report["unresolved"][-1]["reason"]


def test_403s_do_not_stop_a_run_that_has_closed_something():
    run = new_run(*range(1, 10))
    take(run, (close(1), None))
    for purchase_id in range(2, 10):
        take(run, (close(purchase_id), LuccaForbiddenError("403", status=403)), (look(purchase_id), "Ongoing"))
    assert len(ended(run)["rejected"]) == 8


def test_other_answers_between_403s_break_the_row():
    run = new_run(*range(1, 10))
    for purchase_id in range(1, 10):
        answer = REFUSED if purchase_id == 4 else LuccaForbiddenError("403", status=403)
        step = run.next(T)
        if purchase_id == 9:
            break
        take(run, (look(step.purchase_id), "Ongoing")) if step.kind is Kind.LOOK else run.answered(step, answer, T)
        take(run, (look(purchase_id), "Ongoing"))
    assert run.stopped is None


def test_a_purchase_that_can_be_read_breaks_the_row_of_those_that_cannot():
    run = new_run(*range(1, 10), ledger=MemoryLedger(complete=False))
    forbidden = LuccaForbiddenError("403", status=403)
    answers: list[object] = [*[forbidden] * 4, "Closed", *[forbidden] * 4]
    take(run, *[(look(purchase_id), answer) for purchase_id, answer in enumerate(answers, 1)])
    assert run.stopped is None


def test_a_refusal_between_404s_breaks_the_row():
    run = new_run(*range(1, 10))
    take(run, (close(1), REFUSED), (look(1), "Ongoing"))
    missing = LuccaNotFoundError("404", status=404)
    for purchase_id in range(2, 6):
        take(run, (close(purchase_id), missing), (look(purchase_id), missing))
    assert run.next(T) == close(6)


def not_found(run: ClosingRun, count: int) -> None:
    for purchase_id in range(1, count + 1):
        take(run, (close(purchase_id), LuccaNotFoundError("404", status=404)))
        if purchase_id < count or count != 5:
            take(run, (look(purchase_id), LuccaNotFoundError("404", status=404)))


def test_five_404_in_a_row_stop_the_run_if_lucca_invoices_itself_is_not_there():
    run = new_run(*range(1, 10))
    not_found(run, 5)
    take(run, (Step(Kind.PROBE), LuccaNotFoundError("404", status=404)))
    assert "check the connection's host" in ended(run)["unresolved"][-1]["reason"]


@pytest.mark.parametrize("answer", [None, LuccaForbiddenError("403", status=403)])
def test_five_404_in_a_row_do_not_stop_the_run_if_only_the_ids_are_wrong(answer):
    run = new_run(*range(1, 13))
    not_found(run, 5)
    take(run, (Step(Kind.PROBE), answer), (look(5), LuccaNotFoundError("404", status=404)))
    for purchase_id in range(6, 13):
        take(
            run,
            (close(purchase_id), LuccaNotFoundError("404", status=404)),
            (look(purchase_id), LuccaNotFoundError("404", status=404)),
        )
    assert [item["status"] for item in ended(run)["rejected"]] == [404] * 12


def test_an_unanswered_probe_is_repeated_and_holds_back_the_rest():
    run = new_run(*range(1, 10))
    not_found(run, 5)
    assert run.next(T) == Step(Kind.PROBE)
    assert run.next(T) == Pause(None)
    run.answered(Step(Kind.PROBE), IN_DOUBT, T)
    take(run, (Step(Kind.PROBE), LuccaAccessError("a web page")))
    assert run.stopped == "a web page"


def test_a_dead_server_ends_the_run_after_ten_failures_in_a_row_with_growing_pauses():
    run = new_run(*range(1, 100))
    at, failures = T, 0
    while run.stopped is None:
        what = run.next(at)
        if isinstance(what, Pause):
            assert what.until is not None
            at = what.until
        else:
            assert isinstance(what, Step)
            run.answered(what, NOT_SENT, at)
            failures += 1
    assert failures == 10
    assert at - T == 0.5 + 1 + 2 + 4 + 4 * 8
    report = ended(run)
    assert len(report["unresolved"]) == 99
    assert "10 requests in a row got no clear answer" in report["unresolved"][-1]["reason"]


def test_a_clear_answer_in_between_shows_that_the_server_lives():
    run = new_run(*range(1, 13))
    for purchase_id in range(1, 10):
        run.next(T + purchase_id * 100)
        run.answered(close(purchase_id), IN_DOUBT, T + purchase_id * 100)
        run.next(T + purchase_id * 100 + 50)
        run.answered(look(purchase_id), "Closed", T + purchase_id * 100 + 50)
    assert run.stopped is None


def test_nothing_is_sent_whose_intent_cannot_be_written():
    run = new_run(7, 8, ledger=BrokenLedger("sent"))
    assert run.next(T) is None
    assert "the ledger could not be written (OSError)" in run.report()["unresolved"][0]["reason"]


def test_an_outcome_that_cannot_be_written_does_not_fail_the_run(caplog):
    run = new_run(7, ledger=BrokenLedger("closed"))
    take(run, (close(7), None))
    assert ended(run)["closed"] == [7]
    assert "could not be written to the ledger" in caplog.text


# -- going on from an earlier try ------------------------------------------------------------------------------------


def ledger_of(complete: bool = True, **entries: Any) -> MemoryLedger:
    ledger = MemoryLedger(complete=complete)
    for name, entry in entries.items():
        ledger.write(int(name[1:]), entry)
    return ledger


def test_nobody_takes_over_a_ledger_in_memory():
    assert not MemoryLedger().is_taken_over()


def test_purchases_with_an_outcome_are_not_asked_about_again():
    rejection = {"status": 409, "title": "t", "detail": "d"}
    entries: dict[str, Any] = {
        "p1": {"state": "closed", "at": 1.0},
        "p2": {"state": "already_closed", "at": 1.0},
        "p3": {"state": "rejected", "at": 1.0, **rejection},
    }
    ledger = ledger_of(**entries)
    run = new_run(3, 2, 1, ledger=ledger)
    assert ended(run) == {
        "closed": [1],
        "already_closed": [2],
        "rejected": [{"id": 3, **rejection}],
        "unresolved": [],
    }
    assert [ledger.read(purchase_id) for purchase_id in (1, 2, 3)] == list(entries.values())


def test_the_ledger_is_asked_once_for_each_purchase():
    class Counting(MemoryLedger):
        def read(self, purchase_id: int) -> Any:
            asked.append(purchase_id)
            return super().read(purchase_id)

    asked: list[int] = []
    run = new_run(1, 2, limit=1, ledger=Counting())
    take(run, (close(1), None))
    assert [run.next(T) for _ in range(3)] == [Pause(T + 60.0, T + 60.0)] * 3
    assert asked == [1, 2]


@pytest.mark.parametrize("in_doubt", [False, True])
def test_a_ledger_that_cannot_be_read_ends_the_run_with_that_reason(in_doubt):
    class Broken(MemoryLedger):
        def read(self, purchase_id: int) -> Any:
            if purchase_id == 2:
                raise OSError("the API server is away")
            return {"state": "sent", "at": T - 100.0} if in_doubt else None

    run = new_run(1, 2, 3, ledger=Broken())
    if not in_doubt:
        take(run, (close(1), None))
    report = ended(run)
    assert report["closed"] == ([] if in_doubt else [1])
    reason = "the ledger could not be read (OSError), so nothing more was sent"
    assert [item["reason"].split(": ")[-1] for item in report["unresolved"]] == [reason] * (3 if in_doubt else 2)


def test_an_intent_that_does_not_say_when_is_looked_at_at_once():
    run = new_run(2, ledger=ledger_of(p2={"state": "sent"}))
    assert run.next(T) == look(2)


def test_a_refused_purchase_that_was_closed_meanwhile_was_not_closed_by_us():
    run = new_run(1, ledger=ledger_of(p1={"state": "rejected", "at": 1.0}), retry_rejected=True)
    take(run, (look(1), "Closed"))
    assert ended(run)["already_closed"] == [1]


def test_a_purchase_in_doubt_is_looked_at_first_not_sooner_than_five_seconds_after_it_was_sent():
    run = new_run(1, 2, ledger=ledger_of(p2={"state": "sent", "at": T - 2.0}))
    take(run, (close(1), None))
    assert run.next(T) == Pause(T + 3.0, T + 3.0)
    take(run, (look(2), "Closed"), at=T + 3.0)
    assert ended(run)["closed"] == [1, 2]


def test_an_intent_from_a_clock_that_is_ahead_is_not_waited_for_longer_than_needed():
    run = new_run(2, ledger=ledger_of(p2={"state": "sent", "at": T + 1000.0}))
    assert run.next(T) == Pause(T + 5.0, T + 5.0)


def test_a_refused_purchase_is_tried_again_when_a_person_cleared_the_task():
    run = new_run(1, ledger=ledger_of(p1={"state": "rejected", "at": 1.0}), retry_rejected=True)
    take(run, (look(1), "Ongoing"), (close(1), None))
    assert ended(run)["closed"] == [1]


def test_what_an_earlier_try_sent_within_the_window_counts():
    run = new_run(1, 2, limit=1, ledger=ledger_of(p1={"state": "closed", "at": T - 20.0}))
    assert run.next(T) == Pause(T + 40.0, T + 40.0)


def test_without_a_ledger_a_retry_looks_before_it_posts_and_lets_the_old_try_settle():
    run = new_run(1, 2, 3, ledger=MemoryLedger(complete=False))
    assert run.next(T) == Pause(T + 5.0, T + 5.0)
    take(
        run,
        (look(1), "Closed"),
        (look(2), "Ongoing"),
        (close(2), None),
        (look(3), None),
        at=T + 5.0,
    )
    report = ended(run)
    assert report["already_closed"] == [1]
    assert report["closed"] == [2]
    assert "no state" in report["unresolved"][0]["reason"]


def test_a_purchase_that_a_retry_cannot_find_is_rejected_without_a_post():
    run = new_run(1, 2, ledger=MemoryLedger(complete=False))
    take(
        run,
        (look(1), LuccaNotFoundError("404", status=404, title="Not found", detail="No purchase 1")),
        (look(2), LuccaForbiddenError("403", status=403)),
    )
    report = ended(run)
    assert report["rejected"] == [{"id": 1, "status": 404, "title": "Not found", "detail": "No purchase 1"}]
    assert [item["id"] for item in report["unresolved"]] == [2]


def listing(*pages: object, asked: int = 12, at: float = T + 5.0) -> tuple[ClosingRun, float]:
    run = new_run(*range(1, asked + 1), ledger=MemoryLedger(complete=False))
    run.next(T)
    cursor: str | None = None
    for page in pages:
        at = take(run, (Step(Kind.LIST, cursor=cursor), page), at=at)
        if isinstance(page, Page):
            cursor = page.cursor or cursor
    return run, at


def test_many_purchases_are_looked_at_through_the_list():
    first = dict.fromkeys(range(1, 5), "Closed") | {99: "Ongoing"}
    second = {5: "Ongoing", 6: None, **dict.fromkeys(range(7, 13), "Closed")}
    run, at = listing(Page(first, "2"), Page(second, None))
    take(run, (close(5), None), (look(6), "Closed"), at=at)
    report = ended(run)
    assert report["closed"] == [5]
    assert report["already_closed"] == [1, 2, 3, 4, *range(6, 13)]


@pytest.mark.parametrize(("asked", "step"), [(9, look(1)), (10, Step(Kind.LIST))])
def test_the_list_is_tried_from_ten_purchases_on(asked, step):
    run, at = listing(asked=asked)
    assert run.next(at) == step


@pytest.mark.parametrize(
    "page",
    [
        Page({}, "2"),
        Page({1: "Closed"}, None),
        LuccaForbiddenError("403", status=403),
        LuccaRefusedError("400", status=400),
    ],
)
def test_a_list_that_is_of_no_use_is_given_up_for_single_looks(page):
    run, at = listing(page)
    what = run.next(at)
    assert isinstance(what, Step)
    assert what.kind is Kind.LOOK


def test_a_page_token_that_repeats_ends_the_list():
    run, at = listing(Page({50: "Closed"}, "2"), Page({51: "Closed"}, "2"))
    assert run.next(at) == look(1)


def test_the_list_is_read_only_while_it_costs_less_than_single_looks():
    pages = [Page({1000 + number: "Closed"}, str(number)) for number in range(12)]
    run, at = listing(*pages)
    assert run.next(at) == look(1)


def test_a_list_that_does_not_answer_is_tried_a_few_times():
    run, at = listing(IN_DOUBT, LuccaThrottledError("429", retry_after=0.0), NOT_SENT, IN_DOUBT, IN_DOUBT)
    what = run.next(at + 100)
    assert what == look(1)


def test_a_page_starts_the_count_of_failures_of_the_list_again():
    run, at = listing(*[IN_DOUBT] * 3, Page({1: "Closed"}, "2"), *[IN_DOUBT] * 3)
    assert run.next(at + 100) == Step(Kind.LIST, cursor="2")


def test_the_list_holds_back_the_rest_while_it_is_read():
    run = new_run(*range(1, 13), ledger=MemoryLedger(complete=False))
    run.next(T)
    assert run.next(T + 5) == Step(Kind.LIST)
    assert run.next(T + 5) == Pause(None)


def test_a_wrong_host_is_found_out_by_a_retry_that_only_looks_too():
    not_found = LuccaNotFoundError("404", status=404)
    ledger = MemoryLedger(complete=False)
    run = new_run(*range(1, 10), ledger=ledger)
    take(run, *[(look(purchase_id), not_found) for purchase_id in range(1, 6)], (Step(Kind.PROBE), not_found))
    report = ended(run)
    assert [item["id"] for item in report["unresolved"]] == list(range(1, 10))
    assert "check the connection's host" in report["unresolved"][0]["reason"]
    assert {outcome.state for outcome in run.outcomes.values()} == {"unresolved"}
    assert [ledger.read(purchase_id) for purchase_id in range(1, 10)] == [None] * 9


def test_a_wrong_host_is_found_out_by_a_list_that_is_not_there():
    not_found = LuccaNotFoundError("404", status=404)
    run, _ = listing(not_found, asked=12)
    take(run, (Step(Kind.PROBE), not_found), at=T + 5)
    assert len(ended(run)["unresolved"]) == 12


def test_a_key_that_may_not_look_stops_a_retry_early():
    forbidden = LuccaForbiddenError("403", status=403)
    run = new_run(*range(1, 10), ledger=MemoryLedger(complete=False))
    take(run, *[(look(purchase_id), forbidden) for purchase_id in range(1, 6)])
    assert "5 purchases in a row were refused with 403" in ended(run)["unresolved"][-1]["reason"]


def test_a_404_is_kept_as_luccas_refusal_once_the_host_is_known_to_be_right():
    not_found = LuccaNotFoundError("404", status=404)
    ledger = MemoryLedger()
    run = new_run(1, 2, 3, ledger=ledger)
    take(run, (close(1), not_found), (look(1), not_found))
    assert ledger.read(1)["state"] == "sent"
    take(run, (close(2), None))
    assert ledger.read(1)["state"] == "rejected"
    take(run, (close(3), not_found), (look(3), not_found))
    assert ledger.read(3)["state"] == "rejected"


def test_a_404_is_kept_at_the_end_if_nothing_else_was_asked():
    not_found = LuccaNotFoundError("404", status=404)
    ledger = MemoryLedger()
    run = new_run(1, ledger=ledger)
    take(run, (close(1), not_found), (look(1), not_found))
    assert [item["id"] for item in ended(run)["rejected"]] == [1]
    assert ledger.read(1)["state"] == "rejected"


@pytest.mark.parametrize("state", [{"code": "Closed"}, ["Closed"], 5, True])
def test_a_state_that_is_no_text_is_unknown_and_stops_no_other(state):
    run = new_run(1, 2, ledger=MemoryLedger(complete=False))
    take(run, (look(1), state), (look(2), "Closed"), at=T + 5)
    report = ended(run)
    assert [item["id"] for item in report["unresolved"]] == [1]
    assert report["already_closed"] == [2]


# -- leaving the worker ----------------------------------------------------------------------------------------------


def test_progress_survives_json_and_the_next_process_repeats_nothing():
    import json

    ledger = MemoryLedger()
    run = new_run(1, 2, 3, 4, 5, 6, 7, limit=8, ledger=ledger)
    take(
        run,
        (close(1), None),
        (close(2), REFUSED),
        (look(2), "Closed"),
        (close(3), REFUSED),
        (look(3), "Ongoing"),
        (close(4), IN_DOUBT),
        (close(5), IN_DOUBT),
    )
    take(run, (look(4), None), at=T + 5)
    assert run.next(T + 5) == Pause(T + 60.0, T + 60.0)
    carried = json.loads(json.dumps(run.carry()))
    later = new_run(1, 2, 3, 4, 5, 6, 7, limit=8, ledger=ledger, progress=carried)
    assert later.next(T + 59) == Pause(T + 60.0, T + 60.0)
    take(later, (look(5), "Closed"), (close(6), None), (close(7), None), at=T + 60)
    report = ended(later, T + 60)
    assert report["closed"] == [1, 5, 6, 7]
    assert report["already_closed"] == [2]
    assert [item["id"] for item in report["rejected"]] == [3]
    assert report["unresolved"] == [{"id": 4, "reason": "Lucca tells no state, so it cannot be taken for open"}]


def test_progress_tells_its_version():
    assert new_run(7).carry()["version"] == PROGRESS_VERSION


def test_a_host_that_is_known_to_be_right_stays_so_across_a_wait():
    not_found = LuccaNotFoundError("404", status=404)
    run = new_run(1, 2)
    take(run, (close(1), None))
    ledger = MemoryLedger()
    later = new_run(1, 2, 3, ledger=ledger, progress=run.carry())
    take(later, (close(2), not_found), (look(2), not_found))
    assert ledger.read(2)["state"] == "rejected"


def test_a_probe_is_not_repeated_after_a_wait():
    missing = LuccaNotFoundError("404", status=404)
    run = new_run(*range(1, 13))
    not_found(run, 5)
    take(run, (Step(Kind.PROBE), None), (look(5), missing))
    ledger = MemoryLedger()
    later = new_run(*range(1, 13), ledger=ledger, progress=run.carry())
    for purchase_id in range(6, 12):
        take(later, (close(purchase_id), missing), (look(purchase_id), missing))
        assert ledger.read(purchase_id)["state"] == "rejected"
    assert later.next(T) == close(12)


def test_after_a_wait_for_a_429_one_request_finds_out_before_the_others_follow():
    run = new_run(7, 8)
    take(run, (close(7), LuccaThrottledError("429", retry_after=100.0)))
    later = new_run(7, 8, progress=run.carry())
    assert later.next(T + 1) == Pause(T + 100, T + 100)
    assert later.next(T + 100) == close(7)
    assert later.next(T + 100) == Pause(None)


def test_429s_and_failures_are_counted_across_a_wait():
    run, at = new_run(7), T
    while run.stopped is None:
        at = take(run, (close(7), LuccaThrottledError("429", retry_after=100.0)), at=at)
        run = run if run.stopped else new_run(7, progress=run.carry())
    assert at - T == 600.0
    run, at, failures = new_run(*range(1, 20)), T, 0
    while run.stopped is None:
        what = run.next(at)
        if isinstance(what, Step):
            run.answered(what, NOT_SENT, at)
            failures += 1
            run = run if run.stopped else new_run(*range(1, 20), progress=run.carry())
        else:
            assert isinstance(what, Pause)
            assert what.until is not None
            at = what.until
    assert failures == 10


def test_what_is_in_doubt_is_carried_also_where_there_is_no_ledger():
    run = new_run(1, 2)
    take(run, (close(1), IN_DOUBT))
    later = new_run(1, 2, ledger=MemoryLedger(), progress=run.carry())
    take(later, (close(2), None), (look(1), "Closed"))
    assert ended(later, T + 5)["closed"] == [1, 2]


def test_what_nobody_asks_for_any_more_is_not_closed():
    run = new_run(1, 2)
    take(run, (close(1), LuccaThrottledError("429", retry_after=100.0)))
    later = new_run(2, progress=run.carry())
    take(later, (close(2), None), at=T + 100)
    assert ended(later, T + 100) == {"closed": [2], "already_closed": [], "rejected": [], "unresolved": []}


def test_a_worker_whose_clock_is_behind_does_not_wait_for_the_other_ones():
    run = new_run(1, 2, limit=1)
    take(run, (close(1), None))
    later = new_run(1, 2, limit=1, progress=run.carry())
    assert later.next(T - 3600) == Pause(T - 3600 + 60.0, T - 3600 + 60.0)
    run = new_run(1, 2)
    take(run, (close(1), IN_DOUBT), (close(2), LuccaThrottledError("429", retry_after=100.0)))
    later = new_run(1, 2, progress=run.carry())
    pause = later.next(T - 3600)
    assert isinstance(pause, Pause)
    assert pause.until == T - 3600 + 600.0


def test_five_in_a_row_are_counted_across_a_wait():
    run = new_run(*range(1, 10))
    for purchase_id in range(1, 5):
        take(run, (close(purchase_id), LuccaForbiddenError("403", status=403)), (look(purchase_id), "Ongoing"))
    later = new_run(*range(1, 10), progress=run.carry())
    take(later, (close(5), LuccaForbiddenError("403", status=403)))
    assert later.stopped is not None


def test_what_the_list_told_survives_too():
    run, at = listing(Page(dict.fromkeys(range(1, 12), "Ongoing"), None))
    later = new_run(*range(1, 13), ledger=MemoryLedger(complete=False), progress=run.carry())
    take(later, (close(1), None), (close(2), None), at=at)
    assert [purchase_id for purchase_id, _ in later.carry()["listed"]] == list(range(3, 12))


# -- telling -----------------------------------------------------------------------------------------------------------


def test_each_purchase_gets_one_line_and_one_call(caplog):
    told: list[tuple[int, Outcome]] = []
    run = new_run(1, 2, on_outcome=lambda *call: told.append(call))
    with caplog.at_level(logging.INFO):
        take(run, (close(1), None), (close(2), REFUSED), (look(2), "Ongoing"))
    assert [(purchase_id, outcome.state) for purchase_id, outcome in told] == [(1, "closed"), (2, "rejected")]
    assert [record.getMessage() for record in caplog.records] == [
        "Purchase 1: closed",
        "Purchase 2: rejected by Lucca (409 Open invoices: 669 [date: too late])",
    ]


def test_long_batches_tell_how_far_they_are_and_how_long_the_rest_takes(caplog):
    run = new_run(*range(1, 91), limit=45)
    with caplog.at_level(logging.INFO):
        for purchase_id in range(1, 46):
            take(run, (close(purchase_id), None))
        take(run, (close(46), None), at=T + 60)
    assert "45 of 90 purchases done (45 closed); at 45 requests per 60 s the rest takes about 1 min." in caplog.text


@pytest.mark.parametrize(("length", "shown"), [(9999, "t" * 500 + "…"), (501, "t" * 500 + "…"), (500, "t" * 500)])
def test_luccas_words_are_cut_short(length, shown):
    run = new_run(1)
    take(run, (close(1), LuccaRefusedError("x", status=400, title="t" * length)), (look(1), "Ongoing"))
    assert ended(run)["rejected"][0]["title"] == shown
