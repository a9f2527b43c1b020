"""
The run: decides, step by step, what to ask Lucca next so that each purchase is closed exactly once.

It sends nothing and waits for nothing. A driver asks :meth:`ClosingRun.next` what to do and tells
:meth:`ClosingRun.answered` what came of it, so every order of answers, faults and kills can be tried in a test without
threads and without time passing.

It puts the parts together, and each question has its place:

- how one purchase gets closed, and when a closing is allowed: :mod:`lucca_provider.closing.purchase`
- which purchase is next: :mod:`lucca_provider.closing.agenda`
- how a 429 is waited for, and what an answer means for the others: :mod:`lucca_provider.limits.health`
- what an earlier try did: :mod:`lucca_provider.closing.journal`
- where an outcome is decided: :mod:`lucca_provider.closing.purchase`; where it is recorded:
  :mod:`lucca_provider.closing.decisions`; where a run ends: :meth:`ClosingRun.end`

A start that is not certainly the task's first asks nothing for :data:`~lucca_provider.closing.purchase.SETTLE_SECONDS`:
what a process before it had on its way has landed by then. Then it reads whatever the journal does not show as decided,
and so posts nothing that is closed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from lucca_provider.closing.agenda import Agenda
from lucca_provider.closing.decisions import Decisions
from lucca_provider.closing.journal import Journal, ReplacedError
from lucca_provider.closing.listing import Listing
from lucca_provider.closing.progress import Progress
from lucca_provider.closing.purchase import (
    READING_AGE,
    SETTLE_SECONDS,
    Purchase,
    closing_answered,
    reading_answered,
    shorten,
    shows_no_effect,
    undecided,
)
from lucca_provider.closing.steps import Kind, Pause, Step
from lucca_provider.closing.wait import Wait
from lucca_provider.exceptions import LuccaInDoubtError, LuccaNotSentError
from lucca_provider.limits import Health, Stop, Window
from lucca_provider.outcomes import Decision, Outcome, Report, build_report

__all__ = ["TOO_MUCH", "ClosingRun"]

log = logging.getLogger(__name__)

BURST_SPREAD = 1 / 6
"""Share of the window that a burst may take, see :meth:`Window.burst_at`."""
MAX_EXPIRIES = 3
"""Times that readings may become too old without any purchase being decided. Then no closing can be in time."""
MAX_WAIT_SIZE = 45_000
"""Characters of JSON that a wait may need: some of Airflow's databases hold 64 KB for it."""
TOO_MUCH = "Waiting in the worker: what this task knows is too much to take along when it leaves."


@dataclass(frozen=True, slots=True)
class _Sent:
    """A request on its way: what was known when it went out, so that its answer can be taken twice."""

    purchase: Purchase
    at: float


