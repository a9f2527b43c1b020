"""PurchasesClosableSensor against a tenant on real sockets; Airflow's own part is in tests/integration."""

from __future__ import annotations

import inspect
import time
from typing import Any

import pytest

from lucca_provider.compat import AirflowFailException, AirflowSensorTimeout, AirflowSkipException
from lucca_provider.exceptions import LuccaAccessError, LuccaForbiddenError, LuccaUnresolvedError
from lucca_provider.hooks.lucca import LuccaHook
from lucca_provider.operators.purchases import CheckPurchasesOperator
from lucca_provider.sandbox import Sandbox
from lucca_provider.sensors.purchases import PurchasesClosableSensor
from lucca_provider.triggers.lucca import LuccaWaitTrigger
from tests.airflow_names import TaskDeferred
from tests.unit import airflow_fakes
from tests.unit.airflow_fakes import fire

OPEN = [{"conformityState": "ToReview", "paymentState": "None", "documentNumber": "F1", "documentDate": "2026-01-31"}]
PAID = [{"conformityState": "Confirmed", "paymentState": "Paid"}]
WINDOW = 0.2


class TaskInstance(airflow_fakes.TaskInstance):
    """What Airflow's sensor uses of it besides."""

    dag_id = task_id = run_id = "none"
    map_index = -1

    def get_first_reschedule_date(self, context: Any) -> None:
        return None


@pytest.fixture
def lucca(monkeypatch):
    with Sandbox(purchases=3, states={"closable": 1}, window=WINDOW) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", sandbox.connection_uri)
        yield sandbox
        assert {request.method for request in sandbox.requests} <= {"GET"}


def new_sensor(**kwargs: Any) -> PurchasesClosableSensor:
    return PurchasesClosableSensor(task_id="wait", **{"poke_interval": WINDOW, "timeout": 5, "mode": "poke", **kwargs})


def new_context(ti: TaskInstance | None = None) -> Any:
    return {"ti": ti or TaskInstance()}


def look(**kwargs: Any) -> Any:
    """Look once; ``None`` if it goes on waiting, else what the task returns."""
    found = new_sensor(**kwargs).poke(new_context())
    return found.xcom_value if found else None


# -- what it waits for -----------------------------------------------------------------------------------------------


def test_it_is_done_once_each_purchase_is_closable_or_closed_and_returns_the_closable_ones(lucca, logged):
    blocked, closed = lucca.add_purchase(invoices=OPEN), lucca.add_purchase(state="Closed")
    ids = [closed, blocked, *lucca.closable_ids]
    assert look(purchase_ids=ids) is None
    assert f"Still waiting: purchase {blocked}: invoice F1 of 2026-01-31: to review, not paid" in logged()
    lucca.set_purchase(blocked, invoices=PAID)
    assert look(purchase_ids=ids) == ids[1:]


def test_any_is_done_once_one_is_closable(lucca):
    blocked, closed = [lucca.add_purchase(invoices=OPEN) for _ in range(2)], lucca.add_purchase(state="Closed")
    assert look(purchase_ids=[*blocked, closed], wait_for="any") is None
    lucca.set_purchase(blocked[1], invoices=PAID)
    assert look(purchase_ids=[*blocked, closed], wait_for="any") == [blocked[1]]


@pytest.mark.parametrize("wait_for", ["all", "any"])
def test_nothing_is_waited_for_where_all_are_closed_already(lucca, wait_for):
    assert look(purchase_ids=lucca.add_purchase(state="Closed"), wait_for=wait_for) == []


def test_a_purchase_that_lucca_does_not_know_is_waited_for(lucca):
    ids = [1, *lucca.closable_ids]
    assert look(purchase_ids=ids) is None
    lucca.add_purchase(id=1)
    assert look(purchase_ids=ids) == ids


def test_which_states_count_for_what_can_be_said(lucca):
    purchase_id = lucca.add_purchase(state="Processing", invoices=OPEN)
    assert look(purchase_ids=purchase_id, closable_states=["Processing"]) is None
    assert look(purchase_ids=purchase_id, closable_states="Processing", cancelled_states="ToReview") == [purchase_id]
    states = {"approved_states": ["ToReview"], "paid_states": ["None"], "closable_states": ["Processing"]}
    assert look(purchase_ids=purchase_id, **states) == [purchase_id]


def test_what_documents_since_hides_is_never_closable(lucca):
    assert look(purchase_ids=lucca.closable_ids, documents_since="2026-11-01") is None


