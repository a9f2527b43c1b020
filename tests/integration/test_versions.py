"""The table of versions: true of the Airflow that runs here, and of the others the same as the pins."""

from __future__ import annotations

import ast
import datetime
import importlib
import importlib.metadata
import json
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet

import lucca_provider
from lucca_provider.compat import AirflowException
from lucca_provider.get_provider_info import CONNECTION_FIELDS
from tests.airflow_names import DAG, task
from tests.conftest import AIRFLOW, ROOT
from tests.integration.test_docs import page, rows, setup_cfg

TABLE = rows(page("docs/versions.md"), "| Airflow |")
COLUMNS = re.findall(r"^\| Airflow \| (.*) \|$", page("docs/versions.md"), re.MULTILINE)[0].split(" | ")
HERE = ".".join(map(str, AIRFLOW))
FORM = """
import json, sys
if sys.argv[1] == "without FAB":
    sys.modules.update(wtforms=None, flask_appbuilder=None, flask_babel=None)
from lucca_provider.hooks.lucca import LuccaHook
ask, asked = LuccaHook.get_connection_form_widgets, []
LuccaHook.get_connection_form_widgets = classmethod(lambda cls: asked.append(cls) or ask())
if sys.argv[2] == "2":
    from airflow.providers_manager import ProvidersManager
    widgets = ProvidersManager().connection_form_widgets
    fields = [widget.field_name for name, widget in widgets.items() if "__lucca__" in name]
else:
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
    (form,) = [data for data in HookMetaService.hook_meta_data() if data.connection_type == "lucca"]
    fields = list(form.extra_fields or {})
print("answer:" + json.dumps([fields, bool(asked)]))
"""


def cell(column: str) -> str:
    """Return what the table says of this Airflow."""
    return TABLE[HERE][COLUMNS.index(column)]


def of_nox(name: str) -> Any:
    """Return a value that ``noxfile.py`` gives a name, without nox, which is not in the environments of the tests."""
    found = (node for node in ast.parse(page("noxfile.py")).body if isinstance(node, ast.Assign))
    return next(ast.literal_eval(node.value) for node in found if ast.unparse(node.targets[0]) == name)


def minor(python: str) -> int:
    return int(python.partition(".")[2])


def can_be_imported(module: str) -> bool:
    try:
        importlib.import_module(module)
    except (ImportError, AirflowException):  # the second for what needs a later Airflow
        return False
    return True


# -- this Airflow ----------------------------------------------------------------------------------------------------


def test_every_module_can_be_imported_except_the_policy_where_there_are_none() -> None:
    modules = {found.name for found in pkgutil.walk_packages(lucca_provider.__path__, "lucca_provider.")}
    failed = {name for name in modules if not name.endswith("__main__") and not can_be_imported(name)}
    assert modules
    assert failed == (set() if cell("`LuccaRetryPolicy`") == "yes" else {"lucca_provider.policies.retry"})


def form(fab: str) -> tuple[list[str], bool]:
    """Return the fields that Airflow shows for a Lucca connection, and whether it asked the hook for them."""
    shown = subprocess.run(
        [sys.executable, "-c", FORM, fab, str(AIRFLOW[0])], check=True, capture_output=True, text=True, env=os.environ
    )
    fields, asked = json.loads(shown.stdout.rpartition("answer:")[2])
    return fields, asked


def test_where_the_form_comes_from() -> None:
    fields, asked = form("as it is")
    assert fields == list(CONNECTION_FIELDS)
    assert ("hook" in cell("Connection form")) is asked


@pytest.mark.skipif(AIRFLOW < (3, 0), reason="Airflow 2 does not run without the FAB provider")
def test_whether_the_form_needs_the_fab_provider() -> None:
    fields, _ = form("without FAB")
    assert fields in ([], list(CONNECTION_FIELDS))
    assert ("FAB" in cell("Connection form")) is (fields == [])


def test_whether_a_task_has_a_store_for_its_journal(run_dag: Callable[..., Any]) -> None:
    with DAG("store", start_date=datetime.datetime(2026, 1, 1), schedule=None) as dag:

        @task
        def look(**context: Any) -> bool:
            return context.get("task_state_store") is not None

        look()
    (ti,) = run_dag(dag).get_task_instances()
    assert cell("Journal") == ("yes" if ti.xcom_pull(task_ids="look") else "no")


def test_whether_a_person_can_approve() -> None:
    standard = tuple(int(part) for part in importlib.metadata.version("apache-airflow-providers-standard").split("."))
    there = can_be_imported("airflow.providers.standard.operators.hitl")
    assert there is (cell("Approval by a person") == "yes" and standard >= (1, 5))


def test_whether_there_are_retry_policies() -> None:
    there = can_be_imported("lucca_provider.policies.retry")
    assert cell("`LuccaRetryPolicy`") == ("yes" if there else "no")


def test_which_pythons_this_airflow_supports() -> None:
    found = re.fullmatch(r"3\.(\d+) to 3\.(\d+)", cell("Python"))
    assert found
    first, last = int(found[1]), int(found[2])
    supported = SpecifierSet(importlib.metadata.metadata("apache-airflow")["Requires-Python"])
    assert all(f"3.{minor}" in supported for minor in range(first, last + 1))
    assert f"3.{last + 1}" not in supported
    assert first <= sys.version_info.minor <= last


# -- all of them -----------------------------------------------------------------------------------------------------


def test_the_table_is_that_of_the_package() -> None:
    setup = setup_cfg()
    oldest = next(iter(TABLE))
    assert f"apache-airflow>={oldest}.0" in setup["options"]["install_requires"].split()
    python = setup["options"]["python_requires"].removeprefix(">=")
    assert min((cells[0].split()[0] for cells in TABLE.values()), key=minor) == python


def test_make_runs_on_the_lines_that_the_table_names() -> None:
    tested = {line: cells[-1] for line, cells in TABLE.items()}
    assert sorted(of_nox("TESTED")) == [line for line, by in tested.items() if by == "`make test`"]
    assert [*of_nox("QUICK")] == [line for line, by in tested.items() if by == "`make test-matrix`"]
    assert [*of_nox("PYTHONS")] == [*TABLE, "lowest", "newest"]
    for line, cells in TABLE.items():
        assert cells[0] == " to ".join(of_nox("PYTHONS")[line])


def test_every_line_is_pinned() -> None:
    pins = {file.stem: file.read_text() for file in (ROOT / "requirements").glob("*.txt")}
    assert set(pins) == {*(f"airflow-{line}" for line in TABLE), "lowest", "quality", "docs", "nox", "release"}
    for line in TABLE:
        assert re.search(
            rf"^apache-airflow=={re.escape(line)}\.\d+(b\d+|rc\d+)?$", pins[f"airflow-{line}"], re.MULTILINE
        )


def test_the_lowest_versions_are_those_of_the_package() -> None:
    setup = setup_cfg()
    asked = setup["options"]["install_requires"]
    asked += "".join(setup["options.extras_require"][extra] for extra in ("sandbox", "examples"))
    pins = dict(re.findall(r"^([\w.-]+)==([\d.]+)", page("requirements/lowest.txt"), re.MULTILINE))
    for name, floor in re.findall(r"^([\w.-]+)>=([\d.]+)", asked, re.MULTILINE):
        pinned = [int(part) for part in pins[name].split(".")]
        assert pinned[: floor.count(".") + 1] == [int(part) for part in floor.split(".")], name
