"""Any sequence of faults, kills, deferrals and retries: nothing lost, nothing repeated, nothing claimed wrongly."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lucca_provider.closing import Pause
from tests.unit.closing.model import FAULTS, Server, World

STATES = ["Ongoing", "Ongoing", "Ongoing", "Closed", "Created", "Cancelled", "Unheard", None]


class Closing(RuleBasedStateMachine):
    world: World

    @initialize(
        states=st.lists(st.sampled_from(STATES), min_size=1, max_size=25),
        blocked=st.sets(st.integers(0, 24)),
        unknown=st.sampled_from([0, 0, 1, 7]),
        bystanders=st.integers(0, 12),
        durable=st.booleans(),
        limit=st.integers(1, 45),
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
        server = Server({**known, **self.bystanders}, frozenset(100 + i for i in blocked), limit=max(limit, 45))
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

    @invariant()
    def the_server_never_has_to_send_a_429(self) -> None:
        # After a kill, what the dead process sent may not all be known.
        if hasattr(self, "world") and not self.killed:
            assert self.world.server.limited == 0

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        self.finish_try()
        for _ in range(3):
            if not world.run.report()["unresolved"]:
                break
            world.kill(300.0)
            self.finish_try()
        report = world.run.report()
        states = world.server.states
        for purchase_id in world.asked:
            if states.get(purchase_id) == "Ongoing" and purchase_id not in world.server.blocked:
                # Open, so it was refused at some time, or the run said that it does not know.
                assert purchase_id not in (*report["closed"], *report["already_closed"])
        for unresolved in report["unresolved"]:
            known = states.get(unresolved["id"])
            assert known in (None, "Unheard") or "were refused with 403" in unresolved["reason"], unresolved
        assert all(states[bystander] == "Ongoing" for bystander in self.bystanders)
        assert set(world.server.posts) <= set(world.asked)
        for purchase_id in world.asked:
            assert world.server.posts.count(purchase_id) <= 4 * 3 * world.tries

    def finish_try(self) -> None:
        while self.world.in_flight:
            self.world.deliver()
        assert not isinstance(self.world.finish(), Pause)


TestClosing = Closing.TestCase
TestClosing.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
