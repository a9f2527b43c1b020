"""A whole Airflow in which a DAG waits for closings: it starts by itself, and gets the ids."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local_airflow.api import Run, wait_until
from local_airflow.deployment import ROOT, Deployment
from lucca_provider.sandbox import Sandbox

UNPAID = [{"conformityState": "Confirmed", "paymentState": "ToPay"}]


@pytest.fixture
def airflow() -> Iterator[Deployment]:
    """Start an Airflow that starts runs by itself, which those of the other tests do not."""
    environ = {"AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "True"}
    with Deployment(environ=environ, dags=[ROOT / "tests" / "system" / "announced"]) as deployment:
        yield deployment


@pytest.fixture
def lucca(airflow: Deployment) -> Iterator[Sandbox]:
    with Sandbox(3, states={"closable": 1}) as sandbox:
        airflow.api.set_connection("lucca_default", sandbox.connection_uri)
        yield sandbox


def runs_of(airflow: Deployment, dag_id: str) -> list[Run]:
    runs = airflow.api.get(f"/dags/{dag_id}/dagRuns", limit=100)["dag_runs"]
    return [Run(airflow.api, dag_id, run["dag_run_id"]) for run in runs]


def test_a_dag_that_is_scheduled_on_closings_gets_what_was_closed_and_nothing_of_what_failed(
    airflow: Deployment, lucca: Sandbox
) -> None:
    refused, *closed = [lucca.add_purchase(invoices=UNPAID), *lucca.closable_ids]
    failed = airflow.api.trigger("close_announced", {"purchase_ids": [refused, closed[0]]})
    assert failed.wait() == "failed"
    assert lucca.closed_ids == closed[:1]
    run = airflow.api.trigger("close_announced", {"purchase_ids": closed})
    assert run.wait() == "success"
    (waiting,) = wait_until(lambda: runs_of(airflow, "after_closing"), "a run that starts by itself", seconds=60)
    assert waiting.wait() == "success"
    assert waiting.xcom("closed") == [
        {
            "dag_id": "close_announced",
            "run_id": run.run_id,
            "task_id": "close",
            "counts": {"closed": 2, "already_closed": 1, "rejected": 0, "unresolved": 0},
            "closed": closed[1:],
            "already_closed": closed[:1],
        }
    ]
