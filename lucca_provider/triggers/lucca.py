"""The trigger that waits for room in the tenant's limit. It only waits: no request ever leaves a trigger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

__all__ = ["LuccaWaitTrigger"]


class LuccaWaitTrigger(BaseTrigger):
    """
    Waits until a moment, then hands back what the task gave it.

    Triggers may run twice (apache/airflow#67945), which does no harm here. What the task must know afterwards
    travels in the event, because ``dag.test()`` drops the keyword arguments of a deferral.

    :param moment: seconds since the epoch
    :param progress: what the event hands back
    """

    def __init__(self, moment: float, progress: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.moment = moment
        self.progress = progress

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments to build it again."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {"moment": self.moment, "progress": self.progress}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: ``{"status": "success", "progress": …}``."""
        await asyncio.sleep(max(0.0, self.moment - time.time()))
        yield TriggerEvent({"status": "success", "progress": self.progress})  # type: ignore[no-untyped-call]
