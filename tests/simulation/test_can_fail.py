"""Each invariant of the simulation can fail: take out what it is about, and it does."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import lucca_provider.closing.purchase as purchase_module
import lucca_provider.closing.records as records_module
import lucca_provider.closing.run as run_module
import lucca_provider.closing.wait as wait_module
import tests.simulation.process as process_module
from lucca_provider.closing import Attempt, ClosingRun
from lucca_provider.closing.agenda import Agenda
from lucca_provider.closing.decisions import Decisions
from lucca_provider.closing.purchase import Purchase
from lucca_provider.exceptions import LuccaInDoubtError, LuccaRefusedError
from lucca_provider.outcomes import CLOSED, Decision, Outcome
from lucca_provider.reading.lists import ListReader
from tests.simulation import clockwork
from tests.simulation.__main__ import MINIMUM, MINIMUM_FAULTS, find_missing, run_seeds
from tests.simulation.clockwork import Clockwork
from tests.simulation.faults import FAULTS
from tests.simulation.invariants import INVARIANTS
from tests.simulation.schedule import run_schedule

SEEDS = range(500)
MAX_EVENTS = 5_000
"""More than any of these schedules takes."""

TakeOut = Callable[[pytest.MonkeyPatch], object]


def reading(patch: pytest.MonkeyPatch) -> None:
    """Take everything for read as open, for ever."""

    def fill(self: Agenda, purchase_ids: Any, decided: Any, **ignored: bool) -> None:
        for purchase_id in purchase_ids:
            if purchase_id not in decided:
                self.put(purchase_id, Purchase(read_at=1e12))

    patch.setattr(Agenda, "fill", fill)


def later_pages(patch: pytest.MonkeyPatch) -> None:
    """Take a page for nothing but what is still unread."""
    patch.setattr(Agenda, "takes_pages", lambda self, purchase_id: purchase_id in self.unlisted)


def settling(patch: pytest.MonkeyPatch) -> None:
    """Read at once what may still take effect."""
    for module in (run_module, purchase_module, wait_module):
        patch.setattr(module, "SETTLE_SECONDS", 0.0)


def starting(patch: pytest.MonkeyPatch) -> None:
    """Ask at once what the process before may still have on its way."""
    patch.setattr(run_module, "SETTLE_SECONDS", 0.0)


def event(patch: pytest.MonkeyPatch) -> None:
    """Believe what a deferral brings along as often as it comes."""
    read = process_module.read_attempt

    def read_again(context: Any, brought: Any) -> Attempt:
        attempt = read(context, brought)
        return replace(attempt, resumed=brought is not None and brought["try"] == attempt.number)

    patch.setattr(process_module, "read_attempt", read_again)


def bound(patch: pytest.MonkeyPatch) -> None:
    """Send a closing as often as it takes."""
    for module in (purchase_module, wait_module):
        patch.setattr(module, "MAX_SENDS", 1000)


def closer(patch: pytest.MonkeyPatch) -> None:
    """Call everybody's closings its own."""
    patch.setattr(purchase_module, "ALREADY_CLOSED", CLOSED)


def unreadable(patch: pytest.MonkeyPatch) -> None:
    """Take any refused reading for a refused closing."""
    patch.setattr(purchase_module, "LuccaNotFoundError", LuccaRefusedError)


def intent(patch: pytest.MonkeyPatch) -> None:
    """Write nothing before a closing goes out."""
    patch.setattr(Agenda, "group", lambda self: [])


def asking(patch: pytest.MonkeyPatch) -> None:
    """Count a reading from when it arrived."""
    take = ClosingRun._take

    def take_late(self: ClosingRun, step: Any, sent: Any, answer: object, now: float) -> None:
        take(self, step, run_module._Sent(sent.purchase, now), answer, now)

    patch.setattr(ClosingRun, "_take", take_late)


def wait(patch: pytest.MonkeyPatch) -> None:
    """Read nothing of what was recorded before a wait."""
    patch.setattr(wait_module.Wait, "read", classmethod(lambda cls, carried, asked, now: None))


def doubt(patch: pytest.MonkeyPatch) -> None:
    """Take a lost answer for a yes."""
    _answer_in_doubt(patch, CLOSED)


def refusal(patch: pytest.MonkeyPatch) -> None:
    """Take a lost answer for a no."""
    _answer_in_doubt(patch, Decision(Outcome.REJECTED, 500))


