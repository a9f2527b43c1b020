"""LuccaRetryPolicy, and what there is instead before Airflow 3.3."""

from __future__ import annotations

import importlib
import re
from datetime import timedelta
from types import SimpleNamespace

import pytest

from lucca_provider.exceptions import (
    LuccaAccessError,
    LuccaConfigurationError,
    LuccaInDoubtError,
    LuccaNotSentError,
    LuccaRefusedError,
    LuccaThrottledError,
    LuccaUnresolvedError,
)
from tests.conftest import AIRFLOW

has_policies = AIRFLOW >= (3, 3)


def decide(exception: BaseException, *, max_outage: timedelta | None = None, **context: object):
    from lucca_provider.policies.retry import LuccaRetryPolicy

    policy = LuccaRetryPolicy() if max_outage is None else LuccaRetryPolicy(max_outage=max_outage)
    return policy.evaluate(exception, 1, 3, context or None)


@pytest.mark.skipif(has_policies, reason="Airflow 3.3 has retry policies")
def test_before_airflow_3_3_the_import_says_what_to_do():
    with pytest.raises(ImportError, match=r"needs Airflow 3\.3 or later.*retry_delay"):
        importlib.import_module("lucca_provider.policies.retry")


@pytest.mark.skipif(not has_policies, reason="retry policies are in Airflow from 3.3 on")
class TestPolicy:
    @pytest.mark.parametrize("kind", [LuccaUnresolvedError, LuccaThrottledError, LuccaInDoubtError])
    def test_it_waits_as_long_as_lucca_asked(self, kind):
        decision = decide(kind("x", retry_after=701.0))
        assert decision.action.value == "retry"
        assert decision.retry_delay == timedelta(seconds=701)
        assert "701 s" in decision.reason

    def test_it_never_makes_the_tasks_own_delay_shorter(self):
        task = SimpleNamespace(retry_delay=timedelta(minutes=5))
        assert decide(LuccaUnresolvedError("x", retry_after=300.0), task=task).action.value == "default"
        decision = decide(LuccaUnresolvedError("x", retry_after=301.0), task=task)
        assert decision.retry_delay == timedelta(seconds=301)

    def test_it_takes_no_more_than_a_day_for_meant(self):
        assert decide(LuccaUnresolvedError("x", retry_after=1e9)).retry_delay == timedelta(days=1)

    @pytest.mark.parametrize("exception", [LuccaUnresolvedError("x"), LuccaInDoubtError("x"), ValueError("x")])
    def test_otherwise_the_tasks_own_delay_counts(self, exception):
        assert decide(exception).action.value == "default"

    @pytest.mark.parametrize("value", [None, 12, "2h", timedelta(seconds=-1)])
    def test_a_bound_that_is_none_is_an_error_when_the_dag_is_read(self, value):
        from lucca_provider.policies.retry import LuccaRetryPolicy

        with pytest.raises(ValueError, match=rf"^max_outage: {re.escape(repr(value))} .*timedelta\(hours=12\)"):
            LuccaRetryPolicy(max_outage=value)

    @pytest.mark.parametrize("kind", [LuccaConfigurationError, LuccaAccessError, LuccaRefusedError])
    def test_it_fails_where_no_retry_helps(self, kind):
        decision = decide(kind("the key is wrong"))
        assert decision.action.value == "fail"
        assert "the key is wrong" in decision.reason


OUTAGES = [
    LuccaUnresolvedError("x", outage=True),
    LuccaThrottledError("x", outage=True),
    LuccaNotSentError("x", outage=True),
    LuccaInDoubtError("x", outage=True),
]


@pytest.mark.skipif(AIRFLOW != (3, 3), reason="from Airflow 3.4 on an outage uses up no retry")
@pytest.mark.parametrize("outage", OUTAGES)
def test_before_airflow_3_4_an_outage_uses_up_a_retry(outage):
    assert decide(outage).action.value == "default"


@pytest.mark.skipif(not has_policies, reason="retry policies are in Airflow from 3.3 on")
class TestOutage:
    @pytest.fixture(autouse=True)
    def airflow_3_4(self, monkeypatch):
        """Let 3.3 decide as 3.4 does, which has a decision for it."""
        if AIRFLOW < (3, 4):

            def reschedule(delay, **bounds):
                return SimpleNamespace(action=SimpleNamespace(value="reschedule"), retry_delay=delay, **bounds)

            monkeypatch.setattr("lucca_provider.policies.retry.RESCHEDULE", reschedule)

    @pytest.mark.parametrize("outage", OUTAGES)
    def test_it_uses_up_no_retry(self, outage):
        decision = decide(outage, task=SimpleNamespace(retry_delay=timedelta(minutes=5)))
        assert decision.action.value == "reschedule"
        assert decision.retry_delay == timedelta(minutes=5)
        assert decision.reschedule_timeout == timedelta(hours=12)

    def test_it_waits_as_long_as_lucca_asked(self):
        outage = LuccaThrottledError("x", outage=True, retry_after=701.0)
        task = SimpleNamespace(retry_delay=timedelta(minutes=5))
        assert decide(outage, task=task).retry_delay == timedelta(seconds=701)

    @pytest.mark.parametrize("context", [{}, {"task": SimpleNamespace(retry_delay=timedelta(0))}])
    def test_it_always_leaves_lucca_the_time_to_give_up_on_what_was_sent(self, context):
        assert decide(OUTAGES[0], **context).retry_delay == timedelta(seconds=5)

    def test_what_is_no_outage_uses_up_a_retry(self):
        assert decide(LuccaInDoubtError("a closing", retry_after=701.0)).action.value == "retry"
        assert decide(LuccaUnresolvedError("the key is wrong")).action.value == "default"

    def test_a_user_says_how_long_or_not_at_all(self):
        assert decide(OUTAGES[0], max_outage=timedelta(hours=1)).reschedule_timeout == timedelta(hours=1)
        assert decide(OUTAGES[0], max_outage=timedelta(0)).action.value == "default"

    def test_no_start_is_put_off_beyond_the_bound(self):
        asked = LuccaThrottledError("x", outage=True, retry_after=7201.0)
        decision = decide(asked, max_outage=timedelta(hours=2))
        assert (decision.action.value, decision.retry_delay) == ("retry", timedelta(seconds=7201))
        assert decide(asked, max_outage=timedelta(seconds=7201)).action.value == "reschedule"
        slow = SimpleNamespace(retry_delay=timedelta(hours=3))
        assert decide(OUTAGES[0], max_outage=timedelta(hours=2), task=slow).action.value == "default"

    def test_the_warning_says_why(self, caplog):
        caplog.set_level("INFO")
        decide(LuccaUnresolvedError("2 of 2 purchases were not closed: no connection.\n- 1 unresolved", outage=True))
        decide(LuccaUnresolvedError("x" * 300, outage=True))
        first, second = caplog.messages
        assert "2 of 2 purchases were not closed: no connection." in first
        assert "- 1" not in first
        assert "x" * 200 + "…" in second

    def test_a_try_warns_of_it_once_since_no_callback_runs(self, caplog):
        caplog.set_level("INFO")
        task = SimpleNamespace(retry_delay=timedelta(minutes=5))
        for count in (0, 1, 2):
            decide(OUTAGES[0], task=task, task_reschedule_count=count)
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "INFO"]
        assert all("0:05:00" in record.getMessage() for record in caplog.records)
