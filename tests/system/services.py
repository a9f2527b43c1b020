"""
PostgreSQL and Redis of the tests' own, from Debian's packages or wherever else the machine has them.

.. code-block:: python

    with postgresql() as database, redis() as broker:
        servers = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database.url, "AIRFLOW__CELERY__BROKER_URL": broker.url}
        Deployment(environ=servers | …)

Each lives in a temporary folder, listens on a free port of this machine alone, and runs as an ordinary user. Nothing of
it is left after the ``with`` block.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_airflow.api import wait_until
from local_airflow.deployment import free_ports

PROGRAMS = ("initdb", "postgres", "pg_isready", "redis-server")


@dataclass(frozen=True)
class Service:
    """
    A server that runs.

    :param url: its address
    :param folder: where everything is that it writes
    """

    url: str
    folder: Path


def missing() -> list[str]:
    """Return the programs that this machine lacks."""
    return [name for name in PROGRAMS if _find(name) is None]


@contextmanager
def postgresql() -> Iterator[Service]:
    """Start a PostgreSQL with one database, which is empty, with an address as SQLAlchemy and Airflow want it."""
    with _folder() as folder:
        (port,) = free_ports(1)
        password = secrets.token_hex(16)
        file = folder / "password"
        file.write_text(password)
        _give(file)
        superuser = ["--username=airflow", "--auth=scram-sha-256", f"--pwfile={file}"]
        _run(folder, "initdb", "--pgdata=data", *superuser, "--encoding=UTF8", "--no-locale", "--no-sync")
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            "max_connections": 200,
            # What a crash leaves is of no interest.
            "fsync": "off",
            "full_page_writes": "off",
        }
        arguments = ["-D", "data", *(f"--{name}={value}" for name, value in settings.items())]

        def is_ready() -> bool:
            return not _run(folder, "pg_isready", "-h", "127.0.0.1", "-p", str(port), check=False)

        with _server(folder, "postgres", arguments, is_ready, end=signal.SIGQUIT):
            yield Service(f"postgresql+psycopg2://airflow:{password}@127.0.0.1:{port}/postgres", folder)


@contextmanager
def redis() -> Iterator[Service]:
    """Start a Redis, with an address as Celery wants it, which writes down all that it is ever sent."""
    with _folder() as folder:
        (port,) = free_ports(1)

        def is_ready() -> bool:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                    connection.sendall(b"PING\r\n")
                    return connection.recv(16).startswith(b"+PONG")
            except OSError:
                return False

        record = ["--save", "", "--appendonly", "yes", "--appendfsync", "no", "--auto-aof-rewrite-percentage", "0"]
        arguments = ["--bind", "127.0.0.1", "--port", str(port), *record, "--dir", str(folder)]
        with _server(folder, "redis-server", arguments, is_ready, end=signal.SIGTERM):
            yield Service(f"redis://127.0.0.1:{port}/0", folder)


def _find(name: str) -> str | None:
    """Return where a program is. Debian keeps PostgreSQL's servers out of PATH, one folder for each version."""
    found = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    newest = max(found, key=lambda file: int(file.parts[-3]), default=None)
    return str(newest) if newest else shutil.which(name)


def _ordinary_user() -> dict[str, Any]:
    """Return what makes a process run as an ordinary user, which PostgreSQL insists on, when the tests run as root."""
    if os.geteuid():
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _give(path: Path) -> None:
    """Let the user have it that the servers run as."""
    if user := _ordinary_user():
        os.chown(path, user["user"], user["group"])


@contextmanager
def _folder() -> Iterator[Path]:
    # Where temporary files of root are, an ordinary user may not get to.
    anyone_s = None if os.geteuid() else "/tmp"  # noqa: S108 - mkdtemp makes a private folder in there
    folder = Path(tempfile.mkdtemp(prefix="lucca-service-", dir=anyone_s))
    try:
        _give(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(folder: Path, name: str, *arguments: str, check: bool = True) -> int:
    """Run a program to its end."""
    done = subprocess.run(
        [str(_find(name)), *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
        **_ordinary_user(),
    )
    if check and done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stdout[-4000:]}")
    return done.returncode


@contextmanager
def _server(
    folder: Path, name: str, arguments: Sequence[str], is_ready: Callable[[], bool], *, end: signal.Signals
) -> Iterator[None]:
    """Run a server for as long as the ``with`` block lasts, from the moment that it is ready."""
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(_find(name)), *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for the tests, which end it when nobody needs it any more.
            start_new_session=True,
            **_ordinary_user(),
        )

    def is_up() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"{name} has ended:\n{log.read_text(errors='replace')[-4000:]}")
        return is_ready()

    try:
        wait_until(is_up, f"a {name} that is ready", seconds=60, every=0.1)
        yield
    finally:
        process.send_signal(end)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
