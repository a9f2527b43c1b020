"""What is built is what is meant to be; tests/system/test_installing.py installs it."""

from __future__ import annotations

import configparser
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from lucca_provider import __version__
from tests.conftest import ROOT

WHEEL = f"airflow_provider_lucca-{__version__}-py3-none-any.whl"
SDIST = f"airflow_provider_lucca-{__version__}.tar.gz"
RUNTIME_DEPENDENCIES = {
    "apache-airflow>=2.11.0",
    "requests<3,>=2.32",
    "urllib3<3,>=2.2",
    "pendulum>=3",
}


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(built / WHEEL)


@pytest.fixture(scope="module")
def meta(wheel: zipfile.ZipFile) -> Message:
    return Parser().parsestr(wheel.read(f"airflow_provider_lucca-{__version__}.dist-info/METADATA").decode())


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
    assert {
        "lucca_provider/py.typed",
        "lucca_provider/.airflowignore",
        "lucca_provider/sandbox/web/index.html",
    } <= package


def test_the_sdist_can_be_built_from_and_carries_the_licence(built: Path) -> None:
    with tarfile.open(built / SDIST) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"setup.cfg", "pyproject.toml", "README.md", "LICENSE", "lucca_provider/sandbox/web/index.html"} <= names


def test_the_wheel_carries_the_whole_licence(wheel: zipfile.ZipFile, meta: Message) -> None:
    licence = wheel.read(f"airflow_provider_lucca-{__version__}.dist-info/licenses/LICENSE")
    assert "Apache-2.0" in (meta["License"], meta["License-Expression"])
    assert licence == (ROOT / "LICENSE").read_bytes()


def test_it_needs_airflow_and_what_every_airflow_brings(meta: Message) -> None:
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


def test_it_links_to_its_documentation_under_the_label_that_airflow_shows(meta: Message) -> None:
    links = dict(link.split(", ") for link in meta.get_all("Project-URL", []))
    assert {"Documentation", "Source", "Changelog"} <= set(links)
    assert all(address.startswith("https://") for address in links.values())
