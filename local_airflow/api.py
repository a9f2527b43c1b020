"""A client of Airflow's REST API, as small as ``make ui`` and the system tests allow."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

T = TypeVar("T")
HTTP = requests.Session()
"""For addresses of this machine, whatever proxy the user has for others."""
HTTP.trust_env = False
# SQLite has one writer: what came while it was locked, Airflow asks to send again.
_AGAIN = Retry(
    6, connect=0, read=0, status_forcelist=[503], allowed_methods=None, backoff_factor=0.5, raise_on_status=False
)
HTTP.mount("http://", HTTPAdapter(max_retries=_AGAIN))
ENDED = ("success", "failed")


class Api:
    """
    The REST API of an Airflow. Answers come as the JSON that they are.

    :param url: address of the API server
    :param user: who logs in, at the first call
    :param password: with what
    """

    def __init__(self, url: str, *, user: str, password: str) -> None:
        self._url = url
        self._login = {"username": user, "password": password}
        self._headers: dict[str, str] = {}

    def get(self, path: str, **params: Any) -> Any:
        """Read something below ``/api/v2``."""
        return self._call("GET", path, params=params)

    def post(self, path: str, body: Any) -> Any:
        """Make something, or let something be done."""
        return self._call("POST", path, json=body)

    def patch(self, path: str, body: Any) -> Any:
        """Change something."""
        return self._call("PATCH", path, json=body)

    def delete(self, path: str) -> None:
        """Delete something, if it is there."""
        self._call("DELETE", path, allowed=(404,))

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None, **more: str) -> Run:
        """Start a run of a DAG."""
        run = self.post(f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf or {}, **more})
        return Run(self, dag_id, run["dag_run_id"])

    def set_connection(self, conn_id: str, text: str) -> None:
        """Write a connection, in Airflow's URI form or its JSON form, to the database, in the place of an older one."""
        self.delete(f"/connections/{conn_id}")
        self.post("/connections", {"connection_id": conn_id} | _read_connection(text))

    def set_variable(self, key: str, value: str) -> None:
        """Write a variable to Airflow's database, in the place of an older one."""
        self.delete(f"/variables/{key}")
        self.post("/variables", {"key": key, "value": value})

    def set_pool(self, name: str, slots: int) -> None:
        """Make a pool, in the place of an older one."""
        self.delete(f"/pools/{name}")
        self.post("/pools", {"name": name, "slots": slots})

    def test_on_worker(self, connection: dict[str, Any], *, seconds: float = 120) -> dict[str, Any]:
        """Let a worker test a connection that is not saved, and return how that ended."""
        path = "/connections/enqueue-test"
        headers = {"Airflow-Connection-Test-Token": self.post(path, connection)["token"]}

        def ended() -> dict[str, Any] | None:
            test = dict(self._call("GET", path, headers=headers))
            return test if test["state"] in ENDED else None

        return wait_until(ended, "the end of a connection's test", seconds=seconds)

    def _call(
        self,
        method: str,
        path: str,
        *,
        allowed: tuple[int, ...] = (),
        headers: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> Any:
        if not self._headers:
            answer = HTTP.post(f"{self._url}/auth/token", json=self._login, timeout=30)
            answer.raise_for_status()
            self._headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        answer = HTTP.request(
            method, f"{self._url}/api/v2{path}", headers=self._headers | (headers or {}), timeout=30, **kwargs
        )
        if not answer.ok and answer.status_code not in allowed:
            raise RuntimeError(f"{method} {path} was answered {answer.status_code}: {answer.text[:2000]}")
        return answer.json() if answer.content else None


@dataclass(frozen=True)
class Run:
    """A run of a DAG."""

    api: Api
    dag_id: str
    run_id: str

    @property
    def path(self) -> str:
        """Where it stands in the REST API."""
        return f"/dags/{self.dag_id}/dagRuns/{quote(self.run_id, safe='')}"

    @property
    def state(self) -> str:
        """Its state now."""
        return str(self.api.get(self.path)["state"])

    def wait(self, *, seconds: float = 120) -> str:
        """Wait for its end, and return how it ended."""

        def end() -> str | None:
            state = self.state
            return state if state in ENDED else None

        return wait_until(end, f"the end of {self.run_id} of {self.dag_id}", seconds=seconds)

    def tasks(self) -> list[dict[str, Any]]:
        """Return its task instances."""
        return list(self.api.get(f"{self.path}/taskInstances", limit=100)["task_instances"])

    def task(self, task_id: str, map_index: int = -1) -> dict[str, Any]:
        """Return a task instance."""
        return next(task for task in self.tasks() if (task["task_id"], task["map_index"]) == (task_id, map_index))

    def wait_for_task(self, task_id: str, *states: str, map_index: int = -1, seconds: float = 60) -> dict[str, Any]:
        """Wait until a task instance is in one of these states, and return it."""

        def there() -> dict[str, Any] | None:
            tasks = (task for task in self.tasks() if (task["task_id"], task["map_index"]) == (task_id, map_index))
            return next((task for task in tasks if task["state"] in states), None)

        return wait_until(there, f"{task_id} to be {' or '.join(states)}", seconds=seconds)

    def tries(self, task_id: str) -> list[dict[str, Any]]:
        """Return the tries of a task that is not mapped, oldest first."""
        tries = self.api.get(f"{self.path}/taskInstances/{task_id}/tries")["task_instances"]
        return sorted(tries, key=lambda one: int(one["try_number"]))

    def xcom(self, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Return what a task pushed, as Python's objects."""
        path = f"{self.path}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.api.get(path, map_index=map_index, stringify=False)["value"]

    def log(self, task_id: str, try_number: int = 1, map_index: int = -1) -> str:
        """Return the lines of a try's log, as the UI gets them."""
        path = f"{self.path}/taskInstances/{task_id}/logs/{try_number}"
        lines = self.api.get(path, map_index=map_index, full_content=True)["content"]
        return "\n".join(line["event"] for line in lines)

    def clear(self, *task_ids: str) -> None:
        """Let tasks run once more, all of them if none is named, and the run with them."""
        body = {"dag_run_id": self.run_id, "dry_run": False, "only_failed": False, "reset_dag_runs": True}
        self.api.post(f"/dags/{self.dag_id}/clearTaskInstances", body | ({"task_ids": task_ids} if task_ids else {}))

    def answer(self, task_id: str, option: str = "Approve", map_index: int = -1, **params: Any) -> None:
        """Answer a task that waits for a person's decision."""
        path = f"{self.path}/taskInstances/{task_id}/{map_index}/hitlDetails"
        self.api.patch(path, {"chosen_options": [option], "params_input": params})


def wait_until(find: Callable[[], T | None], what: str, *, seconds: float, every: float = 0.3) -> T:
    """
    Wait until something is there, and return it.

    An API server that is away, because a test restarts it, or slow, only makes this take longer.

    :param find: returns what is waited for, or something false
    :param what: what is waited for, in words
    :raises TimeoutError: after so many seconds
    """
    until = time.monotonic() + seconds
    while True:
        try:
            if found := find():
                return found
            seen = ""
        except (requests.ConnectionError, requests.Timeout) as error:
            seen = f": {error}"
        if time.monotonic() > until:
            raise TimeoutError(f"There was no sign of {what} within {seconds:.0f} s{seen}")
        time.sleep(every)


def _read_connection(text: str) -> dict[str, Any]:
    """Read a connection without Airflow, which in this process would be the user's own."""
    if text.startswith("{"):
        return dict(json.loads(text))
    uri = urlsplit(text)
    return {
        "conn_type": uri.scheme,
        "host": uri.hostname,
        "port": uri.port,
        "password": unquote(uri.password or ""),
        "schema": uri.path.strip("/"),
        "extra": json.dumps(dict(parse_qsl(uri.query))),
    }
