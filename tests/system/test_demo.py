"""``make demo`` as a person uses it: one command, and a table of what became of each purchase."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from local_airflow.deployment import ROOT

pytestmark = pytest.mark.own_airflow


def test_the_demo_ends_with_a_table_of_what_was_closed_what_was_refused_and_why(tmp_path: Path) -> None:
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    foreign = {"PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "2", "PYTHONINSPECT": "1"}
    done = subprocess.run(
        ["make", "demo"],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "300", "HOME": str(home), "TMPDIR": str(temporary)} | foreign,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sections = dict(re.findall(r"^(\w[^:\n]*): (\d+), [\d,.]+ euro$", done.stdout, re.MULTILINE))
    assert sections == {
        "Closed": "17",
        "Already closed before": "2",
        "Refused by Lucca": "6",
        "Stopped by the check in SQL, not sent to Lucca": "3",
    }
    assert re.search(r"invoice F\d+-\d+ of [\d-]+: approved, not paid", done.stdout)
    assert [*home.iterdir(), *temporary.iterdir()] == []
