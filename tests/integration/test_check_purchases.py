"""List, check, wait, close in a real Airflow: what tasks hand on that succeed, fail, skip, wait or are mapped."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lucca_provider.links.lucca import LuccaInvoicesLink
from lucca_provider.operators.purchases import CheckPurchasesOperator, ClosePurchaseOperator, ListPurchasesOperator
from lucca_provider.sandbox import Sandbox
from lucca_provider.sensors.purchases import PurchasesClosableSensor
from tests.airflow_names import DAG, task
from tests.conftest import AIRFLOW

OPEN = [{"conformityState": "ToReview", "paymentState": "None", "documentNumber": "F1", "documentDate": "2026-01-31"}]
PAID = [{"conformityState": "Confirmed", "paymentState": "Paid"}]
NO_DELAY = datetime.timedelta(0)
WINDOW = 0.5
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
KEYS = ("return_value", "closable", "already_closed", "blocked", "unknown", "left_out")


@pytest.fixture
def lucca(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Serve a tenant with purchases of every kind."""
    with Sandbox(purchases=20, window=WINDOW) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", sandbox.connection_uri)
        yield sandbox


def new_dag(dag_id: str, **kwargs: Any) -> Any:
    return DAG(dag_id, start_date=START, schedule=None, **kwargs)


def states_of(run: Any) -> dict[str, str]:
    """Return the state of each task; of a mapped one, of each of its instances."""
    return {
        ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]": str(ti.state)
        for ti in run.get_task_instances()
    }


def tries_of(run: Any, task_id: str) -> int:
    (number,) = (ti.try_number for ti in run.get_task_instances() if ti.task_id == task_id)
    return int(number)


def methods(lucca: Sandbox) -> set[str]:
    return {request.method for request in lucca.requests}


def keep(task_id: str, kept: dict[str, Any]) -> Any:
    """Make a task that keeps what another one pushed, whatever became of it."""

    @task(task_id="keep", trigger_rule="all_done")
    def pull(ti: Any = None) -> None:
        kept.update({key: ti.xcom_pull(task_ids=task_id, key=key) for key in KEYS})

    return pull()


# -- list → check → close --------------------------------------------------------------------------------------------


def month_end(dag_id: str, kept: dict[str, Any], **kwargs: Any) -> Any:
    with new_dag(dag_id) as dag:
        found = ListPurchasesOperator(task_id="find", states=["Ongoing", "Closed", "Denied"])
        check = CheckPurchasesOperator(
            task_id="check", purchase_ids=found.output, retries=2, retry_delay=NO_DELAY, **kwargs
        )
        ClosePurchaseOperator(task_id="close", purchase_ids=check.output["closable"])
        check >> keep("check", kept)
    return dag


@pytest.mark.parametrize("on_blocked", ["warn", "skip"])
def test_exactly_the_closable_purchases_are_closed(lucca, run_dag, on_blocked):
    closable, blocked, closed = lucca.closable_ids, lucca.blocked_ids, lucca.closed_ids
    assert closable
    assert blocked
    kept: dict[str, Any] = {}
    run = run_dag(month_end(f"month_end_{on_blocked}", kept, on_blocked=on_blocked))
    assert set(states_of(run).values()) == {"success"}
    assert sorted(closing.purchase_id for closing in lucca.closings) == closable
    # The list left out those in a state that was not asked for.
    listed = [n for n in blocked if lucca.purchase(n)["state"] in ("Ongoing", "Denied")]
    assert kept["return_value"] == {key: kept[key] for key in KEYS[1:]}
    assert (kept["closable"], kept["already_closed"], kept["unknown"]) == (closable, closed, [])
    assert [item["id"] for item in kept["blocked"]] == listed
    assert all(item["reasons"] for item in kept["blocked"])


def test_by_default_one_blocked_purchase_keeps_all_from_being_closed(lucca, run_dag):
    closable = lucca.closable_ids
    kept: dict[str, Any] = {}
    run = run_dag(month_end("month_end_fail", kept))
    assert states_of(run) == {"find": "success", "check": "failed", "close": "upstream_failed", "keep": "success"}
    assert tries_of(run, "check") == 1
    assert methods(lucca) == {"GET"}
    assert kept["return_value"] == {key: kept[key] for key in KEYS[1:]}
    assert kept["closable"] == closable
    assert kept["blocked"]


