"""The README and the guides: what they show is run, their tables are those of the code, their links lead somewhere."""

from __future__ import annotations

import ast
import configparser
import inspect
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pendulum
import pytest
from airflow.models import Connection, Pool
from airflow.utils.session import create_session
from sqlalchemy import select

from lucca_provider import exceptions
from lucca_provider.checking import Check, Snapshot, read_snapshot, take_snapshot
from lucca_provider.get_provider_info import CONNECTION_FIELDS, FIELD_BEHAVIOUR
from lucca_provider.hooks.lucca import LuccaHook
from lucca_provider.operators.purchases import (
    CheckPurchasesOperator,
    ClosePurchaseOperator,
    ListPurchasesOperator,
)
from lucca_provider.operators.reports import ReportClosingsOperator
from lucca_provider.outcomes import Report
from lucca_provider.sandbox import FAULTS, Sandbox
from lucca_provider.sandbox.__main__ import _parser
from tests.conftest import AIRFLOW, ROOT
from tests.integration.mail_server import Mailbox

PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")),
    *sorted((ROOT / "docs").glob("*.md")),
]
IDS = range(101, 110)
"""The purchases that the pages close."""
SHELLS = ("sh", "console", "bash")


def page(name: str) -> str:
    return (ROOT / name).read_text()


def rows(text: str, header: str) -> dict[str, list[str]]:
    """Return the first table whose header starts like this: first cell (without its code marks) to the other cells."""
    lines = iter(text.splitlines())
    next(line for line in lines if line.startswith(header))
    next(lines)
    table: dict[str, list[str]] = {}
    for line in itertools.takewhile(lambda line: line.startswith("|"), lines):
        first, *rest = (cell.strip() for cell in line.strip("|").split("|"))
        table[first.strip("`")] = rest
    return table


@dataclass(frozen=True)
class Block:
    """A block of code: where it stands, its language, what else its first line says, and the code."""

    page: Path
    line: int
    language: str
    info: str
    code: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def as_on_airflow_2(code: str) -> str:
    """Import Airflow's names from where the page on versions says that Airflow 2.11 has them."""
    places = {}
    for there, (here,) in rows(page("docs/versions.md"), "| Airflow 3 |").items():
        places |= dict.fromkeys(there.partition(" import ")[2].split(", "), here.strip("`"))

    def translate(found: re.Match[str]) -> str:
        return "; ".join(dict.fromkeys(places.get(name, found[0]) for name in found[1].split(", ")))

    return re.sub(r"^from airflow\.sdk import (.*)$", translate, code, flags=re.MULTILINE)


def read_blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text()
        for found in re.finditer(r"^```(\w*)[ ]?(.*)\n((?:.*\n)*?)```$", text, re.MULTILINE):
            code = found[3] if AIRFLOW >= (3, 0) else as_on_airflow_2(found[3])
            yield Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2], code)


BLOCKS = list(read_blocks())
PYTHON = [block for block in BLOCKS if block.language == "python"]
PROGRAMS = [block for block in PYTHON if not block.info.endswith(".py")]
PROJECTS = sorted({block.page for block in PYTHON if block.info.endswith(".py")})
SHELL = [block for block in BLOCKS if block.language in SHELLS]


