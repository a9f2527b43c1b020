"""The table: a row for each claim, printed and written into the docs between two marks."""

from __future__ import annotations

import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
START, END = "<!-- the table: python -m benchmarks -->\n", "<!-- the end of the table -->"


@dataclass(frozen=True)
class Row:
    """
    One measured claim.

    :param key: letter of the claim
    :param what: what was measured
    :param figure: what came out
    :param target: what it should be at most
    :param reached: whether it is; ``None`` for a figure that is only told
    :param day: when it was measured, ``YYYY-MM-DD``
    """

    key: str
    what: str
    figure: str
    target: str = "–"
    reached: bool | None = None
    day: str = field(default_factory=lambda: time.strftime("%Y-%m-%d"))

    def __str__(self) -> str:
        """Return the line of the table."""
        said = {True: "reached", False: "**missed**", None: "–"}[self.reached]
        return f"| {self.key} | {self.what} | {self.figure} | {self.target} | {said} | {self.day} |"


def at_most(key: str, what: str, value: float, target: float, *, told: str, unit: str = " ×") -> Row:
    """Make a row for a value that should not be above its target."""
    return Row(key, what, f"{value:.3f}{unit} ({told})", f"≤ {target:g}{unit}", value <= target)


def render(rows: Sequence[str], setting: str) -> str:
    """
    Return the table in Markdown, with what it was measured on.

    :param rows: its lines
    :param setting: what else is to be said of it
    """
    from airflow import __version__ as airflow_version

    python = f"Python {platform.python_version()}, Airflow {airflow_version}, {platform.system()}"
    head = "|   | Measured | Figure | Target | | On |\n|---|---|---|---|---|---|"
    return "\n".join([f"{os.cpu_count()} cores, {python}. {setting}\n", head, *rows]) + "\n"


def write(rows: Sequence[Row], setting: str) -> None:
    """Put rows into the table of the docs, in the place of those with the same letters."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(START)
    table, _, after = rest.partition(END)
    measured = {row.key for row in rows}
    kept = [line for line in table.splitlines() if re.match(r"\| [a-z] \|", line) and line[2] not in measured]
    text = render(sorted([*kept, *map(str, rows)], key=lambda line: line[2]), setting)
    PAGE.write_text(f"{before}{START}\n{text}\n{END}{after}", encoding="utf-8")


def seconds(work: Callable[[], object]) -> float:
    """Time one piece of work."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def medians(repeats: int, *works: Callable[[], object], before: Callable[[], object]) -> list[float]:
    """
    Time pieces of work in turn, so that the machine's noise meets them all, and return the median of each.

    :param before: done before each, and not timed
    """

    def timed(work: Callable[[], object]) -> float:
        before()
        return seconds(work)

    rounds = [[timed(work) for work in works] for _ in range(repeats)]
    return [statistics.median(times) for times in zip(*rounds, strict=True)]
