"""No closing goes to a purchase that is closed, whoever closed it: another run, task or map index, or a person."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lucca_provider.operators.purchases import CheckPurchasesOperator, ClosePurchaseOperator
from lucca_provider.sandbox import Sandbox
from tests.airflow_names import DAG, task

START = datetime.datetime(2026, 1, 1)


@pytest.fixture
def lucca(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    # No test waits for the limit, whatever is asked beyond what has to be.
    with Sandbox(purchases=24, states={"closable": 1}, limit=0, window=1) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", sandbox.connection_uri)
        yield sandbox


@pytest.fixture
def reports(tmp_path: Path) -> Callable[[], list[Any]]:
    """Return what :func:`keep` was given, run by run."""
    return lambda: [json.loads(line) for line in (tmp_path / "reports").read_text().splitlines()]


def keep(folder: Path, report: Any) -> None:
    """Write down a report, or those of mapped tasks, which Airflow hands over as they are asked for."""
    with (folder / "reports").open("a") as file:
        file.write(json.dumps(report if isinstance(report, dict) else list(report)) + "\n")


def posted_again(lucca: Sandbox) -> Counter[int | None]:
    """Return how many closings were asked for of purchases that were closed."""
    return Counter(one.purchase_id for one in lucca.requests if one.method == "POST" and not one.effect)


def closing_dag(dag_id: str, folder: Path, ids: Any, **kwargs: Any) -> Any:
    """Make a DAG that closes these purchases and keeps the report."""
    with DAG(dag_id, start_date=START, schedule=None) as dag:
        close = ClosePurchaseOperator(task_id="close", purchase_ids=ids, **kwargs)
        task(task_id="keep")(lambda report: keep(folder, report))(close.output)
    return dag


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_new_run_of_the_same_list_closes_nothing_again(lucca, run_dag, reports, tmp_path, deferrable):
    ids = lucca.purchase_ids
    for _ in range(2):
        run = run_dag(closing_dag(f"same_{deferrable}", tmp_path, ids, deferrable=deferrable))
        assert run.state == "success"
    assert posted_again(lucca) == Counter()
    first, second = reports()
    assert (first["closed"], first["already_closed"]) == (ids, [])
    assert (second["closed"], second["already_closed"]) == ([], ids)


def test_a_new_run_that_does_not_use_the_store_closes_nothing_again(lucca, run_dag, reports, tmp_path):
    ids = lucca.purchase_ids
    for durable in (True, False):
        assert run_dag(closing_dag("durable", tmp_path, ids, durable=durable)).state == "success"
    assert posted_again(lucca) == Counter()
    assert [report["already_closed"] for report in reports()] == [[], ids]


def mapped_dag(dag_id: str, folder: Path, batches: list[list[int]]) -> Any:
    """Make a DAG that closes each of these batches in a mapped task of its own, one after the other."""
    with DAG(dag_id, start_date=START, schedule=None) as dag:

        @task
        def find() -> list[list[int]]:
            return batches

        close = ClosePurchaseOperator.partial(task_id="close").expand(purchase_ids=find())
        task(task_id="keep")(lambda reports: keep(folder, reports))(close.output)
    return dag


def test_mapped_tasks_whose_purchases_changed_places_close_nothing_again(lucca, run_dag, reports, tmp_path):
    ids = lucca.purchase_ids
    for order in (ids, ids[::-1]):
        assert run_dag(mapped_dag("places", tmp_path, [order[:12], order[12:]])).state == "success"
    assert posted_again(lucca) == Counter()
    first, second = reports()
    assert [report["closed"] for report in first] == [ids[:12], ids[12:]]
    assert [report["already_closed"] for report in second] == [ids[:11:-1], ids[11::-1]]


def test_a_second_map_index_with_the_same_purchases_closes_nothing_again(lucca, run_dag, reports, tmp_path):
    ids = lucca.purchase_ids[:4]
    assert run_dag(mapped_dag("indexes", tmp_path, [ids, ids])).state == "success"
    assert posted_again(lucca) == Counter()
    (both,) = reports()
    # Airflow chooses which goes first.
    assert sorted((report["closed"], report["already_closed"]) for report in both) == [([], ids), (ids, [])]


def test_a_second_task_with_the_same_purchases_closes_nothing_again(lucca, run_dag, reports, tmp_path):
    """As the iterations of a loop, each of which has a store of its own, at its first try."""
    ids = lucca.purchase_ids[:4]
    with DAG("sequence", start_date=START, schedule=None) as dag:
        first, second = (ClosePurchaseOperator(task_id=f"close_{n}", purchase_ids=ids) for n in (1, 2))
        first >> second
        task(task_id="keep")(lambda report: keep(tmp_path, report))(second.output)
    assert run_dag(dag).state == "success"
    assert posted_again(lucca) == Counter()
    assert reports()[0]["already_closed"] == ids


def close_by_task(lucca: Sandbox, ids: list[int]) -> Any:
    return ClosePurchaseOperator(task_id="other", purchase_ids=ids)


def close_by_person(lucca: Sandbox, ids: list[int]) -> Any:
    @task(task_id="other")
    def close() -> None:
        for purchase_id in ids:
            lucca.set_purchase(purchase_id, state="Closed")

    return close()


@pytest.mark.parametrize("close_others", [close_by_task, close_by_person])
def test_what_was_closed_after_the_check_is_not_closed_again(lucca, run_dag, reports, tmp_path, close_others):
    """As a month-end that waits for its approval while seven of its purchases are closed by others."""
    ids = lucca.purchase_ids
    seven = ids[3:10]
    with DAG(f"check_{close_others.__name__}", start_date=START, schedule=None) as dag:
        check = CheckPurchasesOperator(task_id="check", purchase_ids=ids)
        close = ClosePurchaseOperator(task_id="close", purchase_ids=check.output["closable"])
        check >> close_others(lucca, seven) >> close
        task(task_id="keep")(lambda report: keep(tmp_path, report))(close.output)
    assert run_dag(dag).state == "success"
    assert posted_again(lucca) == Counter()
    assert sorted(lucca.closed_ids) == ids
    assert reports()[0]["already_closed"] == seven
    assert reports()[0]["closed"] == [*ids[:3], *ids[10:]]
