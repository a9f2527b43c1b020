"""The sliding window of the sandbox's rate limit."""

from __future__ import annotations

import pytest

from lucca_provider.sandbox.window import SlidingWindow


def test_the_limit_slides():
    window = SlidingWindow(2, 60)
    assert window.wait(100.0) == 0
    window.count(100.0)
    window.count(130.0)
    assert window.wait(130.0) == 30
    assert window.wait(159.5) == 0.5
    assert window.wait(160.0) == 0
    window.count(160.0)
    assert window.wait(160.0) == 30


def test_limit_zero_is_no_limit():
    window = SlidingWindow(0, 60)
    for _ in range(100):
        window.count(1.0)
    assert window.wait(1.0) == 0


@pytest.mark.parametrize(
    ("limit", "window", "message"),
    [(-1, 1, "limit is -1"), (1, 0, "window is 0"), (1, float("nan"), "window is nan")],
)
def test_values_that_make_no_sense_are_refused(limit, window, message):
    with pytest.raises(ValueError, match=message):
        SlidingWindow(limit, window)
