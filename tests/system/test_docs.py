"""
What the docs show that needs more than a test of one process: a shell of one's own, and a person who approves.

The shell's tenant takes a port that two runs at once cannot both have.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress

import pytest

from local_airflow.api import HTTP
from local_airflow.deployment import ROOT, Deployment
from lucca_provider.sandbox import Sandbox
from tests.integration.test_docs import SHELL, Block, shell_environ
from tests.system.conftest import APPROVALS
from tests.system.test_airflow import answer, assert_closed_once

SERVED = [block for block in SHELL if block.code.startswith("python -m lucca_provider.sandbox")]
PORT = 8765
"""Where the sandbox is, if it is told nothing else."""


@pytest.fixture
def free() -> None:
    """See that nobody has the port that the docs name."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            reason = f"somebody listens on port {PORT} already"
            (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.mark.parametrize("block", SERVED, ids=str)
def test_a_tenant_is_served_until_ctrl_c(free: None, block: Block) -> None:
    with subprocess.Popen(
        ["bash", "-euc", block.code],
        cwd=ROOT,
        env=shell_environ(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    ) as process:
        try:
            assert process.stdout
            welcome = ""
            while "Ctrl-C" not in welcome and (line := process.stdout.readline()):
                welcome += line
            told = re.findall(r"(?:Address|API key) +(\S+)", welcome)
            assert len(told) == 2, f"{block.code}printed:\n{welcome}"
            address, key = told
            count = HTTP.get(
                f"{address}/cleemy-procurement/api/purchases",
                params={"fields.root": "count"},
                headers={"Authorization": f"lucca application={key}"},
                timeout=30,
            ).json()["count"]
            os.killpg(process.pid, signal.SIGINT)
            assert process.communicate(timeout=20)[0] == "Stopped.\n"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert str(count) == block.code.split("--purchases ")[1].split()[0]


@pytest.mark.parametrize("block", [block for block in APPROVALS if "assigned_users" not in block.code], ids=str)
def test_a_person_is_asked_and_approves(airflow: Deployment, serve: Callable[..., Sandbox], block: Block) -> None:
    asked = sorted({int(number) for number in re.findall(r"\b10\d\b", block.code)})
    lucca = serve(0)
    for number in asked:
        lucca.add_purchase(id=number)
    run = airflow.api.trigger(re.findall(r'dag_id="(\w+)"', block.code)[0])
    (task_id,) = re.findall(r'ApprovalOperator\(\s*task_id="(\w+)"', block.code)
    run.wait_for_task(task_id, "deferred", "awaiting_input")
    shown = airflow.api.get(f"{run.path}/taskInstances/{task_id}/-1/hitlDetails")
    assert f"purchases ({len(asked)})?" in shown["subject"]
    for number in asked:
        assert f"\n| {number} | " in shown["body"]
    assert {request.method for request in lucca.requests} == {"GET"}
    answer(airflow.home, run, task_id)
    assert run.wait() == "success"
    assert run.xcom(task_id)["chosen_options"] == ["Approve"]
    assert_closed_once(lucca, asked if "ClosePurchaseOperator" in block.code else [])
