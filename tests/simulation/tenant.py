"""Lucca: the truth about each purchase, and answers that may be late, lost, odd or wrong."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lucca_provider.closing import Kind, Step
from lucca_provider.exceptions import (
    LuccaAccessError,
    LuccaForbiddenError,
    LuccaInDoubtError,
    LuccaNotFoundError,
    LuccaNotSentError,
    LuccaRefusedError,
    LuccaThrottledError,
    LuccaUnclearError,
)
from tests.simulation.clockwork import Clockwork
from tests.simulation.faults import ODD_PAGES

if TYPE_CHECKING:
    from tests.simulation.process import Process

LATE = 4.99
"""Seconds after it was sent within which a closing takes effect, if it does: Lucca aborts a request after 5."""
WINDOW = 60.0
NEWER = 1_000_000
"""The first id of purchases that are made while a list is read."""

FAULTS = {
    Kind.CLOSE: ("not sent", "lost before", "lost after", "408", "5xx", "unclear success", "429 of others"),
    Kind.READ: ("not sent", "lost", "408", "5xx", "unclear success", "429 of others", "unknown state", "no state"),
    Kind.LIST: ("not sent", "lost", "408", "5xx", "429 of others", "refused list", *("odd page",) * 8),
    Kind.PROBE: ("not sent", "lost", "408", "5xx", "unclear success", "429 of others"),
}


class Truth:
    """One purchase, as Lucca has it."""

    __slots__ = ("closed_at", "closer", "kind", "state")

    def __init__(self, kind: str, state: str | None) -> None:
        self.kind = kind
        """``plain``, or why it is not: ``refusing``, ``gone``, ``hidden``, ``web page`` or ``unreadable``."""
        self.state = state
        self.closer: Closing | None = None
        """The closing of ours that closed it."""
        self.closed_at = 0.0


class Request:
    """A request of a process, on its way."""

    __slots__ = ("asked_at", "closing", "process", "step")

    def __init__(self, process: Process, step: Step, asked_at: float) -> None:
        self.process = process
        self.step = step
        self.asked_at = asked_at
        self.closing: Closing
        """What it does, if it is a POST."""

    def __str__(self) -> str:
        return f"{self.step.kind.value} {self.step.purchase_id or self.step.page or ''}"


class Closing:
    """A POST of ours."""

    __slots__ = ("landed_at", "process", "purchase_id", "read_at", "sent_at", "stale")

    def __init__(self, process: Process, purchase_id: int, sent_at: float, read_at: float, stale: bool) -> None:
        self.process = process
        self.purchase_id = purchase_id
        self.sent_at = sent_at
        self.read_at = read_at
        """When the reading was asked for on which it was sent."""
        self.stale = stale
        """Whether that was a page that Lucca served stale."""
        self.landed_at = 0.0


class Tenant:
    """
    A tenant of Lucca.

    :param clock: the schedule's
    :param limit: requests in a window that it takes from all together
    :param faults: share of requests that go wrong
    :param landed: told each closing that reaches a purchase which is closed already
    """

    def __init__(
        self, clock: Clockwork, *, limit: int, faults: float, landed: Callable[[Closing, Truth], None]
    ) -> None:
        self.clock = clock
        self.truths: dict[int, Truth] = {}
        self.limit = limit
        self.faults = faults
        self.list_faults = 2 * faults
        """Of the requests for pages, of which there are fewer."""
        self.landed = landed
        draw = clock.random
        self.latency = draw.choice((0.01, 0.1, 0.5, 2.0))
        self.page_size = draw.choice((2, 5, 10, 100))
        self.by_token = draw.random() < 0.7
        self.with_count = draw.random() < 0.8
        self.accepts_twice = draw.random() < 0.5
        """Whether a second closing is answered with a yes, or refused."""
        self.stale_for = 0.0
        """Seconds for which pages do not show a closing yet."""
        self.moving = 4 * faults
        """Share of pages, from the second on, before which the list moves."""
        self.newer: list[int] = []
        """Purchases that others have made meanwhile, none of which is asked for: they come first on the list."""
        self.mood = ""
        """What every request is answered with for now: ``5xx``, ``429``, ``web page``, ``401`` or ``""``."""
        self._arrivals: deque[float] = deque()

    # -- on the way ----------------------------------------------------------------------------------------------------

    def send(self, request: Request) -> None:
        """Take a request that a process sends now."""
        clock, kind = self.clock, request.step.kind
        draw = clock.random.random
        fault = ""
        if draw() < (self.list_faults if kind is Kind.LIST else self.faults):
            names = FAULTS[kind]
            fault = names[int(draw() * len(names))]
        there = request.asked_at + draw() * self.latency / 2
        if fault == "not sent":
            clock.fault("not sent")
            clock.at(there, request.process.answer, request, LuccaNotSentError("no connection"))
        else:
            clock.at(there, self._arrive, request, fault)

    def _arrive(self, request: Request, fault: str) -> None:
        if request.asked_at > request.process.ended_at:
            return  # its process was killed while the write before it took its time
        request.process.unit.arrived(request)
        answer = self._unwilling(request, fault)
        if answer is not None:
            self._answer(request, answer)
        elif request.step.kind is Kind.CLOSE:
            self._close(request, fault)
        elif fault and fault in _LOST:
            self._answer(request, self._broken(fault), lost=True)
        elif request.step.kind is Kind.READ:
            self._answer(request, self._read(request.step.purchase_id, fault))
        elif request.step.kind is Kind.LIST:
            self._answer(request, self._page(request, fault))
        else:
            self._answer(request, None)

    def _answer(self, request: Request, answer: object, *, lost: bool = False) -> None:
        draw = self.clock.random.random
        back = draw() * self.latency
        if lost:
            back += draw() * 5
        elif self.faults and draw() < 0.01:
            back += draw() * 8
            self.clock.fault("slow answer")
        self.clock.at(self.clock.now + back, request.process.answer, request, answer)

    def _unwilling(self, request: Request, fault: str) -> Exception | None:
        """Return what is answered whatever the request is about."""
        clock = self.clock
        arrivals, now = self._arrivals, clock.now
        while arrivals and arrivals[0] <= now - WINDOW:
            arrivals.popleft()
        if len(arrivals) >= self.limit:
            clock.fault("429")
            return LuccaThrottledError("429", status=429, retry_after=arrivals[0] + WINDOW - now)
        arrivals.append(now)
        if self.mood:
            clock.fault("all " + self.mood)
            return self._moody()
        if fault == "429 of others":
            clock.fault("429 of others")
            asked = clock.random.choice((None, 0.0, 1.0, 20.0, 60.0, 300.0))
            return LuccaThrottledError("429", status=429, retry_after=asked)
        return None

    def _moody(self) -> Exception:
        if self.mood == "5xx":
            return LuccaInDoubtError("503", status=503, retry_after=self.clock.random.choice((None, None, 5.0, 700.0)))
        if self.mood == "429":
            return LuccaThrottledError("429", status=429, retry_after=self.clock.random.choice((None, 1.0, 30.0)))
        if self.mood == "401":
            return LuccaAccessError("401", status=401)
        return LuccaNotFoundError("a web page", status=404, web_page=True)

    def _broken(self, fault: str) -> Exception:
        self.clock.fault(fault)
        if fault == "unclear success":
            return LuccaUnclearError("a success that is no clear yes", status=200)
        status = {"408": 408, "5xx": 500}.get(fault)
        return LuccaInDoubtError(fault, status=status)

    # -- closing -------------------------------------------------------------------------------------------------------

    def _close(self, request: Request, fault: str) -> None:
        clock, closing = self.clock, request.closing
        truth = self.truths.get(closing.purchase_id)
        refusal = self._refusal(truth)
        if not fault:
            if refusal is None:
                refusal = self._refused_twice(truth)
                self._land(closing)
            self._answer(request, refusal)
            return
        # With and without an effect, which may be late; an answer that is lost may be given up before that.
        late = clock.random.random() * (closing.sent_at + LATE - clock.now) if clock.chance(0.7) else 0.0
        if refusal is None and fault != "lost before" and (fault in ("lost after",) or clock.chance(0.6)):
            if late > 0:
                clock.fault("late effect")
            clock.at(clock.now + max(late, 0.0), self._land, closing)
        self._answer(request, self._broken(fault), lost=fault not in ("unclear success", "5xx"))

    def _refused_twice(self, truth: Truth | None) -> Exception | None:
        if truth is None or truth.state != "Closed" or self.accepts_twice:
            return None
        return LuccaRefusedError("409", status=409, title="It is closed")

    def _refusal(self, truth: Truth | None) -> Exception | None:
        if truth is None or truth.kind == "gone":
            self.clock.fault("404")
            return LuccaNotFoundError("404", status=404, title="Not found")
        if truth.kind == "web page":
            self.clock.fault("web page")
            return LuccaNotFoundError("a web page", status=404, web_page=True)
        if truth.kind == "hidden":
            self.clock.fault("403")
            return LuccaForbiddenError("403", status=403, title="No right")
        if truth.kind == "refusing" and truth.state != "Closed":
            self.clock.fault("422")
            return LuccaRefusedError("422", status=422, title="No", detail="It is incomplete")
        return None

    def _land(self, closing: Closing) -> None:
        """Let a closing take effect."""
        truth = self.truths[closing.purchase_id]
        closing.landed_at = self.clock.now
        if truth.state == "Closed":
            self.landed(closing, truth)
            return
        truth.state, truth.closer, truth.closed_at = "Closed", closing, self.clock.now
        self.clock.counts["closed by tasks"] += 1
        self.clock.say("Lucca: {} is closed by {}", closing.purchase_id, closing.process)

    def close_by_hand(self, purchase_id: int) -> None:
        """Let a person close a purchase."""
        truth = self.truths[purchase_id]
        if truth.state != "Closed":
            truth.state, truth.closed_at = "Closed", self.clock.now
            self.clock.fault("person closes")
            self.clock.say("a person closes {}", purchase_id)

    # -- reading -------------------------------------------------------------------------------------------------------

    def _read(self, purchase_id: int, fault: str) -> object:
        truth = self.truths.get(purchase_id)
        if truth is None or truth.kind in _NOT_SHOWN:
            return self._refusal(truth)
        if truth.kind == "unreadable":
            self.clock.fault("unreadable")
            return LuccaRefusedError("400", status=400, title="Bad request")
        if fault:
            self.clock.fault(fault)
            return "Archived" if fault == "unknown state" else None
        return truth.state

    def shows_closed(self, purchase_id: int) -> bool:
        """Return whether a single reading and a page show a purchase as closed."""
        truth = self.truths.get(purchase_id)
        return (
            truth is not None
            and truth.state == "Closed"
            and truth.kind not in ("gone", "hidden", "web page", "unreadable")
            and truth.closed_at <= self.clock.now - self.stale_for
        )

    def _page(self, request: Request, fault: str) -> object:
        clock = self.clock
        if fault == "refused list":
            clock.fault("refused list")
            return LuccaRefusedError("400", status=400)
        page = request.step.page
        number = 0 if page is None else int(page.removeprefix("p")) - 1
        first = number * self.page_size
        if number and clock.chance(self.moving):
            self._move(first)
            request.process.unit.faults += 1
        shown = self._shown()
        items = [{"id": each, "state": self._listed(each)} for each in shown[first : first + self.page_size]]
        answer: dict[str, Any] = {"items": items}
        if self.with_count:
            answer["count"] = len(shown)
        if self.by_token:
            answer["next"] = f"p{number + 2}" if first + self.page_size < len(shown) else None
        return self._odd(answer) if fault else answer

    def _shown(self) -> list[int]:
        return self.newer + [each for each, truth in self.truths.items() if truth.kind not in _NOT_SHOWN]

    def _move(self, first: int) -> None:
        """Let the last purchases of the page before come once more, and a person close one of them in between."""
        again = self.clock.random.randint(1, self.page_size)
        before = self._shown()[first - again : first]
        self.newer += (NEWER + len(self.newer) + each for each in range(again))
        self.clock.fault("row on two pages")
        still_open = [each for each in before if each < NEWER and self.truths[each].state != "Closed"]
        if still_open:
            self.clock.fault("closed between two pages")
            self.close_by_hand(self.clock.random.choice(still_open))

    def _listed(self, purchase_id: int) -> str | None:
        if purchase_id >= NEWER:
            return "Created"
        truth = self.truths[purchase_id]
        if truth.state == "Closed" and truth.closed_at > self.clock.now - self.stale_for:
            self.clock.fault("stale page")
            return "Ongoing"
        return truth.state

    def _odd(self, answer: dict[str, Any]) -> object:
        items = answer["items"]
        kind = self.clock.random.choice(ODD_PAGES)
        self.clock.fault("odd page, " + kind)
        if kind == "no items":
            del answer["items"]
        elif kind == "no object":
            return items
        elif kind == "no count":
            answer.pop("count", None)
        elif kind == "wrong count":
            answer["count"] = self.clock.random.choice((-1, 0, 1, 7, 1000, "3", None, float("nan")))
        elif kind == "some missing":
            del items[::2]
        elif kind == "twice":
            items.extend(items[:2])
        elif kind == "no states":
            answer["items"] = [{"id": item["id"]} for item in items]
        elif kind == "no ids":
            answer["items"] = [{"state": item["state"]} for item in items]
        else:
            answer["next"] = "p1"
        return answer


_NOT_SHOWN = frozenset({"gone", "hidden", "web page"})
_LOST = frozenset({"lost", "408", "5xx", "unclear success"})
