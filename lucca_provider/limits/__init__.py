"""
The tenant's rate limit, and what answers say about the whole run.

:mod:`~lucca_provider.limits.window` counts requests, :mod:`~lucca_provider.limits.health` learns from answers, and
:mod:`~lucca_provider.limits.pacer` makes single calls under both.
"""

from __future__ import annotations

from lucca_provider.limits.clock import Clock
from lucca_provider.limits.health import MAX_READS, MAX_WAIT, Health, Stop, backoff
from lucca_provider.limits.pacer import Pacer
from lucca_provider.limits.window import Window

__all__ = ["MAX_READS", "MAX_WAIT", "Clock", "Health", "Pacer", "Stop", "Window", "backoff"]
