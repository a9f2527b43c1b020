"""A whole Airflow closes purchases: examples, deferred, killed, cleared, and without its API server for a while."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from local_airflow.api import Api, Run, wait_until
from local_airflow.deployment import PASSWORD, ROOT, USER, Deployment
from lucca_provider.sandbox import Sandbox
from tests.system.conftest import ASSIGNED, CLERK, FIXED_PORT, KEY

Serve = Callable[..., Sandbox]
REFUSED = 4
"""Of the purchases 1 to 6, which the examples are about, the one with an invoice that is not paid."""
SUPPLIER = {"id": 1, "name": "Boréal Télécom"}


def assert_closed_once(lucca: Sandbox, ids: Iterable[int], *, refused: Iterable[int] = ()) -> None:
    """See in the tenant's record that one closing was sent for each of these, and that the limit was kept."""
    assert Counter(closing.purchase_id for closing in lucca.closings) == Counter(ids)
    posts = Counter(request.purchase_id for request in lucca.requests if request.method == "POST")
    assert posts == Counter([*ids, *refused])
    assert lucca.throttled == 0


# -- the examples ----------------------------------------------------------------------------------------------------


def candidates_table(airflow: Deployment, folder: Path) -> None:
    """Fill the table that the first example checks; Airflow finds it through a connection."""
    file = folder / "validation.db"
    database = sqlite3.connect(file)
    with database:
        database.execute(
            "CREATE TABLE purchase_candidates"
            " (purchase_id INTEGER, ordered NUMERIC, invoiced NUMERIC, approved_by TEXT, problem TEXT)"
        )
        rows = [(1, 100, 100, "cr"), (2, 80, 80.5, "cr"), (3, 70, 70, None), (5, 60, 59, "cr")]
        database.executemany("INSERT INTO purchase_candidates VALUES (?, ?, ?, ?, NULL)", rows)
    database.close()
    airflow.api.set_connection("lucca_validation", json.dumps({"conn_type": "sqlite", "host": str(file)}))


def candidates_file(airflow: Deployment, folder: Path) -> None:
    """Write the file that the second example checks; Airflow finds it through a variable."""
    file = folder / "candidates.csv"
    file.write_text("purchase_id,ordered,invoiced\n1,100.00,100.00\n2,80.00,80.50\n3,70.00,free\n5,60,60.00\n")
    airflow.api.set_variable("lucca_candidates", f"file://{file}")


def warehouse_table(airflow: Deployment, folder: Path) -> None:
    """Fill the table that the cross-check reads, with one amount that is a cent off."""
    file = folder / "warehouse.db"
    database = sqlite3.connect(file)
    with database:
        database.execute(
            "CREATE TABLE warehouse_invoices (purchase_id INTEGER, supplier TEXT, currency TEXT, amount NUMERIC)"
        )
        rows = [(number, SUPPLIER["name"], "EUR", 120.5 if number != 2 else 120.51) for number in (1, 2, 3)]
        database.executemany("INSERT INTO warehouse_invoices VALUES (?, ?, ?, ?)", rows)
    database.close()
    airflow.api.set_connection("lucca_warehouse", json.dumps({"conn_type": "sqlite", "host": str(file)}))


def nothing(airflow: Deployment, folder: Path) -> None:
    """Make nothing."""


def pool(airflow: Deployment, folder: Path) -> None:
    """Make the pool that the third example takes its slots from."""
    airflow.api.set_pool("lucca", 4)


@dataclass(frozen=True)
class Example:
    """
    An example DAG, and what has to become of it.

    :param set_up: makes what the DAG needs beside a tenant
    :param closed: purchases that are closed afterwards
    :param refused: purchases that Lucca refuses
    :param conf: what the run is started with
    :param state: how the run ends
    :param answers: what a person answers to tasks that wait for one, by task
    """

    set_up: Callable[[Deployment, Path], None]
    closed: list[int]
    refused: list[int] = field(default_factory=list)
    conf: Mapping[str, Any] = field(default_factory=dict)
    state: str = "success"
    answers: Mapping[str, str] = field(default_factory=dict)


