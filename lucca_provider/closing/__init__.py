"""
Closing purchases safely under a rate limit: the domain, which knows neither Airflow nor HTTP.

Start with :mod:`lucca_provider.closing.run`, the protocol; the words it uses are explained there and in
:mod:`lucca_provider.closing.report`. What may be closed at all is found out by :mod:`lucca_provider.closing.check`.
"""

from __future__ import annotations

from lucca_provider.closing.check import Blocked, Check, ListPage, Source, Unknown, check_purchases
from lucca_provider.closing.drive import Clock, Driver
from lucca_provider.closing.inputs import (
    InvalidInputError,
    parse_closing_date,
    parse_comment,
    parse_purchase_ids,
    parse_states,
)
from lucca_provider.closing.ledger import Entry, Ledger, MemoryLedger
from lucca_provider.closing.pace import Pacer
from lucca_provider.closing.readiness import Finding, Rules, find_readiness
from lucca_provider.closing.report import Outcome, Report, build_report, describe_report
from lucca_provider.closing.run import PROGRESS_VERSION, ClosingRun, Kind, Page, Pause, Step
from lucca_provider.closing.window import Window

__all__ = [
    "PROGRESS_VERSION",
    "Blocked",
    "Check",
    "Clock",
    "ClosingRun",
    "Driver",
    "Entry",
    "Finding",
    "InvalidInputError",
    "Kind",
    "Ledger",
    "ListPage",
    "MemoryLedger",
    "Outcome",
    "Pacer",
    "Page",
    "Pause",
    "Report",
    "Rules",
    "Source",
    "Step",
    "Unknown",
    "Window",
    "build_report",
    "check_purchases",
    "describe_report",
    "find_readiness",
    "parse_closing_date",
    "parse_comment",
    "parse_purchase_ids",
    "parse_states",
]
