"""
Health: what one answer says about the whole run, whichever purchase it was about.

It says whether to go on, to wait, to send one request at a time, to probe the host first, or to stop. This is the only
place that knows how a 429 is waited for; the run and every single call of the hook follow it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from lucca_provider.exceptions import (
    LuccaAccessError,
    LuccaError,
    LuccaForbiddenError,
    LuccaInDoubtError,
    LuccaNotFoundError,
    LuccaNotSentError,
    LuccaRefusedError,
    LuccaThrottledError,
    LuccaUnclearError,
)

__all__ = ["MAX_READS", "MAX_WAIT", "Access", "Health", "Outage", "Stop", "Throttle", "backoff", "say_failure"]

log = logging.getLogger(__name__)

MAX_READS = 4
"""Reads in a row without a clear answer, for one purchase or one page."""
MAX_WAIT = 600.0
"""Seconds of waiting that Lucca may ask for in a row; what goes beyond is left to the task's retry."""
MAX_FAILURES = 10
"""Requests in a row without a clear answer, whatever they were about: the server is down."""
DEFAULT_WAIT = 10.0
"""Seconds to wait after a 429 that does not say how long."""
SHORTEST = 0.9
"""Seconds of a wait of which something is logged."""
STREAK = 5
"""403s in a row, with nothing achieved, that say more about the key than about purchases."""


def backoff(failures: int) -> float:
    """
    Return the seconds before something is read again.

    :param failures: reads in a row without a clear answer
    """
    return 2.0 ** (failures - 1)


def say_failure(error: LuccaError) -> str:
    """
    Say what came instead of a clear answer.

    :param error: of the request
    """
    return "No connection" if isinstance(error, LuccaNotSentError) else "No clear answer"


@dataclass(frozen=True, slots=True)
class Stop:
    """
    Nothing more is to be sent.

    :param reason: why, for the report
    :param retry_after: seconds that Lucca asked to wait, if that is why
    :param outage: whether waiting may be all that it takes
    """

    reason: str
    retry_after: float | None = None
    outage: bool = False


@dataclass(slots=True)
class Throttle:
    """
    How a 429 is waited for: as long as Lucca asks, up to :data:`MAX_WAIT` of such waiting in a row.

    What counts is the waiting that was asked for, not the time that passed: a busy worker queue uses up nothing.

    :param pauses: pauses in a row; the 429s of one burst make one
    :param waited: seconds of waiting that these pauses come to
    :param until: when the pause is over
    :param closing: whether a closing is among what was answered with 429 in a row
    """

    pauses: int = 0
    waited: float = 0.0
    until: float = 0.0
    closing: bool = False

    def take(self, error: LuccaThrottledError, now: float, *, closing: bool = False) -> Stop | None:
        """
        Begin a pause, or go on with the one that a burst has begun.

        :param error: the 429
        :param now: when it came
        :param closing: whether it was the answer to a closing
        """
        self.closing |= closing
        if now >= self.until:
            self.pauses += 1
        asked = error.retry_after
        # A server that always asks for no time at all is still given more and more.
        wait = DEFAULT_WAIT if asked is None else max(asked, min(2.0 ** min(self.pauses - 1, 6), 60.0))
        until = now + wait
        more = until - max(now, self.until)
        if self.waited + more > MAX_WAIT:
            return Stop(_throttled_for(self.waited, wait), retry_after=wait, outage=True)
        if more > 0:
            self.waited, self.until = self.waited + more, until
        return None

    def clear(self, *, closing: bool = False) -> None:
        """
        Take note of any other answer: the pauses were not in a row.

        Where closings get 429 and readings are answered, only a closing counts; a run would not end otherwise.

        :param closing: whether it was the answer to a closing
        """
        self.pauses = 0
        if closing or not self.closing:
            self.waited, self.closing = 0.0, False


def _throttled_for(waited: float, wait: float) -> str:
    if waited:
        return f"other clients use up the tenant's rate limit: Lucca answered only 429 during {waited:.0f} s of waiting"
    return f"the tenant's rate limit is used up: Lucca asks to wait {wait:.0f} s (429)"


@dataclass(slots=True)
class Outage:
    """
    How often in a row nobody gave a clear answer: no connection, no answer, a broken one, 408 or 5xx.

    :param failures: in a row; those of one burst count once
    :param until: when the next request may be sent
    :param what: the last one, in words
    """

    failures: int = 0
    until: float = 0.0
    what: str = field(default="No clear answer", compare=False)

    def take(self, error: LuccaInDoubtError | LuccaNotSentError, now: float) -> Stop | None:
        """
        Count a failure, and wait longer after each.

        :param error: what came instead of an answer
        :param now: when it came, or when the request was given up
        """
        if now >= self.until:
            self.failures += 1
        if self.failures >= MAX_FAILURES:
            why = f"({self.failures} requests in a row got no clear answer). The last: {error}"
            # Where nothing can have been sent, the connection may be wrong.
            return Stop(f"Lucca is down {why}", outage=error.outage or not isinstance(error, LuccaNotSentError))
        wait = max(min(0.5 * 2 ** (self.failures - 2), 8.0) if self.failures > 1 else 0.0, error.retry_after or 0.0)
        if wait > MAX_WAIT:
            return Stop(f"Lucca is down and asks to wait {wait:.0f} s", retry_after=wait, outage=True)
        if now + wait > self.until:
            self.until = now + wait
        self.what = say_failure(error)
        return None

    def clear(self) -> None:
        """Take note of a clear answer."""
        self.failures = 0


