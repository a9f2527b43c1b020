"""Builds the package once, for the tests that install it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


def run(*command: object, home: Path | None = None) -> str:
    """Run a command away from this project and from any Airflow, and return what it printed."""
    hidden = ("AIRFLOW", "COV_", "COVERAGE", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    if home:
        environment["AIRFLOW_HOME"] = str(home)
    done = subprocess.run(
        [str(part) for part in command],
        cwd=home,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist from what git knows of, and the wheel from that sdist; return the folder that holds them."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    names = run("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", built, source)
    return built
