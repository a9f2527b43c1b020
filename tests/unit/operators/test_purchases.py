"""ClosePurchaseOperator against a tenant on real sockets; Airflow's own part is in tests/integration."""

from __future__ import annotations

import base64
import contextlib
import datetime
import logging
import re
import signal
import zlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from lucca_provider.compat import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
)
from lucca_provider.exceptions import LuccaUnresolvedError
from lucca_provider.hooks.lucca import LuccaHook
from lucca_provider.operators.purchases import ClosePurchaseOperator
from lucca_provider.sandbox import Sandbox
from lucca_provider.tasks.store import pack, unpack
from tests.airflow_names import TaskDeferred
from tests.conftest import AIRFLOW
from tests.unit.airflow_fakes import TaskInstance, fire

KEY = "a-key-that-must-not-be-seen"


class Store(dict):
    """Like Airflow's task state store."""

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self[key] = value


@pytest.fixture
def lucca(monkeypatch):
    with Sandbox(purchases=30, states={"closable": 1}, api_key=KEY) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", sandbox.connection_uri)
        yield sandbox


def run(operator: ClosePurchaseOperator, ti: TaskInstance | None = None, **context: Any) -> Any:
    return operator.execute({"ti": ti or TaskInstance(), **context})  # type: ignore[typeddict-item]


def new_operator(**kwargs: Any) -> ClosePurchaseOperator:
    return ClosePurchaseOperator(task_id="close", retries=2, **kwargs)


def test_purchases_are_closed_and_reported_in_the_order_asked_for(lucca):
    ids = list(reversed(lucca.purchase_ids))
    report = run(new_operator(purchase_ids=ids))
    assert report == {"closed": ids, "already_closed": [], "rejected": [], "unresolved": []}
    assert sorted(closing.purchase_id for closing in lucca.closings) == sorted(ids)


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        ({}, {}),
        ({"comment": "Validé"}, {"comment": "Validé"}),
        ({"closing_date": datetime.date(2026, 1, 31)}, {"date": "2026-01-31"}),
        ({"comment": "c", "closing_date": "2026-01-31"}, {"comment": "c", "date": "2026-01-31"}),
    ],
)
def test_the_request_has_only_the_members_that_were_given(lucca, arguments, body):
    (purchase_id,) = lucca.purchase_ids[:1]
    run(new_operator(purchase_ids=purchase_id, **arguments))
    reading, request = lucca.requests
    assert (reading.method, reading.purchase_id) == ("GET", purchase_id)
    assert request.method == "POST"
    assert request.path == f"/cleemy-procurement/api/purchases/{purchase_id}/closing"
    assert request.body == body


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"purchase_ids": None}, "purchase_ids is None: the upstream task returned nothing"),
        ({"purchase_ids": [1, True]}, "item 2: True is a boolean"),
        ({"purchase_ids": [1], "closing_date": "2026-02-30"}, "closing_date: '2026-02-30' is not a day"),
        ({"purchase_ids": [1], "comment": [5]}, "comment: .5. is not text"),
        ({"purchase_ids": [1], "max_in_flight": 0}, "max_in_flight: 0 is not a whole number from 1 to 32"),
        ({"purchase_ids": [1], "max_in_flight": 33}, "max_in_flight: 33 is not a whole number from 1 to 32"),
        ({"purchase_ids": [1], "max_in_flight": True}, "max_in_flight: True is not a whole number"),
        ({"purchase_ids": [1], "max_in_flight": 2.0}, "max_in_flight: 2.0 is not a whole number"),
    ],
)
def test_bad_input_fails_for_good_before_anything_is_sent(lucca, arguments, message):
    with pytest.raises(AirflowFailException, match=message):
        run(new_operator(**arguments))
    assert lucca.requests == []


