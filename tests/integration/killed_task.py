"""Runs a closing in a process of its own, for a test that kills it: ``python -m tests.integration.killed_task``."""

from __future__ import annotations

import datetime
import json
import os
from typing import Any

from airflow.utils.session import create_session

from lucca_provider.operators.purchases import ClosePurchaseOperator
from tests.airflow_names import DAG
from tests.conftest import AIRFLOW, register


def build() -> DAG:
    with DAG(os.environ["DAG_ID"], start_date=datetime.datetime(2026, 1, 1), schedule=None) as dag:
        ClosePurchaseOperator(
            task_id="close",
            purchase_ids=os.environ["PURCHASE_IDS"],
            max_in_flight=2,
            retries=3,
            deferrable=json.loads(os.environ["DEFERRABLE"]),
        )
    return dag


def retry(dag: Any) -> None:
    """Do what the scheduler does with a task whose process is gone: count the try, and run the next one."""
    from airflow.models.taskinstance import TaskInstance

    with create_session() as session:
        ti = session.query(TaskInstance).filter_by(dag_id=dag.dag_id).one()
        ti.task = dag.task_dict["close"]
        if AIRFLOW >= (3, 1):
            from airflow.serialization.serialized_objects import create_scheduler_operator

            ti.task = create_scheduler_operator(ti.task)
        if AIRFLOW >= (3, 4):
            # The next try is a row of its own.
            ti = ti.prepare_db_for_next_try(session)
        else:
            if AIRFLOW >= (3, 0):
                ti.prepare_db_for_next_try(session)
            ti.try_number += 1
        ti.state = "scheduled"
        ti.next_method = None
        ti.next_kwargs = None
        session.commit()
        if AIRFLOW >= (3, 0):
            from airflow.sdk.definitions.dag import _run_task

            task = {"task": dag.task_dict["close"]} if AIRFLOW >= (3, 1) else {}
            while ti.state == "scheduled":  # again, before 3.1, after each deferral
                _run_task(ti=ti, **task, run_triggerer=True)
        else:
            from airflow.models.dag import _run_task as run_task

            run_task(ti=ti, inline_trigger=True, session=session)


def main() -> None:
    dag = build()
    if AIRFLOW >= (3, 0):
        register(dag)
    dag.test()


if __name__ == "__main__":
    main()
