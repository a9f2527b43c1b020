"""
The journal: what this task instance sent, and what came of it.

It explains, it never decides: a closing is sent only on a reading. So a retry calls ``closed`` what an earlier try
closed, does not repeat a refusal, and counts what may have been sent into the rate limit. Losing it, in whole or by a
key, changes words in the report and costs requests.

Records are appended to segments, a key of the store each. A record is a JSON list that begins with its kind:

- ``["s", id, …]``: the closings of these may be sent from now on (the intent)
- ``["b", id, …]``: they were not sent after all
- ``["c", id, …]``, ``["a", id, …]``: closed by this task instance, closed before
- ``["r", id, status, title, detail]``: refused by Lucca
- ``["w", {…}]``: what a wait needs, see :meth:`lucca_provider.closing.run.ClosingRun.leave`

Whatever cannot be read is ignored.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lucca_provider.closing.purchase import shorten
from lucca_provider.closing.report import ALREADY_CLOSED, CLOSED, Decision, Outcome

__all__ = ["Attempt", "Journal", "ReplacedError", "Store"]

log = logging.getLogger(__name__)

SEGMENT_SIZE = 16_000
"""Characters of JSON after which a segment is full. Airflow warns of values over 64 KB."""
MAX_SEGMENTS = 1000
"""More keys than any task writes."""
REFUSAL_LENGTH = 200
"""Characters that the journal keeps of each text of a refusal."""
SENT = "s"
BACK = "b"
REFUSED = "r"
WAIT = "w"
_KEPT = {"c": CLOSED, "a": ALREADY_CLOSED}
_MAX_ID = 2**31 - 1

Record = list[Any]


class ReplacedError(Exception):
    """Airflow has given this process up: another try goes on, and what this one reports does not count."""


class Store(Protocol):
    """Where segments are kept. Both methods may raise anything."""

    def get(self, key: str) -> object:
        """Return the value of a key, ``None`` if there is none."""

    def set(self, key: str, value: Any) -> None:
        """
        Keep a JSON value under a key, before this returns.

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
        self._after: str = ""
        """Id of the last segment that was read or written."""
        self._segment: dict[str, Any] | None = None
        """The open segment, which every commit rewrites."""
        self._number = 0
        """Number of the open segment, or of the next one."""
        self._is_whole = True
        """Whether it was read to its end."""
        self._pending: dict[int, Decision] = {}
        """Outcomes since the last commit."""

    @property
    def is_kept(self) -> bool:
        """Whether it outlives the process by itself."""
        return self._store is not None

    # -- reading -----------------------------------------------------------------------------------------------------

    def read(self, go_on: Callable[[], bool] = lambda: True) -> None:
        """
        Read all segments, one call of the store each.

        :param go_on: asked between two calls; reading ends early when it says no
        :raises Exception: what the store raises
        """
        while self._store is not None and self._number < MAX_SEGMENTS:
            if not go_on():
                # What is not known to be free must not be written to.
                self._is_whole = False
                return
            segment = self._store.get(self._key())
            if not isinstance(segment, dict) or not self._follows(segment):
                break
            self._fold(segment["records"], try_number=segment.get("try"), max_tries=segment.get("max_tries"))
            self._after = segment["id"]
            if self.attempt.resumed and segment.get("try") == self.attempt.number:
                # A stay after a wait goes on in the segment of its own try, unless that is full.
                self._segment = segment
            self._number += 1
        if self._segment is not None:
            if self._segment["id"] == self._after and len(json.dumps(self._segment)) < SEGMENT_SIZE:
                self._number -= 1
            else:
                self._segment = None

    def load(self, event: Mapping[str, Any]) -> None:
        """
        Take what a deferral brought along where there is no store.

        :param event: what :meth:`lucca_provider.closing.run.ClosingRun.leave` returned, in this try or in another
        """
        self._fold(event.get("records"), try_number=event.get("try"), max_tries=event.get("max_tries"))
        wait = event.get("wait")
        if self.attempt.resumed and isinstance(wait, dict):
            self.wait = wait

    def _key(self) -> str:
        return f"{self._name}_{self._number}"

    def _follows(self, segment: Mapping[str, Any]) -> bool:
        # Keys may have been deleted by hand and written anew: what came after the old one is not to come back.
        return segment.get("after") == self._after and bool(segment.get("id")) and isinstance(segment["id"], str)

    def _fold(self, records: object, *, try_number: object, max_tries: object) -> None:
        self.is_empty = False
        cleared = isinstance(max_tries, int) and self.attempt.max_tries > max_tries
        for record in records if isinstance(records, list) else ():
            # What was recorded for a wait counts only as the last record.
            self.wait = None
            if isinstance(record, list) and record:
                self._take(record, cleared=cleared, own=try_number == self.attempt.number)

    def _take(self, record: Record, *, cleared: bool, own: bool) -> None:
        kind, rest = record[0], record[1:]
        if kind == WAIT:
            if self.attempt.resumed and own and len(rest) == 1 and isinstance(rest[0], dict):
                self.wait = rest[0]
            return
        ids = rest[:1] if kind == REFUSED else rest
        if not all(_is_id(purchase_id) for purchase_id in ids):
            return
        if kind == SENT:
            self.sent.update(purchase_id for purchase_id in ids if not self._is_closed(purchase_id))
            for purchase_id in self.sent.intersection(ids):
                self.decisions.pop(purchase_id, None)
        elif kind == BACK:
            self.sent.difference_update(ids)
        elif kind in _KEPT:
            self._decided(ids, _KEPT[kind])
        elif kind == REFUSED and (refusal := _refusal_of(rest)) is not None:
            self.sent.difference_update(ids)
            if not cleared and not self._is_closed(ids[0]):
                self.decisions[ids[0]] = refusal

    def _is_closed(self, purchase_id: int) -> bool:
        known = self.decisions.get(purchase_id)
        return known is not None and known.outcome.is_closed

    def _decided(self, ids: Iterable[int], decision: Decision) -> None:
        for purchase_id in ids:
            self.sent.discard(purchase_id)
            self.decisions[purchase_id] = decision

    # -- writing -----------------------------------------------------------------------------------------------------

    def decided(self, purchase_id: int, decision: Decision) -> None:
        """
        Note an outcome for the next commit. What is unresolved is not kept: the next try finds out.

        :param purchase_id: of which purchase
        :param decision: how it ended
        """
        if decision.outcome is not Outcome.UNRESOLVED:
            self._pending[purchase_id] = decision

    def commit(
        self, *, intents: Sequence[int] = (), back: Iterable[int] = (), wait: Mapping[str, Any] | None = None
    ) -> None:
        """
        Write all outcomes since the last commit, and what else is given, in one write.

        After an error all of it is still to be written, and no intent counts as written.

        :param intents: purchases whose closings may be sent once this returns
        :param back: intents that were not used
        :param wait: what the stay after a wait needs to know
        :raises ReplacedError: if another try has taken over
        :raises Exception: what else the store raises
        """
        pending = dict(self._pending)
        records = _records(pending)
        if unused := sorted(back):
            records.append([BACK, *unused])
        if intents:
            records.append([SENT, *intents])
        if wait is not None:
            records.append([WAIT, dict(wait)])
        self._write(records)
        for purchase_id, decision in pending.items():
            self.sent.discard(purchase_id)
            self.decisions[purchase_id] = decision
            self._pending.pop(purchase_id, None)
        self.sent.difference_update(unused)
        self.sent.update(intents)

    def _write(self, records: list[Record]) -> None:
        if self._store is None:
            return
        if not self._is_whole:
            raise RuntimeError("the journal was not read to its end")
        while True:
            segment = self._segment
            number = self._number
            if segment is None:
                # Each segment says after which one it comes, so that none outlives a deleted one before it.
                segment = self._opened()
            fitting = _fitting(segment["records"], records)
            # An earlier wait is over, so its record is the last one no more.
            kept = [record for record in segment["records"] if record[0] != WAIT]
            new = {**segment, "records": [*kept, *records[:fitting]]}
            self._store.set(f"{self._name}_{number}", new)
            records = records[fitting:]
            self._after = new["id"]
            full = bool(records) or _size(new["records"]) >= SEGMENT_SIZE
            self._segment, self._number = (None, number + 1) if full else (new, number)
            if not records:
                return

    def _opened(self) -> dict[str, Any]:
        attempt = self.attempt
        return {
            "id": self._new_id(),
            "after": self._after,
            "try": attempt.number,
            "max_tries": attempt.max_tries,
            "records": [],
        }

    def fold(self) -> list[Record]:
        """Return everything in as few records as it takes, for a deferral where there is no store."""
        known = {**self.decisions, **self._pending}
        records = _records(known)
        if sent := sorted(self.sent - known.keys()):
            records.append([SENT, *sent])
        return records


