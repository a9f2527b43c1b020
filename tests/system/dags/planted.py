"""A DAG that writes marker values wherever a task can write, so that a search for secrets can be seen to find them."""

from __future__ import annotations

import base64
import json
import zlib
from datetime import datetime, timezone
from urllib.parse import quote

from airflow.sdk import DAG, BaseOperator, Context

from lucca_provider.triggers.lucca import LuccaWaitTrigger

FAR_AWAY = datetime(2100, 1, 1, tzinfo=timezone.utc).timestamp()


def header(form: str) -> str:
    """Return what a request would carry, with a marker of its own for each form in the place of the key."""
    return f"lucca application=planted/{form}+marker="


PLANTED = {
    "plain": header("plain"),
    "base64": base64.b64encode(header("base64").encode()).decode(),
    "percent": quote(header("percent"), safe=""),
    "packed": base64.b64encode(zlib.compress(json.dumps(header("packed")).encode())).decode(),
}


class Plant(BaseOperator):
    """Writes everywhere, then waits for ever, so that its trigger stays."""

    template_fields = ("planted",)

    def __init__(self, planted: dict[str, str], **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.planted = planted

    def execute(self, context: Context) -> None:
        """Plant the markers."""
        self.log.info("%s", self.planted)
        context["ti"].xcom_push(key="planted", value=self.planted)
        context["task_state_store"].set("planted", self.planted)
        self.defer(trigger=LuccaWaitTrigger(FAR_AWAY, json.dumps(self.planted)), method_name="execute")


with DAG(dag_id="planted", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
    Plant(task_id="plant", planted=PLANTED)
