"""A store for journals, as Airflow's: JSON in, JSON out, and it may fail."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

from lucca_provider.closing import Attempt, Journal


class MemoryStore:
    """
    Keeps segments as JSON text, and counts the calls.

    :param broken: what writes raise from now on, if anything
    """

    def __init__(self, broken: Exception | None = None) -> None:
        self.rows: dict[str, str] = {}
        self.broken = broken
        self.sets = 0
        self.gets = 0
        self._ids = count(1)

    def get(self, key: str) -> object:
        self.gets += 1
        return json.loads(self.rows[key]) if key in self.rows else None

    def set(self, key: str, value: Any) -> None:
        self.sets += 1
        if self.broken is not None:
            raise self.broken
        self.rows[key] = json.dumps(value)

    def new_id(self) -> str:
        return f"id{next(self._ids)}"

    @property
    def records(self) -> list[Any]:
        """All records, in the order in which they are read."""
        return [record for text in self.rows.values() for record in json.loads(text)["records"]]

    def open(self, number: int = 1, *, max_tries: int = 0, resumed: bool = False) -> Journal:
        """Open and read the journal as a try does."""
        first = number == 1 and not resumed
        attempt = Attempt(number, max_tries, resumed=resumed, first=first)
        journal = Journal(attempt, new_id=self.new_id, store=self)
        journal.read()
        return journal
