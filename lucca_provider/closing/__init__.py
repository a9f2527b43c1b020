"""
Closing purchases safely under a rate limit: the domain, which knows neither Airflow nor HTTP.

Start with :mod:`lucca_provider.closing.run`, the protocol; the words it uses are explained there and in
:mod:`lucca_provider.closing.report`.
"""

from __future__ import annotations

from lucca_provider.closing.drive import Clock, Driver
from lucca_provider.closing.inputs import (
    InvalidInputError,
    parse_closing_date,
    parse_comment,
    parse_purchase_ids,
)
from lucca_provider.closing.ledger import Entry, Ledger, MemoryLedger
from lucca_provider.closing.report import Outcome, Report, build_report
from lucca_provider.closing.run import PROGRESS_VERSION, ClosingRun, Kind, Page, Pause, Step
from lucca_provider.closing.window import Window

__all__ = [
    "PROGRESS_VERSION",
    "Clock",
    "ClosingRun",
    "Driver",
    "Entry",
    "InvalidInputError",
    "Kind",
    "Ledger",
    "MemoryLedger",
    "Outcome",
    "Page",
    "Pause",
    "Report",
    "Step",
    "Window",
    "build_report",
    "parse_closing_date",
    "parse_comment",
    "parse_purchase_ids",
]
