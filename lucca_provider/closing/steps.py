"""The vocabulary of a run: what it asks of Lucca, and what it says when there is nothing to ask."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Kind", "Pause", "Step"]


class Kind(Enum):
    """What a step asks of Lucca. Any step may also be answered by a :class:`~lucca_provider.exceptions.LuccaError`."""

    CLOSE = "close"
    """POST the closing of ``purchase_id``. Its answer is ignored: no error is a yes."""
    READ = "read"
    """GET ``purchase_id``. Answers its ``state``, ``None`` if it has none."""
    LIST = "list"
    """GET the ``page`` of the purchases list. Answers its JSON, whatever it is."""
    PROBE = "probe"
    """A cheap call that works for every good key on a good host."""

    # A member is equal to itself alone. Enum's own is computed in Python, and steps are keys of what is in flight.
    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class Step:
    """
    One request to make.

    :param kind: what to ask
    :param purchase_id: of which purchase; 0 where it is about none
    :param page: which page of the list; ``None`` for the first one
    """

    kind: Kind
    purchase_id: int = 0
    page: str | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """
    Nothing to send now. Moments are seconds on the clock that the run is asked with.

    :param until: when there will be; ``None`` if an answer has to come first
    :param burst: from when it pays to come back, if the worker is left; in the past if it should not be left
    """

    until: float | None
    burst: float = 0.0
