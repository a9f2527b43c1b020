"""The trigger that waits: it waits, and does nothing else."""

from __future__ import annotations

import asyncio
import time

from lucca_provider.triggers.lucca import LuccaWaitTrigger


def events(trigger: LuccaWaitTrigger) -> list[object]:
    async def collect() -> list[object]:
        return [event.payload async for event in trigger.run()]

    return asyncio.run(collect())


def test_it_hands_back_what_the_task_gave_it_once():
    progress = "what was done"
    assert events(LuccaWaitTrigger(0.0, progress)) == [{"status": "success", "progress": progress}]


def test_it_does_not_come_before_its_moment():
    moment = time.time() + 0.2
    events(LuccaWaitTrigger(moment, ""))
    assert time.time() >= moment


def test_it_is_built_again_from_what_it_serializes_to():
    assert LuccaWaitTrigger(5.0, "x").serialize() == (
        "lucca_provider.triggers.lucca.LuccaWaitTrigger",
        {"moment": 5.0, "progress": "x"},
    )
