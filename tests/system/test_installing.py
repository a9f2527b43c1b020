"""
The package in Airflows that have nothing else, as users get it there: by pip, beside the packages of Airflow's release
day, or as a folder in ``plugins/`` or ``dags/``.

Airflow's constraints files are not reachable from everywhere. What uv resolves for an Airflow among the packages that
were there on its release day is what its constraints pin, as far as a bare Airflow goes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from uv import find_uv_bin

from lucca_provider import __version__
from lucca_provider.get_provider_info import CONNECTION_FIELDS, FIELD_BEHAVIOUR
from lucca_provider.sandbox import Sandbox
from tests.conftest import run
from tests.integration.test_docs import PROGRAMS, as_on_airflow_2

pytestmark = pytest.mark.own_airflow

RELEASES = {
    "2.11.0": "2025-05-20",
    "3.0.6": "2025-08-29",
    "3.1.0": "2025-09-25",
    "3.1.8": "2026-03-11",
    "3.2.2": "2026-05-29",
    "3.3.2": "2026-09-17",
    "3.4.0b2": "2026-10-20",
}
"""Airflows, and the day on which each was released."""
BARE = ("2.11.0", "3.1.0", "3.3.2", "3.4.0b2")
"""Those that are looked at in full."""
MORE = {"3.1.0": ["apache-airflow-providers-fab"]}
"""What an Airflow needs beside itself to show the form of any connection type."""
WITHOUT_THE_DAGS_FOLDER = ("3.1.0",)
"""Those whose command line, other than everything else in them, imports nothing from the folder of DAGs."""
PYTHON = ">=3.10,<3.13"
"""What all of them run on."""
ASK_PROVIDER = """
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
ASK_DAGS_OF_AIRFLOW_2 = """
from airflow.models.dagbag import DagBag

bag = DagBag()
dags, errors = sorted(bag.dags), list(bag.import_errors.values())
"""
ASK_DAGS = """
from airflow.models.dag import DagModel
from airflow.models.errors import ParseImportError
from airflow.utils.session import create_session
from sqlalchemy import select

with create_session() as session:
    dags = list(session.scalars(select(DagModel.dag_id)))
    errors = list(session.scalars(select(ParseImportError.stacktrace)))
"""
ASK_ERRORS = """
import json
from airflow import plugins_manager

plugins = getattr(plugins_manager, "get_import_errors", lambda: plugins_manager.import_errors)
plugins_manager.ensure_plugins_loaded()
print("answer:" + json.dumps([dags, errors, plugins()]))
"""
IMPORT_ALL = """
import importlib, pkgutil
import lucca_provider

for found in pkgutil.walk_packages(lucca_provider.__path__, "lucca_provider."):
    if not found.name.startswith(("lucca_provider.sandbox", "lucca_provider.policies.retry")):
        importlib.import_module(found.name)
"""


def uv(*arguments: object, **environ: str) -> str:
    return run(find_uv_bin(), *arguments, UV_NO_PROGRESS="1", UV_PYTHON_DOWNLOADS="never", **environ)


@dataclass(frozen=True)
class Bare:
    """An Airflow that has nothing else: its version, and the folder of its programs, its home and its pins."""

    version: str
    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "venv" / "bin" / "python"

    @property
    def pins(self) -> Path:
        return self.folder / "pins.txt"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def run(self, *arguments: object, **environ: str) -> str:
        settings = {
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "NO_PROXY": "127.0.0.1",
        }
        return run(self.python, *arguments, home=self.home, **settings, **environ)

    def ask(self, code: str) -> object:
        answer: object = json.loads(self.run("-c", code).rpartition("answer:")[2])
        return answer

    def install(self, wheel: Path) -> None:
        uv("pip", "install", "--python", self.python, "--constraint", self.pins, wheel)


def find_python() -> str:
    """
    Return a Python that all of them run on; with CI set, a machine that has none fails.

    The operating system's own comes first: it is what many users have, and often an early release of its line.
    """
    find = ("python", "find", "--system", "--no-project", PYTHON)
    with contextlib.suppress(AssertionError):
        return uv(*find, PATH=os.defpath).split()[-1]
    try:
        return uv(*find).split()[-1]
    except AssertionError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"Python {PYTHON} is missing: {error}")


def resolve(version: str, folder: Path) -> Path:
    """Pin an Airflow alone, or with what it needs to show a form, as of its release day."""
    wanted, pins = folder / "wanted.txt", folder / "pins.txt"
    wanted.write_text("\n".join([f"apache-airflow=={version}", *MORE.get(version, [])]))
    on_the_day = ["--exclude-newer", f"{RELEASES[version]}T23:59:59Z"]
    uv("pip", "compile", "--quiet", "--python", find_python(), *on_the_day, "--output-file", pins, wanted)
    return pins


