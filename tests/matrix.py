"""Print what ``make test-matrix`` found: ``python tests/matrix.py RUN…``; fails if a run failed or has no results."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

RESULTS = Path(".airflow")
SAY_VERSIONS = "import platform, importlib.metadata as m; print(m.version('apache-airflow'), platform.python_version())"
ROW = "{:<16} {:>8} {:>7} {:>7} {:>7} {:>8} {:>8}"


def row(run: str) -> tuple[list[str], bool]:
    """Return a run's row of the table, and whether everything went well."""
    try:
        suite = ElementTree.parse(RESULTS / f"{run}.xml").getroot()[0]  # noqa: S314 - pytest wrote it
    except FileNotFoundError:
        return [run, "", "", "", "", "", "no tests"], False
    tests, skipped, failed = (int(suite.attrib[name]) for name in ("tests", "skipped", "failures"))
    failed += int(suite.attrib["errors"])
    versions = subprocess.check_output([f".venv/{run}/bin/python", "-c", SAY_VERSIONS], text=True).split()
    passed = tests - skipped - failed
    counts = [str(passed), str(failed), str(skipped), f"{float(suite.attrib['time']):.0f}"]
    return [run, *versions, *counts], passed > 0 and not failed


def main() -> None:
    table = [row(run) for run in sys.argv[1:]]
    print(ROW.format("run", "Airflow", "Python", "passed", "failed", "skipped", "seconds"))
    for cells, _ in table:
        print(ROW.format(*cells))
    sys.exit(not all(well for _, well in table))


if __name__ == "__main__":
    main()
