"""One purchase: each state that it can be in, and what each answer makes of it."""

from __future__ import annotations

import pytest

from lucca_provider.closing import Kind
from lucca_provider.closing.purchase import (
    MAX_SENDS,
    READING_AGE,
    UNREAD,
    Purchase,
    closing_answered,
    next_kind,
    page_read,
    reading_answered,
    shorten,
)
from lucca_provider.exceptions import (
    LuccaAccessError,
    LuccaConfigurationError,
    LuccaForbiddenError,
    LuccaInDoubtError,
    LuccaNotFoundError,
    LuccaNotSentError,
    LuccaRefusedError,
    LuccaThrottledError,
    LuccaUnclearError,
)
from lucca_provider.outcomes import ALREADY_CLOSED, CLOSED, Decision, Outcome

ASKED, NOW = 1000.0, 1001.0
NO = Decision(Outcome.REJECTED, 409, "Open invoices", "669")
OPEN = Purchase(read_at=900.0)
IN_DOUBT = Purchase(ready_at=950.0, sends=1, maybe=True)
REFUSED = Purchase(ready_at=950.0, refusal=NO)
REFUSED_IN_DOUBT = Purchase(ready_at=950.0, sends=1, maybe=True, refusal=NO)

REFUSAL = LuccaRefusedError("409", status=409, title="Open invoices", detail="669")
NOT_FOUND = LuccaNotFoundError("404", status=404, title="Not found")
FORBIDDEN = LuccaForbiddenError("403", status=403)
LOST = LuccaInDoubtError("connection reset")
NOT_SENT = LuccaNotSentError("connection refused")
THROTTLED = LuccaThrottledError("429", status=429)


def unresolved(reason: str) -> Decision:
    return Decision(Outcome.UNRESOLVED, detail=reason)


# -- what is asked next ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("purchase", "kind"),
    [
        (UNREAD, Kind.READ),
        (IN_DOUBT, Kind.READ),
        (REFUSED, Kind.READ),
        (Purchase(read_at=NOW), Kind.CLOSE),
        (Purchase(read_at=NOW - READING_AGE), Kind.CLOSE),
        (Purchase(read_at=NOW - READING_AGE - 0.1), Kind.READ),
    ],
)
def test_a_closing_is_allowed_only_on_a_reading_of_the_last_ten_minutes(purchase, kind):
    assert next_kind(purchase, NOW) is kind


# -- the answer to a closing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [None, {}, "anything"])
def test_whatever_is_no_error_is_a_yes(answer):
    assert closing_answered(OPEN, answer, NOW) == CLOSED


@pytest.mark.parametrize("answer", [LOST, LuccaInDoubtError("503", status=503), LuccaUnclearError("a web page")])
def test_without_a_clear_answer_it_is_in_doubt_and_settles_for_five_seconds(answer):
    assert closing_answered(OPEN, answer, NOW) == Purchase(ready_at=NOW + 5.0, sends=1, maybe=True)


def test_it_stays_in_doubt_for_a_last_reading_however_often_it_was_sent():
    known = closing_answered(Purchase(read_at=900.0, sends=MAX_SENDS - 1), LOST, NOW)
    assert known == Purchase(ready_at=NOW + 5.0, sends=MAX_SENDS, maybe=True)


@pytest.mark.parametrize(
    "answer", [REFUSAL, LuccaForbiddenError("403", status=409, title="Open invoices", detail="669")]
)
def test_a_clear_no_is_kept_until_a_reading_asked_for_after_it_came(answer):
    assert closing_answered(OPEN, answer, NOW) == Purchase(ready_at=NOW, refusal=NO)


def test_a_429_changes_nothing():
    for known in (OPEN, Purchase(read_at=900.0, sends=MAX_SENDS - 1)):
        assert closing_answered(known, THROTTLED, NOW) is known


def test_what_was_not_sent_is_sent_again_on_the_same_reading_three_times_in_all():
    assert closing_answered(OPEN, NOT_SENT, NOW) == Purchase(read_at=900.0, sends=1)
    last = closing_answered(Purchase(read_at=900.0, sends=MAX_SENDS - 1), NOT_SENT, NOW)
    assert last == unresolved("not sent: 3 attempts failed. connection refused")


