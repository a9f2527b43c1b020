"""A DAG that writes marker values wherever a task can write, so that a search for secrets can be seen to find them."""

from __future__ import annotations

import base64
import gzip
import json
import re
import zlib
from datetime import datetime, timezone
from urllib.parse import quote

from airflow.sdk import DAG, BaseOperator, Context

from lucca_provider.triggers.lucca import LuccaWaitTrigger

FAR_AWAY = datetime(2100, 1, 1, tzinfo=timezone.utc).timestamp()


def header(form: str) -> str:
    """Return what a request would carry, with a marker of its own for each form in the place of the key."""
    return f"lucca application=planted/{form}marker+key="


def packed(data: bytes) -> str:
    """Return bytes as text can hold them."""
    return base64.b64encode(data).decode()


PLANTED = {
    "plain": header("plain"),
    "upper": header("upper").upper(),
    "truncated": header("truncated").partition("=p")[2].rstrip("="),
    "percent": quote(header("percent"), safe=""),
    "percentlower": re.sub("%..", lambda found: found[0].lower(), quote(header("percentlower"), safe="")),
    "dotnet": header("dotnet").replace("+", "\\u002B"),
    "html": header("html").replace("+", "&#43;"),
    "hex": header("hex").encode().hex(),
    "base64": packed(header("base64").encode()),
    "zlib": packed(zlib.compress(json.dumps(header("zlib")).encode())),
    "gzip": packed(gzip.compress(json.dumps(header("gzip")).encode())),
}
"""The marker in the forms that software gives to what it writes."""


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
