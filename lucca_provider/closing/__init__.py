"""
Closing purchases safely under a rate limit: the domain, which knows neither Airflow nor HTTP.

Start with :mod:`lucca_provider.closing.run`, the protocol; the words it uses are explained there and in
:mod:`lucca_provider.closing.report`.
"""

from __future__ import annotations

from lucca_provider.closing.driver import Driver
from lucca_provider.closing.ledger import Entry, Ledger, MemoryLedger
from lucca_provider.closing.report import Outcome, Report, build_report, describe_report
from lucca_provider.closing.run import PROGRESS_VERSION, ClosingRun, Kind, Page, Pause, Step

__all__ = [
    "PROGRESS_VERSION",
    "ClosingRun",
    "Driver",
    "Entry",
    "Kind",
    "Ledger",
    "MemoryLedger",
    "Outcome",
    "Page",
    "Pause",
    "Report",
    "Step",
    "build_report",
    "describe_report",
]
