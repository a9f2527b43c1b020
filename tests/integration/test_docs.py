"""The README and the guides: what they show is run, what they name is there, where they lead exists."""

from __future__ import annotations

import ast
import configparser
import enum
import importlib
import inspect
import json
import os
import pkgutil
import re
import shlex
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import lucca_provider
from benchmarks.__main__ import WINDOW, _measures
from lucca_provider import closing, exceptions
from lucca_provider.checking import Check
from lucca_provider.closing import Report, run
from lucca_provider.get_provider_info import CONNECTION_FIELDS, FIELD_BEHAVIOUR
from lucca_provider.hooks.lucca import LuccaHook
from lucca_provider.operators.purchases import (
    CheckPurchasesOperator,
    ClosePurchaseOperator,
    ListPurchasesOperator,
)
from lucca_provider.sandbox import FAULTS, Sandbox
from lucca_provider.sandbox.__main__ import _parser
from lucca_provider.sensors.purchases import PurchasesClosableSensor
from tests.conftest import AIRFLOW, ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
IDS = range(101, 110)
"""The purchases that the pages close."""
SHELLS = ("sh", "console", "bash")


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


def read_blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text()
        for found in re.finditer(r"^```(\w*)[ ]?(.*)\n((?:.*\n)*?)```$", text, re.MULTILINE):
            yield Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2], found[3])


BLOCKS = list(read_blocks())
PYTHON = [block for block in BLOCKS if block.language == "python"]
PROGRAMS = [block for block in PYTHON if not block.info.endswith(".py")]
PROJECTS = sorted({block.page for block in PYTHON if block.info.endswith(".py")})
SHELL = [block for block in BLOCKS if block.language in SHELLS]


def page(name: str) -> str:
    return (ROOT / name).read_text()


def rows(text: str, heading: str) -> dict[str, list[str]]:
    """Return the table below a line that starts like this: first cell (without its code marks) to the other cells."""
    lines = iter(text.splitlines())
    next(line for line in lines if line.startswith(heading))
    table: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("|"):
            first, *rest = (cell.strip() for cell in line.strip("|").split("|"))
            table[first.strip("`")] = rest
        elif table:
            break
    del table[next(key for key in table if set(key) <= set("-:"))]
    return table


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
def test_python_runs(block: Block, lucca: Sandbox, run_dag: Callable[..., Any], tmp_path: Path) -> None:
    if block.info:
        needed = re.fullmatch(r"(\d+)\.(\d+)\+", block.info)
        assert needed, f"{block}: what is {block.info!r}?"
        if (int(needed[1]), int(needed[2])) > AIRFLOW:
            pytest.skip(f"for Airflow {block.info}")
    file = tmp_path / "block.py"
    file.write_text(block.code)
    before = dict(os.environ)
    try:
        dags = load(file)
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert bool(dags) is ("DAG(" in block.code)
    for dag in dags.values():
        # Nobody is there to approve: what does is followed to its end in tests/system.
        if "ApprovalOperator" not in block.code:
            assert run_dag(dag).state == "success"
    if dags:
        closes = "ClosePurchaseOperator" in block.code
        asked = sorted({int(number) for number in re.findall(r"\b10\d\b", block.code)}) if closes else []
        assert bool(asked) is closes
        assert lucca.closed_ids == asked
        assert [lucca.posts(purchase_id) for purchase_id in asked] == [1] * len(asked)


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
    (block,) = (block for block in SHELL if block.page == PAGES[0] and f"LUCCA_DEFAULT='{form}" in block.code)
    connection = next(commands(block.code))[1].partition("=")[2]
    file = tmp_path / "connections.json"
    file.write_text(json.dumps({"lucca_default": json.loads(connection) if form == "{" else connection}))
    read = "from lucca_provider.hooks.lucca import LuccaHook as H; print(H().base_url, H().tenant.api_key)"
    said = shell(
        f"python -c '{read}'",
        AIRFLOW__SECRETS__BACKEND="airflow.secrets.local_filesystem.LocalFilesystemBackend",
        AIRFLOW__SECRETS__BACKEND_KWARGS=json.dumps({"connections_file_path": str(file)}),
    )
    assert said.splitlines()[-1] == "https://acme.ilucca.net your-api-key"


