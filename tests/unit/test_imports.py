"""What importing the operators costs a DAG file, and what the domain may know."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import lucca_provider
from lucca_provider import compat

PACKAGE = Path(lucca_provider.__file__).parent
HTTP = ("requests", "httpx", "aiohttp", "urllib3", "http.client", "fastapi", "uvicorn")


MODULES = [
    "lucca_provider.operators.purchases",
    "lucca_provider.operators.reports",
    "lucca_provider.sensors.purchases",
    "lucca_provider.tasks.trial",
]
INPUTS = "lucca_provider.inputs"
IMPORT_EACH = """
from lucca_provider.compat import BaseOperator
import importlib, json, os, sys
before = set(sys.modules)
for module in sys.argv[1:]:
    if os.fork() == 0:
        importlib.import_module(module)
        print("answer:" + json.dumps([module, sorted(set(sys.modules) - before)]), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0, module
"""


@pytest.fixture(scope="module")
def imported() -> dict[str, set[str]]:
    """Return what each module imports beside Airflow, which is imported once for all of them."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EACH, *MODULES, INPUTS], capture_output=True, text=True, check=True
    )
    answers = [line.removeprefix("answer:") for line in done.stdout.splitlines() if line.startswith("answer:")]
    return {module: set(names) for module, names in map(json.loads, answers)}


@pytest.mark.parametrize("module", MODULES)
def test_a_dag_file_that_uses_what_is_for_dags_imports_no_http_library(imported, module):
    new = imported[module]
    assert module in new
    assert not [name for name in new if name.startswith(HTTP)]
    if ".operators." in module:
        rooms = {name.split(".")[1] for name in new if name.startswith("lucca_provider.")}
        assert rooms == {"operators", "links"}


def test_reading_what_users_hand_over_imports_nothing_that_airflow_has_not_imported(imported):
    new = imported[INPUTS]
    own = {name for name in new if name.startswith("lucca_provider")}
    assert "lucca_provider.inputs.closing_date" in own
    assert not {name for name in new - own if name.partition(".")[0] not in sys.stdlib_module_names}


def test_airflows_names_are_found_where_this_airflow_keeps_them_and_without_a_warning():
    code = """
import warnings
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    from lucca_provider import compat
    found = [getattr(compat, name) for name in compat.__all__]
ours = [str(one.message) for one in warned if one.filename == compat.__file__]
print("answer:", len(found), len(ours), *ours)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rpartition("answer: ")[2].split(None, 2) == [str(len(compat.__all__)), "0"]


def test_a_name_that_no_airflow_has_is_an_error():
    with pytest.raises(AttributeError, match="BaseHok"):
        _ = compat.BaseHok


# What each room of the domain may import of the others: imports go one way.
ROOMS = {
    "exceptions": (),
    "inputs": (),
    "outcomes": (),
    "limits": ("exceptions",),
    "reading": ("exceptions", "inputs", "limits"),
    "checking": ("exceptions", "inputs", "limits", "reading"),
    "closing": ("exceptions", "limits", "outcomes", "reading"),
    "reports": ("inputs", "outcomes", "reading"),
    "trial": ("exceptions", "limits", "reading"),
}
# Beside these and the standard library. Airflow has imported them before.
OTHERS = {"inputs": ("pendulum",), "reports": ("jinja2",)}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_of_the_domain_knows_those_below_it_and_the_standard_library(room):
    may_know = [f"lucca_provider.{other}" for other in (room, *ROOMS[room])] + [*OTHERS.get(room, ())]
    folder = PACKAGE / room
    for path in folder.glob("*.py") if folder.is_dir() else [PACKAGE / f"{room}.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                inside = any(name == known or name.startswith(f"{known}.") for known in may_know)
                assert inside or name.partition(".")[0] in sys.stdlib_module_names, f"{path.name} imports {name}"
                assert not name.startswith(("http", "urllib", "socket")), f"{path.name} imports {name}"
