"""Two Celery workers close at three tenants at once, with Redis and PostgreSQL, and one of them vanishes meanwhile."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from local_airflow.api import wait_until
from local_airflow.deployment import PARTS, Deployment, Part, free_ports
from lucca_provider.closing.agenda import GROUP
from lucca_provider.sandbox import Sandbox
from tests.system.conftest import DAGS, KEY, PARSED_SELDOM, PIECE
from tests.system.search import search
from tests.system.services import Service, missing, postgresql, redis
from tests.system.test_airflow import assert_closed_once
from tests.system.test_secrets import FORMS, PLACES

pytestmark = pytest.mark.own_airflow

IN_DOUBT = GROUP + 4
"""Closings without an outcome in a journal: those of the last write, and what was on its way at that moment."""
SETTINGS = PARSED_SELDOM | {
    "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
    "AIRFLOW__CELERY__OPERATION_TIMEOUT": "30",
    # A worker takes no more than it has processes for, so three tasks need both.
    "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
    # By default five minutes go by until a task is missed, and ten until one is that its worker took and never began.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
}
WORKERS = {
    name: Part(
        ["celery", "worker", "--celery-hostname", name], {"AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(log_port)}
    )
    for name, log_port in zip(("worker-1", "worker-2"), free_ports(2), strict=True)
}


@pytest.fixture(scope="module")
def services() -> Iterator[tuple[Service, Service]]:
    """Start PostgreSQL and Redis."""
    if lacking := missing():
        reason = f"this machine has no {', '.join(lacking)}: `make debian-packages` installs them, as root"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with postgresql() as database, redis() as broker:
        yield database, broker


@pytest.fixture(scope="module")
def celery(services: tuple[Service, Service]) -> Iterator[Deployment]:
    """Start an Airflow with two Celery workers, beside PostgreSQL and Redis."""
    database, broker = services
    servers = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database.url, "AIRFLOW__CELERY__BROKER_URL": broker.url}
    with Deployment(environ=SETTINGS | servers, parts=PARTS | WORKERS, dags=DAGS) as deployment:
        yield deployment


@pytest.fixture
def serve(celery: Deployment) -> Iterator[Callable[..., list[Sandbox]]]:
    """Serve three tenants whose purchases can all be closed, and make them Airflow's connections ``lucca_0`` and on."""
    with ExitStack() as stack:

        def serve(purchases: int, **kwargs: Any) -> list[Sandbox]:
            tenants = [Sandbox(purchases, states={"closable": 1}, api_key=KEY, **kwargs) for _ in range(3)]
            for number, lucca in enumerate(tenants):
                stack.enter_context(lucca)
                celery.api.set_connection(f"lucca_{number}", lucca.connection_uri)
            return tenants

        yield serve


@dataclass(frozen=True)
class Closing:
    """
    A closing at three tenants during which a worker vanishes.

    :param purchases: how many each tenant has
    :param begun: how many are closed at a tenant, at least, when the worker vanishes that closes there
    :param tenant: how the tenants behave
    """

    purchases: int
    begun: int
    tenant: dict[str, Any] = field(default_factory=dict)


CLOSINGS = {
    # Together with the readings after it they stay below the limit of a window.
    "close_tenants": Closing(36, begun=5, tenant={"latency": 0.5}),
    # It has been away once when its worker vanishes.
    "close_tenants_deferrable": Closing(40, begun=22, tenant={"latency": 0.5, "limit": 20, "window": 8}),
}


def work_for(tenants: list[Sandbox]) -> list[dict[str, Any]]:
    return [{"lucca_conn_id": f"lucca_{n}", "purchase_ids": lucca.purchase_ids} for n, lucca in enumerate(tenants)]