def test_a_bad_connection_fails_for_good_naming_it(lucca, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_ACME", "lucca://:some-api-key@acme.ilucca.net/http")
    with pytest.raises(AirflowFailException, match=r"'lucca_acme': Schema"):
        run(new_operator(purchase_ids=[1], lucca_conn_id="lucca_acme"))


def test_nothing_to_close_skips_the_task_and_still_reports(lucca):
    ti = TaskInstance()
    with pytest.raises(AirflowSkipException):
        run(new_operator(purchase_ids=[]), ti)
    assert ti.report == {"closed": [], "already_closed": [], "rejected": [], "unresolved": []}
    assert lucca.requests == []


def test_a_refusal_stops_no_other_and_fails_for_good_with_id_and_reason(lucca):
    refused = lucca.add_purchase(invoices=[{"conformityState": "ToReview", "paymentState": "None"}])
    ids = [lucca.purchase_ids[0], refused, lucca.purchase_ids[1]]
    ti = TaskInstance()
    with pytest.raises(AirflowFailException, match=f"{refused} refused by Lucca: .*to review.*409"):
        run(new_operator(purchase_ids=ids), ti)
    assert ti.report["closed"] == [ids[0], ids[2]]
    (rejected,) = ti.report["rejected"]
    assert rejected["id"] == refused
    assert rejected["status"] == 409


@pytest.mark.skipif(AIRFLOW < (3, 3), reason="Airflow has a task state store from 3.3 on")
def test_a_refused_purchase_is_left_alone_by_retries_and_tried_again_after_a_clear(lucca, monkeypatch):
    monkeypatch.setattr("lucca_provider.closing.run.SETTLE_SECONDS", 0.0)
    purchase_id = lucca.add_purchase(invoices=[{"conformityState": "ToReview", "paymentState": "None"}])
    store = Store()
    # Clearing raises the number of tries that there may be.
    for try_number, max_tries, posts in ((1, 2, 1), (2, 2, 1), (3, 4, 2), (4, 4, 2)):
        with pytest.raises(AirflowFailException, match="refused by Lucca"):
            run(new_operator(purchase_ids=purchase_id), TaskInstance(try_number, max_tries), task_state_store=store)
        assert lucca.posts(purchase_id) == posts


def test_a_purchase_that_was_closed_before_is_told_apart(lucca):
    purchase_id = lucca.add_purchase(state="Closed")
    assert run(new_operator(purchase_ids=purchase_id))["already_closed"] == [purchase_id]


def test_a_wrong_key_stops_after_what_is_in_flight_and_names_every_purchase(lucca, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", lucca.connection_uri.replace(KEY, "another"))
    ti = TaskInstance()
    with pytest.raises(LuccaUnresolvedError, match="Lucca refused the API key"):
        run(new_operator(purchase_ids=lucca.purchase_ids, max_in_flight=1), ti)
    assert len(lucca.requests) == 1
    assert [item["id"] for item in ti.report["unresolved"]] == lucca.purchase_ids


@pytest.mark.parametrize("outage", [True, False])
def test_the_error_says_whether_waiting_may_be_all_that_it_takes(lucca, monkeypatch, outage):
    """Which a retry policy goes by."""
    if outage:
        lucca.fail_next("unavailable", method="GET")
        lucca.behaviour.retry_after = 601.0
    else:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", lucca.connection_uri.replace(KEY, "another"))
    with pytest.raises(LuccaUnresolvedError) as raised:
        run(new_operator(purchase_ids=lucca.purchase_ids))
    assert raised.value.outage is outage


def test_the_error_of_a_small_batch_begins_with_the_number_and_the_reason(lucca, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", lucca.connection_uri.replace(KEY, "another"))
    with pytest.raises(LuccaUnresolvedError, match=r"^2 of 2 purchases were not closed: Lucca refused the API key\."):
        run(new_operator(purchase_ids=lucca.purchase_ids[:2]))


def test_a_connection_that_is_missing_is_named_with_what_to_do():
    with pytest.raises(AirflowNotFoundException, match=r"'nowhere'\. Create it, or correct lucca_conn_id"):
        run(new_operator(purchase_ids=[1], lucca_conn_id="nowhere"))


def test_a_redirect_to_a_login_page_stops_the_task(lucca):
    lucca.fail_next("login_redirect")
    ti = TaskInstance()
    with pytest.raises(LuccaUnresolvedError):
        run(new_operator(purchase_ids=lucca.purchase_ids, max_in_flight=1), ti)
    assert [request.method for request in lucca.requests] == ["GET", "POST"]
    assert ti.report["closed"] == []


def test_a_web_page_is_never_taken_for_a_closing(lucca, monkeypatch):
    monkeypatch.setattr("lucca_provider.closing.purchase.SETTLE_SECONDS", 0.1)
    purchase_id = lucca.purchase_ids[0]
    lucca.fail_next("html", purchase_id=purchase_id)
    assert run(new_operator(purchase_ids=[purchase_id]))["closed"] == [purchase_id]
    assert lucca.closed_ids == [purchase_id]


def test_ids_that_lucca_does_not_know_are_refused_and_the_host_is_not_blamed(lucca):
    ti = TaskInstance()
    with pytest.raises(AirflowFailException, match=r"1 refused by Lucca: .*404"):
        run(new_operator(purchase_ids=[1, 2, 3, 4, 5, 6, lucca.purchase_ids[0]], max_in_flight=1), ti)
    assert [item["id"] for item in ti.report["rejected"]] == [1, 2, 3, 4, 5, 6]
    assert ti.report["closed"] == lucca.purchase_ids[:1]
    # The list has answered as Lucca does, so the host needs no probe.
    assert "/cleemy-procurement/api/natures" not in [request.path for request in lucca.requests]


def test_a_host_without_lucca_invoices_is_told_by_one_cheap_call(lucca):
    lucca.behaviour.wrong_module = True
    with pytest.raises(LuccaUnresolvedError, match="Tenant"):
        run(new_operator(purchase_ids=lucca.purchase_ids, max_in_flight=1))
    assert len(lucca.requests) == 2


def test_an_error_names_fifty_purchases_and_says_where_the_others_are(lucca, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", lucca.connection_uri.replace(KEY, "another"))
    with pytest.raises(LuccaUnresolvedError) as raised:
        run(new_operator(purchase_ids=range(1, 61)))
    # All for the same reason, which is said once.
    (named,) = re.findall(r"\n- (.*) and 10 more unresolved", str(raised.value))
    assert named.split(", ") == [str(number) for number in range(1, 51)]
    assert str(raised.value).count("Correct API key (password)") == 1


def test_unresolved_beside_refused_is_retried_and_says_both(lucca):
    refused = lucca.add_purchase(invoices=[{"conformityState": "ToReview", "paymentState": "None"}])
    lucca.set_purchase(lucca.purchase_ids[0], state="Archived")
    ti = TaskInstance(try_number=2)
    with pytest.raises(LuccaUnresolvedError, match=r"1 of 2 purchases was refused .*\n1 of 2 purchases is unresolved"):
        run(new_operator(purchase_ids=[refused, lucca.purchase_ids[0]]), ti)
    assert [item["id"] for item in ti.report["rejected"]] == [refused]


def test_the_link_is_pushed_before_anything_can_fail(lucca):
    ti = TaskInstance()
    lucca.fail_next("login_redirect")
    with pytest.raises(LuccaUnresolvedError):
        run(new_operator(purchase_ids=lucca.purchase_ids[:1]), ti)
    assert ti.pushed["lucca_invoices_url"] == f"{lucca.url}/cleemy-procurement"


def test_no_report_is_pushed_where_the_task_says_so(lucca):
    ti = TaskInstance()
    with pytest.raises(AirflowSkipException):
        run(new_operator(purchase_ids=[], do_xcom_push=False), ti)
    assert "return_value" not in ti.pushed


def test_a_retry_without_a_journal_looks_before_it_posts(lucca):
    done, open_ = lucca.purchase_ids[:2]
    lucca.set_purchase(done, state="Closed")
    report = run(new_operator(purchase_ids=[done, open_]), TaskInstance(try_number=2))
    assert report == {"closed": [open_], "already_closed": [done], "rejected": [], "unresolved": []}
    assert [request.method for request in lucca.requests if request.purchase_id == done] == ["GET"]
    assert [request.method for request in lucca.requests if request.purchase_id == open_] == ["GET", "POST"]


def test_a_retry_of_many_reads_the_list_instead_of_each(lucca):
    run(new_operator(purchase_ids=lucca.purchase_ids))
    lucca.reset_requests()
    report = run(new_operator(purchase_ids=lucca.purchase_ids), TaskInstance(try_number=2))
    assert report["already_closed"] == lucca.purchase_ids
    assert [request.path for request in lucca.requests] == ["/cleemy-procurement/api/purchases"]


def test_the_key_is_in_no_log_line_and_no_report(lucca, caplog):
    lucca.faults = {"error_before": 0.5}
    ti = TaskInstance()
    operator = new_operator(purchase_ids=lucca.purchase_ids[:4])
    with caplog.at_level(logging.DEBUG):
        report = run(operator, ti)
    assert KEY not in caplog.text
    assert KEY not in repr((ti.pushed, report, operator, vars(operator)))


def test_requests_and_outcomes_are_counted(lucca, monkeypatch):
    counted = []

    class Stats:
        @staticmethod
        def incr(name, tags):
            counted.append((name, *tags.values()))

    monkeypatch.setattr("lucca_provider.tasks.closing.Stats", Stats)
    run(new_operator(purchase_ids=lucca.add_purchase(state="Closed")))
    assert counted == [
        ("lucca.requests", "read"),
        ("lucca.purchases", "already_closed", "other"),
    ]
    counted.clear()
    with pytest.raises(AirflowException):
        run(new_operator(purchase_ids=[1, 2], lucca_conn_id="lucca_nowhere"))
    assert counted == [("lucca.purchases", "unresolved", "unknown")] * 2


@contextlib.contextmanager
def once(condition: Callable[[], object], act: Callable[[], object]) -> Iterator[None]:
    """Do something in the main thread, as a signal does, as soon as a condition holds."""

    def look(*args: Any) -> None:
        if condition():
            signal.setitimer(signal.ITIMER_REAL, 0)
            act()

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_interruption_is_reported_before_it_goes_on(lucca):
    lucca.behaviour.latency = 0.2
    ti = TaskInstance()

    def time_out() -> None:
        raise KeyboardInterrupt

    with once(lambda: len(lucca.closed_ids) > 2, time_out), pytest.raises(KeyboardInterrupt):
        run(new_operator(purchase_ids=lucca.purchase_ids), ti)
    assert sorted(ti.report["closed"]) == sorted(lucca.closed_ids)
    assert 0 < len(ti.report["unresolved"]) < 30


def test_a_kill_stops_sending_and_records_what_was_in_flight(lucca):
    lucca.behaviour.latency = 0.2
    ti = TaskInstance()
    operator = new_operator(purchase_ids=lucca.purchase_ids)
    with (
        once(lambda: len(lucca.requests) > 2, operator.on_kill),
        pytest.raises(LuccaUnresolvedError, match="the task was killed"),
    ):
        run(operator, ti)
    assert sorted(ti.report["closed"]) == sorted(lucca.closed_ids)
    assert 0 < len(lucca.requests) < 30


@pytest.mark.parametrize("calls", [1, 2, 3])
@pytest.mark.parametrize("method", ["get", "set"])
def test_an_interruption_while_the_journal_is_read_or_written_is_reported(lucca, method, calls):
    class TimedOutError(BaseException):
        """As Airflow's time-out of a task is."""

    class Interrupting(Store):
        called = 0

        def _count(self, name: str) -> None:
            self.called += name == method
            if name == method and self.called == calls:
                raise TimedOutError

        def get(self, *args: Any) -> Any:
            self._count("get")
            return super().get(*args)

        def set(self, key: str, value: Any, **kwargs: Any) -> None:
            self._count("set")
            super().set(key, value, **kwargs)

    ti, ids = TaskInstance(), lucca.purchase_ids[:3]
    store = Interrupting()
    try:
        run(new_operator(purchase_ids=ids), ti, task_state_store=store)
    except TimedOutError:
        named = [*ti.report["closed"], *(one["id"] for one in ti.report["unresolved"])]
        assert sorted(named) == sorted(ids)
        assert sorted(ti.report["closed"]) == sorted(lucca.closed_ids)
    else:
        assert store.called < calls


def test_an_interruption_before_a_wait_is_reported(lucca, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", f"{lucca.connection_uri}?window_seconds=3&requests_per_minute=3")

    class Interrupted(TaskInstance):
        is_interrupted = False

        def xcom_push(self, key: str, value: Any) -> None:
            if key == "return_value" and not self.is_interrupted:
                self.is_interrupted = True
                raise KeyboardInterrupt
            super().xcom_push(key, value)

    ti, ids = Interrupted(), lucca.purchase_ids[:6]
    with pytest.raises(KeyboardInterrupt):
        run(new_operator(purchase_ids=ids, deferrable=True), ti)
    assert sorted(ti.report["closed"]) == sorted(lucca.closed_ids) != []
    assert len(ti.report["unresolved"]) == 6 - len(lucca.closed_ids)


def test_a_kill_before_the_run_lets_nothing_be_sent(lucca):
    operator, ti = new_operator(purchase_ids=lucca.purchase_ids), TaskInstance()
    operator.on_kill()
    with pytest.raises(LuccaUnresolvedError, match="the task was killed"):
        run(operator, ti)
    assert len(ti.report["unresolved"]) == len(lucca.purchase_ids)
    assert lucca.requests == []


# -- waiting without a worker ----------------------------------------------------------------------------------------


def test_a_deferrable_task_leaves_the_worker_and_goes_on_where_it_stopped(monkeypatch):
    with Sandbox(purchases=7, states={"closable": 1}, limit=3, window=2) as lucca:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", lucca.connection_uri)
        operator = new_operator(purchase_ids=lucca.purchase_ids, deferrable=True)
        context: Any = {"ti": TaskInstance()}
        with pytest.raises(TaskDeferred) as first:
            operator.execute(context)
        with pytest.raises(TaskDeferred) as second:
            operator.execute_complete(context, fire(first.value.trigger))
        assert {first.value.method_name, second.value.method_name} == {"execute_complete"}
        result = operator.execute_complete(context, fire(second.value.trigger))
        assert result["closed"] == lucca.purchase_ids
        assert lucca.throttled == 0
        assert [lucca.posts(purchase_id) for purchase_id in lucca.purchase_ids] == [1] * 7


@pytest.mark.parametrize(
    "event",
    [
        None,
        {},
        "success",
        {"status": "error"},
        {"status": "success"},
        {"status": "success", "progress": []},
        {"status": "success", "progress": "nonsense"},
        {"status": "success", "progress": "AAAA"},
        {"status": "success", "progress": base64.b64encode(zlib.compress(b"[]")).decode()},
        {"status": "success", "progress": base64.b64encode(zlib.compress(b'{"try": 1}')).decode()},
    ],
)
def test_an_unknown_event_fails_loudly_and_retryably(lucca, event):
    with pytest.raises(LuccaUnresolvedError, match="Nothing more was sent"):
        new_operator(purchase_ids=[1]).execute_complete({"ti": TaskInstance()}, event)  # type: ignore[typeddict-item]
    assert lucca.requests == []


def test_a_connection_changed_to_another_tenant_meanwhile_is_told_and_nothing_is_called_closed(lucca, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", f"{lucca.connection_uri}?window_seconds=3&requests_per_minute=3")
    operator = new_operator(purchase_ids=lucca.purchase_ids, deferrable=True)
    context: Any = {"ti": TaskInstance()}
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    with Sandbox(purchases=30, states={"closable": 1}, api_key=KEY) as other:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", other.connection_uri)
        store = Store()
        # No retry: it would close purchases there that were meant for the first tenant.
        with pytest.raises(AirflowFailException, match="changed to another tenant"):
            operator.execute_complete({**context, "task_state_store": store}, fire(deferred.value.trigger))
        assert other.requests == []
        # A journal that was begun by now would tell the next try that nothing was sent.
        assert store == {}


@pytest.mark.parametrize(
    ("forgotten", "start"),
    [
        # As before these were kept: a number that is none, and another one.
        (["try"], {}),
        ([], {"try_number": 2}),
        # `airflow tasks run --force` of 2.11, after a run that ended; and `airflow tasks test`.
        ([], {"duration": 12.5}),
        ([], {"test_mode": True}),
    ],
)
def test_a_stay_that_is_started_again_does_not_go_on_from_what_was_known_at_the_last_wait(
    lucca, monkeypatch, forgotten, start
):
    """Airflow 2 resumes a try whose scheduler was lost, under the next number; what was done since is not known."""
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", f"{lucca.connection_uri}?window_seconds=3&requests_per_minute=3")
    operator = new_operator(purchase_ids=lucca.purchase_ids[:6], deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        run(operator)
    event = fire(deferred.value.trigger)
    closed_since = [purchase_id for purchase_id in lucca.purchase_ids[:6] if purchase_id not in lucca.closed_ids][:2]
    for purchase_id in closed_since:
        LuccaHook().close_purchase(purchase_id)
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", lucca.connection_uri)
    progress = unpack(event["progress"])
    event["progress"] = pack({name: value for name, value in progress.items() if name not in forgotten})
    ti: Any = TaskInstance(try_number=start.get("try_number", 1))
    ti.duration = start.get("duration")
    context: Any = {"ti": ti, "test_mode": start.get("test_mode", False)}
    report = operator.execute_complete(context, event)
    # What the event says of its own closings is true; what was closed since, Lucca shows.
    assert report["already_closed"] == closed_since
    assert not report["unresolved"]
    assert [lucca.posts(purchase_id) for purchase_id in lucca.purchase_ids[:6]] == [1] * 6


def test_a_retry_after_a_run_that_ended_goes_on_after_its_own_wait(lucca, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", f"{lucca.connection_uri}?window_seconds=3&requests_per_minute=3")
    operator = new_operator(purchase_ids=lucca.purchase_ids[:4], deferrable=True)
    # Airflow 2.11 leaves the duration of the run before until this one ends.
    ti: Any = TaskInstance(try_number=2)
    ti.duration = 12.5
    with pytest.raises(TaskDeferred) as deferred:
        run(operator, ti)
    report = operator.execute_complete({"ti": ti}, fire(deferred.value.trigger))  # type: ignore[typeddict-item]
    assert report["closed"] == lucca.purchase_ids[:4]
    assert len(lucca.requests) == 5


def test_a_test_of_a_deferrable_task_leaves_no_trigger_that_would_wake_the_real_one(lucca, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", f"{lucca.connection_uri}?window_seconds=1&requests_per_minute=3")
    report = run(new_operator(purchase_ids=lucca.purchase_ids[:6], deferrable=True), test_mode=True)
    assert report["closed"] == lucca.purchase_ids[:6]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (
            {"conn": "lucca://acme.ilucca.net"},
            "Connection 'lucca_default': API key (password)",
        ),
        # Before Airflow 3.3 another one, since there are no stores.
        ({"store": OSError("secret words")}, "not reached: the task could not begin ("),
    ],
)
def test_a_task_that_cannot_begin_names_every_purchase_all_the_same(lucca, monkeypatch, broken, reason):
    class Away(Store):
        def get(self, key: str, default: Any = None) -> Any:
            raise broken["store"]

    context: dict[str, Any] = {}
    if "store" in broken:
        context["task_state_store"] = Away()
    else:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", broken["conn"])
    ti = TaskInstance(try_number=1)
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever Airflow says of it
        run(new_operator(purchase_ids=[3, 1]), ti, **context)
    assert [item["id"] for item in ti.report["unresolved"]] == [3, 1]
    assert all(reason in item["reason"] for item in ti.report["unresolved"])
    assert "secret" not in str(ti.report)
    assert lucca.requests == []


@pytest.mark.parametrize("status", [404, 503])
@pytest.mark.parametrize("writes", [0, 1])
def test_no_report_takes_the_place_of_that_of_a_try_that_may_have_taken_over(lucca, logged, status, writes):
    class Refusing(Store):
        left = writes

        def set(self, key: str, value: Any, *, retention: Any = None) -> None:
            if not self.left:
                error = RuntimeError("API_SERVER_ERROR")
                error.error = SimpleNamespace(detail={"status_code": status})  # type: ignore[attr-defined]
                raise error
            self.left -= 1
            super().set(key, value, retention=retention)

    ti = TaskInstance()
    with pytest.raises(LuccaUnresolvedError, match="No report was written"):
        run(new_operator(purchase_ids=lucca.purchase_ids[:3], max_in_flight=1), ti, task_state_store=Refusing())
    assert "return_value" not in ti.pushed
    assert "only logged" in logged()
    # Without its intent no closing goes out.
    assert len(lucca.closings) == (3 if writes else 0)


@pytest.mark.skipif(AIRFLOW < (3, 3), reason="Airflow has a task state store from 3.3 on")
def test_a_task_that_can_neither_begin_nor_write_reports_nothing(lucca, monkeypatch):
    """Another try may have taken over; its report stays."""

    class Gone(Store):
        def set(self, key: str, value: Any, *, retention: Any = None) -> None:
            raise RuntimeError("API_SERVER_ERROR")

    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", "lucca://acme.ilucca.net")
    ti = TaskInstance()
    with pytest.raises(AirflowFailException, match="API key"):
        run(new_operator(purchase_ids=[1]), ti, task_state_store=Gone())
    assert ti.pushed == {}


def test_a_task_that_knows_more_than_a_deferral_can_carry_waits_in_its_worker(monkeypatch):
    monkeypatch.setattr("lucca_provider.tasks.stay.MAX_EVENT_SIZE", 10)
    with Sandbox(purchases=4, states={"closable": 1}, limit=3, window=2) as lucca:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", lucca.connection_uri)
        report = run(new_operator(purchase_ids=lucca.purchase_ids, deferrable=True))
        assert report["closed"] == lucca.purchase_ids


def test_a_task_that_cannot_go_on_after_a_wait_leaves_the_report_of_the_wait(lucca, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", f"{lucca.connection_uri}?window_seconds=3&requests_per_minute=3")
    operator = new_operator(purchase_ids=lucca.purchase_ids, deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        run(operator)
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", "lucca://acme.ilucca.net")
    for try_number in (1, 2):
        ti: Any = TaskInstance(try_number=try_number)
        with pytest.raises(AirflowFailException, match="API key"):
            operator.execute_complete({"ti": ti}, fire(deferred.value.trigger))
        assert ti.pushed == {}


def test_while_it_waits_the_report_so_far_is_there(lucca, monkeypatch):
    """Airflow may end a task in that time, and then it comes back no more."""
    monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", f"{lucca.connection_uri}?window_seconds=3&requests_per_minute=3")
    ti = TaskInstance()
    with pytest.raises(TaskDeferred):
        run(new_operator(purchase_ids=lucca.purchase_ids, deferrable=True), ti)
    # One of the three requests was for the page of states.
    assert len(ti.report["closed"]) == 2
    assert len(ti.report["unresolved"]) == 28


def test_what_the_trigger_keeps_is_small():
    """64 KB is what some databases hold."""
    refused = {
        "status": 409,
        "title": "Purchase has open documents",
        "detail": "invoice 1 of 2026-01-31: to review " * 6,
    }
    progress = {"closed": list(range(10_000, 40_000, 7)), "rejected": [{"id": i, **refused} for i in range(300)]}
    packed = pack(progress)
    assert len(packed) < 32_000
    assert unpack(packed) == progress


def test_a_kill_while_the_task_is_still_getting_ready_is_not_forgotten(lucca):
    operator = new_operator(purchase_ids=lucca.purchase_ids)

    class Killing(TaskInstance):
        def xcom_push(self, key: str, value: Any) -> None:
            super().xcom_push(key, value)
            operator.on_kill()

    with pytest.raises(LuccaUnresolvedError, match="the task was killed"):
        run(operator, Killing())
    assert lucca.requests == []


def test_a_report_that_cannot_be_pushed_hides_no_error(lucca):
    refused = lucca.add_purchase(invoices=[{"conformityState": "ToReview", "paymentState": "None"}])

    class Broken(TaskInstance):
        def xcom_push(self, key: str, value: Any) -> None:
            if key == "return_value":
                raise OSError("the API server is away")

    with pytest.raises(AirflowFailException, match=f"{refused} refused"):
        run(new_operator(purchase_ids=[refused]), Broken())


# -- what was sent ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ({}, {"comment": None, "closing_date": None}),
        (
            {"comment": "Month-end", "closing_date": datetime.date(2026, 1, 31)},
            {"comment": "Month-end", "closing_date": "2026-01-31"},
        ),
    ],
)
def test_what_is_sent_is_pushed_before_the_first_request_also_by_a_task_that_fails(lucca, arguments, sent):
    refused = lucca.add_purchase(invoices=[{"conformityState": "ToReview", "paymentState": "None"}])
    before: list[int] = []

    class Watching(TaskInstance):
        def xcom_push(self, key: str, value: Any) -> None:
            super().xcom_push(key, value)
            if key == "sent":
                before.append(len(lucca.requests))

    ti = Watching()
    with pytest.raises(AirflowFailException, match="refused"):
        run(new_operator(purchase_ids=[refused], **arguments), ti)
    assert ti.pushed["sent"] == {"tenant": lucca.url, **sent}
    assert before == [0]


def test_where_nothing_is_sent_nothing_is_said_to_be(lucca, monkeypatch):
    ti = TaskInstance()
    with pytest.raises(AirflowSkipException):
        run(new_operator(purchase_ids=[]), ti)
    assert "sent" not in ti.pushed
    run(new_operator(purchase_ids=lucca.purchase_ids[:1], do_xcom_push=False), ti)
    assert "sent" not in ti.pushed
