"""What a closing would do to purchases, found out without sending one."""

from __future__ import annotations

from lucca_provider.checking.check import Blocked, Check, Source, Unknown, check_purchases
from lucca_provider.checking.readiness import Finding, Rules, find_readiness

__all__ = ["Blocked", "Check", "Finding", "Rules", "Source", "Unknown", "check_purchases", "find_readiness"]
