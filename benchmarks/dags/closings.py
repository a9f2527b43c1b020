"""The DAGs that the benchmarks run: closings whose time on a worker is written down."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from airflow.sdk import DAG, Context

from lucca_provider.operators.purchases import ClosePurchaseOperator
from lucca_provider.outcomes import Report


class TimedClosing(ClosePurchaseOperator):
    """Writes down each stay on a worker."""

    def __init__(self, *, delay: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.delay = delay

    def execute(self, context: Context) -> Report:
        """Close the purchases."""
        return self._timed(lambda: super(TimedClosing, self).execute(context), self.delay)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Report:
        """Go on after a wait."""
        return self._timed(lambda: super(TimedClosing, self).execute_complete(context, event))

    def _timed(self, close: Callable[[], Report], delay: float = 0.0) -> Report:
        startup = time.time() - psutil.Process().create_time()
        time.sleep(delay)
        started = time.time()
        done = False
        try:
            report = close()
            done = True
            return report
        finally:
            stay = {"startup": startup, "started": started, "left": time.time(), "done": done}
            with Path(os.environ["BENCHMARK_STAYS"], self.dag_id).open("a") as file:
                print(json.dumps(stay), file=file)


for name, task in json.loads(Path(os.environ["BENCHMARK_TASKS"]).read_text()).items():
    with DAG(name, schedule="@once") as dag:
        TimedClosing(
            task_id="close",
            purchase_ids=task["ids"],
            lucca_conn_id=name,
            deferrable=task["deferrable"],
            durable=task["durable"],
            delay=task["delay"],
        )
    globals()[name] = dag
