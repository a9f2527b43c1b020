"""A whole Airflow closes purchases: triggered, deferred, killed, cleared, and without its API server for a while."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lucca_provider.sandbox import Sandbox
from tests.system.deployment import Deployment


@pytest.fixture
def lucca(airflow: Deployment) -> Iterator[Sandbox]:
    with Sandbox(purchases=20, states={"closable": 1}) as lucca:
        airflow.api.set_connection("lucca_default", lucca.connection_uri)
        yield lucca


def test_a_run_closes_what_its_conf_names(airflow: Deployment, lucca: Sandbox) -> None:
    ids = lucca.closable_ids
    run = airflow.api.trigger("close", {"purchase_ids": ids})
    assert run.wait() == "success"
    assert run.xcom("close")["closed"] == ids
    assert [lucca.posts(purchase_id) for purchase_id in ids] == [1] * 20
