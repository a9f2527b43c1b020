"""Builds the package, and installs its wheel into an Airflow that has nothing else, as a user would."""

from __future__ import annotations

import configparser
import json
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

from lucca_provider import __version__
from lucca_provider.get_provider_info import CONNECTION_FIELDS
from tests.conftest import AIRFLOW, ROOT, airflow_version
from tests.integration.conftest import run

WHEEL = f"airflow_provider_lucca-{__version__}-py3-none-any.whl"
SDIST = f"airflow_provider_lucca-{__version__}.tar.gz"
RUNTIME_DEPENDENCIES = {
    "apache-airflow>=2.11.0",
    "apache-airflow-providers-common-compat>=1.12.0",
    "requests<3,>=2.32",
    "urllib3<3,>=2.2",
    "pendulum>=3",
}
ASK_PROVIDERS_MANAGER = """
import json
from airflow.providers_manager import ProvidersManager

manager = ProvidersManager()
hook = manager.hooks["lucca"]
answer = {
    "provider": manager.providers["airflow-provider-lucca"].version,
    "hook": [hook.hook_class_name, hook.hook_name, hook.connection_testable],
    "links": [name for name in manager.extra_links_class_names if name.startswith("lucca")],
}
print("answer:" + json.dumps(answer))
"""
ASK_FORM_OF_AIRFLOW_2 = """
import json
from airflow.providers_manager import ProvidersManager

manager = ProvidersManager()
fields = [widget.field_name for name, widget in manager.connection_form_widgets.items() if "__lucca__" in name]
print("answer:" + json.dumps([fields, manager.field_behaviours["lucca"]["relabeling"]["password"]]))
"""
ASK_FORM = """
import json
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

(form,) = [data for data in HookMetaService.hook_meta_data() if data.connection_type == "lucca"]
print("answer:" + json.dumps([list(form.extra_fields), form.standard_fields.password.title]))
"""


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(built / WHEEL)


@pytest.fixture(scope="module")
def meta(wheel: zipfile.ZipFile) -> Message:
    return Parser().parsestr(wheel.read(f"airflow_provider_lucca-{__version__}.dist-info/METADATA").decode())


@pytest.fixture(scope="module")
def bare_airflow(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Install Airflow alone, then our wheel, the way users are told to; hand out the folder of its programs."""
    home = tmp_path_factory.mktemp("bare")
    run(sys.executable, "-m", "venv", home / "venv")
    python = home / "venv" / "bin" / "python"
    pins = home / "pins.txt"
    pins.write_text(run(sys.executable, "-m", "pip", "freeze", "--all", "--exclude-editable"))
    install = [python, "-m", "pip", "install", "-qq", "--no-compile", "--constraint", pins]
    run(*install, f"apache-airflow=={airflow_version}")
    run(*install, built / WHEEL)
    yield python.parent
    shutil.rmtree(home)  # half a gigabyte


def test_sdist_and_wheel_are_built(built: Path) -> None:
    assert {file.name for file in built.iterdir()} == {SDIST, WHEEL}


def test_the_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert {name.split("/")[0] for name in names} == {
        "lucca_provider",
        f"airflow_provider_lucca-{__version__}.dist-info",
    }
    package = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "lucca_provider").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {name for name in names if name.startswith("lucca_provider/")} == package
    assert {"lucca_provider/py.typed", "lucca_provider/sandbox/web/index.html"} <= package


def test_the_sdist_can_be_built_from_and_carries_the_licence(built: Path) -> None:
    with tarfile.open(built / SDIST) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"setup.cfg", "pyproject.toml", "README.md", "LICENSE", "lucca_provider/sandbox/web/index.html"} <= names


def test_the_wheel_carries_the_whole_licence(wheel: zipfile.ZipFile, meta: Message) -> None:
    licence = wheel.read(f"airflow_provider_lucca-{__version__}.dist-info/licenses/LICENSE")
    assert "Apache-2.0" in (meta["License"], meta["License-Expression"])
    assert licence == (ROOT / "LICENSE").read_bytes()


def test_it_needs_four_packages_and_no_others(meta: Message) -> None:
    needed = set(meta.get_all("Requires-Dist", []))
    assert {one for one in needed if "extra ==" not in one} == RUNTIME_DEPENDENCIES
    assert set(meta.get_all("Provides-Extra", [])) == {"sandbox", "examples", "system", "dev"}
    assert meta["Requires-Python"] == ">=3.10"


def test_airflow_finds_the_provider_through_its_entry_point(wheel: zipfile.ZipFile) -> None:
    entry_points = configparser.ConfigParser()
    entry_points.read_string(wheel.read(f"airflow_provider_lucca-{__version__}.dist-info/entry_points.txt").decode())
    assert dict(entry_points["apache_airflow_provider"]) == {
        "provider_info": "lucca_provider.get_provider_info:get_provider_info"
    }


def test_a_bare_airflow_lists_the_provider(bare_airflow: Path, tmp_path: Path) -> None:
    printed = run(bare_airflow / "airflow", "providers", "list", "--output", "plain", home=tmp_path)
    listed = [line.split() for line in printed.splitlines()]
    assert [line[-1] for line in listed if line[:1] == ["airflow-provider-lucca"]] == [__version__]


def test_a_bare_airflow_has_the_connection_type_and_the_link(bare_airflow: Path, tmp_path: Path) -> None:
    printed = run(bare_airflow / "python", "-c", ASK_PROVIDERS_MANAGER, home=tmp_path)
    answer: dict[str, Any] = json.loads(printed.rpartition("answer:")[2])
    assert answer["provider"] == __version__
    assert answer["hook"] == ["lucca_provider.hooks.lucca.LuccaHook", "Lucca", True]
    assert answer["links"] == ["lucca_provider.links.lucca.LuccaInvoicesLink"]


@pytest.mark.skipif(AIRFLOW == (3, 0), reason="Airflow 3.0 alone, without the FAB provider, has no forms of providers")
def test_a_bare_airflow_has_the_form(bare_airflow: Path, tmp_path: Path) -> None:
    ask = ASK_FORM if AIRFLOW >= (3, 0) else ASK_FORM_OF_AIRFLOW_2
    printed = run(bare_airflow / "python", "-c", ask, home=tmp_path)
    assert json.loads(printed.rpartition("answer:")[2]) == [list(CONNECTION_FIELDS), "API key"]


def test_a_bare_airflow_has_all_that_the_operator_and_the_hook_need(bare_airflow: Path, tmp_path: Path) -> None:
    run(
        bare_airflow / "python",
        "-c",
        "from lucca_provider.operators.purchases import ClosePurchaseOperator\n"
        "from lucca_provider.hooks.lucca import LuccaHook",
        home=tmp_path,
    )