@dataclass(slots=True)
class Access:
    """
    What is known of the host and the key.

    Until the API has given one clear answer, a 404 or a web page may mean a wrong host. It decides nothing then: a
    probe is due.

    :param proven: whether something at this host has answered as Lucca's API does
    :param probe_due: whether nothing else may be sent before a probe has answered
    :param forbidden_reads: 403s in a row to readings; -1 once anything was read
    :param forbidden_closings: 403s in a row to closings; -1 once anything was closed
    """

    proven: bool = False
    probe_due: bool = False
    forbidden_reads: int = 0
    forbidden_closings: int = 0

    def is_undecided(self, answer: object) -> bool:
        """
        Return whether an answer may come from a wrong host.

        :param answer: a value, or an error
        """
        if self.proven or not isinstance(answer, (LuccaRefusedError, LuccaUnclearError)):
            return False
        return isinstance(answer, LuccaNotFoundError) or answer.web_page

    def take(self, answer: object) -> None:
        """
        Learn from an answer about the host.

        :param answer: a value, or an error
        """
        if self.is_undecided(answer):
            self.probe_due = True
        elif not isinstance(answer, Exception) or isinstance(answer, LuccaRefusedError):
            self.proven, self.probe_due = True, False

    def take_probe(self, answer: object) -> Stop | None:
        """
        Learn from the answer to a probe.

        :param answer: a value, or an error that is neither a 429 nor an outage
        """
        # Another answer may have proven the host while the probe was on its way.
        if not self.proven and (self.is_undecided(answer) or isinstance(answer, LuccaUnclearError)):
            return Stop(f"Lucca Invoices does not answer there: check the connection's Tenant (host). {answer}")
        self.take(answer)
        return None

    def take_reading(self, answer: object) -> Stop | None:
        """
        Count 403s to readings.

        :param answer: what came of reading one purchase
        """
        self.forbidden_reads, stop = _streak(self.forbidden_reads, answer, "view purchases")
        return stop

    def take_closing(self, answer: object) -> Stop | None:
        """
        Count 403s to closings.

        :param answer: what came of one closing
        """
        right = "manage invoices and payments of approved purchases"
        self.forbidden_closings, stop = _streak(self.forbidden_closings, answer, right)
        return stop


def _streak(count: int, answer: object, right: str) -> tuple[int, Stop | None]:
    if not isinstance(answer, Exception):
        return -1, None
    if count < 0 or not isinstance(answer, LuccaRefusedError):
        return count, None
    count = count + 1 if isinstance(answer, LuccaForbiddenError) else 0
    if count < STREAK:
        return count, None
    return count, Stop(f"the API key's role lacks the right to {right} ({count} requests in a row got a 403). {answer}")


@dataclass(slots=True)
class Health:
    """
    The three together.

    :param throttle: what is known of 429s
    :param outage: of missing answers
    :param access: of the host and the key
    :param said: until when a wait was logged
    """

    throttle: Throttle = field(default_factory=Throttle)
    outage: Outage = field(default_factory=Outage)
    access: Access = field(default_factory=Access)
    said: float = field(default=0.0, compare=False)

    def take(self, answer: object, now: float, *, closing: bool = False) -> Stop | None:
        """
        Learn from any answer.

        :param answer: a value, or an error
        :param now: when it came, or when the request was given up
        :param closing: whether it was the answer to a closing
        :return: why nothing more may be sent, if so
        """
        if isinstance(answer, LuccaThrottledError):
            return self.throttle.take(answer, now, closing=closing)
        self.throttle.clear(closing=closing)
        # A whole answer with a success is no sign of a sick server, whatever it says.
        if isinstance(answer, (LuccaInDoubtError, LuccaNotSentError)) and not isinstance(answer, LuccaUnclearError):
            return self.outage.take(answer, now)
        self.outage.clear()
        if isinstance(answer, LuccaAccessError):
            return Stop(str(answer))
        self.access.take(answer)
        return None

    @property
    def ready_at(self) -> float:
        """When the next request may be sent; a moment in the past if at once."""
        return max(self.throttle.until, self.outage.until)

    def say_wait(self, now: float, until: float) -> None:
        """
        Log why nothing is sent for a while, once for each pause. For whoever makes the wait: it may not be made at all.

        :param now: the present moment
        :param until: when the next request is sent
        """
        ready = self.ready_at
        if ready - now < SHORTEST or ready <= self.said:
            return
        self.said = ready
        why = "Rate limit of the tenant used up (429)"
        if self.outage.until > self.throttle.until:
            why = f"{self.outage.what} ({self.outage.failures} of {MAX_FAILURES} in a row)"
        log.info("%s; trying again in %.0f s.", why, until - now)

    @property
    def careful(self) -> bool:
        """Whether requests go out one at a time, until one has been answered well."""
        return self.throttle.pauses > 0 or self.outage.failures > 1

    def carry(self) -> list[float]:
        """Return what the process that goes on after a wait must know, as JSON."""
        throttle, outage, access = self.throttle, self.outage, self.access
        return [
            throttle.pauses,
            throttle.waited,
            throttle.until,
            throttle.closing,
            outage.failures,
            outage.until,
            access.proven,
            access.probe_due,
            access.forbidden_reads,
            access.forbidden_closings,
        ]

    @classmethod
    def restore(cls, carried: Sequence[float], now: float) -> Health:
        """
        Go on with what :meth:`carry` returned.

        :param carried: what was carried
        :param now: the present moment; the other process may have had another clock, so no pause is longer than one
            that Lucca may ask for
        """
        pauses, waited, until, closing, failures, outage, proven, probe_due, reads, closings = carried
        return cls(
            Throttle(int(pauses), float(waited), min(float(until), now + MAX_WAIT), bool(closing)),
            Outage(int(failures), min(float(outage), now + MAX_WAIT)),
            Access(bool(proven), bool(probe_due), int(reads), int(closings)),
        )
