"""Closings that are reported in a real Airflow: of one that closed, failed, vanished or is mapped; and announced."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator

from lucca_provider.compat import ObjectStoragePath
from lucca_provider.operators.purchases import ClosePurchaseOperator
from lucca_provider.operators.reports import ReportClosingsOperator
from lucca_provider.sandbox import Sandbox
from tests.airflow_names import DAG, Asset, task
from tests.conftest import AIRFLOW

UNPAID = [{"conformityState": "Confirmed", "paymentState": "ToPay"}]
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


@pytest.fixture
def lucca(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox(purchases=6, states={"closable": 1}) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", sandbox.connection_uri)
        yield sandbox


def new_dag(dag_id: str, **kwargs: Any) -> Any:
    return DAG(dag_id, start_date=START, schedule=None, default_args={"retries": 0}, **kwargs)


def states_of(run: Any) -> dict[str, str]:
    return {
        ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]": str(ti.state)
        for ti in run.get_task_instances()
    }


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, delimiter=";"))


def outcomes(path: Path) -> dict[int, str]:
    return {int(row["Purchase"]): row["Outcome"] for row in rows(path)}


def close_and_report(dag_id: str, ids: list[int], path: Any, *, expected: object = None, **kwargs: Any) -> Any:
    with new_dag(dag_id) as dag:
        close = ClosePurchaseOperator(task_id="close", purchase_ids=ids, **kwargs)
        report = ReportClosingsOperator(
            task_id="report", report=close.output, sent=close.output["sent"], purchase_ids=expected, path=path
        )
        close >> report.as_teardown(on_failure_fail_dagrun=True)
        # Airflow takes the state of a run from its last tasks, and to such a teardown the closing is none.
        close >> EmptyOperator(task_id="done")
    return dag


def test_a_closing_is_reported_under_a_path_that_is_a_template(lucca: Sandbox, run_dag: Any, tmp_path: Path) -> None:
    ids = lucca.closable_ids
    run = run_dag(close_and_report("report_closed", ids, f"{tmp_path}/{{{{ dag.dag_id }}}}.csv"))
    assert states_of(run) == {"close": "success", "report": "success", "done": "success"}
    found = rows(tmp_path / "report_closed.csv")
    assert {(row["DAG"], row["Run"], row["Task"]) for row in found} == {("report_closed", run.run_id, "report")}
    assert outcomes(tmp_path / "report_closed.csv") == dict.fromkeys(ids, "closed")
    assert {row["State in Lucca"] for row in found} == {"Closed"}


def test_a_closing_that_failed_is_reported_whole_and_the_run_fails(
    lucca: Sandbox, run_dag: Any, tmp_path: Path
) -> None:
    refused = lucca.add_purchase(invoices=UNPAID)
    run = run_dag(
        close_and_report(
            "report_refused", [refused, *lucca.closable_ids], ObjectStoragePath(f"file://{tmp_path}/a.csv")
        )
    )
    assert states_of(run) == {"close": "failed", "report": "success", "done": "upstream_failed"}
    assert run.state == "failed"
    assert outcomes(tmp_path / "a.csv") == {
        refused: "refused by Lucca",
        **dict.fromkeys(lucca.purchase_ids[:6], "closed"),
    }


def test_a_closing_that_left_nothing_is_reported_from_lucca(lucca: Sandbox, run_dag: Any, tmp_path: Path) -> None:
    one, two, *_ = lucca.closable_ids
    run = run_dag(close_and_report("report_gone", [one], f"{tmp_path}/a.csv", expected=[one, two], do_xcom_push=False))
    assert states_of(run) == {"close": "success", "report": "success", "done": "success"}
    assert {int(row["Purchase"]): (row["Outcome"], row["State in Lucca"]) for row in rows(tmp_path / "a.csv")} == {
        one: ("unresolved", "Closed"),
        two: ("unresolved", "Ongoing"),
    }


def test_a_read_back_that_fails_fails_the_run_although_the_closing_was_fine(
    lucca: Sandbox, run_dag: Any, tmp_path: Path, logged: Any
) -> None:
    (one, *_) = lucca.closable_ids
    with new_dag("report_unconfirmed") as dag:
        close = ClosePurchaseOperator(task_id="close", purchase_ids=[one])

        @task
        def reopen() -> None:
            lucca.set_purchase(one, state="Ongoing")

        report = ReportClosingsOperator(task_id="report", report=close.output, path=f"{tmp_path}/a.csv")
        close >> reopen() >> report.as_teardown(setups=close, on_failure_fail_dagrun=True)
    run = run_dag(dag)
    assert states_of(run)["report"] == "failed"
    assert run.state == "failed"
    assert f"purchase {one}: reported as closed, but Lucca shows it as Ongoing" in logged()
    assert outcomes(tmp_path / "a.csv") == {one: "not confirmed"}


def test_each_mapped_closing_has_a_report_of_its_own(lucca: Sandbox, run_dag: Any, tmp_path: Path) -> None:
    one, two, *_ = lucca.closable_ids
    with new_dag("report_mapped") as dag:
        close = ClosePurchaseOperator.partial(task_id="close").expand(purchase_ids=[[one], [two]])
        ReportClosingsOperator.partial(task_id="report", path=f"{tmp_path}/{{{{ ti.map_index }}}}.csv").expand(
            report=close.output
        )
    run = run_dag(dag)
    assert set(states_of(run).values()) == {"success"}
    found = [rows(tmp_path / f"{index}.csv")[0] for index in (0, 1)]
    assert [(int(row["Purchase"]), row["Map index"]) for row in found] == [(one, "0"), (two, "1")]


def test_what_mapped_closings_pushed_together_is_no_report(
    lucca: Sandbox, run_dag: Any, tmp_path: Path, logged: Any
) -> None:
    with new_dag("report_all_mapped") as dag:
        close = ClosePurchaseOperator.partial(task_id="close").expand(purchase_ids=[[lucca.closable_ids[0]]])
        ReportClosingsOperator(task_id="report", report=close.output, path=f"{tmp_path}/a.csv")
    assert states_of(run_dag(dag))["report"] == "failed"
    if AIRFLOW != (3, 0):  # it breaks the lines of an error
        assert "is no mapping of outcomes" in logged()


@pytest.mark.parametrize("native", [False, True])
def test_arguments_are_templates(lucca: Sandbox, run_dag: Any, tmp_path: Path, native: bool) -> None:
    (one, two, *_) = lucca.closable_ids
    with new_dag(f"report_templates_{native}", render_template_as_native_obj=native) as dag:
        close = ClosePurchaseOperator(task_id="close", purchase_ids=[one])
        report = ReportClosingsOperator(
            task_id="report",
            report="{{ ti.xcom_pull(task_ids='close') }}",
            sent="{{ ti.xcom_pull(task_ids='close', key='no such key') }}",
            purchase_ids="{{ [" + f"{one}, {two}" + "] }}",
            left_out=["{{ ti.xcom_pull(task_ids='check') }}", {two: "not this month"}],
            approved_by="Anna {{ 'Keller' }}",
            path=["{{ params.folder }}/a.csv"],
            params={"folder": str(tmp_path)},
        )
        close >> report
    assert states_of(run_dag(dag)) == {"close": "success", "report": "success"}
    assert {int(row["Purchase"]): (row["Outcome"], row["Reason"]) for row in rows(tmp_path / "a.csv")} == {
        one: ("closed", ""),
        two: ("left out", "not this month"),
    }
    assert {row["Approved by"] for row in rows(tmp_path / "a.csv")} == {"Anna Keller"}


# -- closings as an asset --------------------------------------------------------------------------------------------


def events_of(run: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return the address and the extra of each asset's event that a run made."""
    from airflow.utils.session import create_session
    from sqlalchemy import select

    if AIRFLOW >= (3, 0):
        from airflow.models.asset import AssetEvent, AssetModel

        made, known, key = AssetEvent, AssetModel, AssetEvent.asset_id
    else:
        from airflow.models.dataset import DatasetEvent, DatasetModel

        made, known, key = DatasetEvent, DatasetModel, DatasetEvent.dataset_id
    with create_session() as session:
        query = select(known.uri, made.extra).join(known, known.id == key).where(made.source_run_id == run.run_id)
        return sorted((uri, extra) for uri, extra in session.execute(query.where(made.source_dag_id == run.dag_id)))


