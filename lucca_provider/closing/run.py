"""
The run: decides, step by step, what to ask Lucca next so that each purchase is closed exactly once.

It sends nothing and waits for nothing. A driver asks :meth:`ClosingRun.next` what to do and tells
:meth:`ClosingRun.answered` what came of it, so every order of answers, faults and kills can be tried in a test without
threads and without time passing.

How one purchase gets closed: write the intent to the ledger, POST once, and classify by what the server certainly
did. A clear yes is ``closed``. Certainly not sent or not processed: send again. In doubt, or a clear no: GET the
purchase, not sooner than :data:`SETTLE_SECONDS` after an answer in doubt, and decide by its state.
"""

from __future__ import annotations

import heapq
import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from lucca_provider.closing.ledger import Ledger
from lucca_provider.closing.report import ALREADY_CLOSED, CLOSED, Outcome, Report, build_report
from lucca_provider.exceptions import (
    LuccaAccessError,
    LuccaError,
    LuccaForbiddenError,
    LuccaInDoubtError,
    LuccaNotFoundError,
    LuccaNotSentError,
    LuccaRefusedError,
    LuccaThrottledError,
)
from lucca_provider.limits import Window
from lucca_provider.reading.states import CLOSED_STATE, OPEN_STATES

__all__ = ["PROGRESS_VERSION", "ClosingRun", "Kind", "Page", "Pause", "Step"]

log = logging.getLogger(__name__)

SETTLE_SECONDS = 5.0
"""Lucca aborts a request after 5 seconds, so a GET after that sees the effect of one whose answer was lost."""
MAX_SENDS = 3
"""Closings sent for one purchase in one try, each after the last was found to have had no effect."""
MAX_LOOKS = 4
"""GETs in a row without a clear answer for one purchase."""
MAX_FAILURES = 10
"""Requests in a row without a clear answer, whatever the purchase: the server is down."""
MAX_THROTTLED = 600.0
"""Seconds with nothing but 429: others use up the tenant's whole limit."""
MAX_PAUSE = 600.0
"""Seconds that the run itself waits at Lucca's word; asked for more, it ends and leaves that to the task's retry."""
STREAK = 5
"""403s or 404s in a row, with nothing closed, that say more about the key or the host than about purchases."""
BURST_SPREAD = 1 / 6
"""Share of the window that a burst may take, see :meth:`Window.burst_at`."""
MIN_LISTED = 10
"""Purchases to look at from which the list is tried before single GETs."""
PROGRESS_SECONDS = 60.0
"""At least this much time between two lines of progress."""
PROGRESS_VERSION = 1
"""Of what :meth:`ClosingRun.carry` returns: a task may come back to another version of this package."""
REASON_LENGTH = 500
"""Characters of Lucca's words that are kept for each purchase."""


class Kind(Enum):
    """What a step asks of Lucca."""

    CLOSE = "close"
    """POST the closing of ``purchase_id``. Its answer is ignored: no error is a yes."""
    LOOK = "look"
    """GET ``purchase_id``. Answers its ``state``, ``None`` if it has none."""
    LIST = "list"
    """GET a page of purchases from ``cursor``. Answers a :class:`Page`."""
    PROBE = "probe"
    """A cheap call that works for every good key on a good host."""


@dataclass(frozen=True, slots=True)
class Step:
    """
    One request to make.

    :param kind: what to ask
    :param purchase_id: of which purchase; 0 where it is about none
    :param cursor: from where to list; ``None`` for the first page
    """

    kind: Kind
    purchase_id: int = 0
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """
    A page of the purchases list.

    :param states: purchase id to ``state``
    :param cursor: where the next page starts; ``None`` for the last one
    """

    states: Mapping[int, str | None]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Pause:
    """
    Nothing to send now.

    :param until: when there will be; ``None`` if an answer has to come first
    :param burst: from when it pays to come back, if the worker is left meanwhile
    """

    until: float | None
    burst: float = 0.0


@dataclass(slots=True)
class _Purchase:
    """What is remembered of a purchase that took more than one clear answer."""

    sends: int = 0
    looks: int = 0
    maybe: bool = False
    """A closing that we sent may have taken effect."""
    refusal: dict[str, Any] | None = None
    ask: str = Kind.CLOSE.value
    not_before: float = 0.0