def test_by_default_all_are_closed_if_nothing_blocks(lucca, run_dag):
    closable = lucca.closable_ids
    for number in lucca.blocked_ids:
        lucca.set_purchase(number, state="Closed")
    run = run_dag(month_end("month_end_clean", {}))
    assert set(states_of(run).values()) == {"success"}
    assert sorted(closing.purchase_id for closing in lucca.closings) == closable


@pytest.mark.parametrize(("on_blocked", "state"), [("warn", "success"), ("skip", "skipped")])
def test_where_nothing_can_be_closed_nothing_is_and_the_result_is_there(lucca, run_dag, on_blocked, state):
    for number in lucca.closable_ids:
        lucca.set_purchase(number, invoices=OPEN)
    kept: dict[str, Any] = {}
    run = run_dag(month_end(f"month_end_none_{on_blocked}", kept, on_blocked=on_blocked))
    assert states_of(run) == {"find": "success", "check": state, "close": "skipped", "keep": "success"}
    assert methods(lucca) == {"GET"}
    assert kept["closable"] == []
    assert kept["return_value"]["blocked"] == kept["blocked"] != []


def test_a_retry_checks_afresh_what_was_not_known(lucca, run_dag):
    (purchase_id, *_) = lucca.closable_ids
    lucca.fail_next("login_redirect", method="GET")
    with new_dag("check_again") as dag:
        check = CheckPurchasesOperator(task_id="check", purchase_ids=purchase_id, retries=1, retry_delay=NO_DELAY)
        ClosePurchaseOperator(task_id="close", purchase_ids=check.output["closable"])
    run = run_dag(dag)
    assert states_of(run) == {"check": "success", "close": "success"}
    assert tries_of(run, "check") == 2
    assert [closing.purchase_id for closing in lucca.closings] == [purchase_id]


# -- what is not handed on -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", [CheckPurchasesOperator, PurchasesClosableSensor])
def test_an_upstream_task_that_returned_nothing_fails_the_task_for_good(lucca, run_dag, operator, logged):
    with new_dag(f"none_{operator.__name__}") as dag:

        @task
        def find() -> None:
            return None

        operator(task_id="check", purchase_ids=find(), retries=2, retry_delay=NO_DELAY)
    run = run_dag(dag)
    assert (states_of(run)["check"], tries_of(run, "check")) == ("failed", 1)
    assert "purchase_ids is None: the upstream task returned nothing" in logged()
    assert lucca.requests == []


def test_a_check_that_pushes_nothing_closes_nothing(lucca, run_dag, logged):
    with new_dag("check_silent") as dag:
        check = CheckPurchasesOperator(task_id="check", purchase_ids=lucca.closable_ids, do_xcom_push=False)
        ClosePurchaseOperator(task_id="close", purchase_ids=check.output["closable"])
    assert states_of(run_dag(dag)) == {"check": "success", "close": "failed"}
    assert "purchase_ids is None: the upstream task returned nothing" in logged()
    assert methods(lucca) == {"GET"}


def test_the_whole_result_of_a_check_is_not_taken_for_ids(lucca, run_dag, logged):
    with new_dag("check_whole", default_args={"retries": 0}) as dag:
        check = CheckPurchasesOperator(task_id="check", purchase_ids=lucca.closable_ids)
        ClosePurchaseOperator(task_id="close", purchase_ids=check.output)
    assert states_of(run_dag(dag)) == {"check": "success", "close": "failed"}
    if AIRFLOW != (3, 0):  # it breaks the lines of an error
        assert "Pass the ids alone, as a list" in logged()
    assert methods(lucca) == {"GET"}


# -- mapped tasks, templates, serialization --------------------------------------------------------------------------


