"""What only Airflow 3.4 has: task loops, and a new start that uses up no retry."""

from __future__ import annotations

import pytest

from local_airflow.deployment import Deployment
from tests.conftest import AIRFLOW
from tests.system.test_airflow import Serve, assert_closed_once

pytestmark = pytest.mark.skipif(AIRFLOW < (3, 4), reason="needs Airflow 3.4: make test-system-3.4")


def test_each_iteration_of_a_loop_posts_only_what_is_open(airflow: Deployment, serve: Serve) -> None:
    lucca = serve(5)
    run = airflow.api.trigger("close_in_a_loop", {"purchase_ids": lucca.purchase_ids})
    assert run.wait() == "success"
    assert_closed_once(lucca, lucca.purchase_ids)
    # Each iteration has a journal of its own, which is empty, and so reads.
    assert len([request for request in lucca.requests if request.method == "GET"]) == 3


def test_an_outage_uses_up_no_retry_and_the_new_start_waits_for_what_was_sent(
    airflow: Deployment, serve: Serve
) -> None:
    lucca = serve(5)
    lucca.fail_next("unavailable", method="GET")
    lucca.behaviour.retry_after = 601.0
    run = airflow.api.trigger("close_after_an_outage", {"purchase_ids": lucca.purchase_ids})
    assert run.wait() == "success"
    assert [(one["try_number"], one["state"]) for one in run.tries("close")] == [(1, "success")]
    assert run.log("close").count("No retry is used up") == 1
    assert_closed_once(lucca, lucca.purchase_ids)
    failed, read = (request.at for request in lucca.requests if request.method == "GET")
    # Five seconds until it starts again, and five more before it reads: the try is the first, the start is not.
    assert read - failed >= 10
