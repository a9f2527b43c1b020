"""What the docs show for a shell of one's own, as it stands: it takes a port that two runs at once cannot both have."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from demo.deployment import ROOT
from tests.integration.test_docs import SHELL, Block

SERVED = [block for block in SHELL if block.code.startswith("python -m lucca_provider.sandbox")]


@pytest.mark.parametrize("block", SERVED, ids=str)
def test_a_tenant_is_served_until_ctrl_c(block: Block) -> None:
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
        assert process.stdout
        welcome = ""
        while "Ctrl-C" not in welcome and (line := process.stdout.readline()):
            welcome += line
        address, key = re.findall(r"(?:Address|API key) +(\S+)", welcome)
        count = requests.get(
            f"{address}/cleemy-procurement/api/purchases",
            params={"fields.root": "count"},
            headers={"Authorization": f"lucca application={key}"},
            timeout=30,
        ).json()["count"]
        os.killpg(process.pid, signal.SIGINT)
        assert process.communicate(timeout=20)[0] == "Stopped.\n"
    assert str(count) == block.code.split("--purchases ")[1].split()[0]
