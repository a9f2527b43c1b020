"""Gives the tests an Airflow of their own: a home, a database and settings that touch nothing of the user's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]
# A process that a test starts uses the Airflow of that test, and the connections it was given. Each of pytest-xdist's
# workers has an Airflow of its own.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
inherited = "LUCCA_TESTS_HOME" in os.environ and os.environ.get("LUCCA_TESTS_WORKER") == WORKER
HOME = Path(os.environ["LUCCA_TESTS_HOME"] if inherited else tempfile.mkdtemp(prefix="lucca-tests-"))

for name in list(os.environ):
    if name.startswith("AIRFLOW_") and not (inherited and name.startswith("AIRFLOW_CONN_")):
        del os.environ[name]
os.environ |= {
    "LUCCA_TESTS_HOME": str(HOME),
    "LUCCA_TESTS_WORKER": WORKER,
    "AIRFLOW_HOME": str(HOME),
    # Empty: dag.test() reads all that is in there.
    "AIRFLOW__CORE__DAGS_FOLDER": str(HOME / "dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__FERNET_KEY": "mA4hhCJ1jmvjMr4sPTdvnVDuRgNq4zYrN5hHhTQWbCg=",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME / 'airflow.db'}",
    "AIRFLOW__METRICS__TIMER_UNIT_CONSISTENCY": "True",
    "NO_PROXY": "127.0.0.1,localhost",
}

from airflow import __version__ as airflow_version  # noqa: E402

AIRFLOW = tuple(int(part) for part in airflow_version.split(".")[:2])
if AIRFLOW < (3, 0):
    # Airflow 2's own tables point to these.
    import airflow.providers.fab.auth_manager.models  # noqa: F401

# `make mutation` runs the tests thousands of times, and each time the same ones.
settings.register_profile(
    "mutation", max_examples=10, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)


# How long an example takes says more of the machine than of what is tested.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


def pytest_report_header() -> str:
    return f"airflow: {airflow_version}"


def pytest_sessionfinish() -> None:
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def airflow_db() -> None:
    """Make Airflow's database, once for all tests."""
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True, env=os.environ)


@pytest.fixture
def run_dag(airflow_db: None) -> Callable[..., Any]:
    """Run a DAG of a test with ``dag.test()``, and return its run."""

    def run(dag: Any, **kwargs: Any) -> Any:
        if AIRFLOW >= (3, 0):
            register(dag)
        return dag.test(**kwargs)

    return run


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Return what was logged since the last call, by tasks too: those of Airflow 3 log past Python's handlers."""
    caplog.set_level("INFO")

    def read() -> str:
        text = capsys.readouterr().out + caplog.text
        caplog.clear()
        return text

    return read


def run(*command: object, home: Path | None = None, **environ: str) -> str:
    """
    Run a command away from this project and from any Airflow, and return what it printed.

    :param home: where it runs, and Airflow's home
    :param environ: environment variables beside those of this process that have nothing to do with Airflow
    """
    hidden = ("AIRFLOW", "COV_", "COVERAGE", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    if home:
        environment["AIRFLOW_HOME"] = str(home)
    done = subprocess.run(
        [str(part) for part in command],
        cwd=home,
        env=environment | environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist from what git knows of, and the wheel from that sdist; return the folder that holds them."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    names = run("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", built, source)
    return built


def register(dag: Any) -> None:
    """Write a DAG that stands in no DAG folder to the database, where Airflow 3 looks for it."""
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.serialization.serialized_objects import LazyDeserializedDAG, SerializedDAG
    from airflow.utils.session import create_session

    # What DAG folders give to a DAG, and Airflow 3.0 takes for given.
    dag.relative_fileloc = dag.relative_fileloc or Path(dag.fileloc).name
    with create_session() as session:
        session.merge(DagBundleModel(name="tests"))
        session.flush()
        if AIRFLOW >= (3, 1):
            lazy = LazyDeserializedDAG.from_dag(dag)
        else:
            lazy = LazyDeserializedDAG(data=SerializedDAG.to_dict(dag))
        SerializedDAG.bulk_write_to_db("tests", None, [lazy], session=session)
        SerializedDagModel.write_dag(lazy, bundle_name="tests", session=session)
