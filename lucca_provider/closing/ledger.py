"""The ledger: what is already known of each purchase, written before and after every closing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

__all__ = ["Entry", "Ledger", "MemoryLedger"]

Entry = Mapping[str, Any]
"""
One purchase's entry, as JSON: ``state`` is ``sent`` (the intent, written before the POST) or one of the outcomes
``closed``, ``already_closed``, ``rejected``; ``at`` is the moment in seconds since the epoch; a rejection also has
``status``, ``title`` and ``detail``.
"""


class Ledger(Protocol):
    """Where a run keeps its entries, by purchase id. Never by position: upstream lists change their order."""

    @property
    def complete(self) -> bool:
        """Whether a purchase without an entry was certainly never sent by this task instance."""

    def read(self, purchase_id: int) -> Entry | None:
        """Return the entry of a purchase, or ``None``."""

    def write(self, purchase_id: int, entry: Entry) -> None:
        """
        Keep an entry, before this returns. Raises if it could not be kept.

        :param purchase_id: whose entry
        :param entry: what takes the place of an earlier one
        """

    def is_taken_over(self) -> bool:
        """Say whether another process certainly goes on with it, so that what this one reports counts no longer."""


class MemoryLedger:
    """
    A ledger that lives as long as the process.

    :param complete: whether nothing was sent before this process started: true on a task's first try only
    """

    def __init__(self, *, complete: bool = True) -> None:
        self.complete = complete
        self._entries: dict[int, Entry] = {}

    def read(self, purchase_id: int) -> Entry | None:
        """Return the entry of a purchase, or ``None``."""
        return self._entries.get(purchase_id)

    def write(self, purchase_id: int, entry: Entry) -> None:
        """
        Keep an entry.

        :param purchase_id: whose entry
        :param entry: what takes the place of an earlier one
        """
        self._entries[purchase_id] = entry

    def is_taken_over(self) -> bool:
        """Return false: nobody else has this ledger."""
        return False
