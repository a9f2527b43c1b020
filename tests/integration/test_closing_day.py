"""The expression of the examples gives the same day of closing however a run was started, on every Airflow."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable
from typing import Any

import pendulum
import pytest
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunType

from lucca_provider.compat import BaseOperator
from tests.airflow_names import DAG
from tests.conftest import AIRFLOW, register
from tests.integration.test_example_dags import CLOSE_CHECKED, CLOSE_CHOSEN, CLOSE_VALIDATED, load

PARIS = "Europe/Paris"
MIDNIGHT, SIX = "0 0 1 * *", "0 6 1 * *"
FIRST = pendulum.datetime(2026, 11, 1, tz=PARIS)
LATE = pendulum.datetime(2026, 11, 25, 23, 30, tz="UTC")
"""In Paris it is the 26th."""
NUMBERS = itertools.count()
SEEN: list[tuple[str, str]] = []


class Days(BaseOperator):
    """Keeps what its templates rendered to."""

    template_fields = ("day", "last_of_month_before")

    def __init__(self, *, day: str, last_of_month_before: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.day = day
        self.last_of_month_before = last_of_month_before

    def execute(self, context: Any) -> None:
        SEEN.append((self.day, self.last_of_month_before))


def expression(dag_id: str) -> str:
    close = load(dag_id).get_task("close")
    return str(getattr(close, "partial_kwargs", {}).get("closing_date") or close.closing_date)


@pytest.fixture
def new_dag(airflow_db: None) -> Callable[[str], Any]:
    """Make a DAG with the examples' expressions, and write it to the database as the DAG processor does."""

    def make(schedule: str) -> Any:
        with DAG(
            f"days_{next(NUMBERS)}", schedule=schedule, start_date=pendulum.datetime(2026, 9, 1, tz=PARIS), catchup=True
        ) as dag:
            Days(task_id="days", day=expression(CLOSE_CHECKED), last_of_month_before=expression(CLOSE_VALIDATED))
        if AIRFLOW >= (3, 0):
            register(dag)
        else:
            from airflow.models.serialized_dag import SerializedDagModel

            dag.sync_to_db()
            SerializedDagModel.write_dag(dag)
        return dag

    return make


def stored(dag: Any) -> Any:
    """Return a DAG as the scheduler knows it."""
    if AIRFLOW < (3, 0):
        return dag
    from airflow.models.serialized_dag import SerializedDagModel

    return SerializedDagModel.get_dag(dag.dag_id)


def automated(dag: Any, run_type: DagRunType, moment: pendulum.DateTime) -> Any:
    """Make the run for a moment of the schedule, as the scheduler and a backfill do."""
    from airflow.timetables.base import TimeRestriction

    known, info = stored(dag), None
    for _ in range(5):
        info = known.timetable.next_dagrun_info(
            last_automated_data_interval=info and info.data_interval,
            restriction=TimeRestriction(earliest=dag.start_date, latest=None, catchup=True),
        )
        if info.run_after == moment:
            break
    else:
        raise AssertionError(f"{moment} is not in the schedule")
    common = {"run_type": run_type, "data_interval": info.data_interval, "state": DagRunState.RUNNING}
    if AIRFLOW < (3, 0):
        return dag.create_dagrun(execution_date=info.logical_date, **common)
    from airflow.utils.types import DagRunTriggeredByType

    return known.create_dagrun(
        run_id=f"{run_type.value}__{moment.isoformat()}",
        logical_date=info.logical_date,
        run_after=info.run_after,
        triggered_by=DagRunTriggeredByType.TEST,
        **common,
    )


def by_hand(dag: Any, logical_date: datetime.datetime | None, run_after: datetime.datetime | None = None) -> Any:
    """Start a run as ``airflow dags trigger`` does; tests/system starts them through the page's API of 3.3 too."""
    from airflow.api.common import trigger_dag

    if AIRFLOW < (3, 0):
        made = trigger_dag.trigger_dag(dag.dag_id, execution_date=logical_date)
    else:
        from airflow.utils.types import DagRunTriggeredByType

        made = trigger_dag.trigger_dag(
            dag.dag_id, triggered_by=DagRunTriggeredByType.CLI, logical_date=logical_date, run_after=run_after
        )
    assert made
    return made


