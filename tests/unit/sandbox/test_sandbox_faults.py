"""Which request meets which fault."""

from __future__ import annotations

import pytest

from lucca_provider.sandbox.faults import FAULTS, FaultPlan, Faults


def plan(faults=None, *, seed=1, everywhere=False):
    return FaultPlan(faults or {}, seed=seed, everywhere=everywhere)


def closing(plan, number=1):
    return plan.choose("POST", f"/{number}/closing", purchase_id=number, closing=True)


def get(plan, number=1):
    return plan.choose("GET", f"/{number}", purchase_id=number, closing=False)


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"nonsense": 0.1}, "unknown fault 'nonsense': use one of error_before"),
        ({"html": -0.1}, "html: probability -0.1 is not between 0 and 1"),
        ({"html": 1.1}, "html: probability 1.1"),
        ({"html": float("nan")}, "html: probability nan"),
        ({"html": 0.6, "hang": 0.6}, "hang: the probabilities of all faults add up to 1.2"),
    ],
)
def test_faults_that_make_no_sense_are_refused(faults, message):
    with pytest.raises(ValueError, match=message):
        Faults(faults)


def test_a_probability_may_be_changed():
    faults = Faults({"html": 0.9})
    faults["html"] = 1
    del faults["html"]
    faults.update({"hang": 1})
    assert faults == {"hang": 1}


def test_without_faults_nothing_happens():
    assert closing(plan()) is None


def test_probability_one_always_strikes_and_zero_never():
    always = plan({"html": 0, "hang": 1})
    assert [closing(always, n) for n in range(20)] == ["hang"] * 20


def test_chance_follows_the_probabilities():
    some = plan({"error_after": 0.2, "drop_before": 0.1})
    met = [closing(some, number) for number in range(5000)]
    assert met.count("error_after") == pytest.approx(1000, rel=0.1)
    assert met.count("drop_before") == pytest.approx(500, rel=0.1)


def test_chance_does_not_depend_on_the_order_of_the_requests():
    forward, backward = plan({"hang": 0.5}), plan({"hang": 0.5})
    there = {number: closing(forward, number) for number in range(50)}
    back = {number: closing(backward, number) for number in reversed(range(50))}
    assert there == back


def test_chance_depends_on_the_seed_and_on_the_attempt():
    one, two = plan({"hang": 0.5}), plan({"hang": 0.5}, seed=2)
    first = [closing(one, number) for number in range(50)]
    assert first != [closing(two, number) for number in range(50)]
    assert first != [closing(one, number) for number in range(50)]


def test_faults_hit_closings_only_unless_told_otherwise():
    assert get(plan({"hang": 1})) is None
    assert get(plan({"hang": 1}, everywhere=True)) == "hang"


def test_a_scripted_fault_strikes_as_often_as_told():
    scripted = plan()
    scripted.script("html", purchase_id=None, method=None, times=2)
    assert [get(scripted), closing(scripted), closing(scripted), closing(scripted)] == [None, "html", "html", None]


def test_a_scripted_fault_waits_for_its_purchase():
    scripted = plan({"hang": 1})
    scripted.script("html", purchase_id=2, method=None, times=1)
    assert [closing(scripted, 1), closing(scripted, 2), closing(scripted, 2)] == ["hang", "html", "hang"]


def test_a_scripted_fault_may_be_for_a_method():
    scripted = plan()
    scripted.script("html", purchase_id=1, method="GET", times=1)
    assert [closing(scripted), get(scripted, 2), get(scripted), get(scripted)] == [None, None, "html", None]


def test_a_script_is_checked():
    with pytest.raises(ValueError, match="unknown fault"):
        plan().script("nonsense", purchase_id=None, method=None, times=1)
    with pytest.raises(ValueError, match="times is 0"):
        plan().script("html", purchase_id=None, method=None, times=0)


def test_every_fault_says_what_it_does():
    assert all(meaning for meaning in FAULTS.values())
