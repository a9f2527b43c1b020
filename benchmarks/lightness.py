"""Rows f and g: what the provider costs a DAG file to import, and a worker to remember."""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks.airflow_home import AirflowHome
from benchmarks.table import Row

HTTP_LIBRARIES = ("requests", "urllib3", "httpx", "httpcore", "aiohttp", "http.client")

_IMPORT = """
import sys, time
from airflow.sdk import DAG
before, started = set(sys.modules), time.perf_counter()
from {module} import {name}
took = time.perf_counter() - started
print(took, *(library for library in {libraries} if library in set(sys.modules) - before))
"""


def imports() -> list[Row]:
    """Row f: import each operator in fresh processes, after what every DAG file imports."""
    repeats = 7
    operators = (
        ("lucca_provider.operators.purchases", "ClosePurchaseOperator"),
        ("airflow.providers.http.operators.http", "HttpOperator"),
    )
    times: dict[str, list[float]] = {name: [] for _, name in operators}
    libraries: dict[str, list[str]] = {}
    with AirflowHome() as airflow:
        for _ in range(repeats):
            for module, name in operators:
                source = _IMPORT.format(module=module, name=name, libraries=HTTP_LIBRARIES)
                took, *libraries[name] = _python("-c", source, environ=airflow.environ).split()
                times[name].append(float(took))
    ours, theirs = (statistics.median(times[name]) * 1000 for _, name in operators)
    ours_imports, theirs_imports = (", ".join(libraries[name]) or "none" for _, name in operators)
    return [
        Row(
            "f",
            "import of `ClosePurchaseOperator` over `airflow.sdk`, in a fresh process",
            f"{ours:.0f} ms (`HttpOperator` {theirs:.0f} ms)",
            "≤ 60 ms",
            ours <= 60,
        ),
        Row(
            "f",
            "HTTP libraries that it imports besides those of `airflow.sdk`",
            f"{ours_imports} (`HttpOperator`: {theirs_imports})",
            "none",
            not libraries["ClosePurchaseOperator"],
        ),
    ]


def memory() -> list[Row]:
    """Row g: the most memory that closing so many takes, each in its own process, with answers at once."""
    few, many = 1_000, 100_000
    with AirflowHome() as airflow:
        small, large = (_peak(number, airflow.environ) for number in (few, many))
    return [
        Row(
            "g",
            f"memory for {many:,} ids, against {few:,}",
            f"{large - small:.0f} MB more ({large:.0f} MB, {small:.0f} MB)",
            "≤ 64 MB more",
            large - small <= 64,
        )
    ]


def _peak(number: int, environ: dict[str, str]) -> float:
    return float(_python("-m", "benchmarks.memory", str(number), environ=environ))


def _python(*args: str, environ: dict[str, str]) -> str:
    return subprocess.run([sys.executable, *args], env=environ, stdout=subprocess.PIPE, text=True, check=True).stdout