def days_of(dag: Any, run: Any) -> tuple[str, str]:
    """Run the one task of a run, and return what its templates rendered to."""
    SEEN.clear()
    with create_session() as session:
        run = session.merge(run)
        (ti,) = run.get_task_instances(session=session) or [None]
        if ti is None:
            run.dag = stored(dag)
            run.verify_integrity(session=session, **({} if AIRFLOW < (3, 0) else {"dag_version_id": dag_version(dag)}))
            (ti,) = run.get_task_instances(session=session)
        session.expunge_all()
    task = dag.get_task("days")
    if AIRFLOW < (3, 0):
        ti.task = task
        ti.run(ignore_all_deps=True, test_mode=True)
    else:
        try:
            from airflow.sdk.definitions.dag import _run_task
        except ImportError:
            from airflow.models.dag import _run_task
        _run_task(ti=ti, task=task)
    (days,) = SEEN
    return days


def dag_version(dag: Any) -> Any:
    from airflow.models.dag_version import DagVersion

    version = DagVersion.get_latest_version(dag.dag_id)
    return version and version.id


def test_all_examples_have_the_same_expression():
    assert expression(CLOSE_CHOSEN) == expression(CLOSE_CHECKED)
    core = expression(CLOSE_CHECKED).removeprefix("{{ ").removesuffix(" | ds }}")
    assert expression(CLOSE_VALIDATED) == f"{{{{ macros.ds_add({core}.replace(day=1) | ds, -1) }}}}"


@pytest.mark.parametrize("run_type", [DagRunType.SCHEDULED, DagRunType.BACKFILL_JOB])
@pytest.mark.parametrize(("schedule", "hour"), [(SIX, 6), (MIDNIGHT, 0)])
def test_a_run_of_the_schedule_closes_on_the_day_it_is_due(new_dag, run_type, schedule, hour):
    dag = new_dag(schedule)
    assert days_of(dag, automated(dag, run_type, FIRST.add(hours=hour))) == ("2026-11-01", "2026-10-31")


@pytest.mark.parametrize("schedule", [SIX, MIDNIGHT])
@pytest.mark.parametrize(
    ("logical_date", "days"),
    [
        (FIRST, ("2026-11-01", "2026-10-31")),
        (FIRST.in_tz("UTC"), ("2026-11-01", "2026-10-31")),
        (LATE, ("2026-11-26", "2026-10-31")),
        (pendulum.datetime(2026, 10, 31, 12, tz=PARIS), ("2026-10-31", "2026-09-30")),
    ],
)
def test_a_run_by_hand_closes_on_the_day_of_its_logical_date(new_dag, schedule, logical_date, days):
    dag = new_dag(schedule)
    assert days_of(dag, by_hand(dag, logical_date)) == days


@pytest.mark.skipif(AIRFLOW < (3, 0), reason="before Airflow 3 each run has a logical date")
@pytest.mark.parametrize("schedule", [SIX, MIDNIGHT])
def test_a_run_by_hand_without_a_logical_date_closes_on_the_day_it_is_started(new_dag, schedule):
    dag = new_dag(schedule)
    assert days_of(dag, by_hand(dag, None, run_after=LATE)) == ("2026-11-26", "2026-10-31")


def test_a_run_by_hand_that_says_nothing_closes_today(new_dag):
    dag, before = new_dag(SIX), pendulum.now(PARIS)
    day, last_of_month_before = days_of(dag, by_hand(dag, None))
    today = {moment.to_date_string(): moment for moment in (before, pendulum.now(PARIS))}
    assert last_of_month_before == today[day].start_of("month").subtract(days=1).to_date_string()