@pytest.mark.parametrize("answer", [LuccaAccessError("401"), LuccaConfigurationError("no host")])
def test_an_answer_that_says_nothing_of_the_purchase_leaves_it_unresolved(answer):
    assert closing_answered(OPEN, answer, NOW) == unresolved(str(answer))


# -- the answer to a reading -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "state", "then"),
    [
        (UNREAD, "Closed", ALREADY_CLOSED),
        (REFUSED, "Closed", ALREADY_CLOSED),
        (IN_DOUBT, "Closed", CLOSED),
        (REFUSED_IN_DOUBT, "Closed", CLOSED),
        (UNREAD, "Ongoing", Purchase(read_at=ASKED)),
        (IN_DOUBT, "Ongoing", Purchase(read_at=ASKED, ready_at=950.0, sends=1)),
        (Purchase(sends=MAX_SENDS - 1, reads=3), "Denied", Purchase(read_at=ASKED, sends=MAX_SENDS - 1)),
        (REFUSED, "Ongoing", NO),
        (REFUSED_IN_DOUBT, "Ongoing", NO),
        (REFUSED, "Archived", NO),
        (REFUSED, None, NO),
    ],
)
def test_a_state_decides_or_opens(known, state, then):
    assert reading_answered(known, state, ASKED, NOW) == then


def test_three_closings_in_doubt_without_effect_are_enough():
    known = Purchase(ready_at=950.0, sends=MAX_SENDS, maybe=True)
    still_open = unresolved("still open: 3 closings got no clear answer")
    assert reading_answered(known, "Ongoing", ASKED, NOW) == still_open
    assert reading_answered(known, "Closed", ASKED, NOW) == CLOSED


@pytest.mark.parametrize("state", ["Created", "Processing", "Ongoing", "Denied", "Cancelled"])
def test_every_documented_state_but_closed_is_open(state):
    assert reading_answered(UNREAD, state, ASKED, NOW) == Purchase(read_at=ASKED)


@pytest.mark.parametrize("known", [UNREAD, IN_DOUBT, REFUSED_IN_DOUBT])
@pytest.mark.parametrize(
    ("state", "told"),
    [
        (None, "Lucca returned no state for it"),
        ({"code": "Closed"}, "Lucca returned no state for it"),
        (5, "Lucca returned no state for it"),
        ("Archived", "this version does not know its state 'Archived'"),
        ("closed", "this version does not know its state 'closed'"),
    ],
)
def test_a_state_that_says_neither_open_nor_closed_is_never_taken_for_open(known, state, told):
    assert reading_answered(known, state, ASKED, NOW) == unresolved(f"{told}, so it is not safe to close it")


def test_a_429_for_a_reading_changes_nothing():
    assert reading_answered(IN_DOUBT, THROTTLED, ASKED, NOW) is IN_DOUBT


@pytest.mark.parametrize("answer", [LOST, NOT_SENT, LuccaUnclearError("text")])
@pytest.mark.parametrize("known", [UNREAD, IN_DOUBT, REFUSED])
def test_a_reading_is_repeated_with_growing_gaps_up_to_four_times(known, answer):
    gaps = []
    for reads in (1, 2, 3):
        after = reading_answered(known, answer, ASKED, NOW)
        assert isinstance(after, Purchase)
        assert (after.reads, after.sends, after.maybe, after.refusal) == (
            reads,
            known.sends,
            known.maybe,
            known.refusal,
        )
        gaps.append(after.ready_at - NOW)
        known = after
    assert gaps == [2.0, 4.0, 8.0]
    last = reading_answered(known, answer, ASKED, NOW)
    assert last == (NO if known.refusal else unresolved(f"its state could not be read: {answer}"))


