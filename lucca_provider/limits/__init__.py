"""The tenant's rate limit: how many requests fit, and how to wait for room."""

from __future__ import annotations

from lucca_provider.limits.clock import Clock
from lucca_provider.limits.pacer import Pacer
from lucca_provider.limits.window import Window

__all__ = ["Clock", "Pacer", "Window"]