class ClosingRun:
    """
    The closing of a batch, as decisions.

    :param purchase_ids: what to close, without duplicates
    :param journal: what earlier stays and tries did; it has been read
    :param window: the tenant's rate limit
    :param on_outcome: told each purchase's outcome once, as soon as it is known
    """

    def __init__(
        self,
        purchase_ids: Collection[int],
        *,
        journal: Journal,
        window: Window,
        on_outcome: Callable[[int, Outcome], None] = lambda purchase_id, outcome: None,
    ) -> None:
        self.purchase_ids = purchase_ids
        self.decisions = Decisions(journal, on_outcome)
        """What is decided, by purchase."""
        self.stopped: Stop | None = None
        """Why nothing more is sent, if so."""
        self.is_kept = True
        """Whether the last commit succeeded: if not, another try may have taken over, and the report is only logged."""
        self.journal = journal
        """What earlier tries did, and this one does."""
        self._window = window
        self._agenda = Agenda()
        """What is not decided, and which of it is next."""
        self._health = Health()
        """What the answers so far say about server, host and key."""
        self._listing = Listing(window)
        """How far the list of purchases was read."""
        self._settled_at = 0.0
        """From when anything may be asked: what a process before this one had on its way has landed by then."""
        self._in_flight: dict[Step, _Sent] = {}
        """Requests on their way."""
        self._held: list[tuple[Step, _Sent, object, float]] = []
        """Answers that may come from a wrong host, until a probe has answered."""
        self._has_begun = False
        """Whether what the journal knows was taken over."""
        self._progress = Progress(window)
        """Logs a line now and then."""
        self._may_leave = not journal.attempt.resumed
        """Whether the worker may be left: after a wait only once something was sent."""

    # -- what the driver calls ---------------------------------------------------------------------------------------

    def next(self, now: float) -> Step | Pause | None:
        """
        Say what to do now.

        :param now: seconds since the epoch, never going back
        :return: a step to take, a pause to make, or ``None`` when all is done
        """
        if not self._has_begun:
            self._begin(now)
        self._progress.say(now, len(self.decisions), len(self.purchase_ids))
        if self.stopped is None:
            what = self._choose(now)
            if not isinstance(what, Step):
                return what
            if self._send(what, now):
                return what
        return Pause(None) if self._in_flight else None

    def answered(self, step: Step, answer: object, now: float) -> None:
        """
        Take the answer to a step: what :class:`Kind` says, or a :class:`~lucca_provider.exceptions.LuccaError`.

        May be called again with the same after an interruption at any line, and comes to the same decision: it starts
        from what was known when the request went out. Once it is through, another call is ignored.

        :param step: what :meth:`next` said
        :param answer: what came of it
        :param now: when the answer came, or when the request was given up
        """
        sent = self._in_flight.get(step)
        if sent is None:
            return
        # First of all, so that an answer that cannot be dealt with does not take up room for ever.
        if isinstance(answer, LuccaNotSentError):
            self._window.not_sent()
            # What may come of a wrong connection does not, once something has answered.
            answer.outage |= self._health.access.proven
        else:
            self._window.answered(now)
        if self._health.access.is_undecided(answer) and step.kind is not Kind.PROBE:
            self._held.append((step, sent, answer, now))
        else:
            self._take(step, sent, answer, now)
        self._judge(step, answer, now)
        del self._in_flight[step]

    def waiting(self, now: float, until: float) -> None:
        """
        Say how far the run is, and why it pauses, now that the worker waits.

        :param now: the present moment
        :param until: when the wait ends
        """
        self._health.say_wait(now, until)
        room = self._window.room_at(now)
        if room is not None and room > now:
            self._progress.say_wait(now, until, len(self.decisions), len(self.purchase_ids))

    def give_up(self, step: Step, reason: str) -> None:
        """
        Take a step for failed whose answer could not be dealt with.

        :param step: what :meth:`next` said
        :param reason: why, for the report
        """
        self._in_flight.pop(step, None)
        if step.purchase_id:
            if step.purchase_id not in self.decisions:
                self.decisions.decide(step.purchase_id, Decision(Outcome.UNRESOLVED, detail=shorten(reason)))
                self._agenda.drop(step.purchase_id)
        else:
            self.stop(reason)

    def stop(self, reason: str, retry_after: float | None = None, *, outage: bool = False) -> None:
        """
        Send nothing more.

        :param reason: what is said of the purchases that were not reached; the first one given counts
        :param retry_after: seconds that Lucca asked to wait
        :param outage: whether waiting may be all that it takes
        """
        if self.stopped is None:
            self.stopped = Stop(reason, retry_after, outage)
            log.warning("Stopping, nothing more is sent: %s", reason)

    # -- before a wait, and at the end -------------------------------------------------------------------------------

    def leave(self, now: float) -> dict[str, Any] | None:
        """
        Commit everything before the worker is left. Nothing may be in flight.

        :param now: the present moment
        :return: what the deferral's event must bring along, as JSON; ``None`` if the wait has to be made in the worker
        """
        if self._agenda.expiries:
            # A busy queue must not make that go on for ever.
            log.info("Waiting in the worker: what was read before the last wait had become too old after it.")
            return None
        wait, attempt = self._snapshot(now), self.journal.attempt
        if len(json.dumps(wait)) > MAX_WAIT_SIZE:
            log.info(TOO_MUCH)
            return None
        if not self._commit(last=True, wait=wait, may_stop=False):
            return None
        self._agenda.intended.clear()
        self._health.say_wait(now, self._health.ready_at)
        # With its moment, so that no older wait is taken for it where a key of the store was deleted.
        event: dict[str, Any] = {"try": attempt.number, "at": now}
        if not self.journal.is_kept:
            event |= {"max_tries": attempt.max_tries, "records": self.journal.fold(), "wait": wait}
        return event

    def end(self) -> Report:
        """
        Decide what is left, and commit everything. Whether that succeeded is told by :attr:`is_kept`.

        :return: the report
        """
        if not self._has_begun:
            # An interruption came before the run began: what the journal knows belongs into the report all the same.
            self._begin(0.0)
        for purchase_id in self.purchase_ids:
            if purchase_id not in self.decisions:
                # The reason why the run stopped has been logged, and is the same for all.
                known = "" if self.stopped is None else self.stopped.reason
                self.decisions.decide(purchase_id, self._unfinished(purchase_id), known=known)
        self.is_kept = self._commit(last=True)
        return self.report()

    def report(self) -> Report:
        """Build the report as things stand: what is not decided is ``unresolved``."""
        decisions = {
            purchase_id: self.decisions.get(purchase_id) or self._unfinished(purchase_id)
            for purchase_id in self.purchase_ids
        }
        return build_report(self.purchase_ids, decisions)

    @property
    def outage(self) -> bool:
        """Whether waiting may be all that it takes for what is unresolved at the end."""
        if self.stopped is not None:
            return self.stopped.outage
        return all(decision.outage for decision in self.decisions.unresolved().values())

    def _commit(self, *, may_stop: bool = True, **records: Any) -> bool:
        try:
            self.journal.commit(**records)
        except ReplacedError as error:
            self.stop(f"another try of this task has taken over ({error})")
            return False
        except Exception as error:
            log.exception("The journal could not be written.")
            if may_stop:
                self.stop(f"the journal could not be written ({type(error).__name__})")
            return False
        return True

    # -- beginning ---------------------------------------------------------------------------------------------------

    def _begin(self, now: float) -> None:
        attempt, journal = self.journal.attempt, self.journal
        asked = set(self.purchase_ids)
        for purchase_id, decision in journal.decisions.items():
            if purchase_id in asked:
                self.decisions.recall(purchase_id, decision, told=attempt.resumed)
        wait = Wait.read(journal.wait, asked, now)
        if wait is not None:
            self._restore(wait)
        else:
            for purchase_id in journal.sent:
                self._window.add(now)
                if purchase_id in asked:
                    self._agenda.put(purchase_id, Purchase(ready_at=now, maybe=True))
            if not attempt.first or not journal.is_empty:
                self._settled_at = now + SETTLE_SECONDS
            self._agenda.fill(self.purchase_ids, self.decisions)
        self._has_begun = True

    def _restore(self, wait: Wait) -> None:
        self._health, self._listing.reader, self._settled_at = wait.health, wait.reader, wait.settled_at
        for moment in wait.window:
            self._window.add(moment)
        for purchase_id, decision in wait.unresolved.items():
            self.decisions.recall(purchase_id, decision, told=True)
        for purchase_id, purchase in wait.purchases.items():
            if purchase_id not in self.decisions:
                self._agenda.put(purchase_id, purchase)
        self._agenda.fill(self.purchase_ids, self.decisions, singly=wait.singly, later=wait.later)

    def _snapshot(self, now: float) -> dict[str, Any]:
        # More readings than that are too old before their turn comes.
        worth = int(self._window.limit * READING_AGE / self._window.seconds) + 1
        open_ids = self._agenda.open_ids()
        purchases = {purchase_id: self._agenda[purchase_id] for purchase_id in open_ids[:worth]}
        purchases |= {each: known for each, known in self._agenda.items() if known.read_at is None or known.sends}
        return Wait(
            at=now,
            settled_at=self._settled_at,
            window=self._window.answers(),
            health=self._health,
            reader=self._listing.reader,
            singly=self._agenda.is_read_singly,
            later=self._agenda.is_read_later or len(open_ids) > worth,
            purchases=purchases,
            unresolved=self.decisions.unresolved(),
        ).carry()

    # -- choosing ----------------------------------------------------------------------------------------------------

    def _choose(self, now: float) -> Step | Pause | None:
        candidate = self._candidate(now)
        if candidate is None:
            return Pause(None) if self._in_flight else None
        step, ready = candidate
        if self._health.careful and self._in_flight:
            return Pause(None)
        room = self._window.room_at(now)
        if room is None:
            return Pause(None)
        when = max(ready, self._settled_at, self._health.ready_at, room)
        if when <= now:
            return step
        if not self._may_leave:
            # Clocks that differ could make a task leave for ever.
            return Pause(when)
        # What has to settle is waited for in the worker: the clocks of two of them are not compared.
        back = self._health.ready_at
        if room > now:
            left = len(self.purchase_ids) - len(self.decisions)
            back = max(back, room, self._window.burst_at(now, left, BURST_SPREAD * self._window.seconds))
        return Pause(when, back)

    def _candidate(self, now: float) -> tuple[Step, float] | None:
        """Find the next step and when it may be taken, whatever the limit says."""
        if self._health.access.probe_due:
            is_asked = any(step.kind is Kind.PROBE for step in self._in_flight)
            return None if is_asked else (Step(Kind.PROBE), now)
        if self._agenda.renew(now):
            self._listing.begin_anew()
        if self._agenda.expiries >= MAX_EXPIRIES:
            self.stop("the rate limit leaves no time to close a purchase within ten minutes of reading its state")
            return None
        if self._agenda.unlisted and not self._agenda.is_pressed:
            # A page is asked for alone: what it tells is then newer than anything else that is known.
            if self._in_flight:
                return None
            if self._listing.is_worth_reading(len(self._agenda.unlisted)):
                return Step(Kind.LIST, page=self._listing.page), now
            self._agenda.read_singly()
        return self._agenda.next(now)

    def _send(self, step: Step, now: float) -> bool:
        """Note a step as on its way. Before a closing its intent is written, together with those that come next."""
        if step.kind is Kind.CLOSE:
            if step.purchase_id not in self._agenda.intended:
                group = self._agenda.group()
                if not self._commit(intents=group):
                    return False
                self._agenda.intended.update(group)
                if self.stopped is not None:
                    return False
            self.journal.used(step.purchase_id)
        self._in_flight[step] = _Sent(self._agenda[step.purchase_id], now)
        self._window.sent()
        self._agenda.take(step)
        self._may_leave = True
        return True

    # -- taking answers ----------------------------------------------------------------------------------------------

    def _judge(self, step: Step, answer: object, now: float) -> None:
        """Learn from an answer about the server and the key, whichever purchase it was about."""
        stop = self._health.take(answer, now, closing=step.kind is Kind.CLOSE)
        access = self._health.access
        if stop is None:
            match step.kind:
                case Kind.CLOSE:
                    stop = access.take_closing(answer)
                case Kind.READ:
                    stop = access.take_reading(answer)
                case Kind.PROBE:
                    stop = access.take_probe(answer)
        if stop is not None:
            self.stop(stop.reason, stop.retry_after, outage=stop.outage)
        elif access.proven and self._held:
            for held in self._held:
                self._take(*held)
            self._held.clear()

    def _take(self, step: Step, sent: _Sent, answer: object, now: float) -> None:
        """Let an answer change what is known of what it is about."""
        if shows_no_effect(step.kind, answer):
            self.journal.unused(step.purchase_id)
        known: dict[int, Purchase | Decision] = {}
        if step.kind is Kind.LIST:
            known = self._listing.take(answer, sent.at, self._agenda)
            if known:
                self._health.access.forbidden_reads = -1
        elif step.kind is Kind.CLOSE:
            known[step.purchase_id] = closing_answered(sent.purchase, answer, now)
            if isinstance(answer, LuccaInDoubtError):
                log.warning("Purchase %s: checking its state in %.0f s. %s", step.purchase_id, SETTLE_SECONDS, answer)
        elif step.kind is Kind.READ:
            known[step.purchase_id] = reading_answered(sent.purchase, answer, sent.at, now)
        for purchase_id, what in known.items():
            if isinstance(what, Decision):
                self.decisions.decide(purchase_id, what)
                self._agenda.drop(purchase_id)
            else:
                self._agenda.put(purchase_id, what, first=step.kind is Kind.CLOSE)

    # -- outcomes ----------------------------------------------------------------------------------------------------

    def _unfinished(self, purchase_id: int) -> Decision:
        why = self.stopped.reason if self.stopped else "the run did not get that far"
        return undecided(self._agenda[purchase_id], why, in_flight=Step(Kind.CLOSE, purchase_id) in self._in_flight)
