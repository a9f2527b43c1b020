"""No API key is in anything that an Airflow wrote, whatever it did before; and it would be found if it were."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from local_airflow.api import Run
from local_airflow.deployment import Deployment
from lucca_provider.sandbox import Sandbox
from tests.system.conftest import PIECE
from tests.system.search import search

FORMS = (
    "plain",
    "upper",
    "truncated",
    "percent",
    "percentlower",
    "dotnet",
    "html",
    "hex",
    "base64",
    "zlib",
    "gzip",
)
PLACES = {
    "logs": "what tasks log",
    "parts": "what the scheduler and the others log",
    "xcom": "what tasks push",
    "rendered_task_instance_fields": "templates with their values",
    "task_state_store": "the journal",
    "serialized_dag": "the DAGs",
    "trigger": "what a deferred task waits for, which is encrypted",
    "variable": "a value that is encrypted in any other table than that of the connections",
}


@pytest.fixture(scope="session")
def planted(airflow: Deployment) -> Run:
    """Plant markers in each of the places."""
    run = airflow.api.trigger("planted")
    run.wait_for_task("plant", "deferred")
    airflow.api.set_variable("planted", str(run.xcom("plant", "planted")))
    return run


@pytest.mark.parametrize("form", FORMS)
def test_a_marker_is_found_wherever_it_stands(airflow: Deployment, planted: Run, form: str) -> None:
    assert set(PLACES) - search(airflow, f"{form}marker") == set()


def test_what_a_connection_holds_encrypted_is_left_aside(airflow: Deployment) -> None:
    airflow.api.set_connection("planted", "lucca://:planted%2Fconnectionmarker%2Bkey%3D@acme.ilucca.net")
    assert search(airflow, "connectionmarker") == set()


def test_the_key_is_nowhere(airflow: Deployment, serve: Callable[..., Sandbox]) -> None:
    """After all the runs of this session, one that failed with a traceback, and one whose trigger is still there."""
    retried = serve(8)
    retried.fail_next("html", purchase_id=retried.purchase_ids[5])
    run = airflow.api.trigger("close", {"purchase_ids": retried.purchase_ids})
    assert run.wait() == "success"
    assert "a web page" in run.log("close")
    waiting = serve(8, limit=5, window=600)
    run = airflow.api.trigger("close_deferrable", {"purchase_ids": waiting.purchase_ids})
    run.wait_for_task("close", "deferred")
    # One of the five requests was for the page of states.
    assert len(waiting.closings) == 4
    assert airflow.api.get("/connections/lucca_default")["password"] == "***"
    assert search(airflow, PIECE) == set()
