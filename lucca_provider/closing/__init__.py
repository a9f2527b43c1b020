"""
Closing purchases safely under a rate limit: the domain, which knows neither Airflow nor HTTP.

Start with :mod:`lucca_provider.closing.purchase`, the protocol for one purchase, and
:mod:`lucca_provider.closing.run`, which puts the parts together.
"""

from __future__ import annotations

from lucca_provider.closing.driver import Driver
from lucca_provider.closing.journal import Attempt, Journal, ReplacedError, Store
from lucca_provider.closing.progress import clock_time
from lucca_provider.closing.report import say_problems
from lucca_provider.closing.run import TOO_MUCH, ClosingRun
from lucca_provider.closing.steps import Kind, Pause, Step

__all__ = [
    "TOO_MUCH",
    "Attempt",
    "ClosingRun",
    "Driver",
    "Journal",
    "Kind",
    "Pause",
    "ReplacedError",
    "Step",
    "Store",
    "clock_time",
    "say_problems",
]
