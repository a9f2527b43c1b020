"""A whole Airflow closes nothing again: not in a cleared run whose list changed its order, nor after another DAG."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from local_airflow.deployment import Deployment
from lucca_provider.sandbox import Sandbox
from tests.system.test_airflow import answer, read_report

Serve = Callable[..., Sandbox]


def posted_again(lucca: Sandbox) -> Counter[int | None]:
    """Return how many closings were asked for of purchases that were closed."""
    return Counter(one.purchase_id for one in lucca.requests if one.method == "POST" and not one.effect)


@pytest.mark.parametrize("dag_id", ["close_listed", "close_listed_deferrable"])
def test_a_cleared_run_whose_list_has_another_order_closes_nothing_again(
    airflow: Deployment, serve: Serve, dag_id: str
) -> None:
    lucca = serve(24, limit=0)
    ids = lucca.purchase_ids
    airflow.api.set_variable("lucca_batches", json.dumps([ids[:12], ids[12:]]))
    run = airflow.api.trigger(dag_id)
    assert run.wait() == "success"
    assert Counter(closing.purchase_id for closing in lucca.closings) == Counter(ids)
    batches = [ids[:11:-1], ids[11::-1]]
    airflow.api.set_variable("lucca_batches", json.dumps(batches))
    run.clear()
    assert run.wait() == "success"
    assert posted_again(lucca) == Counter()
    for index, batch in enumerate(batches):
        assert run.task("close", index)["try_number"] == 2
        assert run.xcom("close", map_index=index)["already_closed"] == batch


def test_a_month_end_closes_nothing_again_that_was_closed_before_its_approval(
    airflow: Deployment, serve: Serve, tmp_path: Path
) -> None:
    lucca = serve(12, limit=0)
    airflow.api.set_variable("lucca_reports", str(tmp_path))
    ids = lucca.purchase_ids
    seven = ids[2:9]
    month_end = airflow.api.trigger("lucca_close_month_end")
    month_end.wait_for_task("approve", "deferred", "awaiting_input")
    airflow.api.set_pool("lucca", 4)
    other = airflow.api.trigger("lucca_close_chosen_purchases", {"purchase_ids": seven})
    assert other.wait() == "success"
    assert lucca.closed_ids == seven
    answer(airflow.home, month_end, "approve")
    assert month_end.wait() == "success"
    assert posted_again(lucca) == Counter()
    assert lucca.closed_ids == ids
    outcomes = {number: row["Outcome"] for number, row in read_report(tmp_path).items()}
    assert [number for number in ids if outcomes[number] != "closed"] == seven
