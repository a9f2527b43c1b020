"""What is remembered over a wait: written, read back, and not taken for more than it can be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lucca_provider.closing.purchase import Purchase
from lucca_provider.closing.wait import Wait
from lucca_provider.exceptions import LuccaForbiddenError, LuccaInDoubtError, LuccaNotFoundError, LuccaThrottledError
from lucca_provider.limits import MAX_WAIT, Health
from lucca_provider.outcomes import Decision, Outcome
from lucca_provider.reading.lists import PURCHASES, ListReader

T = 1_000_000.0
ASKED = range(1, 10)
NO = Decision(Outcome.REJECTED, 409, "Open invoices", None)


def waits(**fields: Any) -> Wait:
    reader = ListReader(PURCHASES)
    reader.take({"items": [{"id": 1}, {"id": 2}], "count": 5, "next": "b"})
    given: dict[str, Any] = {
        "at": T,
        "settled_at": 0.0,
        "window": [T - 30, T - 1.5],
        "health": Health(),
        "reader": reader,
        "singly": True,
        "later": True,
        "purchases": {
            2: Purchase(read_at=T - 9),
            1: Purchase(read_at=T - 9),
            3: Purchase(read_at=T - 5, ready_at=T - 7),
            4: Purchase(read_at=T - 5, sends=2),
            5: Purchase(reads=2, ready_at=T + 4),
            6: Purchase(ready_at=T - 3, refusal=NO),
        },
        "unresolved": {
            7: Decision(Outcome.UNRESOLVED, detail="why"),
            8: Decision(Outcome.UNRESOLVED, detail="why", outage=True),
        },
    }
    return Wait(**{**given, **fields})


def carried(**fields: Any) -> dict[str, Any]:
    return dict(json.loads(json.dumps(waits(**fields).carry())))


def again(now: float = T, asked: Any = ASKED, **fields: Any) -> Wait:
    wait = Wait.read(carried(**fields), asked, now)
    assert wait is not None
    return wait


# -- there and back ----------------------------------------------------------------------------------------------------


def test_it_comes_back_as_it_was():
    before, wait = waits(), again()
    assert wait.window == before.window
    assert wait.health == before.health
    assert (wait.singly, wait.later) == (True, True)
    assert wait.purchases == before.purchases
    assert list(wait.purchases) == list(before.purchases)
    assert wait.unresolved == before.unresolved
    assert wait.reader is not None
    assert wait.reader.carry() == before.reader.carry()


def test_a_list_that_cannot_be_used_stays_so():
    assert again(reader=None).reader is None


def test_how_healthy_the_server_is_comes_back():
    health = Health()
    health.take(LuccaThrottledError("429", retry_after=7.0), T, closing=True)
    health.take(LuccaInDoubtError("503", retry_after=9.0), T)
    health.take(LuccaInDoubtError("503"), T + 9)
    health.take(LuccaNotFoundError("404"), T + 9)
    health.access.take_reading(LuccaForbiddenError("403"))
    health.access.take_closing(None)
    assert health.access.probe_due
    assert again(now=T + 9, health=health).health == health


def test_what_nobody_asks_for_any_more_is_left_out():
    wait = again(asked=[1, 6, 7])
    assert list(wait.purchases) == [1, 6]
    assert list(wait.unresolved) == [7]


def test_readings_of_one_moment_and_reasons_that_repeat_are_written_once():
    purchases = {each: Purchase(read_at=T) for each in range(1, 1001)}
    unresolved = {each: Decision(Outcome.UNRESOLVED, detail="why" * 100) for each in range(1001, 2001)}
    assert len(json.dumps(carried(purchases=purchases, unresolved=unresolved))) < 12 * 1000 + 1000


def test_a_reason_may_be_missing():
    assert again(unresolved={7: Decision(Outcome.UNRESOLVED)}).unresolved[7].detail == ""


# -- another clock -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew", [-3600.0, -60.0, 60.0, 3600.0])
def test_what_is_in_doubt_is_settled_by_the_readers_own_start(skew):
    wait = again(now=T + skew, purchases={1: Purchase(ready_at=T + 5, sends=1, maybe=True)})
    assert wait.purchases == {1: Purchase(ready_at=T + skew + 5.0, sends=1, maybe=True)}


def test_no_moment_is_later_than_it_can_be_where_the_other_clock_is_ahead():
    health = Health()
    health.take(LuccaThrottledError("429", retry_after=100.0), T)
    now = T - 3600
    wait = again(now=now, health=health)
    assert wait.window == [now, now]
    assert wait.health.ready_at == now + MAX_WAIT
    assert wait.purchases[1] == Purchase(read_at=now, ready_at=0.0)
    assert wait.purchases[3] == Purchase(read_at=now, ready_at=now)
    assert wait.purchases[4] == Purchase(read_at=now, sends=2)
    assert wait.purchases[5] == Purchase(reads=2, ready_at=now + 8.0)


@pytest.mark.parametrize(("settled_at", "seconds"), [(0.0, 0.0), (T, 0.0), (T + 0.1, 5.0), (T + 5, 5.0)])
@pytest.mark.parametrize("skew", [-60.0, 0.0, 60.0])
def test_what_had_not_settled_before_the_wait_settles_by_the_readers_own_start(settled_at, seconds, skew):
    doubt = {1: Purchase(ready_at=settled_at, sends=1, maybe=True)}
    wait = again(now=T + skew, settled_at=settled_at, purchases=doubt)
    assert wait.settled_at == T + skew + seconds
    assert wait.purchases[1].ready_at == T + skew + seconds


def test_where_the_other_clock_is_behind_moments_stay_as_they_are():
    wait = again(now=T + 3600)
    assert wait.window == waits().window
    assert wait.purchases == waits().purchases


def test_counts_are_no_higher_than_they_can_be():
    wait = again(purchases={1: Purchase(sends=99, reads=99)})
    assert wait.purchases == {1: Purchase(sends=3, reads=4)}


# -- what cannot be read -----------------------------------------------------------------------------------------------

NONSENSE = [None, "text", float("nan"), float("inf"), -5, 10**400, {}, [], [None], [[]], [["x"]], [[1, 2]], {"a": 5}]


@pytest.mark.parametrize("value", NONSENSE[1:])
def test_a_record_of_another_shape_is_unreadable(value):
    assert Wait.read(value, ASKED, T) is None


def test_without_a_record_there_is_nothing():
    assert Wait.read(None, ASKED, T) is None


@pytest.mark.parametrize("name", ["window", "health", "list", "singly", "later", "open", "others", "unresolved"])
def test_a_record_that_lacks_something_is_unreadable(name):
    record = carried()
    del record[name]
    assert Wait.read(record, ASKED, T) is None


@pytest.mark.parametrize("value", NONSENSE)
@pytest.mark.parametrize("name", ["window", "health", "list", "singly", "later", "open", "others", "unresolved"])
def test_any_nonsense_in_a_record_is_unreadable_or_harmless(name, value):
    wait = Wait.read({**carried(), name: value}, ASKED, T)
    if wait is not None:
        assert set(wait.purchases) <= set(ASKED)
        assert all(moment <= T for moment in wait.window)
        assert wait.health.ready_at <= T + MAX_WAIT


@pytest.mark.parametrize("value", ["x", "5", "nan", "-500", None, [], {}, float("nan"), 10**400, -5])
@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("window", [0]),
        ("health", [0]),
        ("health", [1]),
        ("health", [2]),
        ("list", [1]),
        ("open", [0, 0]),
        ("open", [0, 1]),
        ("others", [0, 3]),
        ("others", [0, 4]),
    ],
)
def test_nonsense_where_a_number_belongs_makes_the_record_unreadable(name, path, value):
    record = carried()
    place = record[name]
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert Wait.read(record, ASKED, T) is None


@pytest.mark.parametrize("purchase_id", ["1", 1.0, True, None, [1], {}])
@pytest.mark.parametrize("name", ["open", "others", "unresolved"])
def test_a_purchase_that_is_not_named_by_a_number_is_none(name, purchase_id):
    record = carried()
    record["open"] = [[T, T, [purchase_id]]] if name == "open" else []
    record["others"] = [[purchase_id, None, T, 0, 0, False, None]] if name == "others" else []
    record["unresolved"] = [["why", False, [purchase_id]]] if name == "unresolved" else []
    wait = Wait.read(record, ASKED, T)
    assert wait is None or (wait.purchases, wait.unresolved) == ({}, {})


@pytest.mark.parametrize("words", [5, "text", [], [409], [409, "t", "d", "e"], {"status": 409}, [{}, [], 5]])
def test_a_refusal_that_cannot_be_read_makes_the_record_unreadable(words):
    record = carried()
    record["others"] = [[1, None, T, 0, 0, False, words]]
    assert Wait.read(record, ASKED, T) is None