def _answer_in_doubt(patch: pytest.MonkeyPatch, decision: Decision) -> None:
    answered = purchase_module.closing_answered

    def decided(purchase: Purchase, answer: object, now: float) -> Purchase | Decision:
        return decision if isinstance(answer, LuccaInDoubtError) else answered(purchase, answer, now)

    patch.setattr(run_module, "closing_answered", decided)


def naming(patch: pytest.MonkeyPatch) -> None:
    """Leave out of the report what is not decided."""
    build = run_module.build_report
    patch.setattr(run_module, "build_report", lambda ids, found: {**build(ids, found), "unresolved": []})


def silence(patch: pytest.MonkeyPatch) -> None:
    """Tell an outcome again in each stay."""
    recall = Decisions.recall

    def recall_aloud(self: Decisions, purchase_id: int, decision: Decision, *, told: bool) -> None:
        recall(self, purchase_id, decision, told=False)

    patch.setattr(Decisions, "recall", recall_aloud)


def freshness(patch: pytest.MonkeyPatch) -> None:
    """Let a reading count for ten seconds only."""
    patch.setattr(purchase_module, "READING_AGE", 10.0)


def thrift(patch: pytest.MonkeyPatch) -> None:
    """Read the list to its end, however long it is."""
    patch.setattr(ListReader, "is_worth_reading", lambda self, missing, affordable: not self.ended)


def words(patch: pytest.MonkeyPatch) -> None:
    """Forget over a wait who closed what."""
    patch.setitem(records_module._KEPT, "c", Outcome.ALREADY_CLOSED)


DYING: list[tuple[TakeOut, str]] = [
    (reading, "not posted to what was read as closed"),
    (reading, "read before it is closed"),
    (reading, "no second closing"),
    (later_pages, "not posted to what was closed since it was read"),
    (settling, "settled"),
    (settling, "no second closing"),
    (starting, "settled"),
    (event, "read before it is closed"),
    (bound, "few closings"),
    (intent, "intent first"),
    (intent, "its own closing is called closed"),
    (asking, "a reading is fresh"),
    (wait, "every run ends"),
    (wait, "within the limit"),
    (doubt, "closed is true"),
    (closer, "closed is true"),
    (refusal, "rejected was answered"),
    (unreadable, "rejected was answered"),
    (naming, "named once"),
    (silence, "metric, log and report agree"),
    (freshness, "few requests"),
    (thrift, "few pages"),
    (words, "deferrals change nothing"),
]


@pytest.mark.parametrize(("take_out", "invariant"), DYING, ids=lambda each: getattr(each, "__name__", each))
def test_an_invariant_dies_without_what_it_is_about(
    monkeypatch: pytest.MonkeyPatch, take_out: TakeOut, invariant: str
) -> None:
    take_out(monkeypatch)
    # What does not end without it need not be followed for long.
    monkeypatch.setattr(clockwork, "MAX_EVENTS", MAX_EVENTS)
    assert any(run_schedule(seed, watched=invariant).broken for seed in SEEDS)


def test_each_invariant_is_shown_to_be_able_to_die() -> None:
    assert {invariant for _, invariant in DYING} == set(INVARIANTS)


def test_a_fault_that_never_happens_is_missed() -> None:
    counts = Counter({"fault: " + name: MINIMUM_FAULTS for name in FAULTS} | MINIMUM)
    assert find_missing(counts) == []
    del counts["fault: odd page, loop"]
    assert [line for line in find_missing(counts) if "odd page, loop" in line] == find_missing(counts) != []


def test_a_fault_that_is_not_listed_cannot_be_counted() -> None:
    with pytest.raises(KeyError, match="no fault"):
        Clockwork(0).fault("an unknown one")


def test_a_schedule_leaves_nothing_to_the_garbage_collector() -> None:
    run_seeds(range(1))
    gc.collect()
    run_seeds(range(20))
    assert gc.collect() < 20


def test_all_hold_as_it_is() -> None:
    assert [broken for seed in range(100) for broken in run_schedule(seed).broken] == []


def test_a_seed_is_replayed_as_it_was() -> None:
    first, second = (run_schedule(7, tracing=True) for _ in range(2))
    assert first.trace
    assert first.trace == second.trace
