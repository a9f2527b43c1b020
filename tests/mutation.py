"""
Prints the share of mutants that `make mutation` killed, by module; fails below 92 %, or if not all were run.

It is also a plugin of pytest's, for the run that finds which tests reach which function. There mutmut notes who calls
whom in a context variable, which Python 3.11 loses during these tests, or crashes. Nothing here needs the callers.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

from mutmut.core import MutmutCallStack

MUTANTS = Path(__file__).parents[1] / "mutants"
WANTED = 92.0
# pytest's exit codes, and mutmut's own: for a mutant that took too long, and for one that was not run.
KILLED, TIMED_OUT, NOT_RUN = (1, 3), (36, 24, -24, 152, 255), (None, 2)
COLUMNS = ("killed", "too slow", "survived", "not run")


def pytest_configure() -> None:
    MutmutCallStack.set = MutmutCallStack.reset = lambda _: None


def main(folder: Path = MUTANTS) -> int:
    results: dict[str, Counter[str]] = {}
    for meta in sorted(folder.rglob("*.py.meta")):
        codes = json.loads(meta.read_text())["exit_code_by_key"]
        if codes:
            module = str(meta.with_suffix("").relative_to(folder))
            results[module] = Counter(verdict(code) for code in codes.values())
    total = sum(results.values(), Counter())
    print(f"{'module':<36}{'killed':>10}{'too slow':>10}{'survived':>10}{'not run':>10}{'share':>10}")
    for module, counts in [*results.items(), ("all", total)]:
        print(f"{module:<36}" + "".join(f"{counts[column]:>10}" for column in COLUMNS) + f"{share(counts):>8.1f} %")
    return int(share(total) < WANTED or total["not run"] > 0)


def verdict(code: int | None) -> str:
    """A mutant that no test reaches, or that ends in a crash, counts as one that survived."""
    if code in NOT_RUN:
        return "not run"
    return "killed" if code in KILLED else "too slow" if code in TIMED_OUT else "survived"


def share(counts: Counter[str]) -> float:
    """One that took too long was noticed: the tests would have hung."""
    killed = counts["killed"] + counts["too slow"]
    return 100 * killed / max(1, killed + counts["survived"])


if __name__ == "__main__":
    sys.exit(main())