def test_nothing_to_wait_for_skips_the_task_and_the_link_is_there(lucca):
    ti = TaskInstance()
    with pytest.raises(AirflowSkipException, match=r"^There are no purchases to wait for\.$"):
        new_sensor(purchase_ids=[]).execute(new_context(ti))
    assert ti.pushed == {"lucca_invoices_url": f"{lucca.url}/cleemy-procurement"}
    assert lucca.requests == []


# -- what cannot be used ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"purchase_ids": None}, "purchase_ids is None: the upstream task returned nothing"),
        ({"purchase_ids": [1, True]}, "item 2: True is a boolean"),
        ({"wait_for": "both"}, "wait_for: 'both' is neither 'all' nor 'any'"),
        ({"documents_since": "yesterday"}, "documents_since: 'yesterday' is not a date"),
        ({"approved_states": 5}, "approved_states: 5 is not a list"),
        ({"paid_states": []}, "paid_states is empty"),
        ({"cancelled_states": [None]}, "cancelled_states: None is not the name of a state"),
        ({"closable_states": [""]}, "closable_states: '' is not the name of a state"),
        ({"poke_interval": 0.1}, "poke_interval: 0.1 s is too short. Give at least 0.2 s, the window of the tenant's"),
        ({"exponential_backoff": True, "deferrable": True}, "exponential_backoff: it does nothing with deferrable"),
    ],
)
def test_bad_arguments_fail_for_good_before_anything_is_sent(lucca, arguments, message):
    with pytest.raises(AirflowFailException, match=message):
        new_sensor(**{"purchase_ids": [1], **arguments}).poke(new_context())
    assert lucca.requests == []


def test_it_takes_whatever_the_check_takes_and_keeps_no_slot_while_it_waits():
    takes, of_check = (
        set(inspect.signature(each.__init__).parameters) for each in (PurchasesClosableSensor, CheckPurchasesOperator)
    )
    # What is about a result that somebody approves.
    approval = {"unchanged_since", "approved_by", "exclude", "document_dates", "closing_date", "path", "csv_style"}
    assert of_check - takes == {"on_blocked", "multiple_outputs"} | approval
    assert PurchasesClosableSensor(task_id="wait", purchase_ids=[1]).mode == "reschedule"


def test_the_default_interval_fits_luccas_limit_also_with_exponential_backoff(monkeypatch):
    with Sandbox(purchases=1, states={"closable": 1}) as lucca:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", lucca.connection_uri)
        for backoff in (False, True):
            sensor = PurchasesClosableSensor(
                task_id="wait", purchase_ids=lucca.purchase_ids, exponential_backoff=backoff
            )
            assert sensor.poke(new_context())


def test_no_wait_of_exponential_backoff_is_shorter_than_the_window(lucca):
    sensor = new_sensor(purchase_ids=[1], poke_interval=0.3, exponential_backoff=True, max_wait=0.1, timeout=9999)
    sensor.poke(new_context())
    waits = [sensor._get_next_poke_interval(0.0, lambda: 9998.9, count) for count in range(1, 8)]
    assert min(waits) == 0.2


