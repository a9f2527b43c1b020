"""What a whole Airflow, 3.3 or 3.4, does with its task state store: what the provider's simulation takes for given."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local_airflow.api import Run, wait_until
from local_airflow.deployment import Deployment
from tests.conftest import AIRFLOW


def remember(airflow: Deployment, then: str = "", report: str = "") -> Run:
    """Start a run whose first try writes a note and then does this."""
    return airflow.api.trigger("remember", {"then": then, "report": report})


def remember_each(airflow: Deployment, *items: str) -> Run:
    """Run a task instance for each item, and wait for the end."""
    airflow.api.set_variable("remember_items", json.dumps(items))
    run = airflow.api.trigger("remember_mapped")
    assert run.wait() == "success"
    return run


def found_by_each(run: Run) -> list[Any]:
    """Return which item's note each of two mapped task instances found."""
    notes = [run.xcom("remember", map_index=index) for index in range(2)]
    return [note["item"] for note in notes]


def store_of(run: Run, map_index: int = -1) -> dict[str, Any]:
    """Return what the store holds of a task instance, as a person sees it in the UI."""
    path = f"{run.path}/taskInstances/remember/state-store"
    return {row["key"]: row["value"] for row in run.api.get(path, map_index=map_index)["task_state_store"]}


def clear_tasks(airflow: Deployment, run: Run) -> None:
    """Clear what the UI clears if a person picks tasks."""
    run.clear()


def clear_run(airflow: Deployment, run: Run) -> None:
    """Clear a run as a whole."""
    airflow.api.post(f"{run.path}/clear", {"dry_run": False})


def clear_by_command(airflow: Deployment, run: Run) -> None:
    """Clear the run of that date, which is what the command line goes by."""
    date = airflow.api.get(run.path)["logical_date"]
    command = ["tasks", "clear", run.dag_id, "--start-date", date, "--end-date", date, "--yes"]
    subprocess.run([sys.executable, "-m", "airflow", *command], env=airflow.environ, check=True, capture_output=True)


KEPT = {clear_tasks: AIRFLOW < (3, 4), clear_run: True, clear_by_command: True}
"""Whether what a task keeps outlives a clear: the table of docs/versions.md."""


def try_of(run: Run) -> int:
    return int(run.task("remember")["try_number"])


def test_it_is_kept_across_a_deferral(airflow: Deployment) -> None:
    run = remember(airflow, "defer")
    assert run.wait() == "success"
    assert try_of(run) == 1
    assert run.xcom("remember")["try"] == 1


def test_a_retry_reads_what_the_try_before_it_wrote(airflow: Deployment) -> None:
    run = remember(airflow, "fail")
    assert run.wait() == "success"
    assert try_of(run) == 2
    assert run.xcom("remember")["try"] == 1


@pytest.mark.parametrize("clear", KEPT)
def test_what_a_clear_leaves_of_it(airflow: Deployment, clear: Callable[[Deployment, Run], None]) -> None:
    day = list(KEPT).index(clear) + 1
    run = airflow.api.trigger("remember", logical_date=f"2026-01-0{day}T00:00:00Z")
    assert run.wait() == "success"
    clear(airflow, run)
    assert run.wait() == "success"
    assert try_of(run) == 2
    found = airflow.api.get(f"{run.path}/taskInstances/remember/xcomEntries")["xcom_entries"]
    # A task that returns None pushes no XCom.
    assert bool(found) is KEPT[clear]


def test_another_run_of_the_same_task_starts_with_none(airflow: Deployment) -> None:
    for run in (remember(airflow), remember(airflow)):
        assert run.wait() == "success"
        # A task that returns None pushes no XCom.
        with pytest.raises(RuntimeError, match="404"):
            run.xcom("remember")
        assert store_of(run)["note"]["try"] == 1


def test_each_mapped_task_instance_has_its_own(airflow: Deployment) -> None:
    run = remember_each(airflow, "chairs", "desks")
    assert [store_of(run, index)["note"]["item"] for index in range(2)] == ["chairs", "desks"]
    clear_run(airflow, run)
    assert run.wait() == "success"
    assert found_by_each(run) == ["chairs", "desks"]


def test_a_mapped_task_instance_finds_what_another_item_left_once_the_list_has_another_order(
    airflow: Deployment,
) -> None:
    run = remember_each(airflow, "chairs", "desks")
    airflow.api.set_variable("remember_items", json.dumps(["desks", "chairs"]))
    clear_run(airflow, run)
    assert run.wait() == "success"
    assert [store_of(run, index)["note"]["item"] for index in range(2)] == ["desks", "chairs"]
    assert found_by_each(run) == ["chairs", "desks"]


def test_a_key_that_a_person_deletes_is_gone_at_the_next_reading(airflow: Deployment) -> None:
    run = remember(airflow, "wait")
    wait_until(lambda: store_of(run), "a note", seconds=60)
    airflow.api.delete(f"{run.path}/taskInstances/remember/state-store/note")
    assert run.wait() == "success"
    assert run.xcom("remember") == "gone"


@pytest.mark.skipif(AIRFLOW >= (3, 4), reason="Airflow 3.4 replaces a try that is cleared only once it has ended")
def test_a_try_that_was_replaced_cannot_write_and_reads_nothing(airflow: Deployment, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    run = remember(airflow, "hold out", str(report))
    wait_until(lambda: store_of(run), "a note", seconds=60)
    run.clear()
    seen = json.loads(wait_until(lambda: report.exists() and report.read_text(), "a refusal", seconds=30) or "")
    assert seen["refusal"]["status_code"] == 404
    # As if the key had never been there, not an error.
    assert seen["get"] == "nothing"
    assert run.wait() == "success"
    assert try_of(run) == 2


def test_it_survives_a_task_process_that_is_killed(airflow: Deployment) -> None:
    run = remember(airflow, "wait")
    wait_until(lambda: store_of(run), "a note", seconds=60)
    airflow.task_process(run.task("remember")).kill()
    assert run.wait() == "success"
    assert try_of(run) == 2
    assert run.xcom("remember")["try"] == 1
