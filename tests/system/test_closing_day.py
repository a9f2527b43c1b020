"""The day of a closing in a whole Airflow: by its scheduler, by a backfill, by hand through API and command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pendulum
import pytest

from local_airflow.api import Run, wait_until
from local_airflow.deployment import ROOT, Deployment
from tests.integration.test_closing_day import PARIS, expression
from tests.integration.test_example_dags import CLOSE_CHECKED

MIDNIGHT = "2026-10-31T23:00:00Z"
"""In Paris the first of November has begun."""
HOURS = pytest.mark.parametrize("hour", [0, 6])


@pytest.fixture(scope="module")
def airflow() -> Iterator[Deployment]:
    environ = {"AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "True", "TEST_CLOSING_DATE": expression(CLOSE_CHECKED)}
    with Deployment(environ=environ, dags=[ROOT / "tests" / "system" / "days"]) as deployment:
        yield deployment


def only_run(airflow: Deployment, dag_id: str, run_type: str) -> Run:
    def find() -> str | None:
        runs = airflow.api.get(f"/dags/{dag_id}/dagRuns")["dag_runs"]
        return next((run["dag_run_id"] for run in runs if run["run_type"] == run_type), None)

    return Run(airflow.api, dag_id, wait_until(find, f"a {run_type} run of {dag_id}", seconds=120))


def day_of(run: Run) -> str:
    assert run.wait(seconds=180) == "success"
    return str(run.xcom("day"))


@HOURS
def test_a_scheduled_run_closes_on_the_day_it_is_due(airflow: Deployment, hour: int) -> None:
    assert day_of(only_run(airflow, f"scheduled_{hour}", "scheduled")) == "2026-02-01"


@HOURS
def test_a_backfill_closes_on_the_day_it_is_about(airflow: Deployment, hour: int) -> None:
    asked = {"dag_id": f"backfilled_{hour}", "from_date": "2026-01-15T00:00:00Z", "to_date": "2026-02-14T00:00:00Z"}
    airflow.api.post("/backfills", asked)
    assert day_of(only_run(airflow, f"backfilled_{hour}", "backfill")) == "2026-02-01"


@HOURS
def test_a_run_through_the_api_closes_on_the_day_of_its_logical_date(airflow: Deployment, hour: int) -> None:
    """The page's form sends the same, with the moment in its field *logical date*."""
    assert day_of(airflow.api.trigger(f"by_hand_{hour}", logical_date=MIDNIGHT)) == "2026-11-01"


@HOURS
def test_a_run_through_the_api_without_a_logical_date_closes_today(airflow: Deployment, hour: int) -> None:
    before = pendulum.now(PARIS)
    day = day_of(airflow.api.trigger(f"by_hand_{hour}"))
    assert day in {before.to_date_string(), pendulum.now(PARIS).to_date_string()}


@HOURS
@pytest.mark.parametrize("arguments", [(), ("--logical-date", MIDNIGHT)])
def test_a_run_through_the_command_line_closes_on_the_same_days(
    airflow: Deployment, hour: int, arguments: tuple[str, ...]
) -> None:
    before, run_id = pendulum.now(PARIS), f"command_{hour}_{len(arguments)}"
    # A minute apart from the others: no two runs of a DAG have the same logical date.
    arguments = tuple(argument.replace("00:00Z", "01:00Z") for argument in arguments)
    subprocess.run(
        [sys.executable, "-m", "airflow", "dags", "trigger", f"by_hand_{hour}", "--run-id", run_id, *arguments],
        env=airflow.environ,
        cwd=airflow.home,
        check=True,
        capture_output=True,
    )
    today = {before.to_date_string(), pendulum.now(PARIS).to_date_string()}
    assert day_of(Run(airflow.api, f"by_hand_{hour}", run_id)) in ({"2026-11-01"} if arguments else today)
