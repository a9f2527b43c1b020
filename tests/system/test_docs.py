"""What the docs show for a shell of one's own, as it stands: it takes a port that two runs at once cannot both have."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from demo.api import HTTP
from demo.deployment import ROOT
from tests.integration.test_docs import SHELL, Block

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
    search = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    with subprocess.Popen(
        ["bash", "-euc", block.code],
        cwd=ROOT,
        env=os.environ | {"PATH": search},
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
