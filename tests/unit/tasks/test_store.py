"""What a closing's journal is kept in: Airflow's store, or a deferral's event."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucca_provider.closing import Attempt, Journal, ReplacedError
from lucca_provider.outcomes import CLOSED
from lucca_provider.tasks.store import TaskStateStore, open_journal, pack, read_attempt, unpack
from tests.unit.airflow_fakes import TaskInstance

TENANT = "https://acme.ilucca.net"


class Store:
    """Airflow's store, as seen from outside; a refusal is raised by each write."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.rows: dict[str, Any] = {}
        self.refusal = refusal

    def get(self, key: str, default: Any = None) -> Any:
        return self.rows.get(key, default)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.rows[key] = value


def supervisor_says(status: object) -> Exception:
    """Make the error that a task's supervisor gives, as `AirflowRuntimeError` does."""
    error = RuntimeError("API_SERVER_ERROR")
    error.error = SimpleNamespace(detail={"status_code": status})  # type: ignore[attr-defined]
    return error


def client_says(status: int) -> Exception:
    """Make the error that Airflow's client gives where there is no supervisor, as in `dag.test()`."""
    error = RuntimeError("Server returned error")
    error.response = SimpleNamespace(status_code=status)  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize("says", [supervisor_says, client_says])
@pytest.mark.parametrize("status", [404, 409, 410])
def test_a_process_that_airflow_has_replaced_is_told_so(says, status):
    with pytest.raises(ReplacedError):
        TaskStateStore(Store(says(status))).set("key", {})


@pytest.mark.parametrize("error", [supervisor_says(500), supervisor_says(None), client_says(503), OSError("gone")])
def test_any_other_failure_of_the_store_is_passed_on(error):
    with pytest.raises(type(error)) as caught:
        TaskStateStore(Store(error)).set("key", {})
    assert caught.value is error


def context(ti: TaskInstance, **more: Any) -> Any:
    return {"ti": ti, **more}


def opened(store: Store | None, attempt: Attempt, **more: Any) -> Journal:
    given: dict[str, Any] = {"tenant": TENANT, "durable": True, "event": None, "go_on": lambda: True, **more}
    return open_journal(context(TaskInstance(), task_state_store=store), attempt, **given)


def test_what_one_try_commits_the_next_one_reads():
    store = Store()
    first = opened(store, Attempt(number=1, max_tries=3))
    first.decided(7, CLOSED)
    first.commit(intents=[8])
    again = opened(store, Attempt(number=2, max_tries=3, first=False))
    assert (again.decisions, again.sent) == ({7: CLOSED}, {8})


@pytest.mark.parametrize("changed", [{"tenant": "https://other.ilucca.net"}, {"durable": False}])
def test_the_journal_of_another_tenant_or_one_that_is_not_wanted_is_not_read(changed):
    store = Store()
    first = opened(store, Attempt(number=1, max_tries=3))
    first.decided(7, CLOSED)
    first.commit()
    assert opened(store, Attempt(number=2, max_tries=3), **changed).is_empty


def test_keys_are_safe_in_an_address():
    store = Store()
    opened(store, Attempt(number=1, max_tries=3)).commit()
    assert all(key.replace("_", "").isalnum() for key in store.rows)


def test_nothing_is_read_or_written_once_the_task_is_to_end():
    store = Store()
    opened(store, Attempt(number=1, max_tries=3)).commit(intents=[7])
    before = dict(store.rows)
    journal = opened(store, Attempt(number=2, max_tries=3), go_on=lambda: False)
    with pytest.raises(RuntimeError):
        journal.commit(intents=[8])
    assert store.rows == before


@pytest.mark.parametrize("same", [True, False])
def test_an_event_brings_the_journal_along_where_there_is_no_store(same):
    event = {"try": 1, "tenant": TENANT if same else "https://other.ilucca.net", "max_tries": 2, "records": [["c", 7]]}
    journal = opened(None, Attempt(number=1, max_tries=2, resumed=True), event=event)
    assert journal.decisions == ({7: CLOSED} if same else {})


@pytest.mark.parametrize(
    ("ti", "more", "event", "first", "resumed"),
    [
        (TaskInstance(1), {}, None, True, False),
        (TaskInstance(0), {}, None, False, False),
        (TaskInstance(2), {}, None, False, False),
        (TaskInstance(1), {"task_reschedule_count": 1}, None, False, False),
        (TaskInstance(1), {"task_reschedule_count": 0}, None, True, False),
        (TaskInstance(1), {"test_mode": True}, None, False, False),
        (TaskInstance(1), {}, {"try": 1}, False, True),
        (TaskInstance(2), {}, {"try": 1}, False, False),
        (TaskInstance(1), {"test_mode": True}, {"try": 1}, False, False),
        (TaskInstance(1), {}, {"try": 1, "duration": 0.3}, False, False),
        (TaskInstance(1), {"task_reschedule_count": 1}, {"try": 1}, False, True),
    ],
)
def test_only_the_certain_first_start_is_the_first_and_only_the_same_try_goes_on(
    monkeypatch, ti, more, event, first, resumed
):
    monkeypatch.delenv("AIRFLOW_TEST_MODE", raising=False)
    attempt = read_attempt(context(ti, **more), event)
    assert (attempt.first, attempt.resumed, attempt.number) == (first, resumed, ti.try_number)


def test_a_start_by_tasks_test_or_after_a_run_that_ended_is_not_the_first(monkeypatch):
    finished = TaskInstance(1)
    finished.duration = 0.3  # type: ignore[attr-defined]
    assert not read_attempt(context(finished), None).first
    assert not read_attempt(context(finished), {"try": 1}).resumed
    assert read_attempt(context(finished), {"try": 1, "duration": 0.3}).resumed
    monkeypatch.setenv("AIRFLOW_TEST_MODE", "True")
    assert not read_attempt(context(TaskInstance(1)), None).first


@given(st.dictionaries(st.text(max_size=9), st.lists(st.integers() | st.text(max_size=9) | st.none(), max_size=9)))
def test_an_event_comes_back_as_it_was(event):
    assert unpack(pack(event)) == event


@pytest.mark.parametrize("text", [None, 5, "", "nonsense", "AAAA", pack([])])  # type: ignore[arg-type]
def test_what_is_no_event_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 - base64, JSON and zlib each have a word of their own
        unpack(text)
