"""Two DAGs whose only task returns the day of closing that the examples' expression gives, and two to be backfilled."""

from __future__ import annotations

import os
from datetime import timedelta

import pendulum
from airflow.sdk import DAG, task

PARIS = "Europe/Paris"


# The scheduler starts runs as soon as it can, which may be before the API server answers their tasks.
@task(retries=5, retry_delay=timedelta(seconds=1))
def day(rendered: str) -> str:
    return rendered


for hour in (0, 6):
    for name, catchup in (("scheduled", True), ("backfilled", False)):
        with DAG(
            dag_id=f"{name}_{hour}",
            schedule=f"0 {hour} 1 * *",
            start_date=pendulum.datetime(2026, 1, 15, tz=PARIS),
            end_date=pendulum.datetime(2026, 2, 15, tz=PARIS),
            catchup=catchup,
        ):
            day(os.environ["TEST_CLOSING_DATE"])
    # No end: Airflow starts no run by hand of a DAG that has ended.
    with DAG(dag_id=f"by_hand_{hour}", schedule=f"0 {hour} 1 1 *", start_date=pendulum.datetime(2026, 1, 15, tz=PARIS)):
        day(os.environ["TEST_CLOSING_DATE"])
