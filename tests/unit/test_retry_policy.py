"""LuccaRetryPolicy, and what there is instead before Airflow 3.3."""

from __future__ import annotations

import importlib
from datetime import timedelta
from types import SimpleNamespace

import pytest

from lucca_provider.exceptions import (
    LuccaAccessError,
    LuccaConfigurationError,
    LuccaInDoubtError,
    LuccaRefusedError,
    LuccaThrottledError,
    LuccaUnresolvedError,
)
from tests.conftest import AIRFLOW

has_policies = AIRFLOW >= (3, 3)


@pytest.mark.skipif(has_policies, reason="Airflow 3.3 has retry policies")
def test_before_airflow_3_3_the_import_says_what_to_do():
    with pytest.raises(ImportError, match=r"needs Airflow 3\.3 or later.*retry_delay"):
        importlib.import_module("lucca_provider.policies.retry")


@pytest.mark.skipif(not has_policies, reason="retry policies are in Airflow from 3.3 on")
class TestPolicy:
    @staticmethod
    def decide(exception: BaseException, **context: object):
        from lucca_provider.policies.retry import LuccaRetryPolicy

        return LuccaRetryPolicy().evaluate(exception, 1, 3, context or None)

    @pytest.mark.parametrize("kind", [LuccaUnresolvedError, LuccaThrottledError, LuccaInDoubtError])
    def test_it_waits_as_long_as_lucca_asked(self, kind):
        decision = self.decide(kind("x", retry_after=701.0))
        assert decision.action.value == "retry"
        assert decision.retry_delay == timedelta(seconds=701)
        assert "701 s" in decision.reason

    def test_it_never_makes_the_tasks_own_delay_shorter(self):
        task = SimpleNamespace(retry_delay=timedelta(minutes=5))
        assert self.decide(LuccaUnresolvedError("x", retry_after=300.0), task=task).action.value == "default"
        decision = self.decide(LuccaUnresolvedError("x", retry_after=301.0), task=task)
        assert decision.retry_delay == timedelta(seconds=301)

    def test_it_takes_no_more_than_a_day_for_meant(self):
        assert self.decide(LuccaUnresolvedError("x", retry_after=1e9)).retry_delay == timedelta(days=1)

    @pytest.mark.parametrize("exception", [LuccaUnresolvedError("x"), LuccaInDoubtError("x"), ValueError("x")])
    def test_otherwise_the_tasks_own_delay_counts(self, exception):
        assert self.decide(exception).action.value == "default"

    @pytest.mark.parametrize("kind", [LuccaConfigurationError, LuccaAccessError, LuccaRefusedError])
    def test_it_fails_where_no_retry_helps(self, kind):
        decision = self.decide(kind("the key is wrong"))
        assert decision.action.value == "fail"
        assert "the key is wrong" in decision.reason
