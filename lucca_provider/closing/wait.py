"""
What a run must remember over a wait and the journal does not tell.

Without it a run need not end: its counts would begin anew with every deferral. It counts for the same try only, and is
written as the journal's last record, or into the deferral's event where there is no store.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from lucca_provider.closing.purchase import MAX_SENDS, SETTLE_SECONDS, Purchase
from lucca_provider.closing.records import read_record
from lucca_provider.limits import MAX_READS, Health, backoff
from lucca_provider.outcomes import Decision, Outcome
from lucca_provider.reading.lists import PURCHASES, ListReader

__all__ = ["Wait"]

Known = TypeVar("Known")

MAX_NUMBER = 1e11
"""More than any moment, in seconds since the epoch, and any id."""


@dataclass(slots=True)
class Wait:
    """
    A record for a wait. Moments are seconds of the clock of whoever wrote it.

    :param at: when it was written
    :param settled_at: from when anything may be asked: what an earlier process sent has landed by then
    :param window: moments of the requests that still count for the limit
    :param health: see :class:`~lucca_provider.limits.health.Health`
    :param reader: how far the list was read; ``None`` if it cannot be used
    :param singly: whether the unread purchases are those that the list did not tell
    :param later: whether unread ones need not be read before the open ones are closed
    :param purchases: what is known of purchases that are not decided, in the order in which they are closed
    :param unresolved: the outcomes that the journal does not keep
    """

    at: float
    settled_at: float
    window: list[float]
    health: Health
    reader: ListReader | None
    singly: bool
    later: bool
    purchases: dict[int, Purchase]
    unresolved: dict[int, Decision]

    def carry(self) -> dict[str, Any]:
        """Return it as JSON, as small as is easy: a page's readings share their moment, and reasons repeat."""
        opened: dict[tuple[float, float], list[int]] = {}
        others: list[list[Any]] = []
        for purchase_id, known in self.purchases.items():
            if known.read_at is not None and not known.sends:
                opened.setdefault((known.read_at, known.ready_at), []).append(purchase_id)
            else:
                others.append([purchase_id, *_fields(known)])
        reasons: dict[tuple[str, bool], list[int]] = {}
        for purchase_id, decision in self.unresolved.items():
            reasons.setdefault((decision.detail or "", decision.outage), []).append(purchase_id)
        return {
            "at": self.at,
            "settled_at": self.settled_at,
            "window": self.window,
            "health": self.health.carry(),
            "list": None if self.reader is None else self.reader.carry(),
            "singly": self.singly,
            "later": self.later,
            "open": [[*moments, ids] for moments, ids in opened.items()],
            "others": others,
            "unresolved": [[*reason, ids] for reason, ids in reasons.items()],
        }

    @classmethod
    def read(cls, carried: Mapping[str, Any] | None, asked: Collection[int], now: float) -> Wait | None:
        """
        Read what :meth:`carry` returned.

        The process that wrote it may have had another clock, so no moment is taken for later than it can be, and what
        is in doubt is settled by the reader's own start.

        :param carried: the record, of any shape
        :param asked: the purchases that are still asked for
        :param now: the present moment
        :return: ``None`` if there is none, or it cannot be read
        """
        if carried is None or not _is_sane(carried):
            return None
        try:
            at = _number(carried["at"])
            return cls(
                at=now,
                settled_at=_settled_at(_number(carried["settled_at"]), at, now),
                window=[min(_number(moment), now) for moment in carried["window"]],
                health=Health.restore([*map(_number, carried["health"])], now),
                reader=_reader(carried["list"]),
                singly=bool(carried["singly"]),
                later=bool(carried["later"]),
                purchases=_asked_for(_purchases(carried, at, now), asked),
                unresolved=_asked_for(_unresolved(carried), asked),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            return None


def _asked_for(known: Iterable[tuple[int, Known]], asked: Collection[int]) -> dict[int, Known]:
    # True and 1.0 are equal to 1, and no ids.
    return {each: one for each, one in known if type(each) is int and each in asked}


def _purchases(carried: Mapping[str, Any], at: float, now: float) -> Iterator[tuple[int, Purchase]]:
    for read_at, ready_at, ids in carried["open"]:
        for each in ids:
            yield each, Purchase(read_at=min(_number(read_at), now), ready_at=min(_number(ready_at), now))
    for purchase_id, *fields in carried["others"]:
        yield purchase_id, _purchase(fields, at, now)


def _unresolved(carried: Mapping[str, Any]) -> Iterator[tuple[int, Decision]]:
    for reason, outage, ids in carried["unresolved"]:
        for each in ids:
            yield each, Decision(Outcome.UNRESOLVED, detail=str(reason), outage=bool(outage))


def _reader(carried: Sequence[object] | None) -> ListReader | None:
    if carried is None:
        return None
    page, pages, count, *others = carried
    numbers = [_number(pages), None if count is None else _number(count), *map(_number, others)]
    return ListReader.restore(PURCHASES, [page, *numbers])


def _fields(known: Purchase) -> list[Any]:
    refusal = known.refusal
    words = None if refusal is None else [refusal.status, refusal.title, refusal.detail]
    return [known.read_at, known.ready_at, known.sends, known.reads, known.maybe, words]


def _purchase(fields: list[Any], at: float, now: float) -> Purchase:
    read_at, ready_at, sends, reads, maybe, words = fields
    return Purchase(
        read_at=None if read_at is None else min(_number(read_at), now),
        ready_at=_settled_at(_number(ready_at), at, now) if maybe else min(_number(ready_at), now + backoff(MAX_READS)),
        sends=min(int(_number(sends)), MAX_SENDS),
        reads=min(int(_number(reads)), MAX_READS),
        maybe=bool(maybe),
        refusal=None if words is None else _refusal(*words),
    )


def _number(value: object) -> float:
    """Return a number as it was written: text is none, also where Python could make one of it."""
    if not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _settled_at(moment: float, at: float, now: float) -> float:
    """Return when something has settled: if it had not when the wait began, by the reader's own start."""
    return now + SETTLE_SECONDS if moment > at else now


def _refusal(status: object, title: object, detail: object) -> Decision:
    entry = read_record([Outcome.REJECTED.record, 1, status, title, detail])
    if entry is None or entry.decision is None:
        raise ValueError("not Lucca's words")
    return entry.decision


def _is_sane(value: object) -> bool:
    """Return whether all numbers are such as are written here: none is negative but for -1, and moments are seconds."""
    if isinstance(value, Mapping):
        return all(map(_is_sane, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_is_sane, value))
    return not isinstance(value, (int, float)) or -1 <= value <= MAX_NUMBER