def _records(decisions: Mapping[int, Decision]) -> list[Record]:
    records: list[Record] = []
    for kind, decision in _KEPT.items():
        if ids := [purchase_id for purchase_id, known in decisions.items() if known.outcome is decision.outcome]:
            records.append([kind, *ids])
    for purchase_id, known in decisions.items():
        if known.outcome is Outcome.REJECTED:
            words = [None if text is None else shorten(text, REFUSAL_LENGTH) for text in (known.title, known.detail)]
            records.append([REFUSED, purchase_id, known.status, *words])
    return records


def _fitting(written: Sequence[Record], records: Sequence[Record]) -> int:
    """Return how many records still go into a segment: at least one into an empty one, since none is ever split."""
    room = SEGMENT_SIZE - _size(written)
    number = 0
    for record in records:
        room -= len(json.dumps(record)) + 2
        if room < 0 and (number or written):
            break
        number += 1
    return number


def _size(records: Sequence[Record]) -> int:
    return sum(len(json.dumps(record)) + 2 for record in records)


def _is_id(value: object) -> bool:
    return type(value) is int and 1 <= value <= _MAX_ID


def _refusal_of(rest: Sequence[Any]) -> Decision | None:
    if len(rest) != 4:
        return None
    _, status, title, detail = rest
    if status is not None and type(status) is not int:
        return None
    if not all(text is None or isinstance(text, str) for text in (title, detail)):
        return None
    return Decision(Outcome.REJECTED, status, title, detail)
