"""What stands in for Airflow where a task is run without it."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any


class TaskInstance:
    """What the operators and the sensor use of Airflow's."""

    dag_id = "dag"
    run_id = "run"
    task_id = "task"
    map_index = -1
    log_url = "https://airflow.example/dags/dag/runs/run/tasks/task?try_number=1"

    def __init__(self, try_number: int = 1, max_tries: int = 2) -> None:
        self.try_number = try_number
        self.max_tries = max_tries
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value

    @property
    def report(self) -> Any:
        return self.pushed["return_value"]


def fire(trigger: Any) -> Any:
    """Run a trigger as the triggerer does: built again from what it serializes to."""
    path, kwargs = trigger.serialize()
    module, _, name = path.rpartition(".")
    again = getattr(import_module(module), name)(**kwargs)

    async def first() -> Any:
        return await anext(again.run())

    return asyncio.run(first()).payload
