"""DAGs of a task that keeps a note in Airflow's task state store, and returns the one that was there before."""

from __future__ import annotations

import json
import signal
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import DAG, BaseOperator, Context, Param, Variable, task
from airflow.sdk.exceptions import AirflowRuntimeError

KEY = "note"
LONG = 60
"""Seconds after which a task gives up waiting for a test."""


class Remember(BaseOperator):
    """
    Reads the note that is there, writes its own, and returns the first; what comes in between is asked for by the run.

    :param then: what the first try does after it wrote: ``fail``, ``defer``, ``wait`` until its note is gone, or
        ``hold out`` against its end until the store refuses it
    :param item: what a mapped task instance is about
    :param report: file for what the store answered to a try that held out
    """

    template_fields = ("then", "report")

    def __init__(self, *, then: str = "", item: str = "", report: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.then = then
        self.item = item
        self.report = report

    def execute(self, context: Context) -> Any:
        """Read, write, and do what the run asks for."""
        self._store = context["task_state_store"]
        try_number = context["ti"].try_number
        before = self._store.get(KEY)
        self._store.set(KEY, {"try": try_number, "item": self.item})
        if try_number > 1 or not self.then:
            return before
        steps = {"fail": self._fail, "defer": self._defer, "wait": self._wait, "hold out": self._hold_out}
        return steps[self.then]()

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """Return the note of before the deferral."""
        return context["task_state_store"].get(KEY)

    def _fail(self) -> None:
        raise RuntimeError("The first try fails.")

    def _defer(self) -> None:
        self.defer(trigger=TimeDeltaTrigger(timedelta(0)), method_name="execute_complete")

    def _wait(self) -> str:
        for _ in range(LONG * 5):
            if self._store.get(KEY) is None:
                return "gone"
            time.sleep(0.2)
        raise TimeoutError("The note is still there.")

    def _hold_out(self) -> None:
        # Airflow ends a try that it has replaced, and waits 5 s until it kills it.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for _ in range(LONG * 5):
            try:
                self._store.set(KEY, {"try": 1, "item": "late"})
            except AirflowRuntimeError as refusal:
                seen = {"refusal": refusal.error.detail, "get": self._store.get(KEY, "nothing")}
                Path(self.report).write_text(json.dumps(seen))
                return
            time.sleep(0.2)
        raise TimeoutError("The store still takes notes.")


defaults = {"retries": 1, "retry_delay": timedelta(0)}
with DAG(
    dag_id="remember",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    params={"then": Param("", type="string"), "report": Param("", type="string")},
    default_args=defaults,
):
    Remember(task_id="remember", then="{{ params.then }}", report="{{ params.report }}")

with DAG(dag_id="remember_mapped", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):

    @task
    def items() -> Any:
        """Return the list that a test left, which may be another one when the run is cleared."""
        return Variable.get("remember_items", deserialize_json=True)

    Remember.partial(task_id="remember").expand(item=items())