def test_arguments_are_templates(lucca, run_dag, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_ACME", lucca.connection_uri)
    monkeypatch.delenv("AIRFLOW_CONN_LUCCA_DEFAULT")
    for number in lucca.purchase_ids:
        lucca.set_purchase(number, state="Denied")
    wanted = lucca.add_purchase(title="Rent", supplier={"id": 77, "name": "Dune"})
    lucca.add_purchase(title="Rent", supplier={"id": 78, "name": "Other"})
    params = {"tenant": "acme", "state": "Ongoing", "supplier": 77, "since": "2025-01-01"}
    kept: dict[str, Any] = {}
    with new_dag("check_templates", params=params) as dag:
        tenant = "lucca_{{ params.tenant }}"
        (
            ListPurchasesOperator(
                task_id="find",
                states=["{{ params.state }}"],
                filters={"supplier.id": "{{ params.supplier }}"},
                fields=["{{ 'title' }}"],
                query={"since": "{{ params.since }}"},
                lucca_conn_id=tenant,
            )
            >> PurchasesClosableSensor(
                task_id="wait",
                purchase_ids="{{ ti.xcom_pull(task_ids='find')[0].id }}",
                documents_since="{{ params.since }}",
                lucca_conn_id=tenant,
            )
            >> CheckPurchasesOperator(
                task_id="check",
                purchase_ids="{{ ti.xcom_pull(task_ids='wait') }}",
                documents_since="{{ params.since }}",
                lucca_conn_id=tenant,
            )
            >> keep("check", kept)
        )
    assert set(states_of(run_dag(dag)).values()) == {"success"}
    assert kept["closable"] == [wanted]
    assert lucca.requests[0].query["since"] == "2025-01-01"
    since = [request.query["createdAt.from"] for request in lucca.requests if request.path.endswith("documents")]
    assert since == ["2025-01-01"] * 2


def test_each_mapped_check_hands_on_its_own(lucca, run_dag):
    first, second = lucca.closable_ids[:3], lucca.closable_ids[3:5]
    with new_dag("check_mapped") as dag:
        check = CheckPurchasesOperator.partial(task_id="check", on_blocked="warn").expand(
            purchase_ids=[first, second, [lucca.blocked_ids[0]]]
        )

        @task
        def closable(result: Any) -> Any:
            return result["closable"]

        ClosePurchaseOperator.partial(task_id="close").expand(purchase_ids=closable.expand(result=check.output))
    states = states_of(run_dag(dag))
    assert {states[f"check[{index}]"] for index in range(3)} == {"success"}
    assert [states[f"close[{index}]"] for index in range(3)] == ["success", "success", "skipped"]
    assert sorted(closing.purchase_id for closing in lucca.closings) == [*first, *second]


def test_one_dag_lists_and_checks_many_tenants_each_with_its_own_connection(lucca, run_dag, monkeypatch):
    with Sandbox(purchases=3, states={"closable": 1}, window=WINDOW, seed=2) as other:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_OTHER", other.connection_uri)
        for number in lucca.blocked_ids:
            lucca.set_purchase(number, state="Closed")
        expected = lucca.closable_ids, other.closable_ids
        with new_dag("check_tenants") as dag:
            tenants = ["lucca_default", "lucca_other"]
            find = ListPurchasesOperator.partial(task_id="find").expand(lucca_conn_id=tenants)

            @task
            def pairs(found: Any) -> Any:
                return [
                    {"purchase_ids": ids, "lucca_conn_id": tenant} for ids, tenant in zip(found, tenants, strict=True)
                ]

            CheckPurchasesOperator.partial(task_id="check").expand_kwargs(pairs(find.output)) >> keep("check", {})
        assert set(states_of(run_dag(dag)).values()) == {"success"}
        for tenant, ids in zip((lucca, other), expected, strict=True):
            assert tenant.closable_ids == ids
            assert methods(tenant) == {"GET"}


@pytest.mark.parametrize("mapped", [False, True])
def test_a_dag_with_a_predicate_can_be_serialized_and_run(lucca, run_dag, mapped):
    even = [number for number in lucca.closable_ids if number % 2 == 0]
    handed_on = []
    arguments: dict[str, Any] = {"task_id": "find", "predicate": lambda purchase: purchase["id"] in even}
    with new_dag(f"check_predicate_{mapped}") as dag:

        @task
        def take(found: Any) -> None:
            handed_on.extend(found)

        if mapped:
            take(ListPurchasesOperator.partial(**arguments).expand(states=[["Ongoing"], ["Closed"]]).output)
        else:
            take(ListPurchasesOperator(**arguments).output)
    assert set(states_of(run_dag(dag)).values()) == {"success"}
    assert handed_on == ([even, []] if mapped else even)


# -- the sensor ------------------------------------------------------------------------------------------------------

WAYS = [
    pytest.param(
        {"mode": "reschedule"},
        id="reschedule",
        marks=pytest.mark.skipif(
            AIRFLOW == (3, 0), reason="dag.test() of Airflow 3.0 cannot go on with a sensor that is rescheduled"
        ),
    ),
    pytest.param({"mode": "poke"}, id="poke"),
    pytest.param({"deferrable": True}, id="deferrable"),
]


@contextlib.contextmanager
def after_looks(lucca: Sandbox, looks: int, act: Callable[[], None]) -> Iterator[None]:
    """Do something once the sensor has looked so often and found nothing."""
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            listings = [request for request in lucca.requests if request.path.endswith("/booked-documents")]
            if sum(request.done for request in listings) >= looks:
                act()
                return
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


@pytest.mark.parametrize("way", WAYS)
def test_the_sensor_waits_until_the_invoice_is_paid_and_what_it_returns_is_closed(lucca, run_dag, logged, way):
    blocked, closed = lucca.add_purchase(invoices=OPEN), lucca.closed_ids[0]
    ids = [blocked, *lucca.closable_ids[:2], closed]
    with new_dag(f"sensor_{'_'.join(way)}_{way.get('mode', '')}") as dag:
        # Airflow refuses a call of execute() that is none of its own, or would warn of it.
        wait = PurchasesClosableSensor(
            task_id="wait", purchase_ids=ids, poke_interval=WINDOW, timeout=60, allow_nested_operators=False, **way
        )
        ClosePurchaseOperator(task_id="close", purchase_ids=wait.output)
    with after_looks(lucca, 2, lambda: lucca.set_purchase(blocked, invoices=PAID)):
        run = run_dag(dag)
    assert states_of(run) == {"wait": "success", "close": "success"}
    assert tries_of(run, "wait") == 1
    assert sorted(closing.purchase_id for closing in lucca.closings) == sorted(ids[:3])
    text = logged()
    assert f"Still waiting: purchase {blocked}: invoice F1 of 2026-01-31: to review, not paid" in text
    assert "cannot be called outside" not in text
    looks = [request.at for request in lucca.requests if request.path.endswith("/booked-documents")]
    assert len(looks) >= 3
    assert min(after - before for before, after in itertools.pairwise(looks)) >= WINDOW
    last_look = max(number for number, request in enumerate(lucca.requests) if request.path.endswith("documents"))
    assert {request.method for request in lucca.requests[: last_look + 1]} == {"GET"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("soft_fail", "state"), [(False, "failed"), (True, "skipped")])
def test_a_time_out_ends_the_task_for_good_and_says_what_still_blocks(lucca, run_dag, logged, way, soft_fail, state):
    blocked = lucca.add_purchase(invoices=OPEN)
    with new_dag(f"sensor_timeout_{'_'.join(way)}_{way.get('mode', '')}_{soft_fail}") as dag:
        PurchasesClosableSensor(
            task_id="wait",
            purchase_ids=[blocked],
            poke_interval=WINDOW,
            timeout=WINDOW,
            soft_fail=soft_fail,
            retries=2,
            retry_delay=NO_DELAY,
            **way,
        )
    run = run_dag(dag)
    assert states_of(run) == {"wait": state}
    assert tries_of(run, "wait") == 1
    # A line of the error; but a skip after a deferral gets Airflow 3's own words, and then the log has it.
    before = "Still waiting: " if soft_fail and way.get("deferrable") else "\n- "
    text = logged().replace("\\n", "\n")
    assert f"{before}purchase {blocked}: invoice F1 of 2026-01-31: to review, not paid" in text
    assert methods(lucca) == {"GET"}


def test_mapped_sensors_wait_each_for_their_own(lucca, run_dag):
    blocked = lucca.add_purchase(invoices=OPEN)
    with new_dag("sensor_mapped") as dag:
        PurchasesClosableSensor.partial(task_id="wait", poke_interval=WINDOW, timeout=60).expand(
            purchase_ids=[[lucca.closable_ids[0]], [blocked], []]
        )
    with after_looks(lucca, 2, lambda: lucca.set_purchase(blocked, invoices=PAID)):
        run = run_dag(dag)
    assert states_of(run) == {"wait[0]": "success", "wait[1]": "success", "wait[2]": "skipped"}
    assert methods(lucca) == {"GET"}


# -- the link --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", [CheckPurchasesOperator, PurchasesClosableSensor])
def test_the_link_leads_to_the_tenant_also_of_a_task_that_failed(lucca, run_dag, operator):
    blocked = lucca.add_purchase(invoices=OPEN)
    arguments = {"timeout": 0, "poke_interval": WINDOW} if operator is PurchasesClosableSensor else {}
    kept = {}
    with new_dag(f"link_{operator.__name__}") as dag:
        first = operator(task_id="first", purchase_ids=[blocked], **arguments)

        @task(trigger_rule="all_done")
        def follow(ti: Any = None) -> None:
            kept["link"] = ti.xcom_pull(task_ids="first", key=LuccaInvoicesLink.xcom_key)

        first >> follow()
    assert states_of(run_dag(dag))["first"] == "failed"
    assert kept["link"] == f"{lucca.url}/cleemy-procurement"
    assert [type(link) for link in operator.operator_extra_links] == [LuccaInvoicesLink]


# -- approve what you saw --------------------------------------------------------------------------------------------


def approved_month_end(dag_id: str, between: Callable[[], None], kept: dict[str, Any], **again: Any) -> Any:
    """Make a DAG in which something happens in Lucca where a person would approve."""
    with new_dag(dag_id, params={"leave_out": []}) as dag:
        find = ListPurchasesOperator(task_id="find", fields=["title"])
        check = CheckPurchasesOperator(
            task_id="check",
            purchase_ids=find.output["ids"],
            exclude="{{ params.leave_out }}",
            on_blocked="skip",
            closing_date="{{ '2026-06-30' }}",
        )

        @task
        def approve(text: str) -> None:
            kept["approval"] = text
            between()

        check_again = CheckPurchasesOperator(
            task_id="check_again",
            purchase_ids=check.output["closable"],
            on_blocked="warn",
            **{"unchanged_since": check.output["snapshot"], **again},
        )
        close = ClosePurchaseOperator(
            task_id="close",
            purchase_ids=check_again.output["closable"],
            comment="Month-end",
            closing_date="2026-06-30",
        )

        @task(trigger_rule="all_done")
        def look_back(ti: Any = None) -> None:
            kept["sent"] = ti.xcom_pull(task_ids="close", key="sent")
            kept["blocked"] = ti.xcom_pull(task_ids="check_again", key="blocked")
            kept["left_out"] = ti.xcom_pull(task_ids="check", key="left_out")

        approved = approve("{{ ti.xcom_pull(task_ids='check', key='approval') }}")
        check >> approved >> check_again
        close >> look_back()
    return dag


@pytest.mark.parametrize(
    "snapshot",
    [{}, {"unchanged_since": "{{ ti.xcom_pull(task_ids='check', key='snapshot') | tojson }}"}],
    ids=["output", "template"],
)
def test_only_what_is_as_it_was_approved_is_closed(lucca, run_dag, snapshot):
    amount, added, state, excluded, *rest = lucca.closable_ids

    def change() -> None:
        lucca.set_purchase(amount, invoices=[{**PAID[0], "amount": 10_000}])
        lucca.add_document(added, **PAID[0], documentNumber="F8", documentDate="2026-02-01", amount=20)
        lucca.set_purchase(state, state="Denied")

    kept: dict[str, Any] = {}
    dag = approved_month_end(f"approved_{len(snapshot)}", change, kept, **snapshot)
    run = run_dag(dag, run_conf={"leave_out": [excluded]})
    assert set(states_of(run).values()) == {"success"}
    assert sorted(closing.purchase_id for closing in lucca.closings) == rest
    reasons = {one["id"]: "; ".join(one["reasons"]) for one in kept["blocked"]}
    assert set(reasons) == {amount, added, state}
    assert " when approved, 10,000.00 EUR now" in reasons[amount]
    assert "invoice F8 of 2026-02-01 (20.00 EUR): not there when approved, there now" in reasons[added]
    assert "state Ongoing when approved, Denied now" in reasons[state]
    assert [one["id"] for one in kept["left_out"]] == [excluded]
    assert kept["sent"] == {"tenant": lucca.url, "comment": "Month-end", "closing_date": "2026-06-30"}
    for part in (
        f"Approve closes {len(rest) + 3} purchases",
        "Closing date: 2026-06-30",
        "`leave_out`",
        f"| {amount} |",
    ):
        assert part in kept["approval"]


def test_a_check_that_pushed_no_snapshot_lets_nothing_be_closed(lucca, run_dag, logged):
    kept: dict[str, Any] = {}
    missing = "{{ ti.xcom_pull(task_ids='find', key='snapshot') | tojson }}"
    run = run_dag(approved_month_end("approved_nothing", lambda: None, kept, unchanged_since=missing))
    assert states_of(run)["check_again"] == "failed"
    assert "unchanged_since is None: the upstream check pushed no snapshot" in logged()
    assert methods(lucca) == {"GET"}
