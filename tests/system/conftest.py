"""Gives the system tests a whole Airflow and tenants, ends it whatever happens, and shows its logs if a test fails."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import Any, NoReturn
from urllib.parse import quote

import pytest

from local_airflow.deployment import ROOT, STOPS, USER, Deployment, free_ports
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
PARSED_SELDOM = {"AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300"}
"""No DAG file changes while an Airflow runs. After ten minutes without being parsed one would count as gone."""
CLERK = "clerk"
"""Who may do all to runs that a user may, and is not asked to approve."""
ASSIGNED = "month_end_assigned"
"""The month-end, with a person named at the top of its file as who may approve."""
LOOPS = [ROOT / "tests" / "system" / "loops"] if AIRFLOW >= (3, 4) else []
"""Those that need Airflow 3.4."""
APPROVALS = [block for block in PROGRAMS if "ApprovalOperator" in block.code]
"""What the docs show of approvals, which tests without a whole Airflow only load."""
SHOWN = [*APPROVALS, *(block for block in PROGRAMS if block.page.stem == "telling" and block not in APPROVALS)]
"""What of the docs is run in a whole Airflow."""
APPROVER = "anna"
"""Who may approve in the docs, where somebody is named; an ordinary user."""


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
        **PARSED_SELDOM,
    }
    docs = tmp_path_factory.mktemp("docs")
    for block in SHOWN:
        # Where the pages keep files; and what would take days to be late is late at once.
        code = block.code.replace("/data/reports/", f"{docs}/").replace("timedelta(days=4)", "timedelta(seconds=0)")
        (docs / f"{block.page.stem}_{block.line}.py").write_text(code)
    (docs / f"{ASSIGNED}.py").write_text(name_approver((DAGS[0] / "lucca_close_month_end.py").read_text()))
    others = {CLERK: "user", APPROVER: "user"}
    with Deployment(environ=environ, dags=[*DAGS, *LOOPS, docs], others=others) as deployment:
        yield deployment


def name_approver(code: str) -> str:
    """Edit the month-end as its users do."""
    for old, new in (
        ('"assigned_users": []', f'"assigned_users": [{{"id": "{USER}", "name": "Anna Keller"}}]'),
        ('dag_id="lucca_close_month_end"', f'dag_id="{ASSIGNED}"'),
    ):
        assert code.count(old) == 1
        code = code.replace(old, new)
    return code


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
