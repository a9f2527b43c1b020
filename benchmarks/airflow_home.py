"""An Airflow of the benchmarks' own, which runs DAGs as ``airflow dags test`` or with all that a real one has."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from benchmarks.tenants import Tenant

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


class AirflowHome:
    """A home, a database and settings that touch nothing of the user's, for as long as a ``with`` block lasts."""

    def __enter__(self) -> AirflowHome:
        self._home = Path(tempfile.mkdtemp(prefix="lucca-benchmarks-"))
        self._stays = self._home / "stays"
        self._stays.mkdir()
        self._tasks = self._home / "tasks.json"
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
        self.environ |= {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "BENCHMARK_TASKS": str(self._tasks),
            "BENCHMARK_STAYS": str(self._stays),
            "AIRFLOW_HOME": str(self._home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "8",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        self.add([])
        self._airflow("db", "migrate")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        shutil.rmtree(self._home, ignore_errors=True)

    def add(self, tasks: Sequence[Task]) -> None:
        """Say which tasks there are, each in a DAG of its name with a connection of its name."""
        self._tasks.write_text(json.dumps({task.name: task.settings() for task in tasks}))
        self.environ |= {f"AIRFLOW_CONN_{task.name.upper()}": task.connection() for task in tasks}

    def test(self, name: str, *, may_fail: bool = False) -> None:
        """Run a DAG in one process, as ``dag.test()`` does."""
        self._airflow("dags", "test", name, may_fail=may_fail)

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
        api, worker_logs, trigger_logs = _free_ports(3)
        environ = {
            **self.environ,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(api),
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{api}",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{api}/execution/",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
        }
        with (self._home / "airflow.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", "standalone"],
                env=environ,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                wait_until(lambda: _answers(f"http://127.0.0.1:{api}/api/v2/version"), seconds=120)
                # Only now, because a task that starts before the API server does fails.
                self._tasks.write_text(settings)
                yield
            finally:
                _end(process)

    def _airflow(self, *args: str, may_fail: bool = False) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *args], env=self.environ, capture_output=True, text=True, check=False
        )
        if done.returncode and not may_fail:
            raise RuntimeError(f"airflow {' '.join(args)} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")


def wait_until(true: Callable[[], bool], *, seconds: float) -> None:
    """Wait until something is true."""
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            raise TimeoutError(f"not done after {seconds:.0f} s")
        time.sleep(0.5)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - the address is ours
            return True
    except OSError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """End an Airflow and all that it started. Nothing of it is worth an orderly end, which takes a minute."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
