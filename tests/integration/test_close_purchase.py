"""ClosePurchaseOperator in a real Airflow: XComs of failed tasks, retries, deferrals, the journal, and SIGKILL."""

from __future__ import annotations

import datetime
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lucca_provider.operators.purchases import ClosePurchaseOperator
from lucca_provider.sandbox import Sandbox
from tests.airflow_names import DAG, task
from tests.conftest import AIRFLOW
from tests.integration.killed_task import build, retry

ROOT = Path(__file__).parents[2]
KEY = "a-key-that-must-not-be-seen"
NO_DELAY = datetime.timedelta(0)
has_journal = AIRFLOW >= (3, 3)


@pytest.fixture
def lucca(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox(purchases=20, states={"closable": 1}, api_key=KEY) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", sandbox.connection_uri)
        yield sandbox


def new_dag(dag_id: str, ids: Any, reports: Path, **kwargs: Any) -> Any:
    """Make a DAG that hands ids over by XCom, closes them, and keeps the report whatever happens."""
    with DAG(dag_id, start_date=datetime.datetime(2026, 1, 1), schedule=None) as dag:

        @task
        def find() -> Any:
            return ids

        @task(trigger_rule="all_done")
        def keep(ti: Any = None) -> None:
            report = ti.xcom_pull(task_ids="close")
            reports.write_text(json.dumps(report))

        close = ClosePurchaseOperator(task_id="close", purchase_ids=find(), **kwargs)
        close >> keep()
    return dag


def state_of(run: Any, task_id: str) -> Any:
    (ti,) = (ti for ti in run.get_task_instances() if ti.task_id == task_id)
    return ti


def test_the_next_task_gets_the_report_also_of_a_task_that_failed(lucca, run_dag, tmp_path):
    refused = lucca.add_purchase(invoices=[{"conformityState": "ToReview", "paymentState": "None"}])
    ids = [*lucca.closable_ids[:3], refused]
    reports = tmp_path / "report.json"
    run = run_dag(new_dag("refused", ids, reports, retries=2, retry_delay=NO_DELAY, closing_date="{{ '2026-01-31' }}"))
    close = state_of(run, "close")
    assert close.state == "failed"
    assert close.try_number == 1
    report = json.loads(reports.read_text())
    assert report["closed"] == ids[:3]
    assert [item["id"] for item in report["rejected"]] == [refused]
    assert {closing.date for closing in lucca.closings} == {"2026-01-31"}


def test_a_connection_that_does_not_exist_leaves_a_report_too(lucca, run_dag, tmp_path):
    reports = tmp_path / "report.json"
    run = run_dag(new_dag("nowhere", lucca.closable_ids[:2], reports, lucca_conn_id="lucca_nowhere"))
    assert state_of(run, "close").state == "failed"
    unresolved = json.loads(reports.read_text())["unresolved"]
    assert [item["id"] for item in unresolved] == lucca.closable_ids[:2]
    assert all("lucca_nowhere" in item["reason"] for item in unresolved)
    assert lucca.requests == []


def test_an_empty_list_skips_the_task(lucca, run_dag, tmp_path):
    run = run_dag(new_dag("nothing", [], tmp_path / "report.json"))
    assert state_of(run, "close").state == "skipped"
    assert lucca.requests == []


def test_an_upstream_task_that_returned_nothing_fails_the_task_for_good(lucca, run_dag, tmp_path):
    run = run_dag(new_dag("none", None, tmp_path / "report.json", retries=2, retry_delay=NO_DELAY))
    close = state_of(run, "close")
    assert (close.state, close.try_number) == ("failed", 1)
    assert lucca.requests == []


def test_a_retry_goes_on_where_the_first_try_was_stopped(lucca, run_dag, tmp_path):
    ids = lucca.closable_ids
    lucca.fail_next("login_redirect", method="POST", purchase_id=ids[5])
    reports = tmp_path / "report.json"
    run = run_dag(new_dag("again", ids, reports, retries=2, retry_delay=NO_DELAY, max_in_flight=1))
    close = state_of(run, "close")
    assert (close.state, close.try_number) == ("success", 2)
    report = json.loads(reports.read_text())
    # Without the journal it is not known who closed the first five.
    assert sorted(report["closed"] + report["already_closed"]) == ids
    assert (report["already_closed"] == []) is has_journal
    assert [lucca.posts(purchase_id) for purchase_id in ids] == [2 if i == 5 else 1 for i in range(len(ids))]
    # Each try reads the list once. By the journal one purchase is in doubt, which no list decides.
    reads = [request.purchase_id for request in lucca.requests if request.method == "GET"]
    assert reads == [None, None] + [ids[5]] * has_journal


def test_another_run_posts_nothing_for_what_the_first_closed(lucca, run_dag, tmp_path):
    ids = lucca.closable_ids[:2]
    reports = tmp_path / "report.json"
    for outcome in ("closed", "already_closed"):
        run_dag(new_dag("twice", ids, reports))
        assert json.loads(reports.read_text())[outcome] == ids
    assert [lucca.posts(purchase_id) for purchase_id in ids] == [1, 1]


def test_ids_come_from_mapped_tasks_too(lucca, run_dag):
    ids = lucca.closable_ids[:3]
    with DAG("mapped_upstream", start_date=datetime.datetime(2026, 1, 1), schedule=None) as dag:

        @task
        def check(purchase_id: int) -> int:
            return purchase_id

        ClosePurchaseOperator(task_id="close", purchase_ids=check.expand(purchase_id=ids))
    assert run_dag(dag).state == "success"
    assert sorted(closing.purchase_id for closing in lucca.closings) == ids


def test_all_four_arguments_are_templates(lucca, run_dag, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_ACME", lucca.connection_uri)
    monkeypatch.delenv("AIRFLOW_CONN_LUCCA_DEFAULT")
    ids = lucca.closable_ids[:2]
    with DAG("templates", start_date=datetime.datetime(2026, 1, 1), schedule=None, params={"tenant": "acme"}) as dag:

        @task
        def find() -> list[tuple[int]]:
            return [(purchase_id,) for purchase_id in ids]

        find() >> ClosePurchaseOperator(
            task_id="close",
            purchase_ids="{{ ti.xcom_pull(task_ids='find') }}",
            comment="for {{ params.tenant }}",
            closing_date="{{ macros.ds_add('2026-02-01', -1) }}",
            lucca_conn_id="lucca_{{ params.tenant }}",
        )
    assert run_dag(dag).state == "success"
    closings = sorted((closing.purchase_id, closing.comment, closing.date) for closing in lucca.closings)
    assert closings == [(purchase_id, "for acme", "2026-01-31") for purchase_id in ids]


@pytest.mark.parametrize("durable", [True, False])
def test_a_deferrable_task_waits_in_the_trigger_over_several_windows(run_dag, tmp_path, monkeypatch, durable):
    with Sandbox(purchases=17, states={"closable": 1}, limit=5, window=3, faults={"drop_after": 0.1}) as lucca:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", lucca.connection_uri)
        ids = lucca.closable_ids
        reports = tmp_path / "report.json"
        run = run_dag(
            new_dag(f"deferred_{durable}", ids, reports, deferrable=True, durable=durable, comment="{{ run_id }}")
        )
        assert state_of(run, "close").state == "success"
        assert json.loads(reports.read_text())["closed"] == ids
        assert [lucca.posts(purchase_id) for purchase_id in ids] == [1] * 17
        assert lucca.throttled == 0
        assert {closing.comment for closing in lucca.closings} == {run.run_id}


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_task_killed_with_sigkill_is_finished_by_its_next_try(airflow_db, capfd, monkeypatch, deferrable):
    with Sandbox(purchases=12, states={"closable": 1}, limit=8, window=2, latency=0.2, api_key=KEY) as lucca:
        ids = lucca.closable_ids
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", lucca.connection_uri)
        monkeypatch.setenv("DAG_ID", f"killed_{deferrable}")
        monkeypatch.setenv("PURCHASE_IDS", json.dumps(ids))
        monkeypatch.setenv("DEFERRABLE", json.dumps(deferrable))
        # In the second window of a deferrable task, that is after it came back once.
        _kill(start(), until=lambda: len(lucca.closings) >= (9 if deferrable else 4))
        in_doubt = len(lucca.closings)
        assert 4 <= in_doubt < 12
        retry(build())
        output = "".join(capfd.readouterr())
        assert lucca.url in output
        assert lucca.closed_ids == ids, output
        assert [lucca.posts(purchase_id) for purchase_id in ids] == [1] * 12
        if AIRFLOW < (3, 1):
            # There dag.test() itself says, before it masks a secret, which one it will mask; a worker does not.
            output = re.sub(r"Sending request +msg=MaskSecret\(.*", "", output)
        assert KEY not in output


def start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.killed_task"],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _kill(process: subprocess.Popen[str], until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    try:
        while not until():
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
