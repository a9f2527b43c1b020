"""``make ui`` as a person uses it: start, log in, trigger the examples, look at the tenant, Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from local_airflow.api import HTTP, Api, wait_until
from local_airflow.deployment import ROOT
from tests.system.conftest import DAGS
from tests.system.test_airflow import answer

pytestmark = pytest.mark.own_airflow

TEXT = re.compile(
    r"Airflow is at +(?P<airflow>\S+)\nthe Lucca tenant at +(?P<tenant>\S+)\n"
    r"Log in to Airflow as (?P<user>\S+) with the password (?P<password>\S+)\n(?s:.*)"
    r"writes its report to the folder\n(?P<reports>.+)\n(?s:.*)Ctrl-C ends both"
)
CLOSED = {
    "lucca_close_validated_purchases": 7,
    "lucca_close_checked_purchases": 9,
    "lucca_close_warehouse_matches": 9,
    "lucca_close_chosen_purchases": 2,
}
"""What the examples close that are told what to close."""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], re.Match[str]]]:
    """Run ``make ui`` with settings of another Airflow around, and yield it with what it printed."""
    foreign = {
        "AIRFLOW_HOME": str(tmp_path / "other"),
        "AIRFLOW__CORE__EXECUTOR": "NoSuchExecutor",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "mysql://nobody@nowhere/airflow",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "HOME": str(tmp_path),
    }
    printed = tmp_path / "printed"
    with printed.open("wb") as file:
        process = subprocess.Popen(
            ["make", "ui"],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name.lower() != "no_proxy"} | foreign,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def is_up() -> re.Match[str] | None:
        assert process.poll() is None, printed.read_text()
        return TEXT.search(printed.read_text())

    try:
        yield process, wait_until(is_up, "the two addresses", seconds=240)
    finally:
        if process.poll() is None:
            press_ctrl_c(process)


def press_ctrl_c(process: subprocess.Popen[bytes], *, seconds: float = 20) -> None:
    """End a command with all that runs in the foreground beside it, as a terminal does."""
    os.killpg(process.pid, signal.SIGINT)
    process.wait(seconds)


def users_of(folder: Path) -> list[psutil.Process]:
    """Return the processes of an Airflow with this home."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("AIRFLOW_HOME") == str(folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_somebody_looks_around_and_leaves(
    started: tuple[subprocess.Popen[bytes], re.Match[str]], tmp_path: Path
) -> None:
    process, printed = started
    assert not {"other", "airflow"} & {file.name for file in tmp_path.iterdir()}
    assert "<title>Lucca sandbox</title>" in HTTP.get(printed["tenant"], timeout=30).text
    api = Api(printed["airflow"], user=printed["user"], password=printed["password"])
    dags = {dag["dag_id"]: dag["is_paused"] for dag in api.get("/dags")["dags"]}
    assert dags == dict.fromkeys((file.stem for file in DAGS[0].glob("*.py")), False)
    assert api.get("/dags/~/dagRuns")["dag_runs"] == []

    def counts() -> dict[str, int]:
        answer = HTTP.get(f"{printed['tenant']}/_sandbox/state", timeout=30).json()
        return dict(answer["counts"])

    state = HTTP.get(f"{printed['tenant']}/_sandbox/state", timeout=30).json()
    chosen = [purchase["purchase_id"] for purchase in state["purchases"] if purchase["standing"] == "closable"][-2:]
    runs = [api.trigger(dag_id, {"purchase_ids": chosen} if "chosen" in dag_id else {}) for dag_id in CLOSED]
    assert {run.dag_id: run.wait() for run in runs} == dict.fromkeys(CLOSED, "success")
    assert counts()["closed"] == sum(CLOSED.values())

    reports = Path(printed["reports"])
    home = reports.parent
    approval = api.trigger("lucca_close_month_end")
    answer(home, approval, "approve")
    assert approval.wait() == "success"
    assert {file.suffix for file in reports.glob("month-*")} == {".html", ".csv", ".md"}
    assert home.parent == ROOT / ".airflow"
    assert len(users_of(home)) >= 4
    press_ctrl_c(process)
    assert users_of(home) == []
    assert not home.exists()
    for address in (printed["airflow"], printed["tenant"]):
        with pytest.raises(requests.ConnectionError):
            HTTP.get(address, timeout=5)
