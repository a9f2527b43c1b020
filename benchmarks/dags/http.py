"""What one would write without the provider: a closing for each mapped task of the HTTP provider."""

from __future__ import annotations

import json
import os

from airflow.providers.http.operators.http import HttpOperator
from airflow.sdk import DAG

with DAG("http", schedule=None):
    HttpOperator.partial(
        task_id="close", method="POST", data="{}", headers={"Content-Type": "application/json"}
    ).expand(endpoint=json.loads(os.environ.get("BENCHMARK_ENDPOINTS", "[]")))