def test_a_bad_connection_fails_for_good_naming_it(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_ACME", "lucca://:some-api-key@acme.ilucca.net/http")
    with pytest.raises(AirflowFailException, match=r"'lucca_acme': Schema"):
        look(purchase_ids=[1], lucca_conn_id="lucca_acme")


def test_a_bad_argument_that_skips_the_task_is_named_all_the_same(lucca):
    sensor = new_sensor(purchase_ids=None, never_fail=True)
    with pytest.raises(AirflowSkipException, match=r"never_fail is set to True.\n- purchase_ids is None"):
        sensor.execute(new_context())


WRONG = {
    "ids": ({"purchase_ids": None}, "purchase_ids is None"),
    "a mapping of ids": ({"purchase_ids": {"101": 3}}, "purchase_ids is a mapping"),
    "day": ({"documents_since": "yesterday"}, "documents_since: 'yesterday' is not a date"),
    "states": ({"paid_states": []}, "paid_states is empty"),
    "interval": ({"poke_interval": 0.1}, "poke_interval: 0.1 s is too short"),
    "connection": ({"lucca_conn_id": "lucca_http"}, "'lucca_http': Schema"),
    "no connection": ({"lucca_conn_id": "lucca_nowhere"}, "lucca_nowhere"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize(
    "more", [{}, {"silent_fail": True, "timeout": 0}, {"mode": "reschedule"}, {"deferrable": True}]
)
def test_soft_fail_makes_no_skip_of_what_is_wrong(lucca, airflow_db, monkeypatch, name, more):
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_HTTP", "lucca://:some-api-key@acme.ilucca.net/http")
    wrong, message = WRONG[name]
    sensor = new_sensor(**{"purchase_ids": [1], "soft_fail": True, **more, **wrong})
    with pytest.raises(AirflowFailException, match=message):
        sensor.execute(new_context())
    assert lucca.requests == []


@pytest.mark.parametrize("name", WRONG)
def test_soft_fail_makes_no_skip_of_what_is_wrong_after_a_wait(lucca, airflow_db, monkeypatch, name):
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_HTTP", "lucca://:some-api-key@acme.ilucca.net/http")
    wrong, message = WRONG[name]
    sensor = new_sensor(**{"purchase_ids": [1], "soft_fail": True, "deferrable": True, **wrong})
    event = {"status": "success", "progress": str(time.time())}
    with pytest.raises(AirflowFailException, match=message):
        sensor.resume_execution("execute_complete", {"event": event}, new_context())


def test_soft_fail_makes_no_skip_of_a_wrong_key(lucca, airflow_db, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", lucca.connection_uri.replace("sandbox-key", "another-key"))
    event = {"status": "success", "progress": str(time.time())}
    for more in ({}, {"silent_fail": True, "timeout": 0}, {"deferrable": True}):
        sensor = new_sensor(purchase_ids=[1], soft_fail=True, **more)
        with pytest.raises(LuccaAccessError):
            sensor.execute(new_context())
    with pytest.raises(LuccaAccessError):
        sensor.resume_execution("execute_complete", {"event": event}, new_context())
    deferring = new_sensor(purchase_ids=[1], soft_fail=True, silent_fail=True, deferrable=True, timeout=50)
    late = {"status": "success", "progress": str(time.time() - 51)}
    with pytest.raises(LuccaAccessError):
        deferring.resume_execution("execute_complete", {"event": late}, new_context())


def test_soft_fail_makes_no_skip_of_a_right_that_the_key_lacks(lucca, airflow_db, monkeypatch):
    def refused(self: LuccaHook, *ignored: object) -> None:
        raise LuccaForbiddenError("403", status=403)

    monkeypatch.setattr(LuccaHook, "get_purchase", refused)
    late = {"status": "success", "progress": str(time.time() - 51)}
    with pytest.raises(LuccaForbiddenError):
        new_sensor(purchase_ids=[1], soft_fail=True, timeout=0).execute(new_context())
    deferring = new_sensor(purchase_ids=[1], soft_fail=True, deferrable=True, timeout=50)
    with pytest.raises(LuccaForbiddenError):
        deferring.resume_execution("execute_complete", {"event": late}, new_context())


def test_soft_fail_skips_after_a_time_out_also_after_a_wait(lucca, airflow_db):
    blocked = lucca.add_purchase(invoices=OPEN)
    sensor = new_sensor(purchase_ids=[blocked], soft_fail=True, deferrable=True, timeout=50)
    late = {"status": "success", "progress": str(time.time() - 51)}
    with pytest.raises(AirflowSkipException):
        sensor.resume_execution("execute_complete", {"event": late}, new_context())
    with pytest.raises(AirflowSkipException):
        new_sensor(purchase_ids=[], soft_fail=True).resume_execution("execute_complete", {"event": late}, new_context())


def test_a_cluster_that_prefers_deferring_leaves_a_sensor_with_exponential_backoff_alone(lucca, monkeypatch):
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
    assert new_sensor(purchase_ids=[1]).deferrable is True
    assert new_sensor(purchase_ids=[1], deferrable=False).deferrable is False
    sensor = new_sensor(purchase_ids=lucca.closable_ids, exponential_backoff=True)
    assert sensor.deferrable is False
    assert sensor.execute(new_context()) == lucca.closable_ids
    # Who asks for both has made a mistake, and is told so.
    with pytest.raises(AirflowFailException, match="exponential_backoff"):
        new_sensor(purchase_ids=[1], exponential_backoff=True, deferrable=True).poke(new_context())


def test_a_generator_is_there_for_each_poke(lucca):
    blocked = lucca.add_purchase(invoices=OPEN)
    sensor = new_sensor(purchase_ids=iter([blocked]))
    assert not sensor.poke(new_context())
    lucca.set_purchase(blocked, invoices=PAID)
    assert sensor.poke(new_context()).xcom_value == [blocked]


# -- no clear answer -------------------------------------------------------------------------------------------------


def test_a_limit_that_stays_used_up_counts_as_nothing_ready(lucca, logged):
    lucca.behaviour.retry_after = 700
    lucca.fail_next("throttle", method="GET")
    assert look(purchase_ids=lucca.closable_ids) is None
    assert "No clear answer; checking again at the next poke" in logged()
    assert look(purchase_ids=lucca.closable_ids) == lucca.closable_ids


def test_documents_that_cannot_be_read_leave_nothing_ready(lucca):
    lucca.behaviour.list_status = 403
    assert look(purchase_ids=lucca.closable_ids) is None


def test_a_wrong_key_fails_the_task_since_no_wait_mends_it(lucca, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", lucca.connection_uri.replace("sandbox-key", "another-key"))
    with pytest.raises(LuccaAccessError):
        new_sensor(purchase_ids=[1]).execute(new_context())
    with pytest.raises(AirflowSkipException, match=r"never_fail is set to True.\n- .*API key"):
        new_sensor(purchase_ids=[1], never_fail=True).execute(new_context())
    # Airflow goes on after an error that silent_fail lets pass.
    with pytest.raises(AirflowSensorTimeout, match=r"\n- the last check got no clear answer: .*API key"):
        new_sensor(purchase_ids=[1], silent_fail=True, timeout=0).execute(new_context())


# -- time-outs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("soft_fail", "error"), [(False, AirflowSensorTimeout), (True, AirflowSkipException)])
def test_a_time_out_names_what_still_blocks(lucca, soft_fail, error):
    blocked = lucca.add_purchase(invoices=OPEN)
    with pytest.raises(error, match=f"timeout of 0.0.\n- purchase {blocked}: invoice F1 .* to review, not paid$"):
        new_sensor(purchase_ids=[blocked], timeout=0, soft_fail=soft_fail).execute(new_context())


def test_a_time_out_does_not_name_what_blocked_at_an_earlier_look_only(lucca, monkeypatch):
    blocked = lucca.add_purchase(invoices=OPEN)
    sensor = new_sensor(purchase_ids=[blocked], never_fail=True)
    assert not sensor.poke(new_context())
    monkeypatch.setattr(sensor, "purchase_ids", "nonsense")
    with pytest.raises(AirflowSkipException) as raised:
        sensor.execute(new_context())
    assert "'nonsense' is not a purchase id" in str(raised.value)
    assert "invoice F1" not in str(raised.value)


# -- waiting in the triggerer ----------------------------------------------------------------------------------------


def leave(sensor: PurchasesClosableSensor, context: Any) -> LuccaWaitTrigger:
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(context)
    assert deferred.value.method_name == "execute_complete"
    trigger = deferred.value.trigger
    assert isinstance(trigger, LuccaWaitTrigger)
    return trigger


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_a_deferrable_sensor_waits_in_the_trigger_for_the_interval_and_looks_again(lucca, airflow_db, mode):
    blocked = lucca.add_purchase(invoices=OPEN)
    sensor, context = new_sensor(purchase_ids=[blocked], deferrable=True, mode=mode, poke_interval=0.5), new_context()
    before = time.time()
    trigger = leave(sensor, context)
    assert before + 0.5 <= trigger.moment <= time.time() + 0.5
    event = fire(trigger)
    lucca.set_purchase(blocked, invoices=PAID)
    assert sensor.execute_complete(context, event) == [blocked]


def test_a_deferrable_sensor_counts_its_time_out_over_all_waits(lucca, airflow_db):
    blocked = lucca.add_purchase(invoices=OPEN)
    context = new_context()
    sensor = new_sensor(purchase_ids=[blocked], deferrable=True, timeout=50)
    started = time.time() - 40
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute_complete(context, {"status": "success", "progress": str(started)})
    assert deferred.value.trigger.progress == str(started)
    late = {"status": "success", "progress": str(started - 11)}
    with pytest.raises(AirflowSensorTimeout, match=f"time-out of 50 s.\n- purchase {blocked}: invoice F1"):
        sensor.execute_complete(context, late)
    skipping = new_sensor(purchase_ids=[blocked], deferrable=True, timeout=50, soft_fail=True)
    with pytest.raises(AirflowSkipException, match=f"time-out of 50 s.\n- purchase {blocked}: invoice F1"):
        skipping.execute_complete(context, late)


@pytest.mark.parametrize(
    "event",
    [
        None,
        {},
        "success",
        {"status": "error", "progress": "1.0"},
        {"status": "success"},
        {"status": "success", "progress": None},
        {"status": "success", "progress": "nonsense"},
    ],
)
def test_an_unknown_event_fails_loudly_and_retryably(lucca, event):
    with pytest.raises(LuccaUnresolvedError, match="The trigger returned"):
        new_sensor(purchase_ids=[1], deferrable=True).execute_complete(new_context(), event)
    assert lucca.requests == []
