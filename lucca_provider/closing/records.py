"""
The records of a journal: their shapes, written and read.

A record is a JSON list that begins with its kind; for an outcome that is its
:attr:`~lucca_provider.outcomes.Outcome.record`:

- ``["s", id, …]``: the closings of these may be sent from now on (the intent)
- ``["b", id, …]``: they were not sent after all
- ``["c", id, …]``, ``["a", id, …]``: closed by this task instance, closed before
- ``["r", id, status, title, detail]``: refused by Lucca
- ``["w", {…}]``: what a wait needs, see :class:`~lucca_provider.closing.wait.Wait`
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lucca_provider.closing.purchase import shorten
from lucca_provider.outcomes import Decision, Outcome, ReportEntry

__all__ = [
    "BACK",
    "SENT",
    "WAIT",
    "Entry",
    "Record",
    "decision_records",
    "id_records",
    "read_record",
    "size_of",
]

SENT = "s"
BACK = "b"
WAIT = "w"
_KEPT = {outcome.record: outcome for outcome in Outcome if outcome.record}
_MAX_ID = 2**31 - 1
MAX_IDS = 1000
"""Ids in one record, so that none is larger than a segment."""
REFUSAL_LENGTH = 200
"""Characters that the journal keeps of each text of a refusal."""

Record = list[Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """
    A record that could be read.

    :param kind: what it begins with
    :param ids: the purchases that it is about
    :param decision: how it ended for them, if it did
    :param wait: what a wait needs
    """

    kind: str
    ids: Sequence[int] = ()
    decision: Decision | None = None
    wait: Mapping[str, Any] | None = None


def id_records(kind: str, ids: Sequence[int]) -> list[Record]:
    """
    Write records of ids, as few as it takes.

    :param kind: what each begins with
    :param ids: of purchases; there may be none
    """
    return [[kind, *ids[start : start + MAX_IDS]] for start in range(0, len(ids), MAX_IDS)]


def decision_records(decisions: Mapping[int, Decision]) -> list[Record]:
    """
    Write the records of decisions, except for what is unresolved, which no journal keeps.

    :param decisions: by purchase
    """
    records: list[Record] = []
    for kind, outcome in _KEPT.items():
        kept = {each: known for each, known in decisions.items() if known.outcome is outcome}
        if outcome.entry is ReportEntry.ID:
            records += id_records(kind, list(kept))
        else:
            records += [[kind, each, known.status, *_words_of(known)] for each, known in kept.items()]
    return records


def read_record(record: object) -> Entry | None:
    """
    Read a record.

    :param record: of any shape
    :return: ``None`` if it is none
    """
    if not isinstance(record, list) or not record:
        return None
    kind, *rest = record
    if kind == WAIT:
        return _waiting(rest)
    outcome = _KEPT.get(kind) if isinstance(kind, str) else None
    if outcome is not None and outcome.entry is not ReportEntry.ID:
        return _explained(kind, outcome, rest)
    if not all(map(_is_id, rest)):
        return None
    if outcome is not None:
        return Entry(kind, rest, Decision(outcome))
    return Entry(kind, rest) if kind in (SENT, BACK) else None


def size_of(records: Sequence[Record]) -> int:
    """
    Return the characters that records take as JSON.

    :param records: any number
    """
    return len(json.dumps(records))


def _is_id(value: object) -> bool:
    return type(value) is int and 1 <= value <= _MAX_ID


def _words_of(decision: Decision) -> list[str | None]:
    return [None if text is None else shorten(text, REFUSAL_LENGTH) for text in (decision.title, decision.detail)]


def _waiting(rest: Sequence[Any]) -> Entry | None:
    return Entry(WAIT, wait=rest[0]) if len(rest) == 1 and isinstance(rest[0], dict) else None


def _explained(kind: str, outcome: Outcome, rest: Sequence[Any]) -> Entry | None:
    if len(rest) != 4 or not _is_id(rest[0]):
        return None
    purchase_id, status, title, detail = rest
    if not isinstance(status, (int, type(None))) or not all(isinstance(text, (str, type(None))) for text in rest[2:]):
        return None
    return Entry(kind, [purchase_id], Decision(outcome, status, title, detail))
