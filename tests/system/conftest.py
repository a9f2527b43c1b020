"""Gives the system tests a whole Airflow, ends it whatever happens, and shows its logs where a test fails."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.system.deployment import Deployment

# What CI sends when it gives up. As after Ctrl-C, whatever was started is then ended and removed.
signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    report = yield
    if report.failed:
        for deployment in Deployment.running:
            report.sections += [(f"end of {name}", end) for name, end in deployment.log_ends().items()]
    return report


@pytest.fixture(scope="session")
def airflow() -> Iterator[Deployment]:
    """Start an Airflow with the example DAGs, those of the tests, LocalExecutor and SQLite."""
    with Deployment() as deployment:
        yield deployment
