"""What a closing would do to purchases, found out without sending one."""

from __future__ import annotations

from lucca_provider.checking.changes import find_changes
from lucca_provider.checking.check import (
    Blocked,
    Check,
    Conditions,
    Examination,
    LeftOut,
    Source,
    Unknown,
    check_purchases,
    examine_purchases,
    unread_check,
)
from lucca_provider.checking.readiness import Finding, Rules, find_readiness
from lucca_provider.checking.snapshot import (
    Seen,
    SeenDocument,
    SeenPurchase,
    Snapshot,
    read_snapshot,
    see_purchase,
    take_snapshot,
)

__all__ = [
    "Blocked",
    "Check",
    "Conditions",
    "Examination",
    "Finding",
    "LeftOut",
    "Rules",
    "Seen",
    "SeenDocument",
    "SeenPurchase",
    "Snapshot",
    "Source",
    "Unknown",
    "check_purchases",
    "examine_purchases",
    "find_changes",
    "find_readiness",
    "read_snapshot",
    "see_purchase",
    "take_snapshot",
    "unread_check",
]
