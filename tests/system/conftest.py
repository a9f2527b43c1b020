"""Gives the system tests a whole Airflow and tenants, ends it whatever happens, and shows its logs if a test fails."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import Any, NoReturn
from urllib.parse import quote

import pytest

from local_airflow.deployment import ROOT, STOPS, Deployment, free_ports
from lucca_provider.sandbox import Sandbox
from tests.conftest import AIRFLOW
from tests.integration.test_docs import PROGRAMS

PIECE = secrets.token_hex(8)
"""What stands in the middle of the API key: found nowhere by chance, and the same however the key is written."""
KEY = f"system/{PIECE}+key="
"""The API key of all tenants, which is different when it is percent-encoded."""
(FIXED_PORT,) = free_ports(1)
"""Where the tenant has to be that the connection ``lucca_environment`` leads to."""

DAGS = (ROOT / "dags", ROOT / "tests" / "system" / "dags")
"""The examples, and those that only tests need."""
LOOPS = [ROOT / "tests" / "system" / "loops"] if AIRFLOW >= (3, 4) else []
"""Those that need Airflow 3.4."""
APPROVALS = [block for block in PROGRAMS if "ApprovalOperator" in block.code]
"""What the docs show of approvals, which tests without a whole Airflow only load."""


def stop(number: int, frame: object) -> NoReturn:
    """Leave at a signal, once, as after Ctrl-C; nothing disturbs the end of what was started."""
    for each in STOPS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


for each in STOPS:
    # What nohup ignores stays ignored.
    if signal.getsignal(each) != signal.SIG_IGN:
        signal.signal(each, stop)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for deployment in Deployment.running:
            report.sections += [(f"end of {name}", end) for name, end in deployment.log_ends().items()]
    return report


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Start an Airflow with the DAGs of the examples, the tests and the docs, LocalExecutor and SQLite."""
    environ = {
        "AIRFLOW_CONN_LUCCA_ENVIRONMENT": f"lucca://:{quote(KEY, safe='')}@127.0.0.1:{FIXED_PORT}/http",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
    }
    docs = tmp_path_factory.mktemp("docs")
    for block in APPROVALS:
        (docs / f"{block.page.stem}_{block.line}.py").write_text(block.code)
    with Deployment(environ=environ, dags=[*DAGS, *LOOPS, docs]) as deployment:
        yield deployment


@pytest.fixture
def serve(airflow: Deployment) -> Iterator[Callable[..., Sandbox]]:
    """Serve a tenant whose purchases can all be closed, and make it Airflow's connection ``lucca_default``."""
    with ExitStack() as stack:

        def serve(purchases: int, **kwargs: Any) -> Sandbox:
            lucca = Sandbox(purchases, states={"closable": 1}, api_key=KEY, **kwargs)
            stack.enter_context(lucca)
            airflow.api.set_connection("lucca_default", lucca.connection_uri)
            return lucca

        yield serve