@dataclass(slots=True)
class _Listing:
    """How far the search for states through the purchases list has come."""

    wanted: bool = False
    cursor: str | None = None
    pages: int = 0
    failures: int = 0
    seen: set[str] = field(default_factory=set)


class ClosingRun:
    """
    The closing of a batch, as decisions.

    :param purchase_ids: what to close, without duplicates
    :param ledger: where intents and outcomes are kept
    :param window: the tenant's rate limit
    :param on_outcome: told each purchase's outcome as soon as it is known
    :param progress: what :meth:`carry` gave in the process that this run goes on from
    :param retry_rejected: whether a purchase that the ledger holds as ``rejected`` is tried again
    """

    def __init__(
        self,
        purchase_ids: Collection[int],
        *,
        ledger: Ledger,
        window: Window,
        on_outcome: Callable[[int, Outcome], None] = lambda purchase_id, outcome: None,
        progress: Mapping[str, Any] | None = None,
        retry_rejected: bool = False,
    ) -> None:
        self.purchase_ids = purchase_ids
        self.outcomes: dict[int, Outcome] = {}
        self.retry_after: float | None = None
        self.stopped: str | None = None
        self._ledger = ledger
        self._window = window
        self._on_outcome = on_outcome
        self._retry_rejected = retry_rejected
        self._purchases: dict[int, _Purchase] = {}
        self._later: list[tuple[float, int, int]] = []
        self._ticket = 0
        self._in_flight: set[Step] = set()
        self._listed: dict[int, str] = {}
        self._listing = _Listing(wanted=not ledger.complete and len(purchase_ids) >= MIN_LISTED)
        self._paused_until = 0.0
        self._careful = False
        self._failures = 0
        self._throttles = 0
        self._throttled_since = 0.0
        self._forbidden = 0
        self._missing = 0
        self._probe = False
        self._probed = False
        self._host_known = False
        # Refused with 404, and not in the ledger yet: the host may be the wrong one.
        self._unkept: list[int] = []
        self._closed = 0
        self._now = 0.0
        self._reported_at: float | None = None
        # What an earlier try had in flight when it died may still take effect, and no ledger tells which it was.
        self._settle_first = progress is None and not ledger.complete
        if progress is not None:
            self._restore(progress)
        self._fresh = deque(
            purchase_id
            for purchase_id in purchase_ids
            if purchase_id not in self.outcomes and purchase_id not in self._purchases
        )
        self._checked = 0

    # -- what the driver calls ---------------------------------------------------------------------------------

    def next(self, now: float) -> Step | Pause | None:
        """
        Say what to do now.

        :param now: seconds since the epoch, never going back
        :return: a step to take, a pause to make, or ``None`` when all is done
        """
        if not self._now:
            self._begin(now)
        self._now = now
        if self.stopped is None:
            self._report_progress()
            what = self._choose()
            if isinstance(what, Step) and self.stopped is None and self._intend(what):
                self._in_flight.add(what)
                self._window.sent()
                return what
            if isinstance(what, Pause) and self.stopped is None:
                return what
        if self._in_flight:
            return Pause(None)
        if self.stopped is None:
            self._host_answers()
        return None

    def answered(self, step: Step, answer: object, now: float) -> None:
        """
        Take the answer to a step: what :class:`Kind` says, or a :class:`LuccaError`.

        A second time is ignored, unless the first was interrupted before it was through.

        :param step: what :meth:`next` said
        :param answer: what came of it
        :param now: when the answer came, or when the request was given up
        """
        if step not in self._in_flight:
            return
        self._now = now
        if isinstance(answer, LuccaNotSentError):
            self._window.not_sent()
        else:
            self._window.answered(now)
        self._judge_health(answer)
        if step.kind is Kind.CLOSE:
            self._close_answered(step.purchase_id, answer)
        elif step.kind is Kind.LOOK:
            self._look_answered(step.purchase_id, answer)
        elif step.kind is Kind.LIST:
            self._list_answered(answer)
        else:
            self._probe_answered(answer)
        self._in_flight.discard(step)

    def give_up(self, step: Step, reason: str) -> None:
        """
        Take a step for failed whose answer could not be dealt with.

        :param step: what :meth:`next` said
        :param reason: why, for the report
        """
        self._in_flight.discard(step)
        if step.purchase_id:
            self._purchases.pop(step.purchase_id, None)
            self._later = [item for item in self._later if item[2] != step.purchase_id]
            heapq.heapify(self._later)
            self.outcomes.setdefault(step.purchase_id, Outcome("unresolved", detail=_cut(reason)))
        else:
            self.stop(reason)

    def stop(self, reason: str) -> None:
        """
        Send nothing more.

        :param reason: what is said of the purchases that were not reached; the first one given counts
        """
        if self.stopped is None:
            self.stopped = reason
            log.warning("Stopping: %s", reason)

    def report(self) -> Report:
        """Build the report as things stand: what has no outcome yet is ``unresolved``."""
        outcomes = dict(self.outcomes)
        for purchase_id in self.purchase_ids:
            if purchase_id not in outcomes:
                outcomes[purchase_id] = self._unfinished(purchase_id)
        return build_report(self.purchase_ids, outcomes)

    def carry(self) -> dict[str, Any]:
        """Return what the process that goes on must know, as JSON. Nothing may be in flight."""
        report = build_report(self.outcomes, self.outcomes)
        return {
            "version": PROGRESS_VERSION,
            "closed": report["closed"],
            "already_closed": report["already_closed"],
            "rejected": report["rejected"],
            "unresolved": report["unresolved"],
            "purchases": [[purchase_id, asdict(purchase)] for purchase_id, purchase in self._purchases.items()],
            "listed": [list(item) for item in self._listed.items()],
            "listing": {**asdict(self._listing), "seen": sorted(self._listing.seen)},
            "window": self._window.answers(),
            "paused_until": self._paused_until,
            "careful": self._careful,
            "failures": self._failures,
            "throttles": self._throttles,
            "throttled_since": self._throttled_since,
            "forbidden": self._forbidden,
            "missing": self._missing,
            "probed": self._probed,
            "unkept": self._unkept,
        }

    def _begin(self, now: float) -> None:
        """Set what needs the time: the process that this run goes on from may have had another clock."""
        self._window.clamp(now)
        self._paused_until = min(self._paused_until, now + MAX_PAUSE)
        self._later = [(min(moment, now + MAX_PAUSE), *rest) for moment, *rest in self._later]  # type: ignore[misc]
        heapq.heapify(self._later)
        if self._settle_first:
            self._paused_until = now + SETTLE_SECONDS

    # -- choosing ------------------------------------------------------------------------------------------------

    def _choose(self) -> Step | Pause | None:
        now = self._now
        candidate = self._candidate(now)
        if candidate is None:
            return None
        step, ready = candidate
        if self._careful and self._in_flight:
            return Pause(None)
        room = self._window.room_at(now)
        if room is None:
            return Pause(None)
        when = max(ready, self._paused_until, room)
        if when <= now:
            return step
        left = len(self.purchase_ids) - len(self.outcomes)
        burst = self._window.burst_at(now, left, BURST_SPREAD * self._window.seconds)
        return Pause(when, max(when, burst) if room > now else when)

    def _candidate(self, now: float) -> tuple[Step, float] | None:
        """Find the next step and when it may be taken, whatever the limit says."""
        if self._probe:
            step = Step(Kind.PROBE)
            return None if step in self._in_flight else (step, now)
        if self._listing.wanted:
            step = Step(Kind.LIST, cursor=self._listing.cursor)
            return None if step in self._in_flight else (step, now)
        due = self._later[0] if self._later else None
        if due is None or due[0] > now:
            fresh = self._first_fresh()
            if fresh is not None:
                return fresh, now
            # Reading the ledger may have found purchases in doubt.
            due = self._later[0] if self._later else None
        if due is None:
            return None
        return Step(Kind(self._purchases[due[2]].ask), due[2]), due[0]

    def _first_fresh(self) -> Step | None:
        """Find the first purchase that nothing is known of, after taking the ledger's word for those before it."""
        while self._fresh:
            purchase_id = self._fresh[0]
            try:
                settled = self._checked != purchase_id and self._settled_by_ledger(purchase_id)
            except Exception as error:
                log.exception("Purchase %s: what the ledger knows of it could not be read.", purchase_id)
                self.stop(f"the ledger could not be read ({type(error).__name__}), so nothing more was sent")
                return None
            if settled:
                self._fresh.popleft()
                continue
            self._checked = purchase_id
            state = self._listed.get(purchase_id)
            if state == CLOSED_STATE:
                self._fresh.popleft()
                self._decide(purchase_id, ALREADY_CLOSED)
                continue
            return Step(Kind.CLOSE if self._ledger.complete or state else Kind.LOOK, purchase_id)
        return None

    def _settled_by_ledger(self, purchase_id: int) -> bool:
        entry = self._ledger.read(purchase_id)
        if entry is None:
            return False
        at = min(float(entry.get("at", 0.0)), self._now)
        if self._now - at < self._window.seconds:
            self._window.add(at)
        state = entry.get("state")
        if state == "closed":
            self._decide(purchase_id, CLOSED, keep=False)
        elif state == "already_closed":
            self._decide(purchase_id, ALREADY_CLOSED, keep=False)
        elif state == "rejected" and not self._retry_rejected:
            rejection = Outcome("rejected", entry.get("status"), entry.get("title"), entry.get("detail"))
            self._decide(purchase_id, rejection, keep=False)
        else:
            self._purchases[purchase_id] = _Purchase(maybe=state != "rejected")
            self._ask_later(purchase_id, Kind.LOOK, at + SETTLE_SECONDS)
        return True

    def _intend(self, step: Step) -> bool:
        """Take the step out of what is to be done and, for a closing, write the intent first."""
        if step.kind is Kind.CLOSE:
            try:
                self._ledger.write(step.purchase_id, {"state": "sent", "at": self._now})
            except Exception as error:
                log.exception("Purchase %s: not sent, its intent could not be written.", step.purchase_id)
                self.stop(f"the ledger could not be written ({type(error).__name__}), so nothing more was sent")
                return False
        if self._fresh and self._fresh[0] == step.purchase_id:
            self._fresh.popleft()
            self._listed.pop(step.purchase_id, None)
        elif step.purchase_id:
            heapq.heappop(self._later)
        return True

    def _ask_later(self, purchase_id: int, kind: Kind, not_before: float) -> None:
        purchase = self._purchases[purchase_id]
        purchase.ask, purchase.not_before = kind.value, not_before
        self._ticket += 1
        heapq.heappush(self._later, (not_before, self._ticket, purchase_id))

    # -- taking answers --------------------------------------------------------------------------------------------

    def _judge_health(self, answer: object) -> None:
        """Learn from an answer about the server and the key, whichever purchase it was about."""
        if isinstance(answer, LuccaThrottledError):
            self._careful = True
            if not self._throttles or self._now >= self._paused_until:
                # The first one, or not of one burst with the last one: sent after a pause.
                self._throttled_since = self._throttled_since or self._now
                self._throttles += 1
            wait = min(10.0 * self._throttles, 60.0) if answer.retry_after is None else answer.retry_after
            self._pause(max(wait, min(2.0 ** (self._throttles - 1), 60.0)), "Lucca answers 429: the limit is used up")
            if self._now - self._throttled_since >= MAX_THROTTLED:
                self.retry_after = wait
                self.stop(f"Lucca answered only 429 for {MAX_THROTTLED:.0f} s: other clients use up the tenant's limit")
            return
        self._throttles = 0
        self._throttled_since = 0.0
        self._careful = False
        if isinstance(answer, (LuccaInDoubtError, LuccaNotSentError)):
            if self._now >= self._paused_until:
                self._failures += 1
            self._careful = self._failures > 1
            wait = min(0.5 * 2 ** (self._failures - 2), 8.0) if self._careful else 0.0
            self._pause(max(wait, answer.retry_after or 0.0), "Lucca does not answer as it should")
            if self._failures >= MAX_FAILURES:
                self.stop(f"{self._failures} requests in a row got no clear answer; the last: {answer}")
            return
        self._failures = 0
        if isinstance(answer, LuccaAccessError):
            self.stop(str(answer))

    def _pause(self, wait: float, why: str) -> None:
        if wait > MAX_PAUSE:
            self.retry_after = wait
            self.stop(f"{why}, and it asks to wait {wait:.0f} s")
        elif self._now + wait > self._paused_until:
            self._paused_until = self._now + wait
            if wait >= 1:
                log.info("%s; waiting %.0f s. Nothing is lost.", why, wait)

    def _close_answered(self, purchase_id: int, answer: object) -> None:
        purchase = self._purchases.setdefault(purchase_id, _Purchase())
        if not isinstance(answer, LuccaError):
            self._host_answers()
            self._decide(purchase_id, CLOSED)
        elif isinstance(answer, LuccaThrottledError):
            self._ask_later(purchase_id, Kind.CLOSE, self._now)
        elif isinstance(answer, LuccaNotSentError):
            self._again(purchase_id, answer)
        elif isinstance(answer, LuccaRefusedError):
            purchase.refusal = {
                "status": answer.status,
                "title": _cut(answer.title),
                "detail": _cut(_with_errors(answer)),
            }
            self._count_refusal(answer)
            self._ask_later(purchase_id, Kind.LOOK, self._now)
        elif isinstance(answer, LuccaInDoubtError):
            purchase.maybe = True
            purchase.sends += 1
            log.warning("Purchase %s: in doubt (%s). Its state is read in %.0f s.", purchase_id, answer, SETTLE_SECONDS)
            self._ask_later(purchase_id, Kind.LOOK, self._now + SETTLE_SECONDS)
        else:
            self._decide(purchase_id, Outcome("unresolved", detail=_cut(str(answer))))

    def _look_answered(self, purchase_id: int, answer: object) -> None:
        purchase = self._purchases.setdefault(purchase_id, _Purchase())
        if isinstance(answer, LuccaThrottledError):
            self._ask_later(purchase_id, Kind.LOOK, self._now)
        elif isinstance(answer, (LuccaInDoubtError, LuccaNotSentError)):
            purchase.looks += 1
            if purchase.looks >= MAX_LOOKS:
                self._give_up(purchase_id, f"its state could not be read: {answer}")
            else:
                self._ask_later(purchase_id, Kind.LOOK, self._now + 2.0**purchase.looks)
        elif isinstance(answer, LuccaError):
            if isinstance(answer, LuccaRefusedError) and purchase.refusal is None:
                self._count_refusal(answer)
            self._unreadable(purchase_id, purchase, answer)
        else:
            purchase.looks = 0
            if purchase.refusal is None:
                self._host_answers()
            self._state_known(purchase_id, purchase, answer)

    def _state_known(self, purchase_id: int, purchase: _Purchase, answer: object) -> None:
        state = answer if isinstance(answer, str) else None
        if state == CLOSED_STATE:
            self._decide(purchase_id, CLOSED if purchase.maybe else ALREADY_CLOSED)
        elif state in OPEN_STATES:
            # Certainly open, so whatever was sent before had no effect.
            purchase.maybe = False
            if purchase.refusal is not None:
                self._decide(purchase_id, Outcome("rejected", **purchase.refusal))
            else:
                self._again(purchase_id, None)
        elif purchase.refusal is not None and not purchase.maybe:
            self._decide(purchase_id, Outcome("rejected", **purchase.refusal))
        else:
            told = "no state" if state is None else f"the state {_cut(state)!r}, which this version does not know"
            self._give_up(purchase_id, f"Lucca tells {told}, so it cannot be taken for open")

    def _unreadable(self, purchase_id: int, purchase: _Purchase, answer: LuccaError) -> None:
        """Decide without a state: Lucca will not show the purchase to this key."""
        if isinstance(answer, LuccaRefusedError) and not purchase.maybe:
            if purchase.refusal is None and isinstance(answer, LuccaNotFoundError):
                purchase.refusal = {"status": 404, "title": _cut(answer.title), "detail": _cut(_with_errors(answer))}
            if purchase.refusal is not None:
                self._decide(purchase_id, Outcome("rejected", **purchase.refusal))
                return
        self._give_up(purchase_id, f"its state could not be read: {answer}")

    def _again(self, purchase_id: int, failure: LuccaError | None) -> None:
        """Send once more, if that has not been tried often enough."""
        purchase = self._purchases[purchase_id]
        if failure is not None:
            purchase.sends += 1
        if purchase.sends >= MAX_SENDS:
            last = f"; the last failure: {failure}" if failure is not None else ", and it is still open"
            self._give_up(purchase_id, f"{purchase.sends} attempts got no clear answer{last}")
        else:
            self._ask_later(purchase_id, Kind.CLOSE, self._now)

    def _count_refusal(self, answer: LuccaRefusedError) -> None:
        self._forbidden = self._forbidden + 1 if isinstance(answer, LuccaForbiddenError) else 0
        self._missing = self._missing + 1 if isinstance(answer, LuccaNotFoundError) else 0
        if self._closed:
            return
        if self._forbidden >= STREAK:
            self.stop(f"{self._forbidden} purchases in a row were refused with 403 and none was closed: {answer}")
        if self._missing >= STREAK and not self._probed:
            self._probe = True

    def _probe_answered(self, answer: object) -> None:
        if isinstance(answer, (LuccaThrottledError, LuccaInDoubtError, LuccaNotSentError)):
            return
        self._probe = False
        self._probed = True
        if isinstance(answer, LuccaNotFoundError):
            self.stop(f"neither purchases nor Lucca Invoices itself were found: check the connection's host ({answer})")
            for purchase_id in self._unkept:
                self.outcomes[purchase_id] = Outcome("unresolved", detail=_cut(f"not found: {self.stopped}"))
            self._unkept.clear()
        else:
            self._host_answers()

    def _host_answers(self) -> None:
        """Take the refusals with 404 so far for Lucca's: the host is the right one."""
        self._forbidden = self._missing = 0
        for purchase_id in self._unkept:
            self._keep(purchase_id, self.outcomes[purchase_id])
        self._unkept.clear()
        self._host_known = True

    def _list_answered(self, answer: object) -> None:
        listing = self._listing
        if isinstance(answer, LuccaThrottledError):
            return
        if isinstance(answer, LuccaError):
            listing.failures += 1
            if isinstance(answer, LuccaRefusedError) or listing.failures >= MAX_LOOKS:
                listing.wanted = False
                self._probe = isinstance(answer, LuccaNotFoundError) and not self._probed
                log.info("The purchases list cannot be used (%s); asking for each purchase instead.", answer)
            return
        if not isinstance(answer, Page):
            raise TypeError(f"a list step is answered by a Page, not {answer!r}")
        listing.pages += 1
        listing.failures = 0
        unknown = {purchase_id for purchase_id in self._fresh if purchase_id not in self._listed}
        for purchase_id in unknown & answer.states.keys():
            state = answer.states[purchase_id]
            if state == CLOSED_STATE or state in OPEN_STATES:
                self._listed[purchase_id] = state
        missing = len(unknown - answer.states.keys())
        again = answer.cursor is None or answer.cursor in listing.seen
        listing.wanted = not again and bool(answer.states) and missing > listing.pages
        if answer.cursor is not None:
            listing.seen.add(answer.cursor)
            listing.cursor = answer.cursor

    # -- outcomes ------------------------------------------------------------------------------------------------

    def _give_up(self, purchase_id: int, reason: str) -> None:
        self._decide(purchase_id, Outcome("unresolved", detail=_cut(reason)))

    def _decide(self, purchase_id: int, outcome: Outcome, *, keep: bool = True) -> None:
        self.outcomes[purchase_id] = outcome
        self._purchases.pop(purchase_id, None)
        self._closed += outcome.state == "closed"
        if outcome.status == 404 and not self._host_known:
            self._unkept.append(purchase_id)
        elif keep and outcome.state != "unresolved":
            self._keep(purchase_id, outcome)
        log.log(
            logging.INFO if outcome.state in ("closed", "already_closed") else logging.WARNING,
            "Purchase %s: %s%s",
            purchase_id,
            outcome,
            "" if keep else " (known from an earlier try)",
        )
        self._on_outcome(purchase_id, outcome)

    def _keep(self, purchase_id: int, outcome: Outcome) -> None:
        entry: dict[str, Any] = {"state": outcome.state, "at": self._now}
        if outcome.state == "rejected":
            entry |= {"status": outcome.status, "title": outcome.title, "detail": outcome.detail}
        try:
            self._ledger.write(purchase_id, entry)
        except Exception:
            # The next try finds the intent, asks Lucca, and comes to the same outcome.
            log.warning("Purchase %s: its outcome could not be written to the ledger.", purchase_id, exc_info=True)

    def _unfinished(self, purchase_id: int) -> Outcome:
        why = self.stopped or "the run did not get that far"
        purchase = self._purchases.get(purchase_id)
        if Step(Kind.CLOSE, purchase_id) in self._in_flight or (purchase is not None and purchase.maybe):
            return Outcome("unresolved", detail=_cut(f"sent, but the answer is not known; then: {why}"))
        if purchase is not None and purchase.refusal is not None:
            # It may have been refused because it was closed before.
            refused = Outcome("rejected", **purchase.refusal)
            return Outcome("unresolved", detail=_cut(f"{refused}, and its state was not read; then: {why}"))
        return Outcome("unresolved", detail=_cut(f"not reached: {why}"))

    def _report_progress(self) -> None:
        now = self._now
        if self._reported_at is None:
            self._reported_at = now
        left = len(self.purchase_ids) - len(self.outcomes)
        if now - self._reported_at < PROGRESS_SECONDS or not left:
            return
        self._reported_at = now
        log.info(
            "%s of %s purchases done (%s closed); at %s requests per %.0f s the rest takes about %.0f min.",
            len(self.outcomes),
            len(self.purchase_ids),
            self._closed,
            self._window.limit,
            self._window.seconds,
            left / self._window.limit * self._window.seconds / 60,
        )

    def _restore(self, progress: Mapping[str, Any]) -> None:
        self.outcomes.update(dict.fromkeys(progress["closed"], CLOSED))
        self.outcomes.update(dict.fromkeys(progress["already_closed"], ALREADY_CLOSED))
        for rejected in progress["rejected"]:
            reason = {name: rejected[name] for name in ("status", "title", "detail")}
            self.outcomes[rejected["id"]] = Outcome("rejected", **reason)
        for unresolved in progress["unresolved"]:
            self.outcomes[unresolved["id"]] = Outcome("unresolved", detail=unresolved["reason"])
        asked = set(self.purchase_ids)
        for purchase_id, facts in progress["purchases"]:
            # The list may have become shorter meanwhile: what nobody asks for any more is not closed.
            if purchase_id in asked:
                purchase = self._purchases[purchase_id] = _Purchase(**facts)
                self._ask_later(purchase_id, Kind(purchase.ask), purchase.not_before)
        for moment in progress["window"]:
            self._window.add(moment)
        self._listed = dict(progress["listed"])
        self._listing = _Listing(**{**progress["listing"], "seen": set(progress["listing"]["seen"])})
        self._paused_until = progress["paused_until"]
        self._careful = progress["careful"]
        self._failures = progress["failures"]
        self._throttles = progress["throttles"]
        self._throttled_since = progress["throttled_since"]
        self._forbidden = progress["forbidden"]
        self._missing = progress["missing"]
        self._probed = progress["probed"]
        self._unkept = list(progress["unkept"])
        self._closed = len(progress["closed"])
        self._host_known = self._probed or bool(self._closed)


def _with_errors(error: LuccaError) -> str | None:
    """Lucca's detail with the messages of its single fields, which often hold the real reason."""
    fields = "; ".join(f"{name}: {', '.join(messages)}" for name, messages in error.errors.items())
    return " ".join(part for part in (error.detail, f"[{fields}]" if fields else None) if part) or None


def _cut(text: Any) -> Any:
    return text if text is None or len(text) <= REASON_LENGTH else text[:REASON_LENGTH] + "…"