def test_the_table_of_fields_is_that_of_the_form() -> None:
    fields = rows(page("docs/connection.md"), "## Field by field")
    relabelled = FIELD_BEHAVIOUR["relabeling"]
    labels = [relabelled[name] for name in ("host", "password")] + ["Port", relabelled["schema"]]
    labels += [spec["label"] for spec in CONNECTION_FIELDS.values()]
    assert [label for label in fields if label != "In the form"] == labels
    named = [cells[0].strip("`").removeprefix("extra `") for label, cells in fields.items() if label != "In the form"]
    assert named == ["host", "password", "port", "schema", *CONNECTION_FIELDS]


def test_the_table_of_environments_is_true(monkeypatch: pytest.MonkeyPatch) -> None:
    table = rows(page("docs/connection.md"), "The host name tells the environment")
    del table["Host"]
    seen = set()
    for first, (environment,) in table.items():
        hosts = re.findall(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+", first) or ["lucca.example.com"]
        for host in hosts:
            monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", f"lucca://:some-api-key@{host}")
            assert LuccaHook().environment == environment.strip("`")
        seen.add(environment.strip("`"))
    assert seen == {"production", "test", "demo", "sandbox", "other"}


def test_what_a_test_of_the_connection_says_is_in_the_code() -> None:
    source = "".join(file.read_text() for file in (ROOT / "lucca_provider/hooks").glob("*.py"))
    said = rows(page("docs/connection.md"), "## Trying it")
    del said["The message says"]
    assert said
    for words in said:
        assert words.split("`")[0] in source


def test_every_error_is_explained() -> None:
    text = page("docs/connection.md")
    for name in exceptions.__all__:
        assert f"`{name}`" in text


# -- the shell -------------------------------------------------------------------------------------------------------

RUN_BY = {
    "export": (__file__, "test_a_connection_is_read"),
    "pip install": (__file__, "test_pip_installs_it"),
    "airflow connections add": (__file__, "test_a_connection_is_added_from_the_command_line"),
    "airflow pools set": (__file__, "test_a_pool_is_made_and_told_to_count_deferred_tasks"),
    "airflow tasks clear": (__file__, "test_failed_closings_are_cleared_and_nothing_else"),
    "python -m lucca_provider.sandbox": ("tests/system/test_docs.py", "test_a_tenant_is_served_until_ctrl_c"),
    "make demo": ("tests/system/test_demo.py", '["make", "demo"]'),
    "make ui": ("tests/system/test_ui.py", '["make", "ui"]'),
    "make test": (".ci/run", "\nmake test "),
}
"""How a command begins; which file runs it, and where in there."""


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


def table_of(command: str) -> list[dict[str, str]]:
    """Return what a command of Airflow's shows, before which it may log."""
    table: list[dict[str, str]] = json.loads(shell(f"{command} --output json").splitlines()[-1])
    return table


def the_block(beginning: str) -> Block:
    (found,) = (block for block in SHELL if block.code.startswith(beginning))
    return found


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_every_command_is_run_somewhere(block: Block) -> None:
    for words in commands(block.code):
        command = " ".join(words) + " "
        ((file, there),) = (ran for beginning, ran in RUN_BY.items() if command.startswith(f"{beginning} "))
        assert there in page(file)


def test_pip_installs_it(built: Path, tmp_path: Path) -> None:
    blocks = [block for block in SHELL if block.code.startswith("pip ")]
    assert len(blocks) == 3
    for number, block in enumerate(blocks):
        target = tmp_path / str(number)
        # From what was built just now, and without what it needs: tests/integration/test_packaging.py sees to that.
        shell(block.code, PIP_NO_INDEX="1", PIP_FIND_LINKS=built.as_uri(), PIP_NO_DEPS="1", PIP_TARGET=str(target))
        assert (target / "lucca_provider" / "get_provider_info.py").is_file()


def test_a_connection_is_added_from_the_command_line(airflow_db: None) -> None:
    block = the_block("airflow connections add")
    try:
        shell(block.code)
        (connection,) = table_of("airflow connections get lucca_default")
    finally:
        shell("airflow connections delete lucca_default")
    assert (connection["conn_type"], connection["host"]) == ("lucca", "acme.ilucca.net")


def test_a_pool_is_made_and_told_to_count_deferred_tasks(airflow_db: None) -> None:
    blocks = [block for block in SHELL if block.code.startswith("airflow pools set")]
    counted = []
    for block in blocks:
        shell(block.code)
        (pool,) = table_of("airflow pools get lucca_acme")
        assert int(pool["slots"]) == 1
        counted.append(pool["include_deferred"])
    shell("airflow pools delete lucca_acme")
    assert counted == ["False", "True"]


def test_failed_closings_are_cleared_and_nothing_else(
    lucca: Sandbox, run_dag: Callable[..., Any], tmp_path: Path
) -> None:
    (program,) = (block for block in PROGRAMS if 'dag_id="close_purchases"' in block.code)
    file = tmp_path / "close_purchases.py"
    file.write_text(program.code)
    (dag,) = load(file).values()
    lucca.set_purchase(102, invoices=[{"conformityState": "Confirmed", "paymentState": "ToPay"}])
    run = run_dag(dag)
    assert {ti.task_id: ti.state for ti in run.get_task_instances()} == {"validated": "success", "close": "failed"}
    shell(the_block("airflow tasks clear").code, AIRFLOW__CORE__DAGS_FOLDER=str(tmp_path))
    assert {ti.task_id: ti.state for ti in run.get_task_instances()} == {"validated": "success", "close": None}


def test_commands_within_sentences_exist() -> None:
    text = "".join(prose(file.read_text()) for file in PAGES)
    named = set(re.findall(r"`make ([^`]+)`", text))
    assert {"demo", "test", "lint", "requirements"} <= named
    for words in named:
        check_make(shlex.split(words))
    named = set(re.findall(r"`\.venv/3\.3/bin/python ([^`]+)`", text))
    assert {"-m benchmarks", "-m pytest tests/unit/closing"} <= named
    for words in named:
        check_module(shlex.split(words))
    for words in set(re.findall(r"`airflow ([^`]+)`", text)):
        if not words.startswith(("pools set --include-deferred", "dags test")):
            check_airflow(shlex.split(words))


def check_make(words: list[str]) -> None:
    makefile = page("Makefile")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for word in words:
        name, equals, _ = word.partition("=")
        line = re.fullmatch(r"test-([a-z0-9.]+)(-py3\.\d+)?", name)
        known = name in targets or (line and f"\nLAST_{line[1]} := " in makefile)
        assert f"$({name})" in makefile if equals else known, name


@cache
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def check_requirement(text: str) -> None:
    found = re.fullmatch(r"airflow-provider-lucca(?:\[(\w+)\])?", text)
    assert found, text
    assert found[1] is None or found[1] in setup_cfg()["options.extras_require"]


def check_module(words: list[str]) -> None:
    flag, module, *rest = words
    assert flag == "-m"
    if module == "pytest":
        assert all((ROOT / path).exists() for path in rest)
    else:
        assert (ROOT / module / "__main__.py").exists()


def check_airflow(words: list[str]) -> None:
    from airflow.cli.cli_parser import get_parser

    get_parser().parse_args(words)


def test_extras_that_are_named_exist() -> None:
    for file in PAGES:
        for text in re.findall(r"`(airflow-provider-lucca\[.*?\])`", file.read_text()):
            check_requirement(text)


def test_the_extra_for_the_examples_is_what_the_readme_says() -> None:
    (says,) = rows(page("README.md"), "| Extra")["airflow-provider-lucca[examples]"]
    providers = re.findall(r"apache-airflow-providers-([\w-]+)", setup_cfg()["options.extras_require"]["examples"])
    assert says.partition("the providers ")[2] == ", ".join(providers[:-1]) + f" and {providers[-1]}"


def test_every_option_and_fault_of_the_sandbox_is_in_the_guide() -> None:
    text = page("docs/testing.md")
    options = {word for action in _parser()._actions for word in action.option_strings if word.startswith("--")}
    table = rows(text, "## On the command line")
    named = {word for cell in table for word in re.findall(r"--[a-z-]+", cell)}
    assert named == options - {"--help"}
    for cell in table:
        for given in re.findall(r"--[a-z][^`]*", cell):
            _parser().parse_args(given.split())
    faults = rows(text, "## Faults")
    del faults["Fault"]
    assert {name: meaning for name, (meaning,) in faults.items()} == FAULTS


def test_members_of_the_sandbox_that_are_named_exist() -> None:
    members = rows(page("docs/testing.md"), "## In a program")
    del members["Member"]
    for cell in members:
        for name in re.findall(r"[a-z_]+", re.sub(r"\(.*?\)", "", cell)):
            assert hasattr(Sandbox(purchases=0), name), name


# -- the operator ----------------------------------------------------------------------------------------------------


def test_json_shows_a_report_and_a_check() -> None:
    for block, result in zip([block for block in BLOCKS if block.language == "json"], (Report, Check), strict=True):
        shown, members = json.loads(block.code), typing.get_type_hints(result)
        assert set(shown) == set(members)
        for name, member in members.items():
            (item,) = typing.get_args(member)
            if item is not int:
                assert [set(one) for one in shown[name]] == [set(typing.get_type_hints(item))]


def test_the_table_of_arguments_is_that_of_the_operator() -> None:
    assert_arguments(ClosePurchaseOperator, page("docs/closing.md"))


def test_the_tables_of_arguments_are_those_of_list_and_check() -> None:
    find, _, check = page("docs/validating.md").partition("## 2.")
    assert_arguments(ListPurchasesOperator, find)
    assert_arguments(CheckPurchasesOperator, check.partition("## 3.")[0])


def assert_arguments(operator: Any, text: str) -> None:
    table = rows(text, "| Argument")
    arguments = inspect.signature(operator.__init__).parameters
    own = [name for name in arguments if name not in ("self", "kwargs", "multiple_outputs")]
    assert list(table) == own
    for name, (default, meaning) in table.items():
        assert ("(templated)" in meaning) is (name in operator.template_fields), name
        known = arguments[name].default
        if name not in ("purchase_ids", "deferrable"):
            assert default.replace("`", "") == (", ".join(known) if isinstance(known, tuple) else str(known))


def test_what_the_guide_says_of_the_sensor_is_true() -> None:
    text = " ".join(page("docs/validating.md").partition("## 3.")[2].split())
    arguments = inspect.signature(PurchasesClosableSensor.__init__).parameters
    assert f"its default is {arguments['poke_interval'].default}" in text
    assert arguments["mode"].default == "reschedule"
    checked = set(inspect.signature(CheckPurchasesOperator.__init__).parameters) - {"on_blocked", "multiple_outputs"}
    assert checked <= set(arguments)


def test_the_verdicts_are_named() -> None:
    found = rows(page("docs/validating.md"), "| Verdict")
    assert list(found) == list(typing.get_type_hints(Check))


def test_the_outcomes_are_named() -> None:
    outcomes = list(typing.get_type_hints(Report))
    for name, heading in (("README.md", "## The report"), ("docs/closing.md", "## The outcomes")):
        assert [outcome for outcome in rows(page(name), heading) if outcome != "Outcome"] == outcomes


def test_reasons_that_are_named_are_in_the_code() -> None:
    table = rows(page("docs/deploying.md"), "## What to do with `unresolved`")
    del table["The reason says"]
    assert len(table) > 10
    source = inspect.getsource(run) + "".join(
        (ROOT / "lucca_provider" / file).read_text()
        for file in ("closing/driver.py", "operators/purchases.py", "hooks/_answers.py", "hooks/_tenant.py")
    )
    for reason in reasons_in(table):
        assert reason.replace("Lucca answered 401", "Lucca answered {status}") in source, reason


def test_every_reason_to_stop_is_in_the_table() -> None:
    known = reasons_in(rows(page("docs/deploying.md"), "## What to do with `unresolved`"))
    stops = [
        "".join(part.value for part in ast.walk(call.args[0]) if isinstance(part, ast.Constant))
        for file in ("closing/run.py", "closing/driver.py", "operators/purchases.py")
        for call in ast.walk(ast.parse((ROOT / "lucca_provider" / file).read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith(".stop") and call.args
    ]
    told = [text for text in stops if text]
    assert len(told) > 6
    for text in told:
        assert any(reason in text for reason in known), text


def reasons_in(table: Mapping[str, object]) -> list[str]:
    # What only says in other words what a reason is about has no code marks.
    quoted = (cell.removeprefix("… ") for cell in table if "`" in cell or not cell.startswith("… "))
    return [reason for cell in quoted for reason in re.split(r"`, `|`", cell) if reason]


def test_numbers_in_the_guide_are_those_of_the_run() -> None:
    text = page("docs/closing.md")
    words = {5: "five", 10: "ten"}
    assert f"at most {run.MAX_SENDS} closings without" in text
    assert f"and {run.MAX_LOOKS} reads in a row" in text
    assert f"not sooner than {run.SETTLE_SECONDS:.0f} seconds" in text
    assert f"403 for {words[run.STREAK]} purchases in a row" in text
    assert f"{words[run.MAX_FAILURES]} requests in a row without" in text
    assert f"nothing but 429 for {words[int(run.MAX_THROTTLED / 60)]} minutes" in text
    assert f"more than {words[int(run.MAX_PAUSE / 60)]} minutes" in text
    assert f"From {run.MIN_LISTED} purchases on" in text
    assert f"cut to {run.REASON_LENGTH} characters" in text
    assert {f"`{state}`" for state in run.OPEN_STATES | {run.CLOSED_STATE}} <= set(re.findall(r"`\w+`", text))


def test_metrics_that_are_named_are_counted() -> None:
    source = inspect.getsource(inspect.getmodule(ClosePurchaseOperator) or ModuleType(""))
    counted = set(re.findall(r'Stats\.incr\("([a-z.]+)"', source))
    assert {name for name in rows(page("docs/closing.md"), "## Metrics") if name != "Metric"} == counted
    assert all(f"`{kind.value}`" in page("docs/closing.md") for kind in run.Kind)


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


def test_pictures_are_shown_small_and_described() -> None:
    shown = {}
    for file in PAGES:
        for words, target in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", prose(file.read_text())):
            shown[(file.parent / target).resolve()] = words
    assert set(shown) == set((ROOT / "docs" / "images").iterdir())
    assert all(len(words) > 40 for words in shown.values())
    assert all(picture.stat().st_size < 200_000 for picture in shown)


def test_the_map_of_the_readme_names_every_guide() -> None:
    map_of_docs = page("README.md").partition("## Documentation")[2]
    for guide in (ROOT / "docs").glob("*.md"):
        assert f"](docs/{guide.name})" in map_of_docs


# -- evidence --------------------------------------------------------------------------------------------------------


EVIDENCE, _, NO_EVIDENCE = page("docs/evidence.md").partition("## What no test shows")
SHOWN = [found for found in re.findall(r"^\| (.*) \| (.*) \|$", EVIDENCE, re.MULTILINE) if found[1] != "Shown by"]


def claims(text: str) -> Iterator[str]:
    """Return what a page says, piece by piece: the sentences of paragraphs and bullets, and the rows of tables."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", prose(text))
    text = re.sub(r"^#+ .*$|^\|.*\n\|[-|]+\|$", "", text, flags=re.MULTILINE)
    for block in re.split(r"\n\s*\n|\n(?=- |\|)", text):
        if block.startswith("|"):
            yield ", ".join(cell.strip() for cell in block.split("|") if cell.strip())
        elif block.strip():
            yield from re.split(r"(?<=\.) (?=[A-Z`*])", " ".join(block.removeprefix("- ").split()))


def test_whatever_the_readme_says_is_quoted_once_and_nothing_else_is() -> None:
    quoted = [quote for says, _ in SHOWN for quote in says.split("<br>")]
    quoted += re.findall(r"^- (.*)$", NO_EVIDENCE, re.MULTILINE)
    said = list(claims(page("README.md")))
    for claim in said:
        assert sum(claim.startswith(quote.removesuffix(" …")) for quote in quoted) == 1, claim
    assert len(quoted) == len(said)


def test_tests_and_benchmarks_that_are_named_are_there() -> None:
    written = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    there = {f"`{name}`" for name in re.findall(r"def (test_\w+)", written)}
    there |= {f"benchmark {letter}" for letters in _measures(WINDOW) for letter in letters}
    for says, shown_by in SHOWN:
        assert set(shown_by.split(", ")) <= there, says


# -- docstrings ------------------------------------------------------------------------------------------------------


def public_modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(lucca_provider.__path__, "lucca_provider."):
        if any(part.startswith("_") for part in found.name.split(".")):
            continue
        if found.name == "lucca_provider.policies.retry" and AIRFLOW < (3, 3):
            continue
        yield importlib.import_module(found.name)


def public_names() -> Iterator[Any]:
    for module in public_modules():
        for name in getattr(module, "__all__", ()):
            yield pytest.param(module, name, id=f"{module.__name__.removeprefix('lucca_provider.')}.{name}")


def test_public_modules_say_what_is_public() -> None:
    silent = {
        module.__name__.removeprefix("lucca_provider.")
        for module in public_modules()
        if not hasattr(module, "__all__")
        and inspect.getmembers(module, lambda m: inspect.isclass(m) or inspect.isfunction(m))
    }
    # What users may import of the sandbox stands in its package.
    assert {name for name in silent if not name.startswith("sandbox.")} == set()


NOT_PUBLIC = {"needs_documents", "tells_state", "pytest_configure"}
"""What has no underscore and is nobody's to call: two helpers of the check, and what pytest looks for in a plugin."""


def test_whatever_a_public_module_defines_is_public() -> None:
    # A package says so of what its modules define and it hands on.
    for module in public_modules():
        defined = {
            name
            for name, thing in vars(module).items()
            if callable(thing) and not name.startswith("_") and thing.__module__.startswith(module.__name__)
        }
        if hasattr(module, "__all__"):
            assert defined - NOT_PUBLIC <= set(module.__all__), module.__name__


def test_the_closing_hands_on_what_its_modules_define() -> None:
    domain = [module for module in public_modules() if module.__name__.startswith(f"{closing.__name__}.")]
    assert len(domain) == 9
    handed_on = {name for module in domain for name in module.__all__ if callable(getattr(module, name))}
    # A report's items are only known by their keys.
    assert handed_on - {"Rejected", "Unresolved"} <= set(closing.__all__)


@pytest.mark.parametrize(("module", "name"), list(public_names()))
def test_a_public_name_is_documented(module: ModuleType, name: str) -> None:
    thing = getattr(module, name)
    # To pytest before 8.4 a fixture is a function; its parameters are no caller's.
    if inspect.isfunction(thing) and not hasattr(thing, "_pytestfixturefunction"):
        assert_documented(thing, thing.__doc__, name)
    # To Python 3.10 an alias such as Mapping[str, Any] is a class.
    if not inspect.isclass(thing) or typing.get_origin(thing):
        return
    assert (thing.__doc__ or "").strip(), name
    if "__init__" in vars(thing) and not issubclass(thing, enum.Enum):
        referred = [getattr(module, other, None) for other in re.findall(r":class:`(\w+)`", thing.__doc__ or "")]
        text = "".join(each.__doc__ or "" for each in (thing, *thing.__mro__[1:], *referred))
        assert_documented(thing.__init__, text, name, least=1)
    for member, method in vars(thing).items():
        function = getattr(method, "__func__", method)
        if inspect.isfunction(function) and not member.startswith("_"):
            assert inspect.getdoc(getattr(thing, member)), f"{name}.{member}"
            if not any(member in vars(base) for base in thing.__mro__[1:]):
                assert_documented(function, function.__doc__, f"{name}.{member}")


def assert_documented(function: Any, text: str | None, name: str, *, least: int = 2) -> None:
    """Check that parameters have a line each; a single one of a function may be explained by its first sentence."""
    assert (text or "").strip(), name
    parameters = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name not in ("self", "cls")
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
    if len(parameters) >= least:
        unsaid = {parameter for parameter in parameters if f":param {parameter}:" not in (text or "")}
        assert not unsaid, name
