"""``python -m tests.simulation 0-19999``: run schedules, check what must hold, and print what happened."""

from __future__ import annotations

import argparse
import gc
import resource
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.faults import FAULTS
from tests.simulation.schedule import run_schedule

DEFAULT = "0-19999"
CHUNK = 250
"""Seeds that a process takes at once."""
MINIMUM = {"requests": 2_000_000, "kills": 20_000, "deferrals": 20_000}
"""What a default run must come to."""
MINIMUM_FAULTS = 1_000
"""How often each fault must have happened in a default run."""


def run_seeds(seeds: range) -> tuple[Counter[str], list[tuple[int, str, str]]]:
    """
    Run schedules one after the other.

    :param seeds: which
    :return: what happened how often, and seed, name and words of each invariant that did not hold
    """
    counts: Counter[str] = Counter()
    broken = []
    # A schedule leaves no circles behind, so that the garbage collector would only look in vain, again and again.
    gc.disable()
    try:
        for seed in seeds:
            found = run_schedule(seed)
            counts.update(found.counts)
            broken += [(seed, name, how) for name, how in found.broken]
    finally:
        gc.enable()
    return counts, broken


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seeds", nargs="?", default=DEFAULT, help=f"a seed, or a range such as {DEFAULT}")
    parser.add_argument("--trace", action="store_true", help="print what happens, step by step")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    first, _, last = options.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    if options.trace or len(seeds) == 1:
        return trace(seeds)
    began = time.monotonic()
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    counts: Counter[str] = Counter()
    broken: list[tuple[int, str, str]] = []
    with ProcessPoolExecutor(options.processes) as pool:
        for more, failures in pool.map(run_seeds, chunks):
            counts.update(more)
            broken += failures
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    print(f"{len(seeds):,} schedules in {time.monotonic() - began:.0f} s, {used:.0f} s of processor time")
    show(counts)
    missing = find_missing(counts) if options.seeds == DEFAULT else []
    for line in missing:
        print(f"TOO FEW: {line}")
    return tell(broken) or bool(missing)


def trace(seeds: range) -> int:
    """Run each schedule with a trace."""
    broken = []
    for seed in seeds:
        found = run_schedule(seed, tracing=True)
        print(f"--- seed {seed}")
        print("\n".join(found.trace or ()))
        broken += [(seed, name, how) for name, how in found.broken]
    return tell(broken)


def show(counts: Counter[str]) -> None:
    """Print what happened how often."""
    for name, number in sorted(counts.items(), key=lambda item: (":" in item[0], item[0])):
        print(f"  {number:>12,}  {name}")


def find_missing(counts: Counter[str]) -> list[str]:
    """Say what did not happen often enough for the schedules to prove anything."""
    found = [f"{counts[name]:,} {name}, not {least:,}" for name, least in MINIMUM.items() if counts[name] < least]
    for name in sorted(FAULTS):
        number = counts["fault: " + name]
        if number < MINIMUM_FAULTS:
            found.append(f"{number:,} fault: {name}, not {MINIMUM_FAULTS:,}")
    return found


def tell(broken: list[tuple[int, str, str]]) -> int:
    """Print which invariants did not hold, and how to see it again."""
    for name, number in Counter(name for _, name, _ in broken).items():
        print(f"BROKEN in {number} schedules: {name}")
    for seed, name, how in broken[:20]:
        print(f"  {name}: {how[:300]}. Again: make simulate SEEDS={seed}")
    if not broken:
        print("All invariants held.")
    return min(1, len(broken))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