EXAMPLES = {
    "lucca_close_validated_purchases": Example(candidates_table, closed=[1, 5]),
    "lucca_close_checked_purchases": Example(candidates_file, closed=[1, 5]),
    "lucca_close_chosen_purchases": Example(
        pool, closed=[2, 6], refused=[REFUSED], conf={"purchase_ids": [2, REFUSED, 6]}, state="failed"
    ),
    "lucca_close_month_end": Example(nothing, closed=[1, 2, 3, 5, 6], answers={"approve": "Approve"}),
    "lucca_close_warehouse_matches": Example(warehouse_table, closed=[1, 3]),
    "lucca_close_many_tenants": Example(nothing, closed=[1, 2, 3, 5, 6]),
    "lucca_try_tenant": Example(nothing, closed=[]),
}


def test_no_example_is_left_out() -> None:
    assert set(EXAMPLES) == {file.stem for file in (ROOT / "dags").glob("*.py")}


def add_purchases(lucca: Sandbox) -> None:
    for number in range(1, 7):
        payment = "ToPay" if number == REFUSED else "Paid"
        invoice = {"conformityState": "Confirmed", "paymentState": payment, "amount": 120.5}
        lucca.add_purchase(id=number, title=f"Chairs | {number}", supplier=SUPPLIER, invoices=[invoice])


def wait_to_be_asked(home: Path, run: Run, task_id: str) -> None:
    """Wait as a person does, who is slower than Airflow: until its scheduler has heard that a task waits for them."""
    number = run.wait_for_task(task_id, "deferred", "awaiting_input", seconds=240)["try_number"]
    log = home / "parts" / "scheduler.log"
    key = rf"task_id='{task_id}', run_id='{re.escape(run.run_id)}', try_number={number}\b"
    heard = re.compile(f"Received executor event .*{key}")
    wait_until(lambda: heard.search(log.read_text(errors="replace")), f"the scheduler's word on {task_id}", seconds=120)


def answer(home: Path, run: Run, task_id: str, option: str = "Approve") -> None:
    """Answer a task as a person would."""
    wait_to_be_asked(home, run, task_id)
    run.answer(task_id, option)


def read_report(folder: Path) -> dict[int, dict[str, str]]:
    """Return the lines of the one CSV file in a folder, by purchase."""
    (file,) = folder.glob("*.csv")
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return {int(row["Purchase"]): row for row in csv.DictReader(lines, delimiter=";")}


@pytest.mark.parametrize("dag_id", EXAMPLES)
def test_an_example_runs_to_its_end(airflow: Deployment, serve: Serve, tmp_path: Path, dag_id: str) -> None:
    example = EXAMPLES[dag_id]
    lucca = serve(0)
    add_purchases(lucca)
    example.set_up(airflow, tmp_path)
    airflow.api.set_variable("lucca_reports", str(tmp_path))
    run = airflow.api.trigger(dag_id, dict(example.conf))
    for task_id, option in example.answers.items():
        answer(airflow.home, run, task_id, option)
    assert run.wait() == example.state
    assert_closed_once(lucca, example.closed, refused=example.refused)
    assert all(run.run_id in str(closing.comment) for closing in lucca.closings)


def test_nothing_is_closed_after_a_rejection(airflow: Deployment, serve: Serve, tmp_path: Path) -> None:
    lucca = serve(0)
    add_purchases(lucca)
    airflow.api.set_variable("lucca_reports", str(tmp_path))
    run = airflow.api.trigger("lucca_close_month_end")
    answer(airflow.home, run, "approve", "Reject")
    assert run.wait(seconds=300) == "success"
    assert [run.task(task_id)["state"] for task_id in ("check_again", "close", "closed")] == ["skipped"] * 3
    reasons = {number: row["Reason"] for number, row in read_report(tmp_path).items()}
    assert reasons.pop(REFUSED).startswith("invoice")
    assert reasons == dict.fromkeys(
        (1, 2, 3, 5, 6), "not approved: nobody was asked, nobody answered, or it was rejected"
    )
    assert "POST" not in {request.method for request in lucca.requests}


