"""
The journal: what this task instance sent, and what came of it.

It explains, it never decides: a closing is sent only on a reading. So a retry calls ``closed`` what an earlier try
closed, does not repeat a refusal, and counts what may have been sent into the rate limit. Losing it, in whole or by a
key, changes words in the report and costs requests.

Records, see :mod:`lucca_provider.closing.records`, are appended to segments, a key of the store each. Whatever cannot
be read is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from lucca_provider.closing.records import (
    BACK,
    SENT,
    WAIT,
    Entry,
    Record,
    decision_records,
    id_records,
    read_record,
    size_of,
)
from lucca_provider.outcomes import Decision

__all__ = ["Attempt", "Journal", "ReplacedError", "Store"]

SEGMENT_SIZE = 16_000
"""Characters of JSON after which a segment is full. Airflow warns of values over 64 KB."""
MAX_SEGMENTS = 1000
"""More keys than any task writes."""


class ReplacedError(Exception):
    """Airflow has given this process up: another try goes on, and what this one reports does not count."""


class Store(Protocol):
    """Where segments are kept. Both methods may raise anything."""

    def get(self, key: str) -> object:
        """Return the value of a key, ``None`` if there is none."""

    def set(self, key: str, value: Any) -> None:
        """
        Keep a JSON value under a key, before this returns.

        :param key: where
        :param value: what takes the place of an earlier one
        :raises ReplacedError: if another try has taken over
        """


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    One try of a task instance.

    :param number: Airflow's try number
    :param max_tries: Airflow's ``max_tries``, which a clear by a person raises
    :param resumed: whether it goes on after a deferral of this very try
    :param first: whether certainly nothing was sent by this task instance before
    """

    number: int
    max_tries: int
    resumed: bool = False
    first: bool = True


@dataclass(frozen=True, slots=True)
class _Place:
    """
    Where the next record goes.

    :param number: of the segment
    :param after: id of the segment before it
    :param segment: what was written to it so far, which every commit rewrites; ``None`` if it is to be opened
    """

    number: int = 0
    after: str = ""
    segment: dict[str, Any] | None = None