def test_a_closing_that_succeeds_announces_what_it_closed(lucca: Sandbox, run_dag: Any) -> None:
    ids, done = lucca.closable_ids, lucca.add_purchase(state="Closed")
    uri = "lucca://acme.ilucca.net/purchases"
    with new_dag("announced") as dag:
        ClosePurchaseOperator(
            task_id="close", purchase_ids=[*ids, done], outlets=[Asset(uri=uri), Asset(uri="file:///other")]
        )
    if AIRFLOW < (3, 0):
        dag.sync_to_db()
    run = run_dag(dag)
    assert events_of(run) == [
        ("file:///other", {}),
        (
            uri,
            {
                "dag_id": "announced",
                "run_id": run.run_id,
                "task_id": "close",
                "counts": {"closed": len(ids), "already_closed": 1, "rejected": 0, "unresolved": 0},
                "closed": ids,
                "already_closed": [done],
            },
        ),
    ]


@pytest.mark.parametrize("what", ["refused", "nothing"])
def test_a_closing_that_fails_or_is_skipped_announces_nothing(lucca: Sandbox, run_dag: Any, what: str) -> None:
    refused = [lucca.add_purchase(invoices=UNPAID), *lucca.closable_ids]
    with new_dag(f"announced_{what}") as dag:
        ClosePurchaseOperator(
            task_id="close",
            purchase_ids=refused if what == "refused" else [],
            outlets=[Asset(uri="lucca://acme.ilucca.net/purchases")],
        )
    if AIRFLOW < (3, 0):
        dag.sync_to_db()
    run = run_dag(dag)
    assert states_of(run)["close"] == ("failed" if what == "refused" else "skipped")
    assert events_of(run) == []
