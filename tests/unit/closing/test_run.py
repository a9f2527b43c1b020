"""What a run asks next, what it writes before, when it ends, and what the next stay or try makes of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucca_provider.closing import Attempt, ClosingRun, Journal, Kind, Pause, ReplacedError, Step
from lucca_provider.exceptions import (
    LuccaAccessError,
    LuccaForbiddenError,
    LuccaInDoubtError,
    LuccaNotFoundError,
    LuccaNotSentError,
    LuccaRefusedError,
    LuccaThrottledError,
    LuccaUnclearError,
)
from lucca_provider.limits import Window
from lucca_provider.outcomes import Decision, Outcome
from tests.unit.closing.store import MemoryStore

T = 1_000_000.0
REFUSED = LuccaRefusedError("409", status=409, title="Open invoices", detail="669", errors={"date": ["too late"]})
REFUSAL = {"status": 409, "title": "Open invoices", "detail": "669 [date: too late]"}
FORBIDDEN = LuccaForbiddenError("403", status=403)
NOT_FOUND = LuccaNotFoundError("404", status=404)
WEB_PAGE = LuccaRefusedError("404", status=404, web_page=True)
IN_DOUBT = LuccaInDoubtError("connection reset")
NOT_SENT = LuccaNotSentError("connection refused")
LIST = Step(Kind.LIST)
PROBE = Step(Kind.PROBE)


def close(purchase_id: int) -> Step:
    return Step(Kind.CLOSE, purchase_id)


def read(purchase_id: int) -> Step:
    return Step(Kind.READ, purchase_id)


def throttled(retry_after: float | None = None) -> LuccaThrottledError:
    return LuccaThrottledError("429", status=429, retry_after=retry_after)


def page(*purchase_ids: int, closed: tuple[int, ...] = (), **fields: Any) -> dict[str, Any]:
    found = [{"id": each, "state": "Closed" if each in closed else "Ongoing"} for each in purchase_ids]
    return {"items": found, "count": len(found), **fields}


def new_run(*purchase_ids: int, journal: Journal | None = None, limit: int = 45, **kwargs: Any) -> ClosingRun:
    return ClosingRun(purchase_ids, journal=journal or MemoryStore().open(), window=Window(limit), **kwargs)


def listed_run(count: int, *, limit: int = 1000, **kwargs: Any) -> ClosingRun:
    """Return a run over so many purchases, which the list has shown to be open."""
    run = new_run(*range(1, count + 1), limit=limit, **kwargs)
    take(run, (LIST, page(*range(1, count + 1))))
    return run


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


def pause(run: ClosingRun, at: float) -> float | None:
    """Expect a pause; return until when."""
    what = run.next(at)
    assert isinstance(what, Pause)
    return what.until


def finish(run: ClosingRun, answer: Callable[[Step], object], at: float = T) -> float:
    """Let a run go on to its end; return the time then."""
    for _ in range(10_000):
        what = run.next(at)
        if isinstance(what, Step):
            run.answered(what, answer(what), at)
        elif isinstance(what, Pause):
            assert what.until is not None
            at = what.until
        else:
            return at
    raise AssertionError("no end")


def ended(run: ClosingRun, at: float = T) -> dict[str, Any]:
    assert run.next(at) is None
    return dict(run.end())


def ids(entries: list[dict[str, Any]]) -> list[int]:
    return [entry["id"] for entry in entries]


def reasons(report: dict[str, Any]) -> list[str]:
    return [entry["reason"] for entry in report["unresolved"]]


# -- one purchase ------------------------------------------------------------------------------------------------------


def test_nothing_is_closed_before_it_was_read_and_its_intent_was_written():
    store = MemoryStore()
    run = new_run(7, journal=store.open())
    take(run, (read(7), "Ongoing"))
    assert store.records == []
    assert run.next(T) == close(7)
    assert store.records == [["s", 7]]
    run.answered(close(7), None, T + 1)
    assert ended(run) == {"closed": [7], "already_closed": [], "rejected": [], "unresolved": []}
    assert store.records == [["s", 7], ["c", 7]]


def test_what_is_closed_already_is_not_posted():
    run = new_run(7)
    take(run, (read(7), "Closed"))
    assert ended(run)["already_closed"] == [7]


def test_a_clear_no_is_rejected_with_luccas_words_once_the_purchase_is_seen_open():
    store = MemoryStore()
    run = new_run(7, journal=store.open())
    take(run, (read(7), "Ongoing"), (close(7), REFUSED), (read(7), "Ongoing"))
    assert ended(run)["rejected"] == [{"id": 7, **REFUSAL}]
    assert store.open(2).decisions == {7: Decision(Outcome.REJECTED, **REFUSAL)}


def test_a_clear_no_for_a_purchase_that_somebody_closed_in_between_is_already_closed():
    run = new_run(7)
    assert take(run, (read(7), "Ongoing"), (close(7), REFUSED), (read(7), "Closed")) == T
    assert ended(run)["already_closed"] == [7]


def test_in_doubt_is_read_after_five_seconds_and_not_posted_again_if_it_happened():
    run = new_run(7)
    take(run, (read(7), "Ongoing"), (close(7), IN_DOUBT))
    assert pause(run, T) == T + 5.0
    take(run, (read(7), "Closed"), at=T + 5.0)
    assert ended(run)["closed"] == [7]


def test_in_doubt_is_posted_again_only_after_it_was_seen_open():
    run = new_run(7)
    take(run, (read(7), "Ongoing"), (close(7), IN_DOUBT), (read(7), "Ongoing"), (close(7), None))
    assert ended(run)["closed"] == [7]


def test_three_closings_in_doubt_without_effect_are_enough():
    run = new_run(7)
    take(run, (read(7), "Ongoing"), *[(close(7), IN_DOUBT), (read(7), "Ongoing")] * 3)
    assert reasons(ended(run)) == ["still open: 3 closings got no clear answer"]


def test_a_closing_without_effect_is_not_taken_for_what_somebody_else_did_later():
    run = new_run(7)
    take(
        run, (read(7), "Ongoing"), (close(7), IN_DOUBT), (read(7), "Ongoing"), (close(7), REFUSED), (read(7), "Closed")
    )
    assert ended(run)["already_closed"] == [7]


def test_nor_does_the_next_try_take_it_for_its_own():
    store = MemoryStore()
    run = new_run(7, journal=store.open())
    take(run, (read(7), "Ongoing"), (close(7), IN_DOUBT), (read(7), "Ongoing"))
    ended_early(run)
    again = new_run(7, journal=store.open(2))
    take(again, (read(7), "Closed"), at=T + 60)
    assert ended(again, T + 60)["already_closed"] == [7]


@pytest.mark.parametrize("exchanges", [[(close(7), LuccaAccessError("401"))], [(close(7), IN_DOUBT), (read(7), None)]])
def test_what_is_unresolved_is_told_and_leaves_the_intent_in_the_journal_for_the_next_try(exchanges):
    told: list[tuple[int, Outcome]] = []
    store = MemoryStore()
    run = new_run(7, journal=store.open(), on_outcome=lambda *call: told.append(call))
    take(run, (read(7), "Ongoing"), *exchanges)
    assert ids(ended(run, T + 9)["unresolved"]) == [7]
    assert told == [(7, Outcome.UNRESOLVED)]
    assert store.open(2).sent == {7}


def test_purchases_are_read_again_in_the_order_of_their_answers():
    run = new_run(9, 8)
    take(run, (read(9), "Ongoing"), (read(8), "Ongoing"))
    assert [run.next(T), run.next(T)] == [close(9), close(8)]
    run.answered(close(8), REFUSED, T)
    run.answered(close(9), REFUSED, T)
    take(run, (read(8), "Ongoing"), (read(9), "Ongoing"))


def test_a_reading_is_repeated_with_growing_gaps_and_a_bound():
    run = new_run(7)
    at = take(run, (read(7), IN_DOUBT), (read(7), NOT_SENT), (read(7), IN_DOUBT))
    assert at == T + 2 + 4
    assert take(run, (read(7), IN_DOUBT), at=at) == T + 2 + 4 + 8
    assert "could not be read" in reasons(ended(run))[0]


def test_a_clear_answer_in_between_starts_the_count_of_readings_again():
    run = new_run(7)
    unclear = [(read(7), IN_DOUBT)] * 3
    at = take(run, *unclear, (read(7), "Ongoing"))
    at = take(run, (close(7), IN_DOUBT), *unclear, (read(7), "Closed"), at=at)
    assert ended(run, at)["closed"] == [7]


def test_what_was_certainly_not_sent_is_sent_again_on_the_same_reading_and_intent():
    store = MemoryStore()
    run = new_run(7, journal=store.open())
    take(run, (read(7), "Ongoing"), (close(7), NOT_SENT), (close(7), None))
    assert ended(run)["closed"] == [7]


def test_an_unsent_request_takes_no_room_in_the_window():
    run = new_run(7, limit=2)
    assert take(run, (read(7), "Ongoing"), (close(7), NOT_SENT), (close(7), None)) == T


def test_an_answer_that_comes_twice_counts_once():
    outcomes: list[int] = []
    run = new_run(7, on_outcome=lambda purchase_id, outcome: outcomes.append(purchase_id))
    take(run, (read(7), "Ongoing"), (close(7), None))
    run.answered(close(7), IN_DOUBT, T)
    assert outcomes == [7]
    assert ended(run)["closed"] == [7]


def test_a_reading_that_became_too_old_is_made_anew():
    run = new_run(7, limit=1)
    take(run, (read(7), "Ongoing"))
    assert run.next(T + 601) == read(7)


def test_many_readings_that_became_too_old_are_made_anew_through_the_list():
    run = listed_run(9)
    take(run, (close(1), None))
    take(run, (LIST, page(*range(1, 10), closed=(1, 2))), (close(3), None), at=T + 601)
    report = ended_early(run)
    assert (report["closed"], report["already_closed"]) == ([1, 3], [2])


def test_when_readings_become_too_old_what_is_open_is_closed_before_more_is_read():
    run = new_run(*range(1, 10))
    take(run, (LIST, page()), *((read(each), "Ongoing") for each in range(1, 9)))
    assert run.next(T + 601) == LIST
    run.answered(LIST, page(), T + 601)
    take(run, (read(9), "Ongoing"), (close(9), None), (read(1), "Ongoing"), (close(1), None), at=T + 601)


def test_a_run_in_which_no_closing_can_be_in_time_stops():
    run = new_run(7)
    take(run, (read(7), "Ongoing"))
    for late in (601, 1202):
        take(run, (read(7), "Ongoing"), at=T + late)
    report = ended(run, T + 1803)
    assert ids(report["unresolved"]) == [7]
    assert "ten minutes" in reasons(report)[0]


@given(
    seconds=st.integers(0, 900),
    count=st.integers(1, 30),
    is_listed=st.booleans(),
    throttles=st.integers(0, 8),
    others=st.integers(0, 4),
)
def test_however_slow_a_tenant_is_a_run_ends_and_names_each_purchase(
    seconds: int, count: int, is_listed: bool, throttles: int, others: int
) -> None:
    """Each request is answered only after so many 429, a minute each, and so many seconds."""
    states = dict.fromkeys(range(1, count + 1), "Ongoing")
    run, now, requests = new_run(*states), T, 0
    while (what := run.next(now)) is not None:
        if isinstance(what, Pause):
            assert what.until is not None
            now = what.until
            continue
        requests += 1
        assert requests <= (throttles + 1) * (4 * count + 40), f"no end after {(now - T) / 3600:.1f} hours"
        if requests % (throttles + 1):
            run.answered(what, throttled(60.0), now)
            continue
        now += seconds
        answer: Any = None
        if what.kind is Kind.LIST:
            # Each page has a few of ours, and there is always another one.
            shown = list(states)[: others + 1] if others else list(states)
            answer = page(*shown, closed=tuple(each for each in shown if states[each] == "Closed")) if is_listed else {}
        elif what.kind is Kind.READ:
            answer = states[what.purchase_id]
        elif what.kind is Kind.CLOSE:
            states[what.purchase_id] = "Closed"
        run.answered(what, answer, now)
    report = run.end()
    closed = [each for each, state in states.items() if state == "Closed"]
    assert report["closed"] == closed
    assert ids(report["unresolved"]) == [each for each in states if each not in closed]
    if seconds + 60 * throttles <= 250:
        assert not report["unresolved"]


def ended_early(run: ClosingRun) -> dict[str, Any]:
    run.stop("enough")
    return ended(run)


# -- intents in groups -------------------------------------------------------------------------------------------------


def test_one_write_holds_the_intents_of_the_next_eight_and_all_outcomes_since_the_last():
    store = MemoryStore()
    run = listed_run(20, journal=store.open())
    for purchase_id in range(1, 9):
        take(run, (close(purchase_id), None))
        assert store.sets == 1
    assert store.records == [["s", *range(1, 9)]]
    assert run.next(T) == close(9)
    assert store.records[1:] == [["c", *range(1, 9)], ["s", *range(9, 17)]]


def test_at_the_end_intents_that_were_not_used_are_taken_back():
    store = MemoryStore()
    run = listed_run(5, journal=store.open())
    take(run, (close(1), None), (close(2), IN_DOUBT), (close(3), throttled(7.0)))
    run.stop("killed")
    ended(run)
    later = store.open(2)
    assert (set(later.decisions), later.sent) == ({1}, {2})


def test_an_intent_of_a_closing_that_is_still_on_its_way_is_not_taken_back():
    store = MemoryStore()
    run = listed_run(3, journal=store.open())
    assert run.next(T) == close(1)
    run.end()
    assert store.open(2).sent == {1}


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError("away"), "the journal could not be written (OSError)"),
        (ReplacedError("404"), "another try of this task has taken over (404)"),
    ],
)
def test_nothing_is_sent_whose_intent_cannot_be_written(error, why):
    store = MemoryStore()
    run = listed_run(5, journal=store.open())
    store.broken = error
    assert run.next(T) is None
    report = ended(run)
    assert set(reasons(report)) == {f"not reached: {why}"}
    assert run.is_kept is False


def test_what_is_on_its_way_when_a_write_fails_is_waited_for_and_written_at_the_end():
    store = MemoryStore()
    run = listed_run(9, journal=store.open())
    steps = [run.next(T) for _ in range(8)]
    assert steps[-1] == close(8)
    store.broken = OSError("away")
    assert run.next(T) == Pause(None)
    for purchase_id in range(1, 9):
        run.answered(close(purchase_id), None, T)
    store.broken = None
    report = ended(run)
    assert (report["closed"], ids(report["unresolved"])) == (list(range(1, 9)), [9])
    assert run.is_kept is True
    assert set(store.open(2).decisions) == set(range(1, 9))


def test_a_stop_that_comes_during_the_write_of_intents_is_heeded():
    class Killing(MemoryStore):
        def set(self, key: str, value: Any) -> None:
            super().set(key, value)
            run.stop("killed")

    store = Killing()
    run = listed_run(5, journal=store.open())
    assert run.next(T) is None
    ended(run)
    assert store.open(2).sent == set()


# -- the limit ---------------------------------------------------------------------------------------------------------


def test_every_request_counts_against_the_limit_also_readings_and_pages():
    run = new_run(7, 8, 9, 10, limit=3)
    take(run, (LIST, page(7, closed=(8, 9))), (read(8), "Closed"), (read(9), "Closed"))
    assert pause(run, T) == T + 60.0


def test_nothing_goes_out_while_the_window_is_full_of_requests_on_their_way():
    run = new_run(7, 8, limit=1)
    assert run.next(T) == read(7)
    assert run.next(T) == Pause(None)


def test_a_429_pauses_everything_as_long_as_asked_and_costs_nothing():
    run = new_run(7, 8)
    take(run, (read(7), "Ongoing"), (read(8), "Ongoing"), (close(7), throttled(30.0)))
    assert pause(run, T + 29.9) == T + 30.0
    take(run, (close(7), None), (close(8), None), at=T + 30.0)
    assert ended(run)["closed"] == [7, 8]


def test_after_a_429_one_request_finds_out_before_the_others_follow():
    run = listed_run(5)
    take(run, (close(1), throttled(1.0)))
    assert run.next(T + 1.0) == close(1)
    assert run.next(T + 1.0) == Pause(None)
    run.answered(close(1), None, T + 1.1)
    assert run.next(T + 1.1) == close(2)


def test_a_429_for_a_reading_or_a_page_repeats_it():
    run = new_run(7)
    take(run, (read(7), throttled(0.0)), (read(7), "Closed"))
    assert ended(run)["already_closed"] == [7]
    run = new_run(7, 8, 9)
    take(run, (LIST, throttled(0.0)), (LIST, page(7, 8, 9, closed=(7, 8, 9))))
    assert ended(run, T + 1)["already_closed"] == [7, 8, 9]


def test_a_wait_beyond_ten_minutes_is_left_to_the_tasks_retry():
    run = new_run(7)
    take(run, (read(7), throttled(601.0)))
    assert run.stopped is not None
    assert run.stopped.retry_after == 601.0
    assert "asks to wait 601 s" in reasons(ended(run))[0]


def test_a_tenant_whose_limit_others_always_use_up_ends_the_run():
    run = new_run(7)
    at = take(run, (read(7), "Ongoing"))
    while run.stopped is None:
        at = take(run, (close(7), throttled(100.0)), at=at)
    assert at - T == 600
    assert "429 during 600 s" in reasons(ended(run, at))[0]


def test_closings_that_get_429_while_readings_are_answered_end_the_run():
    run = listed_run(3, limit=1000)
    at = T
    while run.stopped is None:
        what = run.next(at)
        if isinstance(what, Pause):
            assert what.until is not None
            at = what.until
        elif what is not None:
            answer = throttled(100.0) if what.kind is Kind.CLOSE else "Ongoing"
            run.answered(what, page(1, 2, 3) if what.kind is Kind.LIST else answer, at)
    assert at - T < 3600


def test_the_worker_may_be_left_for_the_limit_and_for_what_lucca_asks_but_not_for_what_settles():
    run = new_run(7, limit=1)
    take(run, (read(7), "Ongoing"))
    assert run.next(T) == Pause(T + 60.0, T + 60.0)
    run = new_run(7)
    take(run, (read(7), throttled(30.0)))
    assert run.next(T) == Pause(T + 30.0, T + 30.0)
    run = new_run(7)
    take(run, (read(7), "Ongoing"), (close(7), IN_DOUBT))
    what = run.next(T)
    assert isinstance(what, Pause)
    assert (what.until, what.burst <= T) == (T + 5.0, True)


def test_who_leaves_the_worker_comes_back_for_what_is_left_not_for_more():
    run = new_run(*range(1, 6), limit=5)
    take(run, (LIST, page(*range(1, 6))))
    for purchase_id in range(1, 5):
        take(run, (close(purchase_id), None), at=T + 5 * purchase_id)
    assert pause(run, T + 20) == T + 60.0


def test_a_burst_of_429s_is_one_throttling_however_many_were_in_flight():
    run = listed_run(32)
    steps = [run.next(T) for _ in range(32)]
    for step in steps:
        assert isinstance(step, Step)
        run.answered(step, throttled(1.0), T + 0.1)
    assert run.stopped is None
    assert pause(run, T + 0.1) == T + 1.1


def test_a_burst_of_dropped_connections_is_one_failure_however_many_were_in_flight():
    run = listed_run(32)
    steps = [run.next(T) for _ in range(32)]
    for step in steps:
        assert isinstance(step, Step)
        run.answered(step, IN_DOUBT, T + 0.1)
    assert run.stopped is None


def test_a_503_with_retry_after_pauses_everything():
    run = listed_run(5)
    take(run, (close(1), LuccaInDoubtError("503", status=503, retry_after=20.0)))
    assert pause(run, T) == T + 20.0


def test_a_single_failure_after_a_clear_answer_pauses_nothing():
    assert take(listed_run(5), (close(1), None), (close(2), IN_DOUBT), (close(3), None)) == T


def test_whole_answers_that_are_no_clear_yes_slow_nothing_down():
    unclear = LuccaUnclearError("200 text")
    assert take(listed_run(45), *[(close(purchase_id), unclear) for purchase_id in range(1, 46)]) == T


# -- ending early ------------------------------------------------------------------------------------------------------


def test_a_wrong_key_stops_at_once_and_what_was_not_reached_is_named():
    run = new_run(7, 8, 9)
    take(run, (LIST, LuccaAccessError("401: the API key is wrong")))
    report = ended(run)
    assert ids(report["unresolved"]) == [7, 8, 9]
    assert set(reasons(report)) == {"not reached: 401: the API key is wrong"}


def never_answered(error: LuccaNotSentError, *purchase_ids: int) -> ClosingRun:
    run, at = new_run(*purchase_ids), T
    for purchase_id in purchase_ids:
        at = take(run, (read(purchase_id), error), at=at)
    for _ in range(3 * len(purchase_ids)):
        what = run.next(at)
        if isinstance(what, Pause):
            at = what.until or at
            what = run.next(at)
        assert isinstance(what, Step)
        run.answered(what, error, at)
    return run


@pytest.mark.parametrize("outage", [True, False])
def test_an_outage_is_one_too_where_the_run_is_over_before_it_stops(outage):
    run = never_answered(LuccaNotSentError("no connection", outage=outage), 7, 8)
    assert ids(ended(run)["unresolved"]) == [7, 8]
    assert run.stopped is None
    assert run.outage is outage
    assert run.journal.in_doubt(run.decisions.unresolved()) == set()


def test_what_is_unresolved_for_another_reason_too_is_no_outage():
    run = new_run(7, 8)
    at = take(run, (read(7), "Archived"))
    for _ in range(4):
        at = take(run, (read(8), LuccaInDoubtError("503", outage=True)), at=at)
    assert ids(ended(run)["unresolved"]) == [7, 8]
    assert run.outage is False


def test_once_something_has_answered_a_host_that_is_not_found_is_an_outage():
    run = new_run(7, 8)
    at = take(run, (read(7), "Closed"))
    for _ in range(4):
        at = take(run, (read(8), LuccaNotSentError("no such host")), at=at)
    assert ids(ended(run)["unresolved"]) == [8]
    assert run.outage is True


def test_where_a_run_stops_for_another_reason_it_is_no_outage():
    run = never_answered(LuccaNotSentError("no connection", outage=True), 7)
    run.stop("killed")
    ended(run)
    assert run.outage is False


def test_what_was_sent_and_is_not_known_is_in_doubt():
    run = new_run(7, 8)
    take(run, (read(7), "Ongoing"), (read(8), "Ongoing"), (close(7), IN_DOUBT))
    run.stop("killed")
    ended(run)
    assert run.journal.in_doubt(run.decisions.unresolved()) == {7}


def test_a_wrong_key_while_reading_stops_too():
    run = new_run(7, 8)
    take(run, (read(7), LuccaAccessError("401")))
    assert ids(ended(run)["unresolved"]) == [7, 8]


def test_what_is_in_flight_when_the_run_stops_is_still_recorded():
    run = listed_run(3)
    assert [run.next(T), run.next(T)] == [close(1), close(2)]
    run.stop("killed")
    assert run.next(T) == Pause(None)
    run.answered(close(1), None, T)
    report = dict(run.report())
    assert report["closed"] == [1]
    assert reasons(report) == ["sent, but the answer is not known: killed", "not reached: killed"]


def test_what_is_in_doubt_when_the_run_stops_says_so():
    run = new_run(7)
    take(run, (read(7), "Ongoing"), (close(7), IN_DOUBT))
    run.stop("killed")
    assert reasons(ended(run)) == ["sent, but the answer is not known: killed"]


def test_a_refused_purchase_whose_state_was_not_read_any_more_is_unresolved():
    run = new_run(7)
    take(run, (read(7), "Ongoing"), (close(7), REFUSED))
    run.stop("killed")
    reason = "refused by Lucca: 669 [date: too late] (409 Open invoices), and its state was not read: killed"
    assert reasons(ended(run)) == [reason]


def test_the_first_reason_to_stop_counts():
    run = new_run(7)
    run.stop("one")
    run.stop("two")
    assert reasons(ended(run)) == ["not reached: one"]


def test_what_was_not_reached_yet_is_unresolved():
    assert new_run(7).report()["unresolved"] == [{"id": 7, "reason": "not reached: the run did not get that far"}]


def test_an_answer_that_cannot_be_dealt_with_costs_its_purchase_only():
    run = new_run(1, 2)
    assert run.next(T) == read(1)
    run.give_up(read(1), "a bug")
    take(run, (read(2), "Closed"))
    report = ended(run)
    assert (report["unresolved"], report["already_closed"]) == ([{"id": 1, "reason": "a bug"}], [2])


def test_an_answer_that_was_dealt_with_so_far_that_it_decided_is_not_given_up():
    def fail(purchase_id: int, outcome: Outcome) -> None:
        raise ZeroDivisionError

    run = new_run(1, on_outcome=fail)
    assert run.next(T) == read(1)
    with pytest.raises(ZeroDivisionError):
        run.answered(read(1), "Closed", T)
    run.give_up(read(1), "a bug")
    assert ended(run)["already_closed"] == [1]


def test_metrics_that_cannot_be_written_do_not_hold_up_the_run():
    def fail(purchase_id: int, outcome: Outcome) -> None:
        raise ZeroDivisionError

    run = new_run(*range(1, 6), on_outcome=fail, limit=1)
    at = take(run, (LIST, "no list"))
    for purchase_id in range(1, 6):
        at += 60
        assert run.next(at) == read(purchase_id)
        with pytest.raises(ZeroDivisionError):
            run.answered(read(purchase_id), "Closed", at)
        run.give_up(read(purchase_id), "a bug")
    assert ended(run, at)["already_closed"] == [1, 2, 3, 4, 5]


def test_an_answer_to_the_list_that_cannot_be_dealt_with_ends_the_run():
    run = new_run(1, 2, 3)
    assert run.next(T) == LIST
    run.give_up(LIST, "a bug")
    assert set(reasons(ended(run))) == {"not reached: a bug"}


def test_five_403_in_a_row_with_nothing_closed_stop_the_run():
    run = listed_run(9)
    take(run, *[(close(purchase_id), FORBIDDEN) for purchase_id in range(1, 6)])
    report = ended(run)
    assert ids(report["unresolved"]) == list(range(1, 10))
    assert all("the right to manage invoices" in reason for reason in reasons(report))


def test_403s_do_not_stop_a_run_that_has_closed_something():
    run = listed_run(9)
    finish(run, lambda step: FORBIDDEN if step.kind is Kind.CLOSE and step.purchase_id > 1 else "Ongoing")
    assert ids(ended(run)["rejected"]) == list(range(2, 10))


def test_a_key_that_may_not_view_purchases_stops_the_run():
    run = new_run(*range(1, 10))
    take(run, (LIST, FORBIDDEN), *[(read(purchase_id), FORBIDDEN) for purchase_id in range(1, 6)])
    report = ended(run)
    assert ids(report["unresolved"]) == list(range(1, 10))
    assert "the right to view purchases" in reasons(report)[-1]


def test_a_purchase_that_can_be_read_breaks_the_row_of_those_that_cannot():
    run = new_run(*range(1, 10))
    answers: list[object] = [*[FORBIDDEN] * 4, "Closed", *[FORBIDDEN] * 4]
    take(run, (LIST, FORBIDDEN), *[(read(purchase_id), answer) for purchase_id, answer in enumerate(answers, 1)])
    assert run.stopped is None


def test_a_page_that_tells_of_a_purchase_shows_that_the_key_may_view_purchases():
    run = new_run(*range(1, 10))
    take(run, (LIST, page(9, closed=(9,))), *[(read(purchase_id), FORBIDDEN) for purchase_id in range(1, 9)])
    assert run.stopped is None


def test_a_dead_server_ends_the_run_after_ten_failures_in_a_row_with_growing_pauses():
    run = listed_run(99)
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
    assert "10 requests in a row got no clear answer" in reasons(report)[-1]


# -- the list ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "step"), [(2, read(1)), (3, LIST)])
def test_the_list_is_tried_from_three_purchases_on(asked, step):
    assert new_run(*range(1, asked + 1)).next(T) == step


def test_many_purchases_are_read_through_the_list():
    run = new_run(*range(1, 13))
    first = page(*range(1, 5), 99, closed=(1, 2, 3, 4), count=13, next="2")
    second = page(*range(5, 13), closed=tuple(range(7, 13)), count=13)
    second["items"][1]["state"] = None
    take(run, (LIST, first), (Step(Kind.LIST, page="2"), second), (read(6), "Closed"), (close(5), None))
    report = ended(run)
    assert report["closed"] == [5]
    assert report["already_closed"] == [1, 2, 3, 4, *range(6, 13)]


@pytest.mark.parametrize(("state", "steps"), [("Closed", [close(1), close(3)]), ("Archived", [read(2), close(1)])])
def test_what_a_later_page_no_longer_shows_open_is_not_closed(state, steps):
    run = new_run(*range(1, 13))
    second = page(*range(2, 13), closed=tuple(range(4, 13)), count=13)
    second["items"][0]["state"] = state
    take(run, (LIST, page(1, 2, count=13, next="2")), (Step(Kind.LIST, page="2"), second))
    assert [run.next(T), run.next(T)] == steps


def test_a_page_is_asked_for_when_nothing_else_is_on_its_way():
    """It would say nothing of a purchase whose closing may yet be answered with 429, and so be sent again."""
    run = listed_run(10)
    assert run.next(T) == close(1)
    assert run.next(T + 601) == Pause(None)
    run.answered(close(1), None, T + 601)
    assert run.next(T + 601) == LIST


def test_readings_that_became_too_old_are_made_anew_also_without_a_list():
    run = new_run(1, 2, 3)
    take(run, (LIST, REFUSED), *[(read(each), "Ongoing") for each in (1, 2, 3)])
    assert run.next(T + 601) == read(1)


def test_a_thousand_closed_purchases_take_one_request():
    run = new_run(*range(1, 1001))
    take(run, (LIST, page(*range(1, 1001), closed=tuple(range(1, 1001)))))
    assert ended(run)["already_closed"] == list(range(1, 1001))


@pytest.mark.parametrize("state", [{"code": "Closed"}, ["Closed"], 5, True, None, "Archived"])
def test_a_purchase_of_which_the_list_tells_no_known_state_is_read_by_itself(state):
    run = new_run(1, 2, 3)
    shown = page(1, 2, 3, closed=(2, 3))
    shown["items"][0]["state"] = state
    take(run, (LIST, shown), (read(1), "Closed"))
    assert ended(run)["already_closed"] == [1, 2, 3]


@pytest.mark.parametrize("answer", ["nonsense", None, {}, FORBIDDEN, LuccaRefusedError("400", status=400)])
def test_a_list_that_cannot_be_used_is_given_up_for_single_readings(answer, caplog):
    run = new_run(*range(1, 13))
    with caplog.at_level(logging.INFO):
        take(run, (LIST, answer), (read(1), "Ongoing"), (read(2), "Closed"))
    assert "the list of purchases cannot be used" in caplog.text


@pytest.mark.parametrize(
    "shown", [page(), page(50), page(1, closed=(1,)), page(1, 1), {"items": [{"id": 1, "state": "Closed"}, {}]}]
)
def test_what_a_list_leaves_out_is_read_by_itself(shown):
    run = new_run(1, 2, 3)
    take(run, (LIST, shown))
    assert run.next(T) == (read(1) if shown["items"][:1] in ([], [{"id": 50, "state": "Ongoing"}]) else read(2))


@pytest.mark.parametrize(("count", "goes_on"), [(1000 * 40, False), (1000 * 5, False), (1000 * 4, True)])
def test_the_list_is_read_on_only_if_that_takes_fewer_requests_than_single_readings(count, goes_on):
    run = new_run(1, 2, 3, 4)
    take(run, (LIST, page(*range(1001, 2001), count=count, next="b")))
    assert run.next(T) == (Step(Kind.LIST, page="b") if goes_on else read(1))


def test_the_list_is_read_on_only_if_that_can_be_done_in_half_a_readings_age():
    for limit, step in ((2, Step(Kind.LIST, page="b")), (1, read(1))):
        run = new_run(*range(1, 100), limit=limit)
        take(run, (LIST, page(1000, count=11, next="b")))
        assert run.next(T + 60) == step


def test_a_list_that_does_not_answer_is_tried_a_few_times():
    run = new_run(*range(1, 13))
    answers = [IN_DOUBT, throttled(0.0), NOT_SENT, IN_DOUBT, IN_DOUBT]
    at = take(run, *[(LIST, answer) for answer in answers])
    assert run.next(at + 100) == read(1)


def test_a_page_starts_the_count_of_failures_of_the_list_again():
    run = new_run(*range(1, 13))
    second = Step(Kind.LIST, page="2")
    at = take(run, *[(LIST, IN_DOUBT)] * 3, (LIST, page(1, 20, count=12, next="2")), *[(second, IN_DOUBT)] * 3)
    assert run.next(at + 100) == second


def test_the_list_holds_back_the_rest_while_it_is_read():
    run = new_run(1, 2, 3)
    assert run.next(T) == LIST
    assert run.next(T) == Pause(None)


def test_a_page_never_decides_a_purchase_that_is_in_doubt():
    store = MemoryStore()
    store.open().commit(intents=[1])
    run = new_run(1, 2, 3, 4, journal=store.open(2))
    take(run, (LIST, page(1, 2, 3, 4, closed=(1, 2, 3, 4))), (read(1), "Closed"), at=T + 5)
    report = ended(run, T + 5)
    assert (report["closed"], report["already_closed"]) == ([1], [2, 3, 4])


# -- key and host ------------------------------------------------------------------------------------------------------


def test_a_404_is_luccas_refusal_once_a_probe_has_shown_that_the_host_is_right():
    run = new_run(7)
    take(run, (read(7), NOT_FOUND), (PROBE, None))
    assert ended(run)["rejected"] == [{"id": 7, "status": 404, "title": None, "detail": None}]


def test_nothing_else_is_sent_until_the_probe_has_answered():
    run = new_run(7, 8)
    take(run, (read(7), NOT_FOUND))
    assert run.next(T) == PROBE
    assert run.next(T) == Pause(None)
    run.answered(PROBE, IN_DOUBT, T)
    take(run, (PROBE, None), (read(8), NOT_FOUND))
    assert ids(ended(run)["rejected"]) == [7, 8]


@pytest.mark.parametrize("answer", [NOT_FOUND, WEB_PAGE])
def test_a_wrong_host_is_found_out_by_the_first_request_and_everything_agrees(answer):
    told: list[Outcome] = []
    store = MemoryStore()
    run = new_run(*range(1, 10), journal=store.open(), on_outcome=lambda purchase_id, outcome: told.append(outcome))
    take(run, (LIST, NOT_FOUND), (PROBE, answer))
    report = ended(run)
    assert ids(report["unresolved"]) == list(range(1, 10))
    assert all("check the connection's Tenant" in reason for reason in reasons(report))
    assert told == [Outcome.UNRESOLVED] * 9
    assert store.open(2).decisions == {}


def test_a_wrong_host_is_found_out_by_several_readings_at_once():
    run = new_run(7, 8)
    assert [run.next(T), run.next(T)] == [read(7), read(8)]
    run.answered(read(7), WEB_PAGE, T)
    run.answered(read(8), WEB_PAGE, T)
    take(run, (PROBE, LuccaAccessError("a web page")))
    assert reasons(ended(run)) == ["not reached: a web page"] * 2


def test_an_answer_to_another_request_shows_too_that_the_host_is_right():
    run = new_run(7, 8)
    assert [run.next(T), run.next(T)] == [read(7), read(8)]
    run.answered(read(7), WEB_PAGE, T)
    run.answered(read(8), "Closed", T)
    report = ended(run)
    assert (report["already_closed"], ids(report["unresolved"])) == ([8], [7])


def test_a_purchase_that_is_answered_by_a_web_page_stops_no_other():
    run = listed_run(20)
    finish(run, lambda step: WEB_PAGE if step.purchase_id == 2 else None)
    report = ended(run)
    assert (len(report["closed"]), ids(report["rejected"])) == (19, [2])


def test_only_wrong_ids_do_not_stop_a_run():
    run = new_run(*range(1, 13))
    take(run, (LIST, page(900)), *[(read(purchase_id), NOT_FOUND) for purchase_id in range(1, 13)])
    assert len(ended(run)["rejected"]) == 12


# -- going on from an earlier try --------------------------------------------------------------------------------------


def second_try(*purchase_ids: int, store: MemoryStore, at: float = T, max_tries: int = 0, **kwargs: Any) -> ClosingRun:
    run = new_run(*purchase_ids, journal=store.open(2, max_tries=max_tries), **kwargs)
    assert pause(run, at) == at + 5.0
    return run


def test_a_first_start_reads_at_once():
    assert new_run(7).next(T) == read(7)


@pytest.mark.parametrize(
    "attempt", [Attempt(2, 0, first=False), Attempt(1, 0, resumed=True, first=False), Attempt(1, 0, first=False)]
)
def test_any_other_start_lets_settle_what_was_on_its_way_and_then_reads(attempt):
    run = new_run(7, journal=Journal(attempt, new_id=str, store=None))
    assert pause(run, T) == T + 5.0
    take(run, (read(7), "Closed"), at=T + 5.0)
    assert ended(run, T + 5.0)["already_closed"] == [7]


@pytest.mark.parametrize(
    ("attempt", "in_doubt"),
    [
        (Attempt(1, 0), set()),
        (Attempt(1, 0, resumed=True, first=False), set()),
        (Attempt(2, 0, first=False), {7}),
        (Attempt(2, 0, resumed=True, first=False), {7}),
    ],
)
def test_without_a_journal_what_an_earlier_try_sent_is_not_known(attempt, in_doubt):
    run = new_run(7, journal=Journal(attempt, new_id=str, store=None))
    finish(run, lambda step: LuccaInDoubtError("503", outage=True))
    run.end()
    assert run.journal.in_doubt(run.decisions.unresolved()) == in_doubt


def test_with_its_journal_it_is_known():
    store = MemoryStore()
    first = new_run(7, 8, journal=store.open())
    take(first, (read(7), "Ongoing"), (read(8), "Ongoing"), (close(7), None))
    first.end()
    run = second_try(7, 8, store=store)
    finish(run, lambda step: LuccaInDoubtError("503"), at=T + 5)
    run.end()
    assert run.journal.in_doubt(run.decisions.unresolved()) == set()


def test_a_start_that_finds_a_journal_is_not_the_first():
    store = MemoryStore()
    store.open().commit()
    assert pause(new_run(7, journal=store.open(1)), T) == T + 5.0


def test_purchases_with_an_outcome_are_not_asked_about_again(caplog):
    store = MemoryStore()
    journal = store.open()
    for purchase_id, outcome in enumerate((Outcome.CLOSED, Outcome.ALREADY_CLOSED), 1):
        journal.decided(purchase_id, Decision(outcome))
    journal.decided(3, Decision(Outcome.REJECTED, **REFUSAL))
    journal.commit()
    told: list[tuple[int, Outcome]] = []
    run = new_run(3, 2, 1, journal=store.open(2), on_outcome=lambda *call: told.append(call))
    with caplog.at_level(logging.INFO):
        assert ended(run) == {
            "closed": [1],
            "already_closed": [2],
            "rejected": [{"id": 3, **REFUSAL}],
            "unresolved": [],
        }
    assert len(told) == 3
    assert caplog.text.count("(known from an earlier try)") == 1


def test_a_purchase_in_doubt_that_was_closed_was_closed_by_this_task():
    store = MemoryStore()
    store.open().commit(intents=[1, 2])
    run = second_try(1, 2, store=store)
    take(run, (read(1), "Closed"), (read(2), "Ongoing"), (close(2), None), at=T + 5)
    assert ended(run, T + 5)["closed"] == [1, 2]


def test_without_a_journal_what_an_earlier_try_closed_was_closed_already():
    run = new_run(1, 2, journal=Journal(Attempt(2, 0, first=False), new_id=str))
    take(run, (read(1), "Closed"), (read(2), "Ongoing"), (close(2), None))
    report = ended(run, T + 5)
    assert (report["closed"], report["already_closed"]) == ([2], [1])


def test_a_refused_purchase_is_tried_again_when_a_person_cleared_the_task():
    store = MemoryStore()
    journal = store.open()
    journal.decided(1, Decision(Outcome.REJECTED, **REFUSAL))
    journal.commit()
    run = second_try(1, store=store, max_tries=1)
    take(run, (read(1), "Ongoing"), (close(1), None), at=T + 5)
    assert ended(run, T + 5)["closed"] == [1]


def test_an_intent_without_an_outcome_counts_into_the_window_at_the_readers_own_start():
    store = MemoryStore()
    store.open().commit(intents=[1, 2, 3])
    run = second_try(1, store=store, limit=4)
    take(run, (read(1), "Ongoing"), at=T + 5)
    assert pause(run, T + 5) == T + 60.0


def test_what_an_earlier_try_sent_and_nobody_asks_for_any_more_stays_in_the_journal():
    store = MemoryStore()
    store.open().commit(intents=[1, 2])
    run = second_try(2, store=store)
    take(run, (read(2), "Closed"), at=T + 5)
    ended(run, T + 5)
    assert store.open(3).sent == {1}


def test_a_run_that_ends_before_it_began_takes_nothing_back():
    store = MemoryStore()
    store.open().commit(intents=[1])
    run = new_run(1, journal=store.open(2))
    run.stop("killed")
    run.end()
    assert store.open(3).sent == {1}


def test_an_intent_of_a_closing_that_was_certainly_without_effect_is_not_taken_for_one_later():
    store = MemoryStore()
    run = new_run(7, journal=store.open())
    take(run, (read(7), "Ongoing"), *[(close(7), NOT_SENT)] * 3)
    assert ids(ended(run)["unresolved"]) == [7]
    run = second_try(7, store=store)
    take(run, (read(7), "Closed"), at=T + 5)
    assert ended(run, T + 5)["already_closed"] == [7]


# -- leaving the worker ------------------------------------------------------------------------------------------------


class Stays:
    """A task that leaves its worker again and again, with or without a store."""

    def __init__(self, *purchase_ids: int, kept: bool = True, limit: int = 45) -> None:
        self.purchase_ids = purchase_ids
        self.limit = limit
        self.store = MemoryStore()
        self.kept = kept
        self.told: list[tuple[int, Outcome]] = []
        self.run = self._new(Attempt(1, 0))

    def _new(self, attempt: Attempt, event: dict[str, Any] | None = None) -> ClosingRun:
        journal = Journal(attempt, new_id=self.store.new_id, store=self.store if self.kept else None)
        journal.read()
        if event is not None:
            journal.load(event)
        return new_run(
            *self.purchase_ids, journal=journal, limit=self.limit, on_outcome=lambda *call: self.told.append(call)
        )

    def leave(self, at: float = T) -> ClosingRun:
        event = self.run.leave(at)
        assert event is not None
        event = json.loads(json.dumps(event))
        self.run = self._new(Attempt(event["try"], 0, resumed=True, first=False), event)
        return self.run


@pytest.fixture(params=[True, False], ids=["kept", "in the event"])
def kept(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_what_is_known_survives_a_wait_and_the_next_process_repeats_nothing(kept):
    stays = Stays(*range(1, 8), limit=9, kept=kept)
    at = take(
        stays.run,
        (LIST, page(*range(1, 6), closed=(2,))),
        (read(6), None),
        (read(7), "Ongoing"),
        (close(1), None),
        (close(3), REFUSED),
        (close(4), IN_DOUBT),
        (close(5), IN_DOUBT),
        (close(7), None),
        (read(3), "Ongoing"),
    )
    assert pause(stays.run, at) == T + 60.0
    later = stays.leave(at)
    take(later, (read(4), "Closed"), (read(5), "Ongoing"), (close(5), None), at=T + 60)
    report = ended(later, T + 60)
    assert (report["closed"], report["already_closed"]) == ([1, 4, 5, 7], [2])
    assert report["rejected"] == [{"id": 3, **REFUSAL}]
    assert ids(report["unresolved"]) == [6]
    assert sorted(each for each, _ in stays.told) == list(range(1, 8))


def test_what_is_decided_stays_so_whatever_a_wait_says_and_nothing_else_is_reported():
    stays = Stays(1, 2, 3, kept=False)
    take(stays.run, (LIST, page(1, 2, 3)))
    event = stays.run.leave(T)
    assert event is not None
    later = stays._new(Attempt(1, 0, resumed=True, first=False), event | {"records": [["c", 1, 99]]})
    take(later, (close(2), None), (close(3), None))
    assert ended(later) == {"closed": [1, 2, 3], "already_closed": [], "rejected": [], "unresolved": []}


def test_the_next_process_does_not_settle_for_what_was_answered(kept):
    stays = Stays(7, 8, kept=kept)
    take(stays.run, (read(7), "Closed"))
    assert stays.leave().next(T + 1) == read(8)


def test_after_a_wait_the_worker_is_left_again_only_once_something_was_sent(kept):
    """Clocks that differ could make a task leave for ever."""
    stays = Stays(7, 8, 9, limit=2, kept=kept)
    take(stays.run, (LIST, page(7, 8, 9)), (close(7), None))
    later = stays.leave()
    what = later.next(T + 30)
    assert isinstance(what, Pause)
    assert (what.until, what.burst <= T + 30) == (T + 60, True)
    assert later.next(T + 60) == close(8)
    later.answered(close(8), throttled(100.0), T + 60)
    what = later.next(T + 60)
    assert isinstance(what, Pause)
    assert what.burst == T + 160


def test_intents_that_were_not_used_are_taken_back_before_a_wait():
    stays = Stays(1, 2, 3)
    take(stays.run, (LIST, page(1, 2, 3)), (close(1), throttled(100.0)))
    stays.run.leave(T)
    assert stays.store.open(2).sent == set()
    take(stays.run, (close(1), None), at=T + 100)
    assert stays.store.open(2).sent == {1, 2, 3}


def test_a_pending_probe_survives_a_wait(kept):
    stays = Stays(7, 8, kept=kept)
    take(stays.run, (read(7), NOT_FOUND), (PROBE, throttled(100.0)))
    later = stays.leave()
    take(later, (PROBE, None), (read(7), NOT_FOUND), (read(8), "Closed"), at=T + 100)
    report = ended(later, T + 100)
    assert (ids(report["rejected"]), report["already_closed"]) == ([7], [8])


def test_a_host_that_is_known_to_be_right_stays_so_across_a_wait(kept):
    stays = Stays(7, 8, kept=kept)
    take(stays.run, (read(7), "Closed"))
    take(stays.leave(), (read(8), NOT_FOUND))
    assert ids(ended(stays.run)["rejected"]) == [8]


def test_after_a_wait_for_a_429_one_request_finds_out_before_the_others_follow(kept):
    stays = Stays(1, 2, 3, kept=kept)
    take(stays.run, (LIST, page(1, 2, 3)), (close(1), throttled(100.0)))
    later = stays.leave()
    assert pause(later, T + 1) == T + 100
    assert later.next(T + 100) == close(1)
    assert later.next(T + 100) == Pause(None)


def test_429s_and_failures_are_counted_across_a_wait(kept):
    stays, at = Stays(7, kept=kept), T
    while stays.run.stopped is None:
        at = take(stays.run, (read(7), throttled(100.0)), at=at)
        if stays.run.stopped is None:
            stays.leave(at)
    assert at - T == 600.0
    stays, at, failures = Stays(*range(1, 20), kept=kept), T, 0
    while stays.run.stopped is None:
        what = stays.run.next(at)
        if isinstance(what, Step):
            stays.run.answered(what, NOT_SENT, at)
            failures += 1
            if stays.run.stopped is None:
                stays.leave(at)
        else:
            assert isinstance(what, Pause)
            assert what.until is not None
            at = what.until
    assert failures == 10


def test_five_in_a_row_are_counted_across_a_wait(kept):
    stays = Stays(*range(1, 10), kept=kept)
    take(stays.run, (LIST, page(*range(1, 10))))
    take(stays.run, *[(close(purchase_id), FORBIDDEN) for purchase_id in range(1, 5)])
    take(stays.leave(), *[(read(purchase_id), "Ongoing") for purchase_id in range(1, 5)], (close(5), FORBIDDEN))
    assert stays.run.stopped is not None


def test_what_the_list_told_survives_too_and_it_is_read_on(kept):
    stays = Stays(*range(1, 13), kept=kept)
    take(stays.run, (LIST, page(*range(1, 7), count=12, next="b")))
    later = stays.leave()
    take(later, (Step(Kind.LIST, page="b"), page(*range(7, 13), count=12)), (close(1), None))
    assert later.next(T) == close(2)


def test_what_the_list_left_out_is_read_singly_after_a_wait_too(kept):
    stays = Stays(*range(1, 7), kept=kept)
    take(stays.run, (LIST, page(1, 2, closed=(1, 2))), (read(3), throttled(100.0)))
    take(stays.leave(), (read(3), "Closed"), (read(4), "Closed"), at=T + 100)


def test_sends_are_counted_across_a_wait(kept):
    stays = Stays(7, kept=kept)
    at = take(stays.run, (read(7), "Ongoing"))
    for _ in range(3):
        at = take(stays.run, (close(7), IN_DOUBT), (read(7), "Ongoing"), at=at)
        stays.leave(at)
    assert reasons(ended(stays.run, at)) == ["still open: 3 closings got no clear answer"]


def test_what_nobody_asks_for_any_more_after_a_wait_is_not_closed(kept):
    stays = Stays(1, 2, kept=kept)
    take(stays.run, (read(1), "Ongoing"), (read(2), "Ongoing"), (close(1), throttled(100.0)))
    stays.purchase_ids = (2,)
    take(stays.leave(), (close(2), None), at=T + 100)
    assert ended(stays.run, T + 100) == {"closed": [2], "already_closed": [], "rejected": [], "unresolved": []}


def test_a_worker_whose_clock_is_behind_does_not_wait_for_the_other_ones(kept):
    stays = Stays(1, limit=1, kept=kept)
    take(stays.run, (read(1), "Ongoing"))
    assert pause(stays.leave(), T - 3600) == T - 3540


def test_a_record_of_a_wait_that_cannot_be_read_makes_the_start_an_unsure_one(kept):
    stays = Stays(1, 2, 3, kept=kept)
    take(stays.run, (LIST, page(1, 2, 3)), (close(1), None))
    event = stays.run.leave(T)
    assert event is not None
    if kept:
        row = json.loads(stays.store.rows["lucca_0"])
        row["records"][-1][1]["window"] = "text"
        stays.store.rows["lucca_0"] = json.dumps(row)
    else:
        event["wait"]["window"] = "text"
    later = stays._new(Attempt(1, 0, resumed=True, first=False), event)
    assert pause(later, T) == T + 5.0
    take(later, (read(2), "Closed"), (read(3), "Closed"), at=T + 5.0)
    report = ended(later, T + 5.0)
    assert (report["closed"], report["already_closed"]) == ([1], [2, 3])


def test_where_a_wait_cannot_be_written_it_is_made_in_the_worker():
    stays = Stays(1, 2, 3)
    take(stays.run, (LIST, page(1, 2, 3)), (close(1), throttled(100.0)))
    stays.store.broken = OSError("away")
    assert stays.run.leave(T) is None
    assert stays.run.stopped is None
    stays.store.broken = None
    take(stays.run, (close(1), None), (close(2), None), (close(3), None), at=T + 100)
    assert ended(stays.run, T + 100)["closed"] == [1, 2, 3]


def test_a_process_that_was_replaced_stops_before_a_wait():
    stays = Stays(1, 2, 3)
    take(stays.run, (LIST, page(1, 2, 3)), (close(1), throttled(100.0)))
    stays.store.broken = ReplacedError("404")
    assert stays.run.leave(T) is None
    assert stays.run.stopped is not None
    ended(stays.run)
    assert not stays.run.is_kept


def test_a_wait_that_would_need_too_much_room_is_made_in_the_worker():
    stays = Stays(*range(1, 301))
    take(stays.run, (LIST, LuccaRefusedError("400", status=400)))
    at = T
    for purchase_id in range(1, 301):
        at += 2
        take(stays.run, (read(purchase_id), "state " + str(purchase_id) * 200), at=at)
    assert stays.run.leave(at) is None
    assert stays.store.sets == 0


def test_no_more_readings_are_kept_than_can_be_used_before_they_are_too_old_and_the_rest_is_listed_again(kept):
    stays = Stays(*range(1, 1001), limit=10, kept=kept)
    everything = range(1, 1001)
    take(stays.run, (LIST, page(*everything)), (close(1), None))
    later = stays.leave()
    requests = []

    def answer(step: Step) -> object:
        requests.append(step.kind)
        return page(*everything) if step.kind is Kind.LIST else None

    at = T + 30
    while Kind.LIST not in requests:
        what = later.next(at)
        if isinstance(what, Step):
            later.answered(what, answer(what), at)
        else:
            assert isinstance(what, Pause)
            assert what.until is not None
            at = what.until
    assert requests == [*[Kind.CLOSE] * 100, Kind.LIST]
    assert later.next(at) == close(102)


def test_after_a_wait_in_which_readings_became_too_old_the_next_one_is_made_in_the_worker():
    stays = Stays(1, 2, 3)
    take(stays.run, (LIST, page(1, 2, 3)))
    later = stays.leave()
    assert later.next(T + 700) == LIST
    later.answered(LIST, throttled(100.0), T + 700)
    assert later.leave(T + 700) is None
    take(later, (LIST, page(1, 2, 3)), (close(1), None), at=T + 800)
    assert later.leave(T + 800) is not None


# -- how much is written -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_thousand_closings_take_few_writes_and_rows_and_a_resume_few_reads(deferrable):
    stays, at = Stays(*range(1, 1001)), T
    while (what := stays.run.next(at)) is not None:
        if isinstance(what, Step):
            answer = page(*range(1, 1001)) if what.kind is Kind.LIST else None
            stays.run.answered(what, answer, at)
        else:
            assert what.until is not None
            if deferrable:
                stays.leave(at)
            at = what.until
    assert stays.run.end()["closed"] == list(range(1, 1001))
    assert stays.store.sets <= 300
    assert len(stays.store.rows) <= 20
    stays.store.gets = 0
    assert len(stays.store.open(2).decisions) == 1000
    assert stays.store.gets <= 40


# -- telling -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "closed"), [(logging.INFO, []), (logging.DEBUG, ["Purchase 1 closed"])], ids=["info", "debug"]
)
def test_each_purchase_gets_one_call_and_one_line_if_it_is_not_closed(level, closed, caplog):
    told: list[tuple[int, Outcome]] = []
    run = new_run(1, 2, on_outcome=lambda *call: told.append(call))
    with caplog.at_level(level):
        take(
            run, (read(1), "Ongoing"), (read(2), "Ongoing"), (close(1), None), (close(2), REFUSED), (read(2), "Denied")
        )
    assert told == [(1, Outcome.CLOSED), (2, Outcome.REJECTED)]
    assert [record.getMessage() for record in caplog.records] == [
        *closed,
        "Purchase 2 refused by Lucca: 669 [date: too late] (409 Open invoices)",
    ]


def test_a_purchase_in_doubt_gets_a_line_too(caplog):
    run = new_run(1)
    take(run, (read(1), "Ongoing"), (close(1), IN_DOUBT))
    assert "Purchase 1: checking its state in 5 s. connection reset" in caplog.text


def test_a_pause_is_said_where_it_is_made_in_the_worker_or_outside_of_it(caplog):
    run = new_run(7, 8)
    at = take(run, (read(7), "Ongoing"), (read(8), "Ongoing"), (close(7), throttled(30.0)))
    pause = run.next(at)
    assert isinstance(pause, Pause)
    with caplog.at_level(logging.INFO):
        run.waiting(at, pause.until or at)
        assert run.leave(at) is not None
    assert ["trying again in 30 s" in message for message in caplog.messages] == [True]
    caplog.clear()
    run = new_run(7)
    take(run, (read(7), "Ongoing"), (close(7), throttled(30.0)))
    with caplog.at_level(logging.INFO):
        assert run.leave(T) is not None
    assert ["trying again in 30 s" in message for message in caplog.messages] == [True]


def test_a_pause_that_nobody_makes_is_not_said(caplog):
    run = listed_run(3)
    with caplog.at_level(logging.INFO):
        assert [run.next(T), run.next(T)] == [close(1), close(2)]
        run.answered(close(1), throttled(30.0), T)
        run.stop("killed")
        run.answered(close(2), None, T)
        ended(run)
    assert "trying again" not in caplog.text


def test_metric_log_and_report_agree_on_what_was_not_reached(caplog):
    told: list[tuple[int, Outcome]] = []
    run = new_run(1, 2, 3, on_outcome=lambda *call: told.append(call))
    run.stop("killed")
    report = ended(run)
    assert told == [(each, Outcome.UNRESOLVED) for each in ids(report["unresolved"])]
    assert [message for message in caplog.messages if "Purchase" in message] == [
        f"Purchase {each} unresolved: not reached" for each in (1, 2, 3)
    ]
    assert caplog.text.count("killed") == 1


def test_long_batches_that_need_not_wait_tell_how_far_they_are_now_and_then(caplog):
    run = new_run(*range(1, 91), limit=45)
    with caplog.at_level(logging.INFO):
        take(run, (LIST, page(*range(1, 91))))
        for purchase_id in range(1, 41):
            take(run, (close(purchase_id), None), at=T + 10 * purchase_id)
    lines = [line for line in caplog.messages if "purchases done" in line]
    assert lines[:2] == [
        "8 of 90 purchases done, about 2 minutes to go.",
        "17 of 90 purchases done, about 2 minutes to go.",
    ]
    assert len(lines) == 4