@pytest.mark.parametrize(
    ("known", "answer", "then"),
    [
        (UNREAD, NOT_FOUND, Decision(Outcome.REJECTED, 404, "Not found")),
        (UNREAD, FORBIDDEN, unresolved("its state could not be read: 403")),
        (UNREAD, REFUSAL, unresolved("its state could not be read: 409")),
        (IN_DOUBT, NOT_FOUND, unresolved("its state could not be read: 404")),
        (REFUSED_IN_DOUBT, NOT_FOUND, unresolved("its state could not be read: 404")),
        (REFUSED, NOT_FOUND, NO),
        (REFUSED, FORBIDDEN, NO),
        (REFUSED, LuccaAccessError("401"), unresolved("its state could not be read: 401")),
        (UNREAD, LuccaAccessError("401"), unresolved("its state could not be read: 401")),
    ],
)
def test_a_purchase_that_cannot_be_read_is_decided_without_a_state(known, answer, then):
    assert reading_answered(known, answer, ASKED, NOW) == then


# -- a page of the list ------------------------------------------------------------------------------------------------


def test_a_page_decides_or_opens_what_is_unread():
    assert page_read(UNREAD, "Closed", ASKED) == ALREADY_CLOSED
    assert page_read(UNREAD, "Ongoing", ASKED) == Purchase(read_at=ASKED)


@pytest.mark.parametrize("state", [None, "Archived", 5, ["Closed"], {"a": "Closed"}])
def test_a_page_that_tells_no_known_state_changes_nothing(state):
    assert page_read(UNREAD, state, ASKED) is UNREAD


@pytest.mark.parametrize("known", [IN_DOUBT, REFUSED, REFUSED_IN_DOUBT])
@pytest.mark.parametrize("state", ["Closed", "Ongoing", "Archived"])
def test_a_page_never_decides_what_is_in_doubt_or_refused(known, state):
    assert page_read(known, state, ASKED) is known


@pytest.mark.parametrize(
    ("state", "then"),
    [("Closed", ALREADY_CLOSED), ("Archived", UNREAD), ("Ongoing", OPEN), (None, OPEN), (["Closed"], OPEN)],
)
def test_a_later_page_takes_back_what_an_earlier_one_said(state, then):
    assert page_read(OPEN, state, OPEN.read_at + 1) == then


@pytest.mark.parametrize("state", ["Closed", "Archived", "Ongoing"])
def test_a_page_that_was_asked_for_before_a_reading_changes_nothing(state):
    assert page_read(OPEN, state, OPEN.read_at - 1) is OPEN


def test_a_page_that_was_asked_for_before_the_last_answer_is_no_reading():
    known = Purchase(ready_at=ASKED + 0.1)
    assert page_read(known, "Ongoing", ASKED) is known
    assert page_read(known, "Ongoing", ASKED + 0.1) == Purchase(read_at=ASKED + 0.1, ready_at=ASKED + 0.1)


# -- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (LuccaRefusedError("x", status=400), None),
        (LuccaRefusedError("x", status=400, detail="Wrong"), "Wrong"),
        (LuccaRefusedError("x", status=400, errors={"date": ["too late"]}), "[date: too late]"),
        (
            LuccaRefusedError(
                "x", status=400, detail="Wrong", errors={"date": ["late", "no day"], "comment": ["long"]}
            ),
            "Wrong [date: late, no day; comment: long]",
        ),
    ],
)
def test_messages_of_single_fields_follow_the_detail(error, detail):
    known = closing_answered(OPEN, error, NOW)
    assert isinstance(known, Purchase)
    assert known.refusal == Decision(Outcome.REJECTED, 400, None, detail)


@pytest.mark.parametrize(("length", "shown"), [(9999, "t" * 500 + "…"), (501, "t" * 500 + "…"), (500, "t" * 500)])
def test_luccas_words_are_cut_short(length, shown):
    known = closing_answered(OPEN, LuccaRefusedError("x", title="t" * length, detail="t" * length), NOW)
    assert isinstance(known, Purchase)
    assert known.refusal == Decision(Outcome.REJECTED, None, shown, shown)
    assert shorten("t" * length) == shown
    assert shorten("abc", 2) == "ab…"
