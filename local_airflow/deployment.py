"""
An Airflow on this machine: API server, scheduler, DAG processor, triggerer, and what is added to them.

``make ui`` shows it to people, the system tests close purchases in it.

.. code-block:: python

    with Deployment() as airflow:
        run = airflow.api.trigger("lucca_close_chosen_purchases", {"purchase_ids": [1, 2, 3]})
        assert run.wait() == "success"

Nothing of it is left after the ``with`` block. Another executor or database is a matter of settings and more parts:

.. code-block:: python

    workers = {f"worker-{n}": Part(["celery", "worker"], {"AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": …}) for n in "12"}
    Deployment(environ={"AIRFLOW__CORE__EXECUTOR": "CeleryExecutor", …}, parts={**PARTS, **workers})

One that is not whole has a home and a database, and runs commands. ``make demo`` and the benchmarks do with that:

.. code-block:: python

    with Deployment(whole=False) as airflow:
        airflow.run("dags", "test", "lucca_close_validated_purchases")
"""

from __future__ import annotations

import atexit
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

import psutil
import requests
from cryptography.fernet import Fernet

from local_airflow.api import HTTP, Api, wait_until

ROOT = Path(__file__).resolve().parents[1]
USER, PASSWORD = "admin", secrets.token_urlsafe(9)
FERNET_KEY = Fernet.generate_key().decode()
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that ask to leave: Ctrl-C, a CI that gives up, a terminal that is closed."""


@dataclass(frozen=True)
class Part:
    """
    A process of an Airflow.

    :param arguments: what ``airflow`` is called with
    :param environ: environment variables of this part alone
    """

    arguments: Sequence[str]
    environ: Mapping[str, str] = field(default_factory=dict)


PARTS = {name: Part([name]) for name in ("api-server", "scheduler", "dag-processor", "triggerer")}
STANDALONE = {"standalone": Part(["standalone"])}
"""The same four as one: they are started together and end together."""


class Deployment:
    """
    An Airflow with a home, a database, ports and settings of its own, for as long as a ``with`` block lasts.

    :param environ: environment variables for all parts, which go before those that are set here
    :param parts: what is started, by name and in this order
    :param dags: folders with DAGs
    :param folder: where ``home`` is made, if not where temporary files are
    :param whole: start all parts; otherwise only what :meth:`start` and :meth:`run` are told to
    :param others: who else may log in, with :data:`PASSWORD` too: name to role
    :ivar home: ``AIRFLOW_HOME``. The parts log into its folder ``parts``, the tasks into ``logs``
    :ivar url: address of the UI and the REST API, where :data:`USER` logs in with :data:`PASSWORD`
    :ivar api: client of the REST API, logged in
    :ivar environ: the environment of all parts
    """

    running: ClassVar[list[Deployment]] = []
    """Those whose logs are of interest if a test fails."""

    def __init__(
        self,
        *,
        environ: Mapping[str, str] | None = None,
        parts: Mapping[str, Part] = PARTS,
        dags: Iterable[Path] = (ROOT / "dags",),
        folder: Path | None = None,
        whole: bool = True,
        others: Mapping[str, str] | None = None,
    ) -> None:
        self._overrides = dict(environ or {})
        self._parts = parts
        self._dags = list(dags)
        self._folder = folder
        self._whole = whole
        self._users = {USER: "admin", **(others or {})}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._sessions: set[int] = set()

    def __enter__(self) -> Deployment:
        self.home = Path(tempfile.mkdtemp(prefix="lucca-airflow-", dir=self._folder))
        # Once more, should a signal interrupt it.
        atexit.register(self._end)
        try:
            self._set_up()
            Deployment.running.append(self)
            self.run("db", "migrate")
            if self._whole:
                for name in self._parts:
                    self.start(name)
                self.wait_until_healthy()
                self.wait_for_dags()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    # -- parts -------------------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Start a part; it is not waited for."""
        self._start(name, self._parts[name])

    def run(self, *arguments: str, may_fail: bool = False, meanwhile: Callable[[], object] | None = None) -> int:
        """
        Run a command of Airflow's to its end, and return its exit status. Its log is named ``db-migrate`` by two words.

        :param arguments: what ``airflow`` is called with
        :param may_fail: raise no error if it fails
        :param meanwhile: called again and again while it runs
        :raises RuntimeError: if it fails, with the end of its log
        """
        name = "-".join(arguments[:2])
        process = self._start(name, Part(arguments))
        while meanwhile and process.poll() is None:
            meanwhile()
            time.sleep(0.2)
        status = process.wait()
        del self._processes[name]
        if status and not may_fail:
            end = self.log(name).read_text(errors="replace")[-4000:]
            raise RuntimeError(f"airflow {' '.join(arguments)} failed:\n{end}")
        return status

    def stop(self, name: str, *, seconds: float = 30) -> None:
        """End a part in order, and wait for it."""
        self._processes[name].terminate()
        self._processes[name].wait(seconds)

    def kill(self, name: str) -> None:
        """Kill a part with all that it started, tasks too, as a machine that vanishes."""
        self._kill(partial(self._is_in, {self._processes[name].pid}))
        self._processes[name].wait()

    def wait_until_healthy(self, *, seconds: float = 180) -> None:
        """Wait until the API server answers, and knows all other parts to be alive."""
        wait_until(self._is_healthy, "an Airflow that is healthy", seconds=seconds)
        # What tasks talk to is made at its first request. On a busy machine that takes half a minute, in which the API
        # server answers nobody.
        HTTP.get(f"{self.url}/execution/health", timeout=seconds)

    def wait_for_dags(self, *, seconds: float = 120) -> None:
        """Wait until every DAG file is read, and see that none of them is broken."""
        files = {file.name for folder in self._dags for file in folder.glob("*.py")}

        def all_are_read() -> bool:
            broken = self.api.get("/importErrors")["import_errors"]
            if broken:
                raise RuntimeError("\n".join(one["stack_trace"] for one in broken))
            return files <= {Path(dag["fileloc"]).name for dag in self.api.get("/dags", limit=100)["dags"]}

        wait_until(all_are_read, f"the DAGs in {', '.join(sorted(files))}", seconds=seconds)

    def task_process(self, task: Mapping[str, Any], *, seconds: float = 30) -> psutil.Process:
        """Return the process that runs the code of a task instance, whatever executor started it."""
        title = f"airflow worker -- {task['id']}"

        def find() -> psutil.Process | None:
            members = self._members(partial(self._is_in, self._sessions))
            return next((member for member in members if _title(member) == title), None)

        return wait_until(find, f"a process of {task['task_id']}", seconds=seconds)

    def part_of(self, process: psutil.Process) -> str:
        """Return the name of the part that started a process."""
        session = os.getsid(process.pid)
        return next(name for name, part in self._processes.items() if part.pid == session)

    def log(self, name: str) -> Path:
        """Return the file that a part or a command logs to."""
        return self.home / "parts" / f"{name}.log"

    def log_ends(self, *, characters: int = 6000, tasks: int = 4) -> dict[str, str]:
        """Return the ends of the logs of all parts, and of those that tasks wrote last."""
        task_logs = sorted((self.home / "logs").rglob("attempt=*.log"), key=lambda file: file.stat().st_mtime)
        files = [*sorted((self.home / "parts").glob("*")), *task_logs[-tasks:]]
        return {str(file.relative_to(self.home)): file.read_text(errors="replace")[-characters:] for file in files}

    # -- from the beginning to the end -------------------------------------------------------------------------------

    def _set_up(self) -> None:
        (self.home / "parts").mkdir()
        passwords = self.home / "passwords.json"
        passwords.write_text(json.dumps(dict.fromkeys(self._users, PASSWORD)))
        port, worker_logs, trigger_logs = free_ports(3)
        self.url = f"http://127.0.0.1:{port}"
        self.api = Api(self.url, user=USER, password=PASSWORD)
        bundles = [
            {
                "name": f"dags-{number}",
                "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                "kwargs": {"path": str(folder), "refresh_interval": 0},
            }
            for number, folder in enumerate(self._dags)
        ]
        self.environ = {
            **clean_environment(),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__FERNET_KEY": FERNET_KEY,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(
                f"{name}:{role}" for name, role in self._users.items()
            ),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home / 'airflow.db'}",
            # As soon as there is a DAG, its schedule would start a run, which one begun by hand would have to wait for.
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
            # How late a task's supervisor may notice that the task was deferred. Within these 5 s by default Airflow
            # takes a task that was resumed meanwhile for failed; a sandbox's windows may be as short as that.
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            # On a busy machine the API server's first answers take longer than the 5 s that tasks wait by default.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            **self._overrides,
        }

    def _start(self, name: str, part: Part) -> subprocess.Popen[bytes]:
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", *part.arguments],
                env={**self.environ, **part.environ},
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # All that it starts stays in its session, where it is found again even when its parent is gone.
                start_new_session=True,
            )
        self._processes[name] = process
        self._sessions.add(process.pid)
        return process

    def _is_healthy(self) -> bool:
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise RuntimeError(f"{name} has ended:\n{self.log(name).read_text(errors='replace')[-4000:]}")
        try:
            health = HTTP.get(f"{self.url}/api/v2/monitor/health", timeout=5).json()
        except requests.RequestException:
            return False
        return all(part["status"] == "healthy" for part in health.values())

    def _end(self) -> None:
        """End all at once. Nothing of it is worth an orderly end, which takes a minute."""
        self._kill(self._is_ours)
        for process in self._processes.values():
            process.wait()
        shutil.rmtree(self.home, ignore_errors=True)
        if self in Deployment.running:
            Deployment.running.remove(self)
        atexit.unregister(self._end)

    def _kill(self, which: Callable[[psutil.Process], bool]) -> None:
        # Again and again, for one that is killed may just have started another.
        while members := list(self._members(which)):
            for member in members:
                with suppress(psutil.NoSuchProcess):
                    member.kill()
            psutil.wait_procs(members, timeout=5)

    def _members(self, which: Callable[[psutil.Process], bool]) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            with suppress(ProcessLookupError, psutil.Error):
                if which(process) and process.status() != psutil.STATUS_ZOMBIE:
                    yield process

    def _is_in(self, sessions: set[int], process: psutil.Process) -> bool:
        return os.getsid(process.pid) in sessions

    def _is_ours(self, process: psutil.Process) -> bool:
        """Tell whether a process is of this Airflow, also if a signal came before its session was noted."""
        if self._is_in(self._sessions, process) or process.environ().get("AIRFLOW_HOME") == str(self.home):
            return True
        # Airflow writes the titles of its processes over their environments.
        return process.cwd() == str(self.home) and process.exe() == psutil.Process().exe()


def _title(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline()).strip()
    return ""


def clean_environment() -> dict[str, str]:
    """Return the environment without what would reach an Airflow: settings of the user's own one, and of tests."""
    # Where nothing compiled is kept, each process compiles the package anew, as none that is installed does.
    foreign = ("AIRFLOW", "_AIRFLOW", "LUCCA_", "COV", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def free_ports(number: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
