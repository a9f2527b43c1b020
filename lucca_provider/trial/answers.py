"""What a trial keeps of answers, and how it describes them without repeating a word of theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lucca_provider.exceptions import (
    LuccaAccessError,
    LuccaError,
    LuccaForbiddenError,
    LuccaNotSentError,
    LuccaUnclearError,
)
from lucca_provider.reading.counts import say_count
from lucca_provider.reading.states import KNOWN_STATES

__all__ = ["Answer", "Head", "Source", "state_of"]


@dataclass(frozen=True, slots=True)
class Head:
    """
    What the head of an answer said, in words of our own.

    :param call: which call it answered, such as ``purchases``
    :param status: its HTTP status
    :param seconds: how long it took until it began
    :param kind: what its body claims to be, such as ``JSON``
    :param size: bytes of its body as it said; ``None`` if it did not
    :param retry_after: form of its ``Retry-After``; ``None`` if it had none
    :param correlation_id: ``repeated`` or ``its own``; ``None`` if it had none
    :param has_cf_ray: whether it had a ``CF-RAY``
    :param deprecation: what it said of the call's end; ``None`` if nothing
    """

    call: str
    status: int
    seconds: float
    kind: str
    size: int | None = None
    retry_after: str | None = None
    correlation_id: str | None = None
    has_cf_ray: bool = False
    deprecation: str | None = None


class Source(Protocol):
    """The tenant that is tried. Its calls raise :class:`~lucca_provider.exceptions.LuccaError`, and nothing else."""

    @property
    def heads(self) -> Sequence[Head]:
        """What the heads of all answers so far said."""

    @property
    def requests(self) -> int:
        """How many requests were made."""

    @property
    def environment(self) -> str:
        """Which environment it is, such as ``test``; no host name."""

    @property
    def may_be_closed_in(self) -> bool:
        """Whether a purchase may be closed there to see what happens."""

    def probe(self) -> None:
        """Make the cheapest call."""

    def get_page(self, path: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """
        Return the JSON of a page of a list.

        :param path: of the list
        :param params: query parameters
        """

    def get_purchase(self, purchase_id: int) -> dict[str, Any]:
        """Return the JSON of a purchase."""

    def close_purchase(self, purchase_id: int) -> None:
        """Close a purchase."""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What came of one request.

    :param value: JSON of a clear yes
    :param error: what was raised in its place
    :param head: the head of the answer; ``None`` if none came
    :param not_asked: why nothing was sent; ``None`` if something was
    """

    value: Any = None
    error: LuccaError | None = None
    head: Head | None = None
    not_asked: str | None = None

    @property
    def is_yes(self) -> bool:
        """Whether it was a clear yes."""
        return self.error is None and self.not_asked is None

    @property
    def right(self) -> str:
        """Whether the key has the right to ask this."""
        if self.is_yes:
            return "yes"
        return "no (403)" if isinstance(self.error, LuccaForbiddenError) else f"not known ({self.words})"

    @property
    def words(self) -> str:
        """What it was."""
        if self.not_asked is not None:
            return f"not asked: {self.not_asked}"
        if self.head is None:
            return _say_silence(self.error)
        size = "" if self.head.size is None else f" of {say_count(self.head.size, 'byte')}"
        parts = [str(self.head.status), f"{self.head.kind}{size}"]
        return ", ".join(parts if self.error is None else parts + _judge(self.error))


def _say_silence(error: LuccaError | None) -> str:
    if isinstance(error, LuccaNotSentError):
        return "no connection"
    return "no connection that can be trusted" if isinstance(error, LuccaAccessError) else "no answer"


def _judge(error: LuccaError) -> list[str]:
    said = [name for name in ("title", "detail", "errors") if getattr(error, name)]
    parts = [f"with {' and '.join(said)}"] * bool(said)
    if error.web_page:
        parts.append("a web page")
    status = error.status or 0
    if 300 <= status < 400:
        parts.append("a redirect")
    elif isinstance(error, LuccaUnclearError):
        parts.append("no clear yes")
    elif 200 <= status < 300:
        parts.append("broken off")
    return parts


def state_of(purchase: Answer) -> str | None:
    """
    Return the state of a purchase, if it is one that Lucca documents, and words otherwise.

    :param purchase: the answer to reading it
    :return: ``None`` if it could not be read
    """
    if not purchase.is_yes:
        return None
    state = purchase.value.get("state")
    if not isinstance(state, str) or not state:
        return "no state"
    return state if state in KNOWN_STATES else "a state that this version does not know"