class Journal:
    """
    Reads what earlier stays and tries wrote, and commits what this one does.

    :param attempt: the try that writes
    :param new_id: returns a text that no other segment has
    :param store: where segments are kept; ``None`` where Airflow has no store
    :param name: begins each key; the journal of another tenant has another one
    """

    def __init__(
        self, attempt: Attempt, *, new_id: Callable[[], str], store: Store | None = None, name: str = "lucca"
    ) -> None:
        self.attempt = attempt
        self.sent: set[int] = set()
        """Purchases with an intent and no outcome: a closing may have been sent."""
        self.decisions: dict[int, Decision] = {}
        """What is final. A refusal is, until a person clears the task."""
        self.wait: Mapping[str, Any] | None = None
        """What this very try recorded before its wait, if that is the last record."""
        self.is_empty = True
        """Whether nothing was found: no segment, and no event of a deferral."""
        self._new_id = new_id
        self._store = store
        self._name = name
        self._place = _Place()
        """Where the next record goes. One attribute, so that an interruption leaves it as it was, or as it is to be."""
        self._is_whole = True
        """Whether it was read to its end."""
        self._pending: dict[int, Decision] = {}
        """Outcomes since the last commit."""
        self._unused: set[int] = set()
        """Purchases of which no closing was sent on the intent that is written, or certainly none took effect."""

    @property
    def is_kept(self) -> bool:
        """Whether it outlives the process by itself."""
        return self._store is not None

    def in_doubt(self, purchase_ids: Collection[int]) -> set[int]:
        """
        Return the purchases whose closing may have taken effect.

        :param purchase_ids: of purchases without a final outcome
        :return: all of them if what earlier tries sent is not known, as without their journal
        """
        attempt = self.attempt
        knows_all = attempt.first or (attempt.resumed and attempt.number == 1) or (self.is_kept and not self.is_empty)
        return self.sent.intersection(purchase_ids) if knows_all else set(purchase_ids)

    # -- reading -----------------------------------------------------------------------------------------------------

    def read(self, go_on: Callable[[], bool] = lambda: True) -> None:
        """
        Read all segments, one call of the store each.

        :param go_on: asked between two calls; reading ends early when it says no
        :raises Exception: what the store raises
        """
        reopened: _Place | None = None
        while self._store is not None and self._place.number < MAX_SEGMENTS:
            if not go_on():
                # What is not known to be free must not be written to.
                self._is_whole = False
                return
            place = self._place
            segment = self._store.get(self._key(place.number))
            self.is_empty = self.is_empty and segment is None
            if not isinstance(segment, dict) or not _follows(segment, place.after):
                break
            self._fold(segment["records"], segment)
            self._place = _Place(place.number + 1, segment["id"])
            reopened = self._reopened(place, segment)
        if reopened is not None:
            self._place = reopened

    def load(self, event: Mapping[str, Any]) -> None:
        """
        Take what a deferral brought along where there is no store.

        :param event: what :meth:`lucca_provider.closing.run.ClosingRun.leave` returned, in this try or in another
        """
        self.is_empty = False
        self._fold(event.get("records"), event)
        wait = event.get("wait")
        if self.attempt.resumed and isinstance(wait, dict):
            self.wait = wait
        elif self.wait is not None and self.wait.get("at") != event.get("at"):
            # An older one of this try: the segment with the last one is gone.
            self.wait = None

    def _key(self, number: int) -> str:
        return f"{self._name}_{number}"

    def _reopened(self, place: _Place, segment: Mapping[str, Any]) -> _Place | None:
        """Return the place of a segment to go on in: after a wait that of its own try, unless it is full."""
        records = [record for record in segment["records"] if read_record(record) is not None]
        if not self._is_own(segment) or size_of(records) >= SEGMENT_SIZE:
            return None
        return replace(place, segment={**segment, "records": records})

    def _is_own(self, source: Mapping[str, Any]) -> bool:
        return self.attempt.resumed and source.get("try") == self.attempt.number

    def _fold(self, records: object, source: Mapping[str, Any]) -> None:
        max_tries = source.get("max_tries")
        cleared = isinstance(max_tries, int) and self.attempt.max_tries > max_tries
        for record in records if isinstance(records, list) else ():
            # What was recorded for a wait counts only as the last record.
            self.wait = None
            entry = read_record(record)
            if entry is not None and entry.kind == WAIT:
                self.wait = entry.wait if self._is_own(source) else None
            elif entry is not None:
                self._take(entry, cleared=cleared)

    def _take(self, entry: Entry, *, cleared: bool) -> None:
        if entry.kind == SENT:
            for purchase_id in entry.ids:
                if not self._is_closed(purchase_id):
                    self.sent.add(purchase_id)
                    self.decisions.pop(purchase_id, None)
            return
        self.sent.difference_update(entry.ids)
        if entry.decision is None:
            return
        for purchase_id in entry.ids:
            if entry.decision.outcome.is_closed or not (cleared or self._is_closed(purchase_id)):
                self.decisions[purchase_id] = entry.decision

    def _is_closed(self, purchase_id: int) -> bool:
        known = self.decisions.get(purchase_id)
        return known is not None and known.outcome.is_closed

    # -- writing -----------------------------------------------------------------------------------------------------

    def decided(self, purchase_id: int, decision: Decision) -> None:
        """
        Note an outcome for the next commit. What is unresolved is not kept: the next try finds out.

        :param purchase_id: of which purchase
        :param decision: how it ended
        """
        if decision.outcome.record is not None:
            self._pending[purchase_id] = decision

    def used(self, purchase_id: int) -> None:
        """
        Note that a closing is about to be sent on its intent.

        :param purchase_id: of which purchase
        """
        self._unused.discard(purchase_id)

    def unused(self, purchase_id: int) -> None:
        """
        Note that no closing that was sent so far has taken effect.

        :param purchase_id: of which purchase
        """
        self._unused.add(purchase_id)

    def commit(self, *, intents: Sequence[int] = (), last: bool = False, wait: Mapping[str, Any] | None = None) -> None:
        """
        Write all outcomes since the last commit, and what else is given, in one write.

        After an error all of it is still to be written; its intents may have been, so they can be taken back.

        :param intents: purchases whose closings may be sent once this returns
        :param last: whether nothing more is sent in this stay, so that intents that were not used are taken back
        :param wait: what the stay after a wait needs to know
        :raises ReplacedError: if another try has taken over
        :raises Exception: what else the store raises
        """
        pending = dict(self._pending)
        unused = sorted(self._unused & self.sent) if last else []
        records = [*decision_records(pending), *id_records(BACK, unused), *id_records(SENT, intents)]
        if wait is not None:
            records.append([WAIT, dict(wait)])
        # Before the write, so that after an interruption no intent is written that is not known.
        self._unused.update(intents)
        self.sent.update(intents)
        if self._store is not None:
            self._write(self._store, records)
        for purchase_id, decision in pending.items():
            self.sent.discard(purchase_id)
            self.decisions[purchase_id] = decision
            self._pending.pop(purchase_id, None)
        self.sent.difference_update(unused)

    def _write(self, store: Store, records: list[Record]) -> None:
        if not self._is_whole:
            raise RuntimeError("the journal was not read to its end")
        while True:
            place = self._place
            segment = self._opened(place)
            fitting, size = _fitting(segment["records"], records)
            new = {**segment, "records": [*segment["records"], *records[:fitting]]}
            if fitting or not records:
                store.set(self._key(place.number), new)
            records = records[fitting:]
            full = bool(records) or size >= SEGMENT_SIZE
            self._place = _Place(place.number + 1, new["id"]) if full else replace(place, segment=new)
            if not records:
                return

    def _opened(self, place: _Place) -> dict[str, Any]:
        if place.segment is not None:
            # An earlier wait is over, so its record is the last one no more.
            return {**place.segment, "records": [one for one in place.segment["records"] if one[0] != WAIT]}
        # Each segment says after which one it comes, so that none outlives a deleted one before it.
        return {
            "id": self._new_id(),
            "after": place.after,
            "try": self.attempt.number,
            "max_tries": self.attempt.max_tries,
            "records": [],
        }

    def fold(self) -> list[Record]:
        """Return everything in as few records as it takes, for a deferral where there is no store."""
        known = {**self.decisions, **self._pending}
        return decision_records(known) + id_records(SENT, sorted(self.sent - known.keys()))


def _follows(segment: Mapping[str, Any], after: str) -> bool:
    """Return whether a segment can be read, and is not an old one: keys may have been deleted and written anew."""
    own_id, records = segment.get("id"), segment.get("records")
    return isinstance(own_id, str) and bool(own_id) and segment.get("after") == after and isinstance(records, list)


def _fitting(written: Sequence[Record], records: Sequence[Record]) -> tuple[int, int]:
    """
    Return how many records still go into a segment, and its size then.

    At least one goes into an empty one, since none is ever split.
    """
    size, number = size_of(written), 0
    for record in records:
        more = size_of([record])
        if size + more > SEGMENT_SIZE and (number or written):
            break
        size, number = size + more, number + 1
    return number, size
