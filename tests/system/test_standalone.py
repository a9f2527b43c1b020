"""``airflow standalone``, which many begin with: other tests start its parts one by one, so that each can be killed."""

from __future__ import annotations

import pytest

from local_airflow.deployment import STANDALONE, Deployment
from lucca_provider.sandbox import Sandbox
from tests.system.conftest import DAGS, KEY
from tests.system.test_airflow import assert_closed_once

pytestmark = pytest.mark.own_airflow


def test_purchases_are_closed_and_the_worker_is_left_meanwhile() -> None:
    with (
        Sandbox(13, states={"closable": 1}, api_key=KEY, limit=5, window=6) as lucca,
        Deployment(parts=STANDALONE, dags=DAGS) as airflow,
    ):
        airflow.api.set_connection("lucca_default", lucca.connection_uri)
        run = airflow.api.trigger("close_deferrable", {"purchase_ids": lucca.purchase_ids})
        run.wait_for_task("close", "deferred")
        assert run.wait() == "success"
        assert run.xcom("close")["closed"] == lucca.purchase_ids
    assert_closed_once(lucca, lucca.purchase_ids)
