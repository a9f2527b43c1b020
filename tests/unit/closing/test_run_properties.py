"""Any sequence of faults, kills, waits and retries: nothing lost, nothing repeated, nothing claimed wrongly."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import chain, cycle, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.closing.model import FAULTS, Server, World


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    """Hundreds of thousands of log lines tell nobody anything."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


STATES = ["Ongoing", "Ongoing", "Ongoing", "Closed", "Created", "Cancelled", "Unheard", None]


@given(
    states=st.lists(st.sampled_from(STATES), min_size=1, max_size=16),
    unknown=st.sampled_from([0, 0, 1, 6]),
    blocked=st.sets(st.integers(0, 15), max_size=4),
    durable=st.booleans(),
    leaving=st.booleans(),
    limit=st.integers(1, 8),
    max_in_flight=st.integers(1, 4),
    faults=st.lists(st.sampled_from(["none", *FAULTS]), min_size=1, max_size=40),
    latencies=st.lists(st.sampled_from([0.0, 0.2, 3.0, 9.0]), min_size=1, max_size=5),
    kills=st.lists(st.tuples(st.integers(1, 15), st.sampled_from([0.0, 2.0, 300.0])), max_size=3),
)
def test_whatever_goes_wrong_every_purchase_is_closed_once_or_named(
    states: list[str | None],
    unknown: int,
    blocked: set[int],
    durable: bool,
    leaving: bool,
    limit: int,
    max_in_flight: int,
    faults: list[str],
    latencies: list[float],
    kills: list[tuple[int, float]],
) -> None:
    known = {100 + i: state for i, state in enumerate(states)}
    server = Server({**known, 900: "Ongoing"}, frozenset(100 + i for i in blocked))
    asked = [*known, *range(500, 500 + unknown)]
    world = World(asked, server, durable=durable, limit=limit, max_in_flight=max_in_flight)
    going_wrong, delays = chain(faults, repeat("none")), cycle(latencies)
    for requests, retry_delay in kills:
        if world.finish(going_wrong, delays, requests=requests, leaving=leaving):
            break
        world.kill(retry_delay)
    assert world.finish(going_wrong, delays, requests=2000, leaving=leaving)
    check(world)
    # Airflow retries, without faults now, until nothing is unresolved that a retry could resolve.
    for _ in range(2):
        if world.run.report()["unresolved"]:
            world.kill(300.0)
            assert world.finish(repeat("none"), delays, requests=2000, leaving=leaving)
            check(world)
    assert server.states[900] == "Ongoing"
    report = world.run.report()
    assert {each for each in asked if server.states.get(each) == "Ongoing"} <= {one["id"] for one in report["rejected"]}
    assert all(server.states.get(one["id"]) in (None, "Unheard") for one in report["unresolved"])


def check(world: World) -> None:
    """Hold the report against the truth."""
    report, server = world.run.end(), world.server
    closed = [*report["closed"], *report["already_closed"]]
    others = [one["id"] for one in (*report["rejected"], *report["unresolved"])]
    assert sorted(closed + others) == sorted(world.asked)
    assert sorted(world.told) == sorted(world.asked)
    assert all(server.states[each] == "Closed" for each in closed)
    assert set(report["closed"]) <= server.closed_by_us
    if world.durable or world.tries == 1:
        assert not set(report["already_closed"]) & server.closed_by_us
    assert all(one["status"] in (403, 404, 409) for one in report["rejected"])
