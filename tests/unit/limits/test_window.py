"""The rate limit's sliding window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucca_provider.limits import Window


def full(limit: int, *answers: float) -> Window:
    return Window(limit, 60.0, answers)


def test_there_is_room_until_the_limit_is_in_flight():
    window = Window(2)
    window.sent()
    assert window.room_at(100.0) == 100.0
    window.sent()
    assert window.room_at(100.0) is None


def test_a_request_leaves_the_window_sixty_seconds_after_its_answer():
    window = Window(1)
    window.sent()
    window.answered(103.0)
    assert window.room_at(104.0) == 163.0
    assert window.room_at(162.9) == 163.0
    assert window.room_at(163.0) == 163.0


def test_a_request_that_was_never_sent_does_not_count():
    window = Window(1)
    window.sent()
    window.not_sent()
    assert window.room_at(100.0) == 100.0


def test_requests_in_flight_take_the_place_of_the_oldest_answers():
    window = full(3, 10.0, 20.0)
    window.sent()
    assert window.room_at(30.0) == 70.0
    window.sent()
    assert window.room_at(30.0) == 80.0
    window.sent()
    assert window.room_at(30.0) is None


def test_answers_of_another_process_count_in_order_of_time():
    window = full(2, 30.0)
    window.add(10.0)
    assert window.answers() == [10.0, 30.0]
    assert window.room_at(40.0) == 70.0


def test_it_pays_to_come_back_for_the_first_of_answers_that_came_close_together():
    assert full(3, 10.0, 11.0, 12.0).burst_at(20.0, wanted=100, spread=10.0) == 70.0


def test_it_pays_to_come_back_for_the_next_burst_whatever_was_sent_after_it():
    """Those sent lately leave the window late, but the others do not."""
    assert full(4, 10.0, 11.0, 12.0, 69.0).burst_at(69.5, wanted=100, spread=10.0) == 70.0


@pytest.mark.parametrize(("second", "moment"), [(35.0, 85.0), (40.0, 90.0), (40.5, 70.0)])
def test_after_a_gap_of_more_than_half_a_window_begins_another_burst(second, moment):
    assert full(3, 10.0, second).burst_at(45.0, wanted=100, spread=10.0) == moment


def test_it_pays_to_come_back_late_when_the_answers_were_far_apart():
    assert full(3, 10.0, 30.0, 50.0).burst_at(51.0, wanted=100, spread=10.0) == 100.0


def test_it_pays_to_come_back_as_soon_as_there_is_room_for_the_rest():
    assert full(3, 10.0, 30.0, 50.0).burst_at(51.0, wanted=1, spread=10.0) == 70.0


def test_there_is_nothing_to_wait_for_without_answers():
    assert Window(3).burst_at(51.0, wanted=1, spread=10.0) == 51.0


@given(
    limit=st.integers(1, 5),
    gaps=st.lists(st.tuples(st.floats(0, 30), st.floats(0, 9), st.floats(0, 9)), max_size=60),
)
def test_the_server_never_sees_more_than_the_limit_in_a_window(limit, gaps):
    """Whatever the network's delay on the way there and back."""
    window = Window(limit, 60.0)
    now = 0.0
    seen: list[float] = []
    for gap, there, back in gaps:
        now += gap
        room = window.room_at(now)
        assert room is not None
        now = max(now, room)
        window.sent()
        seen.append(now + there)
        now += there + back
        window.answered(now)
    for index, moment in enumerate(seen):
        # A microsecond less, for what the sums of floats lose.
        assert sum(1 for other in seen[: index + 1] if other > moment - 60.0 + 1e-6) <= limit
