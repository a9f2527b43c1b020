"""The lines of progress: enough to see that a long run goes on, and no more."""

from __future__ import annotations

import logging

import pytest

from lucca_provider.closing.progress import Progress
from lucca_provider.limits import Window

T = 1_700_000_000.0


@pytest.fixture
def progress(caplog: pytest.LogCaptureFixture) -> Progress:
    """Make the progress of a run with a limit of 50 in 60 seconds."""
    caplog.set_level(logging.INFO)
    return Progress(Window(50, 60.0))


def test_a_wait_for_the_limit_has_a_line_in_each_window(progress: Progress, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        progress.say_wait(T + 60 * number, T + 60 * number + 58, 50 * number, 200)
    assert len(caplog.messages) == 3


def test_the_waits_within_one_burst_have_one_line(progress: Progress, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(10):
        progress.say_wait(T + 2 * number, T + 2 * number + 1.5, 50, 200)
    assert len(caplog.messages) == 1


def test_a_wait_of_a_moment_has_none(progress: Progress, caplog: pytest.LogCaptureFixture) -> None:
    progress.say_wait(T, T + 0.9, 50, 200)
    assert caplog.messages == []