def prose(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    assert {block.language for block in BLOCKS} <= {"python", "json", "mermaid", *SHELLS}


# -- Python ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def lucca(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with Sandbox(purchases=0) as lucca:
        for purchase_id in IDS:
            lucca.add_purchase(id=purchase_id)
        for conn_id in ("DEFAULT", "OTHER"):
            monkeypatch.setenv(f"AIRFLOW_CONN_LUCCA_{conn_id}", lucca.connection_uri)
        yield lucca


def load(file: Path) -> dict[str, Any]:
    """Load a file as Airflow does, and return its DAGs."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models.dagbag import DagBag
    bag = DagBag(file, safe_mode=False)
    assert not bag.import_errors
    return dict(bag.dags)


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_python_runs(
    block: Block, lucca: Sandbox, mailbox: Mailbox, run_dag: Callable[..., Any], tmp_path: Path
) -> None:
    if block.info:
        needed = re.fullmatch(r"(\d+)\.(\d+)\+", block.info)
        assert needed, f"{block}: what is {block.info!r}?"
        if (int(needed[1]), int(needed[2])) > AIRFLOW:
            pytest.skip(f"for Airflow {block.info}")
    file = tmp_path / "block.py"
    # Where the pages keep files.
    file.write_text(block.code.replace("/data/reports/", f"{tmp_path}/"))
    before = dict(os.environ)
    try:
        dags = load(file)
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert bool(dags) is ("DAG(" in block.code)
    # Nobody is there to approve, and dag.test() of Airflow 3.3 cannot run what has a deadline: tests/system runs both.
    if dags and not re.search("ApprovalOperator|DeadlineAlert", block.code):
        for dag in dags.values():
            assert run_dag(dag).state == "success"
        closes, finds = "ClosePurchaseOperator" in block.code, "ListPurchasesOperator" in block.code
        named = {int(number) for number in re.findall(r"\b10\d\b", block.code)}
        asked = sorted(IDS if finds else named) if closes else []
        assert bool(asked) is closes
        assert lucca.closed_ids == asked
        assert [lucca.posts(purchase_id) for purchase_id in asked] == [1] * len(asked)


def test_no_dag_that_closes_has_a_schedule() -> None:
    dags = [dag for block in PYTHON for dag in re.split(r"^with DAG\(", block.code, flags=re.MULTILINE)[1:]]
    closing = [dag for dag in dags if "ClosePurchaseOperator" in dag]
    assert closing
    assert [dag for dag in closing if not re.search(r"\bschedule=None\b", dag.partition("):")[0])] == []


def test_dag_ids_are_used_once() -> None:
    ids = re.findall(r'dag_id="(\w+)"', "".join(block.code for block in PYTHON))
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)
def test_a_project_s_own_tests_pass(project: Path, tmp_path: Path) -> None:
    for block in PYTHON:
        if block.page == project and block.info:
            file = tmp_path / block.info
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.code)
    # Without one of its own, a project within this clone would be run with this clone's settings.
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "LUCCA", "COV"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers", "--rootdir=."],
        cwd=tmp_path,
        env=environment | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tests = sum(len(re.findall(r"^def test_", block.code, re.MULTILINE)) for block in PYTHON if block.page == project)
    assert re.search(rf"^{tests} passed", done.stdout, re.MULTILINE)


# -- connections -----------------------------------------------------------------------------------------------------


def commands(code: str) -> Iterator[list[str]]:
    """Split a block for the shell into commands; one may go over several lines within quotes."""
    text = ""
    for line in code.splitlines():
        text += line
        try:
            words = shlex.split(text, comments=True)
        except ValueError:
            text += "\n"
            continue
        text = ""
        if words:
            yield words
    assert not text, f"a quotation is not closed: {text}"


@pytest.mark.parametrize("block", [block for block in SHELL if block.code.startswith("export ")], ids=str)
def test_a_connection_is_read(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "AIRFLOW_CONN_LUCCA_DEFAULT"
    monkeypatch.setenv(name, shell(f"{block.code}printenv {name}").removesuffix("\n"))
    hook = LuccaHook()
    tenant = hook.tenant
    keys = {"https://acme.ilucca.net": {"your-api-key", "your/api+key"}, "http://127.0.0.1:8765": {"sandbox-key"}}
    assert tenant.api_key in keys[hook.base_url]
    extras = set(hook.get_connection("lucca_default").extra_dejson)
    assert extras <= {*CONNECTION_FIELDS, "window_seconds"}
    assert tenant.requests_per_minute == (30 if "requests_per_minute" in extras else 45)


@pytest.mark.parametrize("form", ["lucca:", "{"])
def test_a_secrets_backend_holds_the_connection(form: str, tmp_path: Path) -> None:
    block = next(block for block in SHELL if f"LUCCA_DEFAULT='{form}" in block.code and "your" in block.code)
    connection = next(commands(block.code))[1].partition("=")[2]
    file = tmp_path / "connections.json"
    file.write_text(json.dumps({"lucca_default": json.loads(connection) if form == "{" else connection}))
    read = "from lucca_provider.hooks.lucca import LuccaHook as H; print(H().base_url, H().tenant.api_key)"
    said = shell(
        f"python -c '{read}'",
        AIRFLOW__SECRETS__BACKEND="airflow.secrets.local_filesystem.LocalFilesystemBackend",
        AIRFLOW__SECRETS__BACKEND_KWARGS=json.dumps({"connections_file_path": str(file)}),
    )
    assert said.splitlines()[-1] in ("https://acme.ilucca.net your-api-key", "https://acme.ilucca.net your/api+key")


def test_the_table_of_fields_is_that_of_the_form() -> None:
    fields = rows(page("docs/connection.md"), "| In the form")
    relabelled = FIELD_BEHAVIOUR["relabeling"]
    labels = [relabelled[name] for name in ("host", "password")] + ["Port", relabelled["schema"]]
    labels += [spec["label"] for spec in CONNECTION_FIELDS.values()]
    assert list(fields) == labels
    named = [cells[0].strip("`").removeprefix("extra `") for cells in fields.values()]
    assert named == ["host", "password", "port", "schema", *CONNECTION_FIELDS]


def test_the_table_of_environments_is_true(monkeypatch: pytest.MonkeyPatch) -> None:
    table = rows(page("docs/connection.md"), "| Host")
    seen = set()
    for first, (environment,) in table.items():
        hosts = re.findall(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+", first) or ["lucca.example.com"]
        for host in hosts:
            monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", f"lucca://:some-api-key@{host}")
            assert LuccaHook().environment == environment.strip("`")
        seen.add(environment.strip("`"))
    assert seen == {"production", "test", "demo", "sandbox", "other"}


def test_every_error_is_in_the_table() -> None:
    table = rows(page("docs/connection.md"), "| Error")
    named = {name for first, cells in table.items() for name in re.findall(r"Lucca\w+Error", f"{first} {cells}")}
    # The one that all others are is caught, never raised.
    assert named == {*exceptions.__all__} - {"LuccaError"}


# -- the shell -------------------------------------------------------------------------------------------------------

RUN = (
    "export",
    "pip install",
    "airflow connections add",
    "airflow pools set",
    "airflow tasks clear",
    "airflow dags clear",
    "airflow db migrate",  # the README's, in tests/system/test_installing.py
    "airflow dags test",
    "python -m lucca_provider.sandbox",  # in tests/system/test_docs.py, as it needs a shell and a fixed port
    "make demo",  # in tests/system/test_demo.py
    "make ui",  # in tests/system/test_ui.py
    "make test",  # which runs this, and is what CI runs
)
"""How the commands begin that a test runs; those without a comment below."""


def shell_environ() -> dict[str, str]:
    """Return the environment of a shell that finds the programs of this Python first."""
    return os.environ | {"PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))}


def shell(code: str, **environ: str) -> str:
    """Run a block in such a shell, and return what it printed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        env=shell_environ() | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def the_block(beginning: str) -> Block:
    (found,) = (block for block in SHELL if block.code.startswith(beginning))
    return found


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_every_command_is_run_by_a_test(block: Block) -> None:
    for words in commands(block.code):
        command = " ".join(words)
        assert any(f"{command} ".startswith(f"{beginning} ") for beginning in RUN), command


def test_pip_installs_it(built: Path, tmp_path: Path) -> None:
    blocks = [block for block in SHELL if block.code.startswith("pip ")]
    assert blocks
    # By tar: Python's own way needs an argument that 3.11.2 does not know, and warns without it from 3.12 on.
    (sdist,) = built.glob("*.tar.gz")
    shell(f"tar -xzf {shlex.quote(str(sdist))} -C {shlex.quote(str(tmp_path))}")
    (clone,) = tmp_path.iterdir()
    for number, block in enumerate(blocks):
        target = tmp_path / str(number)
        # In a clone, and without what it needs: tests/system/test_installing.py sees to that.
        install = block.code.replace("pip install", "pip install --no-build-isolation")
        shell(f"cd {shlex.quote(str(clone))}; {install}", PIP_NO_INDEX="1", PIP_NO_DEPS="1", PIP_TARGET=str(target))
        assert (target / "lucca_provider" / "get_provider_info.py").is_file()


def test_a_connection_is_added_from_the_command_line(airflow_db: None) -> None:
    block = the_block("airflow connections add")
    shell(block.code)
    with create_session() as session:
        connection = session.scalars(select(Connection).where(Connection.conn_id == "lucca_default")).one()
        session.delete(connection)
        assert (connection.conn_type, connection.host) == ("lucca", "acme.ilucca.net")


def test_a_pool_is_made_and_told_to_count_deferred_tasks(airflow_db: None) -> None:
    blocks = [block for block in SHELL if block.code.startswith("airflow pools set")]
    counted = []
    for block in blocks:
        shell(block.code)
        pool = Pool.get_pool("lucca_acme")
        assert pool.slots == 1
        counted.append(pool.include_deferred)
    Pool.delete_pool("lucca_acme")
    assert counted == [False, True]


def states(run: Any) -> dict[str, str | None]:
    return {ti.task_id: ti.state for ti in run.get_task_instances()}


def test_one_run_is_cleared_and_no_other(
    run_dag: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (program,) = (block for block in PROGRAMS if 'dag_id="close_ready"' in block.code)
    file = tmp_path / "close_ready.py"
    file.write_text(program.code)
    (dag,) = load(file).values()
    failed = {"find": "success", "check": "success", "close": "failed"}
    with Sandbox(purchases=2, states={"closable": 1}, may_close=False) as lucca:
        monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", lucca.connection_uri)
        date = "logical_date" if AIRFLOW >= (3, 0) else "execution_date"
        runs = [run_dag(dag, **{date: pendulum.datetime(2026, month, 31, 6)}) for month in (1, 3, 5)]
    assert [states(run) for run in runs] == [failed] * 3
    shell(the_block("airflow tasks clear").code, AIRFLOW__CORE__DAGS_FOLDER=str(tmp_path))
    assert [states(run) for run in runs] == [failed, failed | {"close": None}, failed]
    if AIRFLOW >= (3, 3):
        code = re.sub(r"--run-id \S+", f"--run-id {shlex.quote(runs[2].run_id)}", the_block("airflow dags clear").code)
        shell(code, AIRFLOW__CORE__DAGS_FOLDER=str(tmp_path))
        assert [states(run)["close"] for run in runs] == ["failed", None, None]


def test_the_table_of_commands_is_that_of_make() -> None:
    done = subprocess.run(["make", "--silent", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = re.findall(r"^make (\S+)", done.stdout, re.MULTILINE)
    table = rows(page("docs/contributing.md"), "| Command")
    assert set(table) == {f"make {target}" for target in listed}


@cache
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_the_table_of_extras_names_those_of_the_package() -> None:
    table = rows(page("docs/deploying.md"), "| Extra")
    assert {f"airflow-provider-lucca[{extra}]" for extra in setup_cfg()["options.extras_require"]} >= set(table)


def test_the_tables_of_the_sandbox_are_its_options_and_faults() -> None:
    text = page("docs/testing.md")
    options = {word for action in _parser()._actions for word in action.option_strings if word.startswith("--")}
    table = rows(text, "| Option")
    named = {word for cell in table for word in re.findall(r"--[a-z-]+", cell)}
    assert named == options - {"--help"}
    for cell in table:
        for given in re.findall(r"--[a-z][^`]*", cell):
            _parser().parse_args(given.split())
    assert set(rows(text, "| Fault")) == set(FAULTS)


def test_members_of_the_sandbox_that_are_named_exist() -> None:
    for cell in rows(page("docs/testing.md"), "| Member"):
        for name in re.findall(r"[a-z_]+", re.sub(r"\(.*?\)", "", cell)):
            assert hasattr(Sandbox(purchases=0), name), name


# -- the operator ----------------------------------------------------------------------------------------------------


JSON = [json.loads(block.code) for block in BLOCKS if block.language == "json"]


def test_json_shows_a_report_and_a_check() -> None:
    for shown, result in zip(JSON[:2], (Report, Check), strict=True):
        members = typing.get_type_hints(result)
        assert set(shown) == set(members)
        for name, member in members.items():
            (item,) = typing.get_args(member)
            if item is not int:
                assert [set(one) for one in shown[name]] == [set(typing.get_type_hints(item))]


def test_json_shows_a_snapshot() -> None:
    (shown,) = JSON[2:]
    assert set(shown) == set(typing.get_type_hints(Snapshot))
    assert take_snapshot(read_snapshot(shown, name="unchanged_since")) == shown


def test_the_table_of_arguments_is_that_of_the_operator() -> None:
    assert_arguments(ClosePurchaseOperator, page("docs/closing.md"))


def test_the_tables_of_arguments_are_those_of_list_and_check() -> None:
    find, _, check = page("docs/validating.md").partition("## 2.")
    assert_arguments(ListPurchasesOperator, find)
    assert_arguments(CheckPurchasesOperator, check.partition("## 3.")[0])


def test_the_table_of_arguments_of_the_report_is_that_of_the_operator() -> None:
    assert_arguments(ReportClosingsOperator, page("docs/reports.md"))


def assert_arguments(operator: Any, text: str) -> None:
    table = rows(text, "| Argument")
    arguments = inspect.signature(operator.__init__).parameters
    own = [name for name in arguments if name not in ("self", "kwargs")]
    assert list(table) == own
    for name, (default, meaning) in table.items():
        assert ("(templated)" in meaning) is (name in operator.template_fields), name
        known = arguments[name].default
        # An argument without a default, and one whose default is Airflow's.
        if known is not inspect.Parameter.empty and name != "deferrable":
            assert default.replace("`", "") == (", ".join(known) or "()" if isinstance(known, tuple) else str(known))


def test_the_verdicts_are_named() -> None:
    assert list(rows(page("docs/validating.md"), "| Verdict")) == list(typing.get_type_hints(Check))


@pytest.mark.parametrize("name", ["README.md", "docs/closing.md"])
def test_the_outcomes_are_named(name: str) -> None:
    assert list(rows(page(name), "| Outcome")) == list(typing.get_type_hints(Report))


# -- links -----------------------------------------------------------------------------------------------------------


def links() -> Iterator[Any]:
    for file in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", prose(file.read_text())):
            if not target.startswith("https://"):
                yield pytest.param(file, target, id=f"{file.name}->{target}")


def anchors(file: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", prose(file.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("file", "target"), list(links()))
def test_a_link_leads_somewhere(file: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    assert not path.startswith(("/", "http"))
    there = (file.parent / path).resolve() if path else file
    assert there.exists()
    assert there.is_relative_to(ROOT)
    assert not anchor or anchor in anchors(there)


def guides() -> Iterator[tuple[str, str]]:
    """Yield what errors name of the docs: a guide by its name on the site, and a heading or its number, if any."""
    for file in (ROOT / "lucca_provider").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from re.findall(r'\(guide "([^"]+)"(?:, ([^)]+))?\)', node.value)


@pytest.mark.parametrize(("guide", "heading"), sorted(set(guides())))
def test_a_guide_that_an_error_names_is_there(guide: str, heading: str) -> None:
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    (file,) = re.findall(rf"- {guide}: (\S+\.md)$", nav, re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", prose(page(f"docs/{file}")).replace("`", ""), re.MULTILINE)
    assert [one for one in headings if one == heading or one.startswith(f"{heading}. ") or not heading]


def test_every_picture_is_shown() -> None:
    shown = {
        (file.parent / target).resolve()
        for file in PAGES
        for target in re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", prose(file.read_text()))
    }
    assert set((ROOT / "docs" / "images").iterdir()) == shown


def test_the_map_of_the_readme_names_every_guide() -> None:
    map_of_docs = page("README.md").partition("## Documentation")[2]
    for guide in (ROOT / "docs").glob("*.md"):
        assert f"](docs/{guide.name})" in map_of_docs


def test_the_site_has_every_guide_in_its_navigation() -> None:
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    named = set(re.findall(r": (\S+\.md)$", nav, re.MULTILINE))
    assert {guide.name for guide in (ROOT / "docs").glob("*.md")} <= named
