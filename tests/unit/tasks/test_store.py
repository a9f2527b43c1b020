"""The ledger in Airflow's task state store."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from lucca_provider.closing import ClosingRun, Driver, MemoryLedger
from lucca_provider.limits import Window
from tests.conftest import AIRFLOW

if AIRFLOW < (3, 3):
    pytest.skip("Airflow has a task state store from 3.3 on", allow_module_level=True)

from airflow.sdk import NEVER_EXPIRE
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse

from lucca_provider.tasks.store import TaskStateLedger

TENANT = "https://acme.ilucca.net"


class Store:
    """Airflow's store, as seen from outside: counts and checks what is written."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}
        self.reads = 0
        self.written: list[str] = []

    def get(self, key: str, default: Any = None) -> Any:
        self.reads += 1
        return json.loads(self.rows[key]) if key in self.rows else default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        assert retention is NEVER_EXPIRE
        self.written.append(json.dumps(value))
        self.rows[key] = json.dumps(value)


def test_an_entry_is_read_back_by_the_next_try():
    store = Store()
    TaskStateLedger(store, tenant=TENANT, first_try=True).write(7, {"state": "closed", "at": 1.5})
    again = TaskStateLedger(store, tenant=TENANT, first_try=False)
    assert again.read(7) == {"state": "closed", "at": 1.5}
    assert again.read(8) is None


def test_it_knows_everything_if_it_was_there_from_the_first_try_on():
    store = Store()
    assert TaskStateLedger(store, tenant=TENANT, first_try=True).complete
    assert TaskStateLedger(store, tenant=TENANT, first_try=False).complete


def test_it_does_not_know_everything_if_an_earlier_try_had_no_store_or_the_store_was_emptied():
    store = Store()
    assert not TaskStateLedger(store, tenant=TENANT, first_try=False).complete
    assert not TaskStateLedger(store, tenant=TENANT, first_try=False).complete


def test_what_was_written_for_another_tenant_does_not_count():
    """Test tenants often have the same ids as the one that they were copied from."""
    store = Store()
    TaskStateLedger(store, tenant="https://acme.ilucca-test.net", first_try=True).write(7, {"state": "closed"})
    other = TaskStateLedger(store, tenant="https://acme.ilucca.net", first_try=False)
    assert other.read(7) is None
    assert not other.complete


def test_a_store_that_was_empty_is_not_asked_about_each_purchase():
    store = Store()
    ledger = TaskStateLedger(store, tenant=TENANT, first_try=True)
    for purchase_id in range(1, 100):
        assert ledger.read(purchase_id) is None
    assert store.reads == 1


def refusal(status: int) -> AirflowRuntimeError:
    return AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": status}))


@pytest.mark.parametrize(
    ("error", "taken_over"),
    [
        (None, False),
        (refusal(404), True),
        (refusal(409), True),
        (refusal(410), True),
        (refusal(500), False),
        (AirflowRuntimeError(ErrorResponse(error=ErrorType.GENERIC_ERROR)), False),
        (OSError("away"), False),
    ],
)
def test_another_try_has_taken_over_only_where_airflow_says_so(error, taken_over):
    class Refusing(Store):
        def set(self, key: str, value: Any, *, retention: Any = None) -> None:
            if error and len(self.written) == 1:
                raise error
            super().set(key, value, retention=retention)

    assert TaskStateLedger(Refusing(), tenant=TENANT, first_try=True).is_taken_over() is taken_over


def test_to_ask_whether_another_try_has_taken_over_does_not_bring_an_emptied_store_back():
    store = Store()
    ledger = TaskStateLedger(store, tenant=TENANT, first_try=True)
    store.rows.clear()
    assert not ledger.is_taken_over()
    assert not TaskStateLedger(store, tenant=TENANT, first_try=False).complete


def test_two_small_writes_a_purchase_under_url_safe_keys_none_of_which_grows():
    store = Store()
    for count in (10, 100):
        store.rows.clear()
        store.written.clear()
        ledger = TaskStateLedger(store, tenant=TENANT, first_try=True)
        run = ClosingRun(range(1, count + 1), ledger=ledger, window=Window(1000))
        Driver(run, lambda step: None, max_in_flight=2).drive()
        assert len(store.written) == 2 * count + 1
        assert max(len(value) for value in store.written) < 100
        assert all(re.fullmatch(r"[a-z0-9_]+", key) for key in store.rows)


def test_a_run_goes_on_from_it_as_from_a_ledger_in_memory():
    memory, store = MemoryLedger(), Store()
    for ledger in (memory, TaskStateLedger(store, tenant=TENANT, first_try=True)):
        run = ClosingRun([2, 1], ledger=ledger, window=Window(10))
        Driver(run, lambda step: None, max_in_flight=1).drive()
    for ledger in (memory, TaskStateLedger(store, tenant=TENANT, first_try=False)):
        again = ClosingRun([1, 2], ledger=ledger, window=Window(10))
        Driver(again, pytest.fail, max_in_flight=1).drive()
        assert again.report()["closed"] == [1, 2]
