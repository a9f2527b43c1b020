"""Any sequence of faults, kills, deferrals and retries: nothing lost, nothing repeated, nothing claimed wrongly."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.closing.model import FAULTS, Server, World


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    """Hundreds of thousands of log lines tell nobody anything."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


STATES = ["Ongoing", "Ongoing", "Ongoing", "Closed", "Created", "Cancelled", "Unheard", None]


class Closing(RuleBasedStateMachine):
    world: World

    @initialize(
        states=st.lists(st.sampled_from(STATES), min_size=1, max_size=25),
        blocked=st.sets(st.integers(0, 24)),
        unknown=st.sampled_from([0, 0, 1, 7]),
        bystanders=st.integers(0, 12),
        durable=st.booleans(),
        limit=st.integers(1, 8),
        max_in_flight=st.integers(1, 4),
        data=st.data(),
    )
    def set_up(
        self,
        states: list[str | None],
        blocked: set[int],
        unknown: int,
        bystanders: int,
        durable: bool,
        limit: int,
        max_in_flight: int,
        data: Any,
    ) -> None:
        known = {100 + i: state for i, state in enumerate(states)}
        self.bystanders = {900 + i: "Ongoing" for i in range(bystanders)}
        asked = data.draw(st.permutations([*known, *range(500, 500 + unknown)]))
        server = Server({**known, **self.bystanders}, frozenset(100 + i for i in blocked), limit=limit)
        self.world = World(asked, server, durable=durable, limit=limit, max_in_flight=max_in_flight)
        self.killed = False

    @rule(fault=st.sampled_from(FAULTS[:-1]) | st.just("none"))
    def ask(self, fault: str) -> None:
        self.world.ask(fault)

    @rule(count=st.integers(1, 30))
    def ask_and_hear_at_once(self, count: int) -> None:
        for _ in range(count):
            self.world.ask()
            if self.world.in_flight:
                self.world.deliver()

    @rule()
    def the_key_is_revoked_for_a_moment(self) -> None:
        self.world.ask("no right key")

    @precondition(lambda self: self.world.in_flight)
    @rule(data=st.data())
    def hear(self, data: Any) -> None:
        self.world.deliver(data.draw(st.integers(0, len(self.world.in_flight) - 1)))

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.0, 5.0, 20.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(retry_delay=st.sampled_from([0.0, 1.0, 300.0]))
    def kill(self, retry_delay: float) -> None:
        self.killed = True
        self.world.kill(retry_delay)

    @precondition(lambda self: not self.world.in_flight and self.world.run.stopped is None)
    @rule(seconds=st.sampled_from([0.0, 55.0, 120.0]))
    def leave(self, seconds: float) -> None:
        self.world.leave(seconds)

    @rule(data=st.data())
    def the_upstream_list_changes_its_order(self, data: Any) -> None:
        # Seen by the next try only.
        self.world.asked = data.draw(st.permutations(self.world.asked))

    @invariant()
    def every_purchase_is_in_the_report_once(self) -> None:
        if hasattr(self, "world"):
            report = self.world.run.report()
            named = [*report["closed"], *report["already_closed"]]
            named += [item["id"] for item in (*report["rejected"], *report["unresolved"])]
            assert sorted(named) == sorted(self.world.asked)

    @invariant()
    def what_is_called_closed_is_closed(self) -> None:
        if hasattr(self, "world"):
            report = self.world.run.report()
            for purchase_id in (*report["closed"], *report["already_closed"]):
                assert self.world.server.states[purchase_id] == "Closed"
            if self.world.durable or not self.killed:
                assert not set(report["already_closed"]) & self.world.server.closed_by_us

    @invariant()
    def the_server_never_has_to_send_a_429(self) -> None:
        # After a kill, what the dead process sent may not all be known.
        if hasattr(self, "world") and not self.killed:
            assert self.world.server.limited == 0

    def teardown(self) -> None:
        if hasattr(self, "world"):
            while self.world.in_flight:
                self.world.deliver()
            settle(self.world)
            check(self.world)
            assert all(self.world.server.states[bystander] == "Ongoing" for bystander in self.bystanders)


def settle(world: World) -> None:
    """Let Airflow retry, without faults now, until nothing is unresolved that a retry could resolve."""
    assert world.finish()
    for _ in range(3):
        if world.run.report()["unresolved"]:
            world.kill(300.0)
            assert world.finish()


def check(world: World) -> None:
    """Hold the report against the truth."""
    report, server = world.run.report(), world.server
    closed = {*report["closed"], *report["already_closed"]}
    assert closed == {i for i in world.asked if server.states.get(i) == "Closed"}
    if world.durable or world.tries == 1:
        assert set(report["closed"]) >= server.closed_by_us
    for unresolved in report["unresolved"]:
        # Lucca does not tell a state that says open or closed, or the key has no right.
        assert server.states.get(unresolved["id"]) in (None, "Unheard") or "403" in unresolved["reason"]
    for rejected in report["rejected"]:
        assert rejected["status"] in (403, 404, 409)
    assert set(server.posts) <= set(world.asked)


TestClosing = Closing.TestCase
TestClosing.settings = settings(max_examples=3 * settings().max_examples, stateful_step_count=40, deadline=None)


@given(
    states=st.lists(st.sampled_from(STATES), min_size=1, max_size=20),
    blocked=st.sets(st.integers(0, 19)),
    durable=st.booleans(),
    limit=st.integers(1, 8),
    max_in_flight=st.integers(1, 4),
    faults=st.lists(st.sampled_from(["none", *FAULTS[:-2]]), min_size=1, max_size=40),
    latencies=st.lists(st.sampled_from([0.0, 0.2, 3.0, 9.0]), min_size=1, max_size=5),
    kills=st.lists(st.tuples(st.integers(1, 15), st.sampled_from([0.0, 2.0, 300.0])), max_size=3),
)
@settings(max_examples=6 * settings().max_examples, deadline=None)
def test_whatever_goes_wrong_every_purchase_is_closed_once_or_named(
    states: list[str | None],
    blocked: set[int],
    durable: bool,
    limit: int,
    max_in_flight: int,
    faults: list[str],
    latencies: list[float],
    kills: list[tuple[int, float]],
) -> None:
    server = Server({100 + i: state for i, state in enumerate(states)}, frozenset(100 + i for i in blocked), limit)
    world = World(server.states, server, durable=durable, limit=limit, max_in_flight=max_in_flight)
    going_wrong = chain(faults, repeat("none"))
    for requests, retry_delay in kills:
        if world.finish(going_wrong, latencies, requests):
            break
        world.kill(retry_delay)
    else:
        assert world.finish(going_wrong, latencies)
    assert kills or server.limited == 0
    settle(world)
    check(world)