def test_nothing_is_closed_if_somebody_who_is_not_asked_sets_the_approval_to_success(
    airflow: Deployment, serve: Serve, tmp_path: Path
) -> None:
    lucca = serve(0)
    add_purchases(lucca)
    airflow.api.set_variable("lucca_reports", str(tmp_path))
    run = Run(Api(airflow.url, user=CLERK, password=PASSWORD), ASSIGNED, airflow.api.trigger(ASSIGNED).run_id)
    wait_to_be_asked(airflow.home, run, "approve")
    with pytest.raises(RuntimeError, match="403"):
        run.answer("approve")
    run.api.patch(f"{run.path}/taskInstances/approve", {"new_state": "success"})
    assert run.wait(seconds=300) == "failed"
    states = {task["task_id"]: task["state"] for task in run.tasks()}
    assert (states["approve"], states["check_again"], states["close"]) == ("success", "failed", "upstream_failed")
    assert {row["Outcome"] for row in read_report(tmp_path).values()} == {"left out"}
    assert "POST" not in {request.method for request in lucca.requests}
    # What is approved by who is asked, is closed after all.
    run.clear("approve", "check_again", "close", "closed", "report")
    answer(airflow.home, Run(airflow.api, ASSIGNED, run.run_id), "approve")
    assert run.wait(seconds=300) == "success"
    assert_closed_once(lucca, (1, 2, 3, 5, 6))
    assert {row["Approved by"] for row in read_report(tmp_path).values()} == {USER}


def test_a_worker_tests_a_connection_before_it_is_saved(airflow: Deployment, serve: Serve) -> None:
    lucca = serve(0)
    new = {"connection_id": "lucca_new", "conn_type": "lucca", "password": KEY, "schema": "http"}
    good = {**new, "host": lucca.host, "port": lucca.port}
    for connection, state, begins in (
        (good, "success", f"Connected to {lucca.url}."),
        (new, "failed", "Tenant (host) is empty; "),
    ):
        test = airflow.api.test_on_worker(connection)
        assert test["state"] == state
        assert test["result_message"].startswith(begins)


# -- closings that are disturbed -------------------------------------------------------------------------------------


def test_a_deferrable_closing_leaves_its_worker_for_each_window(airflow: Deployment, serve: Serve) -> None:
    lucca = serve(13, limit=5, window=6)
    run = airflow.api.trigger("close_deferrable", {"purchase_ids": lucca.purchase_ids})
    run.wait_for_task("close", "deferred")
    assert run.wait() == "success"
    assert run.xcom("close")["closed"] == lucca.purchase_ids
    assert run.log("close").count("Deferred; resuming at") == 2
    assert_closed_once(lucca, lucca.purchase_ids)


@pytest.mark.parametrize("dag_id", ["close", "close_deferrable"])
def test_the_retry_finishes_what_a_killed_process_began(airflow: Deployment, serve: Serve, dag_id: str) -> None:
    # What is left for the retry, which does not know how much of the limit is used, fits into the window.
    lucca = serve(28, limit=20, window=6, latency=0.2)
    run = airflow.api.trigger(dag_id, {"purchase_ids": lucca.purchase_ids})
    # In the second window, that is after a deferrable task came back once.
    wait_until(lambda: len(lucca.closings) > 20, "a second window", seconds=60, every=0.01)
    airflow.task_process(run.task("close")).kill()
    assert len(lucca.closings) < 28
    assert run.wait() == "success"
    assert len(run.tries("close")) == 2
    assert run.xcom("close")["closed"] == lucca.purchase_ids
    assert_closed_once(lucca, lucca.purchase_ids)


def test_a_run_that_is_cleared_after_its_success_asks_lucca_nothing(airflow: Deployment, serve: Serve) -> None:
    lucca = serve(5)
    run = airflow.api.trigger("close", {"purchase_ids": lucca.purchase_ids})
    assert run.wait() == "success"
    assert_closed_once(lucca, lucca.purchase_ids)
    lucca.reset_requests()
    run.clear()
    assert run.wait() == "success"
    assert len(run.tries("close")) == 2
    assert run.xcom("close")["closed"] == lucca.purchase_ids
    assert lucca.requests == []


def test_a_closing_outlives_a_restart_of_the_api_server(airflow: Deployment, serve: Serve) -> None:
    """The task's connection stands in the environment, for once."""
    lucca = serve(16, port=FIXED_PORT, latency=0.2)
    conf = {"purchase_ids": lucca.purchase_ids, "lucca_conn_id": "lucca_environment"}
    run = airflow.api.trigger("close", conf)
    wait_until(lambda: len(lucca.closings) >= 5, "five closings", seconds=60, every=0.01)
    airflow.stop("api-server")
    assert len(lucca.closings) < 16
    airflow.start("api-server")
    airflow.wait_until_healthy()
    assert run.wait() == "success"
    assert run.xcom("close")["closed"] == lucca.purchase_ids
    assert_closed_once(lucca, lucca.purchase_ids)
