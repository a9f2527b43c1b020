"""The states of a purchase, as Lucca documents them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["CLOSED_STATE", "KNOWN_STATES", "OPEN_STATES", "tells_state"]

CLOSED_STATE = "Closed"
"""The only documented sign that a purchase is closed."""
OPEN_STATES = frozenset({"Created", "Processing", "Ongoing", "Denied", "Cancelled"})
"""States of a purchase that is not closed. A state in neither is unknown, never taken for open."""
KNOWN_STATES = OPEN_STATES | {CLOSED_STATE}
"""All states of a purchase that Lucca documents."""


def tells_state(purchase: Mapping[str, Any]) -> bool:
    """
    Return whether a purchase has a state, known or not.

    :param purchase: as Lucca answers it
    """
    state = purchase.get("state")
    return isinstance(state, str) and bool(state)
