"""
The environments of Airflow's lines, each with a Python that fits, and the tests in them. ``make`` calls it.

A session is named for its line, ``3.1``, or for its line and a Python, ``3.1-py3.13``; ``nox --list`` shows all. What
follows ``--`` is handed to pytest.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from pathlib import Path

import nox
from nox.virtualenv import HAS_UV
from python_discovery import get_interpreter

PYTHONS = {
    "2.11": ("3.10", "3.12"),
    "3.0": ("3.10", "3.12"),
    "3.1": ("3.10", "3.13"),
    "3.2": ("3.10", "3.14"),
    "3.3": ("3.10", "3.14"),
    "3.4": ("3.11", "3.14"),
    "lowest": ("3.10", "3.12"),
    "newest": ("3.10", "3.14"),
}
"""The lines of Airflow that are tested, each with the oldest and the newest Python that it runs on."""

TESTED = ("3.3", "2.11")
"""What ``make test`` runs on: between them they cover every line of code."""

SAME_ON_ALL = (
    *(f"unit/{room}" for room in ("closing", "limits", "reading", "checking", "reports", "sandbox")),
    *(f"unit/test_{what}.py" for what in ("outcomes", "exceptions", "docstrings", "inputs*")),
    *(f"unit/hooks/test_hook_{what}.py" for what in ("answers", "session")),
    *(f"integration/test_{what}.py" for what in ("client", "contract", "sandbox", "trial")),
)
"""Tests whose subject is the same with every Airflow, as paths below ``tests/``; the lines pin what they need alike."""
QUICK = ("3.0", "3.1", "3.2", "3.4")
"""What ``make test-quick`` runs on."""

MEASURED = ("--cov", "--cov-report=") if os.environ.get("MEASURE") else ("--no-cov",)
"""Whether it is noted what the tests reach, as ``make coverage`` asks for."""

nox.options.envdir = ".venv"
# uv makes an environment in seconds, pip takes a minute or two. Some tests and commands call pip.
nox.options.default_venv_backend = "uv" if HAS_UV else "venv"
VENV_PARAMS = ["--seed"] if HAS_UV else []
# A missing Python is reported, not downloaded.
nox.options.download_python = "never"

# Pythons of pyenv count even where its user has not made them global.
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
if PYENV.is_dir():
    os.environ.setdefault("PYENV_VERSION", ":".join(sorted(each.name for each in PYENV.iterdir())))


def pins_of(line: str) -> Path | None:
    """Return the file with a line's pins; the newest versions are resolved anew each time."""
    files = (Path("requirements", name) for name in (f"airflow-{line}.txt", f"{line}.txt"))
    return next((file for file in files if file.exists()), None)


def state_of(line: str) -> str:
    """Return what an environment of a line is made from, in a form that can be compared."""
    pins = pins_of(line)
    texts = [file.read_bytes() for file in (pins, Path("setup.cfg")) if file]
    return hashlib.sha256(b"".join(texts)).hexdigest() if pins else ""


def is_current(environment: Path, line: str) -> bool:
    """Return whether an environment is complete, and made from what there is today."""
    state = environment / "made-from"
    return state.exists() and state.read_text() == state_of(line) != ""


def install(session: nox.Session, line: str) -> None:
    """Install a line's pins, and this package without what it needs, which the pins hold."""
    environment = Path(session.virtualenv.location)
    if is_current(environment, line):
        return
    pins = pins_of(line)
    if pins:
        session.install("--no-deps", "--requirement", str(pins))
        session.install("--no-deps", "--no-build-isolation", "--editable", ".")
    else:
        session.install("--editable", ".[dev]")
    (environment / "made-from").write_text(state_of(line))


def ignored(path: str) -> str:
    """Return the option that leaves tests out, and see that there are any."""
    if not list(Path("tests").glob(path)):
        raise ValueError(f"SAME_ON_ALL: tests/{path} is not there.")
    return f"--ignore-glob=tests/{path}"


def add(name: str, line: str, python: str, tags: list[str]) -> None:
    """Add a session that runs unit and integration tests."""
    # As nox names the folder of an environment.
    environment = Path(".venv", re.sub(r"\W+", "-", name))

    @nox.session(
        name=name,
        python=python,
        tags=tags,
        venv_params=VENV_PARAMS,
        reuse_venv=is_current(environment, line),
        allow_parallel=True,
    )
    def test(session: nox.Session) -> None:
        install(session, line)
        # What `make test` tries on the newest line is not tried again where nothing of it depends on Airflow.
        is_second = name in TESTED[1:] and not session.posargs
        known = [*map(ignored, SAME_ON_ALL), "-m", "not own_code"] if is_second else []
        # Much of a run is waiting for processes and windows, so each has two workers. Tests of a file share set-ups.
        session.run(
            *("python", "-m", "pytest", "--numprocesses=2", "--dist=loadfile", "--no-loadscope-reorder"),
            *(f"--basetemp=.airflow/tests-{name}", *MEASURED, *known, *session.posargs),
            env={"COVERAGE_FILE": f".coverage.{name}", "PYENV_VERSION": None},
        )


@functools.cache
def is_here(python: str) -> bool:
    """Return whether this machine has a Python."""
    return get_interpreter(python) is not None


def ends_of(line: str) -> set[str]:
    """Return the oldest and the newest Python of a line, and those that stand in for them on this machine."""
    pythons = pythons_of(line)
    here = [python for python in pythons if is_here(python)]
    oldest, newest = {pythons[0], *here[:1]}, {pythons[-1], *here[-1:]}
    # The lowest versions are of interest with the oldest Python, the newest with the newest.
    return {"lowest": oldest, "newest": newest}.get(line, oldest | newest)


def pythons_of(line: str) -> list[str]:
    """Return the Pythons that a line runs on, the oldest first."""
    first, last = (int(python.removeprefix("3.")) for python in PYTHONS[line])
    return [f"3.{minor}" for minor in range(first, last + 1)]


Path(".airflow").mkdir(exist_ok=True)
for _line, (_oldest, _newest) in PYTHONS.items():
    _tags = [tag for tag, lines in {"test": TESTED, "quick": QUICK}.items() if _line in lines]
    add(_line, _line, f">={_oldest},<={_newest}.99", _tags)
    for _python in pythons_of(_line):
        add(f"{_line}-py{_python}", _line, _python, ["matrix"] if _python in ends_of(_line) else [])


@nox.session(python=False)
def coverage(session: nox.Session) -> None:
    """Print what the tests did not reach; what only one line can run counts for all."""
    for line in TESTED:
        if not list(Path().glob(f".coverage.{line}*")):
            session.skip(f"NOTHING WAS TESTED on Airflow {line}, so there is nothing to say about coverage.")
    python = ".venv/3-3/bin/python"
    session.run(python, "-m", "coverage", "combine", "--quiet", external=True)
    session.run(python, "-m", "coverage", "report", "--fail-under=100", external=True)