@pytest.mark.parametrize("dag_id", CLOSINGS)
def test_a_worker_that_vanishes_costs_no_tenant_a_closing(
    celery: Deployment, serve: Callable[..., list[Sandbox]], dag_id: str
) -> None:
    closing = CLOSINGS[dag_id]
    tenants = serve(closing.purchases, **closing.tenant)
    run = celery.api.trigger(dag_id, {"work": work_for(tenants)})

    def begun() -> dict[str, Any] | None:
        closed = [len(lucca.closings) for lucca in tenants]
        if min(closed) < 5:
            return None
        for task in run.tasks():
            middle = closing.begun <= closed[task["map_index"]] < closing.purchases - 8
            if task["task_id"] == "close" and task["state"] == "running" and middle:
                return task
        return None

    lost = wait_until(begun, "a closing in the middle, and all begun", seconds=180, every=0.05)
    worker = celery.part_of(celery.task_process(lost))
    celery.kill(worker)
    try:
        assert run.wait(seconds=300) == "success"
    finally:
        celery.start(worker)
    # The other worker has not lost its task.
    tries = [run.task("close", number)["try_number"] for number in range(3)]
    assert tries[lost["map_index"]] == 2
    assert min(tries) == 1
    for number, lucca in enumerate(tenants):
        assert run.xcom("close", map_index=number)["closed"] == lucca.purchase_ids
        assert_closed_once(lucca, lucca.purchase_ids)
        # The states come by one page a try. Single purchases are read only where the journal on PostgreSQL says that
        # their closing may have been sent.
        reads = [request.purchase_id for request in lucca.requests if request.method == "GET"]
        assert reads.count(None) <= tries[number]
        assert len(reads) - reads.count(None) <= (IN_DOUBT if tries[number] > 1 else 0)


def test_a_process_that_comes_back_after_it_was_given_up_begins_no_closing(
    celery: Deployment, serve: Callable[..., list[Sandbox]]
) -> None:
    lucca = serve(40, latency=0.5)[0]
    run = celery.api.trigger("close_tenants", {"work": work_for([lucca])})
    wait_until(lambda: len(lucca.closings) >= 5, "five closings", seconds=120, every=0.05)
    process = celery.task_process(run.task("close", 0))
    # The task's supervisor, which says that it is alive, and the task: as on a machine that sleeps.
    held_up = [process.parent(), process]
    for one in held_up:
        one.suspend()
    assert run.wait(seconds=300) == "success"
    assert run.task("close", 0)["try_number"] == 2
    sent = posts_of(lucca)
    assert set(sent) == set(lucca.purchase_ids)
    for one in held_up:
        one.resume()
    process.wait(timeout=60)
    # No intent was written any more; only what had been on its way, or named by the last write, may have been sent.
    assert set(posts_of(lucca)) == set(lucca.purchase_ids)
    assert posts_of(lucca).total() <= len(lucca.purchase_ids) + GROUP
    assert run.xcom("close", map_index=0)["closed"] == lucca.purchase_ids


def posts_of(lucca: Sandbox) -> Counter[int]:
    return Counter(request.purchase_id for request in lucca.requests if request.method == "POST")


def test_the_key_is_nowhere(
    celery: Deployment, services: tuple[Service, Service], serve: Callable[..., list[Sandbox]]
) -> None:
    """
    After all the closings of this module, the last of them with an answer that makes the operator log at length.

    Nor is it in anything that PostgreSQL or Redis wrote, where also stands what is in no table or queue any more.
    """
    tenants = serve(3)
    tenants[0].fail_next("html", purchase_id=tenants[0].purchase_ids[1])
    run = celery.api.trigger("close_tenants", {"work": work_for(tenants)})
    assert run.wait() == "success"
    assert "web page" in run.log("close", map_index=0)
    assert search(celery, PIECE, *(service.folder for service in services)) == set()


def test_a_marker_is_found_wherever_it_stands(celery: Deployment) -> None:
    run = celery.api.trigger("planted")
    run.wait_for_task("plant", "deferred")
    celery.api.set_variable("planted", str(run.xcom("plant", "planted")))
    # Other than LocalExecutor, a Celery worker does not repeat what its tasks log.
    places = set(PLACES) - {"parts"}
    for form in FORMS:
        assert search(celery, f"{form}marker") >= places


def test_a_marker_is_found_in_what_the_servers_wrote(celery: Deployment, services: tuple[Service, Service]) -> None:
    database, broker = services
    # A run's id is a part of the message to the worker.
    run = celery.api.trigger("planted", dag_run_id="queuedmarker")
    run.wait_for_task("plant", "deferred")
    assert search(celery, "queuedmarker", broker.folder) >= {"appendonlydir"}
    assert search(celery, "queuedmarker", database.folder) >= {"data"}
