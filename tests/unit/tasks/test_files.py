"""A file of a report is there as a whole or not at all, also after a kill, and never in the place of another's."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lucca_provider.reports import Details, closing_table, to_csv, to_html, to_markdown
from lucca_provider.tasks.files import FileTakenError, write_report
from tests.conftest import AIRFLOW, ROOT
from tests.unit.reports.samples import HEAD, REPORT

WRITE = {"csv": lambda table: to_csv(table, "fr"), "html": to_html, "md": to_markdown}


SHOWN = {number: Details(state="Closed") for number in (101, 102)}


def content(form: str = "csv", report: dict[str, Any] = REPORT, **head: Any) -> bytes:
    return WRITE[form](closing_table(report, replace(HEAD, **head), details=SHOWN)).encode()


@pytest.fixture(params=["/", "file:///", "memory://"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Any]]:
    """Return where to write to, on a disk or in a store, and what reads a file there."""
    if request.param != "memory://":
        yield f"{request.param}{str(tmp_path)[1:]}", lambda name: (tmp_path / name).read_bytes()
        return
    from fsspec.implementations.memory import MemoryFileSystem

    if AIRFLOW >= (3, 0):
        from airflow.sdk.io import attach
    else:
        from airflow.io.store import attach
    store = MemoryFileSystem()
    attach("memory", fs=store)
    yield "memory://reports", lambda name: store.cat(f"/reports/{name}")
    store.store.clear()


@pytest.mark.parametrize("form", WRITE)
def test_a_file_is_written_and_only_its_own_task_replaces_it(place: Any, form: str) -> None:
    folder, read = place
    path = f"{folder}/closing.{form}"
    first, second = content(form), content(form, comment="Second try")
    assert write_report(path, first, form) == {path: hashlib.sha256(first).hexdigest()}
    assert read(f"closing.{form}") == first
    write_report(path, second, form)
    assert read(f"closing.{form}") == second
    with pytest.raises(FileTakenError, match=f"closing.{form} already exists"):
        write_report(path, content(form, run_id="another"), form)
    assert read(f"closing.{form}") == second


SAYS_LESS: list[dict[str, Any]] = [
    {**REPORT, "closed": []},
    {**REPORT, "unresolved": []},
    # Another pass of the run finds closed what the first one has closed.
    {**REPORT, "closed": [], "already_closed": [101, 102]},
]


@pytest.mark.parametrize("form", WRITE)
@pytest.mark.parametrize("less", SAYS_LESS)
def test_a_file_that_says_what_the_new_one_does_not_is_kept_beside_it(
    place: Any, form: str, less: dict[str, Any]
) -> None:
    folder, read = place
    path = f"{folder}/closing.{form}"
    first, second = content(form), content(form, less)
    write_report(path, first, form)
    written = write_report(path, second, form)
    digest = hashlib.sha256(first).hexdigest()
    beside = f"{folder}/closing.{digest[:12]}.{form}"
    assert written == {path: hashlib.sha256(second).hexdigest(), beside: digest}
    assert (read(f"closing.{form}"), read(f"closing.{digest[:12]}.{form}")) == (second, first)
    # The new one says nothing that the next, which is the first again, does not say.
    assert list(write_report(path, first, form)) == [path]


@pytest.mark.parametrize("form", WRITE)
def test_a_file_that_was_kept_by_a_try_that_was_killed_is_not_kept_twice(tmp_path: Path, form: str) -> None:
    first, second = content(form), content(form, SAYS_LESS[0])
    path, beside = f"{tmp_path}/a.{form}", f"{tmp_path}/a.{hashlib.sha256(first).hexdigest()[:12]}.{form}"
    for one in (path, beside):
        Path(one).write_bytes(first)
    assert list(write_report(path, second, form)) == [path, beside]
    assert Path(beside).read_bytes() == first
    # What somebody else has put there is not lost, and nor is the report.
    Path(beside).write_bytes(b"mine")
    Path(path).write_bytes(first)
    with pytest.raises(FileTakenError, match="not the report that was to be kept"):
        write_report(path, second, form)
    assert (Path(path).read_bytes(), Path(beside).read_bytes()) == (first, b"mine")


def test_a_file_that_is_no_report_is_left_alone(tmp_path: Path) -> None:
    for before in (b"", b"Purchase;Title\r\n", b"\x00\xff"):
        (tmp_path / "a.csv").write_bytes(before)
        with pytest.raises(FileTakenError):
            write_report(f"{tmp_path}/a.csv", content(), "csv")
        assert (tmp_path / "a.csv").read_bytes() == before


def test_an_empty_file_and_a_link_to_nowhere_are_left_alone_and_no_retry_would_help(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "link.csv").symlink_to(tmp_path / "nowhere.csv")
    for name, words in (("empty", "is empty"), ("link", "is a link to a file that does not exist")):
        with pytest.raises(FileTakenError, match=rf"{name}\.csv {words}"):
            write_report(f"{tmp_path}/{name}.csv", content(), "csv")
    assert sorted(os.listdir(tmp_path)) == ["empty.csv", "link.csv"]


def test_nothing_else_is_left_in_the_folder(tmp_path: Path) -> None:
    write_report(f"{tmp_path}/a.csv", content(), "csv")
    with pytest.raises(FileTakenError):
        write_report(f"{tmp_path}/a.csv", content(run_id="another"), "csv")
    assert os.listdir(tmp_path) == ["a.csv"]
    assert (tmp_path / "a.csv").stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("links", [True, False])
def test_of_many_runs_at_once_one_writes_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def refuse(*args: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "no links on this share")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    start = threading.Barrier(12)
    written = []

    def write(run_id: str) -> None:
        data = content(run_id=run_id)
        start.wait()
        try:
            write_report(f"{tmp_path}/a.csv", data, "csv")
        except (FileTakenError, FileExistsError):
            return
        written.append(data)

    threads = [threading.Thread(target=write, args=(f"run {number}",)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert written == [(tmp_path / "a.csv").read_bytes()]
    assert os.listdir(tmp_path) == ["a.csv"]


@pytest.mark.parametrize("before", [None, content()])
def test_a_kill_within_the_write_leaves_what_was_there(tmp_path: Path, before: bytes | None) -> None:
    """The kernel ends the process at the first byte above a size that is far below that of the file."""
    if before is not None:
        (tmp_path / "a.csv").write_bytes(before)
    code = """
    import resource, signal, sys
    from lucca_provider.tasks.files import write_report
    from tests.unit.tasks.test_files import content
    data = content() + b"\\r\\n" * 4_000_000
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, 4_000_000))
    write_report(sys.argv[1], data, "csv")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), f"{tmp_path}/a.csv"], cwd=ROOT, env=os.environ, check=False
    )
    assert done.returncode == -signal.SIGXFSZ
    (part,) = tmp_path.glob(".*.part")
    assert 0 < part.stat().st_size <= 4_000_000
    assert [file.read_bytes() for file in tmp_path.glob("a.csv")] == ([] if before is None else [before])
    write_report(f"{tmp_path}/a.csv", content(comment="The retry"), "csv")
    assert (tmp_path / "a.csv").read_bytes() == content(comment="The retry")


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_report(f"{tmp_path}/missing/a.csv", content(), "csv")
    assert os.listdir(tmp_path) == []
