"""
Says what the mutants of `make mutation` came to, and compares those that no test noticed with the list of known ones.

Fails if fewer than 90 % were killed, if not all were run, or if one survived for which ``survivors.txt`` has no reason.
There each reason stands after a ``#``, and below it the changes, or functions of which no change matters here.
"""

from __future__ import annotations

import ast
import difflib
import json
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
KNOWN = Path(__file__).with_name("survivors.txt")
WANTED = 90.0
# pytest's exit codes, and mutmut's own for a mutant that took too long.
KILLED, TIMED_OUT, NOT_RUN = (1, 3), (36, 24, -24, 152, 255), (None, 2)


def main() -> int:
    results: dict[str, Counter[str]] = {}
    survivors: Counter[str] = Counter()
    for meta in sorted((ROOT / "mutants").rglob("*.py.meta")):
        codes = json.loads(meta.read_text())["exit_code_by_key"]
        if codes:
            source = meta.with_suffix("")
            module = str(source.relative_to(ROOT / "mutants"))
            results[module] = Counter(verdict(code) for code in codes.values())
            survivors.update(changes(source, [name for name, code in codes.items() if verdict(code) == "survived"]))
    total = sum(results.values(), Counter())
    print(f"{'module':<36}{'killed':>8}{'too slow':>10}{'survived':>10}{'not run':>9}{'percent':>9}")
    for module, counts in [*results.items(), ("all", total)]:
        numbers = [counts[which] for which in ("killed", "too slow", "survived", "not run")]
        print("{:<36}{:>8}{:>10}{:>10}{:>9}{:>8.1f}%".format(module, *numbers, percent(counts)))
    lines = [line for line in KNOWN.read_text().splitlines() if line and not line.startswith("#")]
    whole = {line for line in lines if "  " not in line}
    known = Counter(line for line in lines if "  " in line)
    survivors = Counter(line for line in survivors.elements() if line.partition("  ")[0] not in whole)
    unknown, gone = survivors - known, known - survivors
    print(f"{unknown.total()} survivors have no reason in tests/survivors.txt:", *sorted(unknown.elements()), sep="\n")
    print(f"{gone.total()} that have one there did not survive:", *sorted(gone.elements()), sep="\n")
    return int(percent(total) < WANTED or bool(unknown) or bool(total["not run"]))


def verdict(code: int | None) -> str:
    """A mutant that no test reaches, or that ends in a crash, counts as one that survived."""
    if code in NOT_RUN:
        return "not run"
    return "killed" if code in KILLED else "too slow" if code in TIMED_OUT else "survived"


def percent(counts: Counter[str]) -> float:
    """One that took too long was noticed: the tests would have hung."""
    killed = counts["killed"] + counts["too slow"]
    return 100 * killed / max(1, killed + counts["survived"])


def changes(source: Path, names: list[str]) -> list[str]:
    """Say what each mutant changed, without line numbers and mutmut's numbers: those change with every edit."""
    text = source.read_text()
    lines = text.splitlines()
    bodies = {
        node.name: [line.strip() for line in lines[node.lineno - 1 : node.end_lineno]]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef)
    }
    found = []
    for name in names:
        module, _, mutant = name.rpartition(".")
        function, _, _ = mutant.rpartition("__mutmut_")
        original = f"{function}__mutmut_orig"
        *of_class, plain = function.removeprefix("xǁ").removeprefix("x_").split("ǁ")
        old = [line.replace(original, plain) for line in bodies[original]]
        new = [line.replace(mutant, plain) for line in bodies[mutant]]
        diff = [line for line in difflib.ndiff(old, new) if line[0] in "-+"]
        shown = ".".join([module.removeprefix("lucca_provider."), *of_class, plain])
        found.append(f"{shown}  {' '.join(' '.join(diff).split())}")
    return found


if __name__ == "__main__":
    sys.exit(main())
