"""Faults by name: what can go wrong with a request, how likely, and which request gets which one."""

from __future__ import annotations

import random
import threading
from collections import Counter, UserDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["FAULTS", "FaultPlan", "Faults", "check_fault"]

FAULTS: Mapping[str, str] = {
    "error_before": "500, and the request had no effect",
    "error_after": "500, although the request was carried out",
    "unavailable": "503, and the request had no effect",
    "timeout_before": "408, and the request had no effect",
    "timeout_after": "408, although the request was carried out",
    "drop_before": "the connection is closed without an answer; the request had no effect",
    "drop_after": "the connection is closed without an answer, although the request was carried out",
    "hang": "no answer for a long time, then the connection is closed; the request had no effect",
    "hang_after": "the same, although the request was carried out",
    "login_redirect": "302 to an HTML login page, and the request had no effect",
    "html": "200 with an HTML login page, and the request had no effect",
    "throttle": "429 although there is room in the window, as when others use the tenant",
}
"""Every fault with what it does, in the order in which the command line lists them."""


def check_fault(name: str) -> str:
    """
    Return the name of a fault.

    :param name: the name
    :raises ValueError: if there is no such fault; the message lists those that there are
    """
    if name not in FAULTS:
        raise ValueError(f"unknown fault {name!r}: use one of {', '.join(FAULTS)}")
    return name


class Faults(UserDict[str, float]):
    """
    Probability (0 to 1) by fault name; refuses anything that could not be drawn from.

    :raises ValueError: on an unknown name, a probability outside 0 to 1, or a sum above 1
    """

    def __setitem__(self, name: str, probability: float) -> None:
        check_fault(name)
        if not 0 <= probability <= 1:
            raise ValueError(f"fault {name}: probability {probability!r} is not between 0 and 1")
        total = probability + sum(p for other, p in self.data.items() if other != name)
        if total > 1 + 1e-9:
            raise ValueError(f"fault {name}: the probabilities of all faults add up to {total:g}, above 1")
        super().__setitem__(name, probability)


@dataclass
class _Scripted:
    fault: str
    purchase_id: int | None
    method: str | None
    times: int


class FaultPlan:
    """
    Chooses the fault of each request: scripted ones first, then by chance.

    Chance depends on the seed, the method, the path and how often that path was asked before, and on nothing
    else: the same purchase meets the same fault in whatever order concurrent requests arrive.

    :param faults: probability by name
    :param seed: makes the choice repeatable
    :param everywhere: whether faults hit every request, or closing POSTs only
    """

    def __init__(self, faults: Mapping[str, float], *, seed: int, everywhere: bool) -> None:
        self.faults = Faults(faults)
        self._seed = seed
        self._everywhere = everywhere
        self._asked: Counter[tuple[str, str]] = Counter()
        self._script: list[_Scripted] = []
        self._lock = threading.Lock()

    def script(self, fault: str, *, purchase_id: int | None, method: str | None, times: int) -> None:
        """
        Let the next matching requests meet a fault.

        :param fault: its name
        :param purchase_id: only requests for this purchase
        :param method: requests of this method, wherever faults hit; without it, those that faults hit
        :param times: how many requests
        :raises ValueError: if the fault is unknown or ``times`` is below 1
        """
        if times < 1:
            raise ValueError(f"times is {times}: at least 1 is needed")
        with self._lock:
            self._script.append(_Scripted(check_fault(fault), purchase_id, method, times))

    def choose(self, method: str, path: str, *, purchase_id: int | None, closing: bool) -> str | None:
        """
        Return the name of the fault that a request meets, or ``None``.

        :param method: such as ``POST``
        :param path: without the query
        :param purchase_id: the purchase in the path, if there is one
        :param closing: whether it asks for a closing
        """
        with self._lock:
            for entry in self._script:
                if self._matches(entry, method, purchase_id, closing):
                    entry.times -= 1
                    if not entry.times:
                        self._script.remove(entry)
                    return entry.fault
            if not self.faults or not (closing or self._everywhere):
                return None
            self._asked[method, path] += 1
            key = f"{self._seed} {method} {path} {self._asked[method, path]}"
            chance = random.Random(key).random()  # noqa: S311 - repeatable is what is wanted
            return _draw(tuple(self.faults.items()), chance)

    def _matches(self, entry: _Scripted, method: str, purchase_id: int | None, closing: bool) -> bool:
        if entry.purchase_id is not None and entry.purchase_id != purchase_id:
            return False
        if entry.method is not None:
            return entry.method == method
        return closing or self._everywhere


def _draw(odds: Iterable[tuple[str, float]], chance: float) -> str | None:
    for name, probability in odds:
        chance -= probability
        if chance < 0:
            return name
    return None