def make_bare(version: str, folder: Path) -> Bare:
    bare = Bare(version, folder)
    bare.home.mkdir()
    resolve(version, folder)
    uv("venv", "--quiet", "--python", find_python(), folder / "venv")
    uv("pip", "install", "--quiet", "--python", bare.python, "--requirements", bare.pins)
    return bare


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    return built / f"airflow_provider_lucca-{__version__}-py3-none-any.whl"


# -- beside the packages of a release day ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [version for version in RELEASES if version not in BARE])
def test_it_goes_beside_the_packages_of_a_release_day(version: str, wheel: Path, tmp_path: Path) -> None:
    bare = make_bare(version, tmp_path)
    bare.install(wheel)
    bare.run("-c", IMPORT_ALL)
    shutil.rmtree(bare.folder)  # half a gigabyte


# -- in full ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=BARE)
def bare(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    """Make an Airflow of that day, with a database and the README's first DAG."""
    bare = make_bare(request.param, tmp_path_factory.mktemp("bare"))
    block = next(block for block in PROGRAMS if block.page.name == "README.md")
    code = as_on_airflow_2(block.code) if bare.version.startswith("2.") else block.code
    (bare.home / "dags").mkdir()
    (bare.home / "dags" / "readme.py").write_text(code)
    bare.run("-m", "airflow", "db", "migrate")
    yield bare
    shutil.rmtree(bare.folder)


def assert_the_readmes_dag_closes(bare: Bare, conn_type: str = "lucca") -> None:
    """Run it from the command line, and see that nothing is said of an error."""
    (dag_id,) = re.findall(r'dag_id="(\w+)"', (bare.home / "dags" / "readme.py").read_text())
    with Sandbox(purchases=12) as lucca:
        closable = lucca.closable_ids
        connection = lucca.connection_uri.replace("lucca:", f"{conn_type}:", 1)
        environ = {"AIRFLOW_CONN_LUCCA_DEFAULT": connection}
        if bare.version in WITHOUT_THE_DAGS_FOLDER:
            environ["PYTHONPATH"] = str(bare.home / "dags")
        printed = bare.run("-m", "airflow", "dags", "test", dag_id, **environ)
        assert sorted(closing.purchase_id for closing in lucca.closings) == closable
    # The last that 3.4.0b2 says is that a connection to its own database could not be closed, with a traceback.
    printed = re.split(r".*Exception closing connection <AdaptedConnection <aiosqlite", printed)[0]
    assert not re.findall(r"(?i).*(?:\berror\b|traceback|not registered).*", printed)


@pytest.fixture(scope="class", params=["plugins", "dags"])
def dropped(request: pytest.FixtureRequest, bare: Bare, wheel: Path) -> Iterator[Bare]:
    folder = bare.home / request.param
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder, [name for name in packed.namelist() if name.startswith("lucca_provider/")])
    yield bare
    shutil.rmtree(folder / "lucca_provider")


@pytest.fixture(scope="class")
def installed(bare: Bare, wheel: Path) -> Iterator[None]:
    bare.install(wheel)
    yield
    uv("pip", "uninstall", "--quiet", "--python", bare.python, "airflow-provider-lucca")


class TestAFolder:
    """The folder as it lies in the clone, without pip."""

    def test_purchases_are_closed(self, dropped: Bare) -> None:
        # Without a connection type of its own: any other one does.
        assert_the_readmes_dag_closes(dropped, conn_type="generic")

    def test_no_error_is_shown(self, dropped: Bare) -> None:
        if dropped.version.startswith("2."):
            ask = ASK_DAGS_OF_AIRFLOW_2
        else:
            dropped.run("-m", "airflow", "dag-processor", "--num-runs", "1")
            ask = ASK_DAGS
        assert dropped.ask(ask + ASK_ERRORS) == [["close_ready"], [], {}]


@pytest.mark.usefixtures("installed")
class TestPip:
    def test_purchases_are_closed(self, bare: Bare) -> None:
        assert_the_readmes_dag_closes(bare)

    def test_the_command_lists_the_provider(self, bare: Bare) -> None:
        printed = bare.run("-m", "airflow", "providers", "list", "--output", "plain")
        listed = [line.split() for line in printed.splitlines()]
        assert [line[-1] for line in listed if line[:1] == ["airflow-provider-lucca"]] == [__version__]

    def test_it_has_the_connection_type_and_the_link(self, bare: Bare) -> None:
        assert bare.ask(ASK_PROVIDER) == {
            "provider": __version__,
            "hook": ["lucca_provider.hooks.lucca.LuccaHook", "Lucca", True],
            "links": ["lucca_provider.links.lucca.LuccaInvoicesLink"],
        }

    def test_it_has_the_form(self, bare: Bare) -> None:
        ask = ASK_FORM_OF_AIRFLOW_2 if bare.version.startswith("2.") else ASK_FORM
        assert bare.ask(ask) == [list(CONNECTION_FIELDS), FIELD_BEHAVIOUR["relabeling"]["password"]]

    def test_the_sandbox_needs_nothing_else(self, bare: Bare) -> None:
        assert "--fault" in bare.run("-m", "lucca_provider.sandbox", "--help")
