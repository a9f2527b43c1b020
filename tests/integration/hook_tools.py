"""What the tests of the hook and of its client share."""

from __future__ import annotations

import copy
import pickle
import traceback
from collections.abc import Callable

import pytest

from lucca_provider.exceptions import LuccaError
from lucca_provider.hooks.lucca import LuccaHook
from lucca_provider.limits import Clock

__all__ = ["AUTHORIZATION", "KEY", "Connect", "FastClock", "close", "failure_of"]

KEY = "b5c1-4f7e-KEY"
AUTHORIZATION = f"lucca application={KEY}"

Connect = Callable[..., LuccaHook]


class FastClock(Clock):
    """A clock on which time passes by sleeping, and in no time."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def close(hook: LuccaHook, purchase_id: int = 12) -> None:
    """Make the one request of a closing."""
    hook.client.close_purchase(purchase_id, comment=None, closing_date=None)


def failure_of(call: Callable[[], object]) -> LuccaError:
    """Return what a call raised, having looked for the key wherever a person or a log might see it."""
    with pytest.raises(LuccaError) as caught:
        call()
    error = caught.value
    assert error.__cause__ is error.__context__ is None
    shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    for text in (shown, repr(error), repr(vars(error)), repr(pickle.dumps(error)), str(copy.copy(error))):
        assert KEY not in text
    assert str(error).isprintable()
    return error
