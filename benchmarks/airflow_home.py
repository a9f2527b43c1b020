"""An Airflow of the benchmarks' own, which runs DAGs as ``airflow dags test`` or with all that a real one has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.tenants import Tenant
from local_airflow.deployment import ROOT, STANDALONE, Deployment

DAGS = Path(__file__).parent / "dags"


@dataclass(frozen=True)
class Task:
    """
    A DAG with one task that closes all purchases of a tenant.

    :param delay: seconds to wait before the first closing, so that the bursts of several do not meet
    """

    name: str
    tenant: Tenant
    requests_per_minute: int = 1_000_000
    window_seconds: float = 60.0
    deferrable: bool = False
    durable: bool = True
    delay: float = 0.0

    def settings(self) -> dict[str, Any]:
        """Return what the DAG file builds the DAG from."""
        names = ("deferrable", "durable", "delay")
        return {"ids": self.tenant.purchase_ids, **{name: getattr(self, name) for name in names}}

    def connection(self) -> str:
        """Return the Airflow connection that the task uses."""
        return self.tenant.connection(requests_per_minute=self.requests_per_minute, window_seconds=self.window_seconds)


@dataclass(frozen=True)
class Stay:
    """
    A stay of a task on a worker.

    :param startup: seconds from the start of its process to that of the operator
    :param started: when the operator started, in seconds since the epoch
    :param left: when it was done or deferred
    :param done: whether it was done
    """

    startup: float
    started: float
    left: float
    done: bool

    @property
    def seconds(self) -> float:
        """How long the operator itself took."""
        return self.left - self.started


class AirflowHome(Deployment):
    """An Airflow that closes the purchases of tenants, as ``dags test`` or whole."""

    def __init__(self) -> None:
        # What differs from Airflow's own defaults in other deployments would be measured too.
        defaults = {
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "True",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "5",
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "5.0",
        }
        own = {
            "PYTHONPATH": str(ROOT),
            "AIRFLOW__CORE__PARALLELISM": "8",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
        }
        super().__init__(environ={**defaults, **own}, parts=STANDALONE, dags=[DAGS], whole=False)

    def __enter__(self) -> AirflowHome:
        super().__enter__()
        self._stays = self.home / "stays"
        self._stays.mkdir()
        self._tasks = self.home / "tasks.json"
        self.environ |= {"BENCHMARK_TASKS": str(self._tasks), "BENCHMARK_STAYS": str(self._stays)}
        self.add([])
        return self

    def add(self, tasks: Sequence[Task]) -> None:
        """Say which tasks there are, each in a DAG of its name with a connection of its name."""
        self._tasks.write_text(json.dumps({task.name: task.settings() for task in tasks}))
        self.environ |= {f"AIRFLOW_CONN_{task.name.upper()}": task.connection() for task in tasks}

    def test(self, name: str, *, may_fail: bool = False) -> None:
        """Run a DAG in one process, as ``dag.test()`` does."""
        self.run("dags", "test", name, may_fail=may_fail)

    def stays(self, name: str) -> list[Stay]:
        """Return the stays of a task on a worker so far."""
        if not (self._stays / name).exists():
            return []
        return [Stay(**json.loads(line)) for line in (self._stays / name).read_text().splitlines()]

    @contextmanager
    def running(self, tasks: Sequence[Task]) -> Iterator[None]:
        """Run tasks in a whole Airflow: scheduler, DAG processor, triggerer, API server and executor."""
        self.add(tasks)
        settings = self._tasks.read_text()
        self._tasks.write_text("{}")
        self.start("standalone")
        self.wait_until_healthy()
        # Only now, because a task that starts before the API server does fails.
        self._tasks.write_text(settings)
        yield
        self.kill("standalone")
