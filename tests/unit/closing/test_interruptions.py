"""An interruption at any line of taking an answer leaves what is closed as closed, in the report and in the journal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from lucca_provider.closing import ClosingRun, Kind, Pause, Step
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
from tests.unit.closing.store import MemoryStore

T = 1_000_000.0
PACKAGE = "lucca_provider"


class InterruptedHere(BaseException):
    """As a time-out of Airflow's, from a signal handler."""


class Interruption:
    """Raises at one line of this package, counted over all that a call comes to."""

    def __init__(self, line: int) -> None:
        self.line = line

    def __enter__(self) -> None:
        self.before = sys.gettrace()
        sys.settrace(self._call)

    def __exit__(self, *args: object) -> None:
        sys.settrace(self.before)

    def _call(self, frame: FrameType, event: str, arg: object) -> Any:
        return self._step if str(frame.f_globals.get("__name__", "")).startswith(PACKAGE) else None

    def _step(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "line":
            self.line -= 1
            if self.line < 0:
                sys.settrace(None)
                raise InterruptedHere
        return self._step


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Thousands of log lines tell nobody anything."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


class Scene:
    """
    A run with three purchases and an answer that is to be taken.

    :param closed: purchases that are closed, by Lucca's answers so far and the one that is interrupted
    :param exchanges: what happened before
    :param last: the step whose answer is interrupted
    """

    def __init__(self, name: str, closed: dict[int, str], exchanges: list[tuple[Step, object]], last: object) -> None:
        self.name = name
        self.closed = closed
        self.exchanges = exchanges
        self.last = last

    def start(self) -> tuple[MemoryStore, ClosingRun, Step, float]:
        store = MemoryStore()
        run = ClosingRun([1, 2, 3], journal=store.open(), window=Window(45))
        at = T
        for step, answer in self.exchanges:
            at = waited(run, at, step)
            run.answered(step, answer, at)
        step = run.next(at)
        if isinstance(step, Pause):
            assert step.until is not None
            at = step.until
            step = run.next(at)
        assert isinstance(step, Step)
        return store, run, step, at


def waited(run: ClosingRun, at: float, step: Step) -> float:
    """Expect a step, perhaps after a pause; return when."""
    what = run.next(at)
    if isinstance(what, Pause):
        assert what.until is not None
        at = what.until
        what = run.next(at)
    assert what == step
    return at


def close(purchase_id: int) -> Step:
    return Step(Kind.CLOSE, purchase_id)


def read(purchase_id: int) -> Step:
    return Step(Kind.READ, purchase_id)


def page(*states: str) -> dict[str, Any]:
    return {"items": [{"id": each, "state": state} for each, state in enumerate(states, 1)], "count": len(states)}


OPEN = (Step(Kind.LIST), page("Ongoing", "Ongoing", "Ongoing"))
LOST = LuccaInDoubtError("connection reset")
REFUSED = LuccaRefusedError("409", status=409, errors={"date": ["late"]})
NOT_FOUND = LuccaNotFoundError("404", status=404)
THROTTLED = LuccaThrottledError("429", retry_after=7.0)
IN_DOUBT = [OPEN, (close(1), LOST), (close(2), None), (close(3), None)]
UNLISTED = [(Step(Kind.LIST), REFUSED)]

SCENES = [
    Scene("a yes", {1: "closed"}, [OPEN], None),
    Scene("a last yes", dict.fromkeys((1, 2, 3), "closed"), [OPEN, (close(1), None), (close(2), None)], None),
    Scene("a no", {}, [OPEN], REFUSED),
    Scene("no right", {}, [OPEN], LuccaForbiddenError("403", status=403)),
    Scene("no answer", {}, [OPEN], LOST),
    Scene("an unclear yes", {}, [OPEN], LuccaUnclearError("text")),
    Scene("not sent", {}, [OPEN], LuccaNotSentError("refused")),
    Scene("429", {}, [OPEN], THROTTLED),
    Scene("429 that asks for too much", {}, [OPEN], LuccaThrottledError("429", retry_after=700.0)),
    Scene("a wrong key", {}, [OPEN], LuccaAccessError("401")),
    Scene("a closed page", dict.fromkeys((1, 2, 3), "already_closed"), [], page("Closed", "Closed", "Closed")),
    Scene("a mixed page", {2: "already_closed"}, [], page("Ongoing", "Closed", "Odd")),
    Scene("no page", {}, [], "nonsense"),
    Scene("a page that is refused", {}, [], REFUSED),
    Scene("a page that is not there", {}, [], NOT_FOUND),
    Scene("a read state", {1: "already_closed"}, UNLISTED, "Closed"),
    Scene("a read open state", {}, UNLISTED, "Ongoing"),
    Scene("no state", {}, UNLISTED, None),
    Scene("a purchase that is not there", {}, UNLISTED, NOT_FOUND),
    Scene("a reading without an answer", {}, UNLISTED, LOST),
    Scene("in doubt, and closed", dict.fromkeys((1, 2, 3), "closed"), IN_DOUBT, "Closed"),
    Scene("in doubt, and open", dict.fromkeys((2, 3), "closed"), IN_DOUBT, "Ongoing"),
    Scene(
        "refused, and closed before",
        {1: "already_closed", 2: "closed", 3: "closed"},
        [OPEN, (close(1), REFUSED), (close(2), None), (close(3), None)],
        "Closed",
    ),
    Scene("a probe after a held answer", {}, [(Step(Kind.LIST), NOT_FOUND)], None),
    Scene("a probe that finds no API", {}, [(Step(Kind.LIST), NOT_FOUND)], NOT_FOUND),
]  # fmt: skip


def interrupt(scene: Scene, line: int, then: Callable[[ClosingRun, Step, float], None]) -> bool:
    """Interrupt the taking of a scene's last answer at a line; return whether there is such a line."""
    store, run, step, at = scene.start()
    try:
        with Interruption(line):
            run.answered(step, scene.last, at)
    except InterruptedHere:
        pass
    else:
        return False
    then(run, step, at)
    report = run.end()
    told = {each: name for name in ("closed", "already_closed") for each in report[name]}  # type: ignore[literal-required]
    assert told == scene.closed
    named = [*told, *(one["id"] for one in (*report["rejected"], *report["unresolved"]))]
    assert sorted(named) == [1, 2, 3]
    decisions = store.open(2).decisions.items()
    kept = {each: known.outcome.value for each, known in decisions if known.outcome.is_closed}
    assert kept == scene.closed
    return True


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_an_interruption_at_any_line_leaves_closed_as_closed(scene):
    def taken_again(run: ClosingRun, step: Step, at: float) -> None:
        run.stop("the task was interrupted")
        run.answered(step, scene.last, at)

    line = 0
    while interrupt(scene, line, taken_again):
        line += 1
    print(f"{line} interruptions")  # noqa: T201 - pytest -rP shows it
    assert line > 20


def test_an_answer_is_taken_again_however_often_it_is_interrupted():
    scene = SCENES[1]
    _, run, step, at = scene.start()
    for line in range(40):
        with pytest.raises(InterruptedHere), Interruption(line):
            run.answered(step, scene.last, at)
    run.answered(step, scene.last, at)
    assert run.end()["closed"] == [1, 2, 3]


def write_interrupted_at(line: int) -> bool:
    store = MemoryStore()
    run = ClosingRun(range(1, 21), journal=store.open(), window=Window(45))
    at = waited(run, T, Step(Kind.LIST))
    run.answered(Step(Kind.LIST), page(*["Ongoing"] * 20), at)
    for _ in range(8):
        step = run.next(at)
        assert isinstance(step, Step)
        run.answered(step, None, at)
    interrupted = False
    try:
        with Interruption(line):
            run.next(at)
    except InterruptedHere:
        interrupted = True
    run.stop("the task was interrupted")
    assert run.end()["closed"] == list(range(1, 9))
    later = store.open(2)
    assert {each for each, known in later.decisions.items() if known.outcome.is_closed} == set(range(1, 9))
    # It may be on its way, as far as the run knows.
    assert later.sent <= {9}
    return interrupted


def test_an_interruption_at_any_line_of_a_write_leaves_a_journal_that_tells_the_truth():
    line = 0
    while write_interrupted_at(line):
        line += 1
    assert line > 100
