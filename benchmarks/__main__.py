"""The command line: ``python -m benchmarks`` measures every row, ``python -m benchmarks c d`` some of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from benchmarks.table import Row, render, write

WINDOW = 60.0
"""Seconds of Lucca's own window."""


def main() -> int:
    """Measure, print, and, in real time, write what was measured into the table of the docs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what the project claims.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="a to h; all of them by default, about 25 minutes")
    parser.add_argument(
        "--window", type=float, default=WINDOW, metavar="SECONDS", help="shorten the limit's window (%(default)s)"
    )
    options = parser.parse_args()
    wanted = set(options.rows) or set("abcdefgh")
    if not wanted <= set("abcdefgh"):
        parser.error("rows are letters from a to h")
    rows: list[Row] = []
    for letters, measure in _measures(options.window).items():
        if wanted & set(letters):
            print(f"Measuring {', '.join(letters)} …", file=sys.stderr)
            rows += [row for row in measure() if row.key in wanted]
    rows.sort(key=lambda row: row.key)
    print(render([str(row) for row in rows], _setting(options.window)))
    if options.window == WINDOW:
        write(rows, _setting(options.window))
    return 0


def _measures(window: float) -> dict[str, Callable[[], list[Row]]]:
    from benchmarks.checking import checking
    from benchmarks.lightness import imports, memory
    from benchmarks.overhead import with_latency, without_latency
    from benchmarks.pace import pace
    from benchmarks.rivals import rivals

    return {
        "c": with_latency,
        "d": without_latency,
        "f": imports,
        "g": memory,
        "h": checking,
        "e": lambda: rivals(window),
        "ab": lambda: pace(window),
    }


def _setting(window: float) -> str:
    if window == WINDOW:
        return "The limit's window was Lucca's own, 60 seconds."
    return (
        f"The limit's window was shortened from 60 to {window:g} seconds, by a factor of {WINDOW / window:g}; "
        "a burst, a resumption and a worker's start were not, so rows a and b look worse than in real time."
    )


if __name__ == "__main__":
    sys.exit(main())
