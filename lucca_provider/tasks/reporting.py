"""What reporting closings needs besides the operator itself, and the files that a check writes too."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, TypedDict

from lucca_provider.compat import AirflowException, AirflowFailException
from lucca_provider.inputs import InvalidInputError
from lucca_provider.inputs.errors import shown
from lucca_provider.reports import STYLES, Table, to_csv, to_html, to_markdown
from lucca_provider.reports.identity import FORMS
from lucca_provider.reports.readback import Account, read_account
from lucca_provider.tasks.arguments import is_templated
from lucca_provider.tasks.common import say_listed, without_retry
from lucca_provider.tasks.files import FileTakenError, write_report

__all__ = ["Arguments", "Files", "Result", "Target", "read_reporting", "read_target", "write_files"]

log = logging.getLogger(__name__)


class Result(TypedDict):
    """What a report hands on: purchases by what became of them, the files, and each one's SHA-256."""

    counts: dict[str, int]
    paths: list[str]
    sha256: dict[str, str]


@dataclass(frozen=True, slots=True)
class Target:
    """
    Where a table goes.

    :param paths: of each file, to its form
    :param csv_style: of the CSV files
    """

    paths: Mapping[str, str]
    csv_style: str


@dataclass(frozen=True, slots=True)
class Arguments:
    """
    The arguments of a report, read.

    :param account: what is told about the closing
    :param target: where the report goes
    """

    account: Account
    target: Target


@dataclass(frozen=True, slots=True)
class Files:
    """
    What became of the files.

    :param sha256: path to the SHA-256 of what was written there, or kept of an earlier try, in hexadecimal
    :param problems: a line for each file that could not be written
    :param can_be_retried: whether trying again may write one of those
    """

    sha256: Mapping[str, str]
    problems: Sequence[str]
    can_be_retried: bool

    def assert_written(self, message: str) -> None:
        """
        Fail the task if a file could not be written.

        :param message: what is said before the files are named
        :raises AirflowException: if a retry may write it
        :raises AirflowFailException: if none would
        """
        if self.problems:
            message = say_listed(message, self.problems)
            raise AirflowException(message) if self.can_be_retried else AirflowFailException(message)


def read_reporting(task: Any) -> Arguments:
    """
    Read the arguments of a report.

    :param task: the operator
    :raises AirflowFailException: naming the argument, the value and what to do
    """
    with without_retry():
        target = read_target(task)
        account = read_account(
            report=task.report,
            purchase_ids=task.purchase_ids,
            sent=task.sent,
            left_out=task.left_out,
            approved=task.approved_by,
            asked=is_templated(task, "approved_by"),
        )
        return Arguments(account, target)


def read_target(task: Any) -> Target:
    """
    Read where a task writes its table.

    :param task: the operator, with the attributes ``path`` and ``csv_style``
    :raises InvalidInputError: naming the argument, the value and what to do
    """
    if task.csv_style not in STYLES:
        raise InvalidInputError(f"csv_style: {task.csv_style!r} is none of {', '.join(map(repr, STYLES))}.")
    return Target(_read_paths(task.path), task.csv_style)


def write_files(table: Table, target: Target) -> Files:
    """
    Write a table to each of its paths. One that cannot be written does not keep the others from it.

    :param table: a report, or a check
    :param target: where, and in which style
    """
    written: dict[str, str] = {}
    kept: dict[str, str] = {}
    problems = []
    retried = False
    for path, form in target.paths.items():
        try:
            found = write_report(path, _render(table, form, target.csv_style).encode(), form)
        except FileTakenError as error:
            problems.append(f"{error} Move it or delete it and clear this task, or give another path.")
        except Exception as error:  # noqa: BLE001 - each store has errors of its own
            problems.append(f"{path} could not be written: {_say(error)}")
            retried = True
        else:
            written[path] = found.pop(path)
            kept |= found
            log.info("Written: %s (SHA-256 %s).", path, written[path])
    return Files({**written, **kept}, problems, retried)


def _say(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "its folder does not exist."
    return f"{type(error).__name__}: {error}"


def _render(table: Table, form: str, csv_style: str) -> str:
    if form == "csv":
        return to_csv(table, csv_style)
    return to_html(table) if form == "html" else to_markdown(table)


def _read_paths(given: object) -> Mapping[str, str]:
    """Return the form of the file at each path."""
    paths: dict[str, str] = {}
    for one in given if isinstance(given, (list, tuple)) else [given]:
        path, form = _read_path(one)
        if path in paths:
            raise InvalidInputError(f"path: {path!r} is given twice.")
        paths[path] = form
    if not paths:
        raise InvalidInputError("path: it is empty. Give where the report goes.")
    return paths


def _read_path(given: object) -> tuple[str, str]:
    # On Airflow 3 an ObjectStoragePath is not os.PathLike.
    path = str(given) if isinstance(given, os.PathLike) or hasattr(given, "protocol") else given
    if not isinstance(path, str) or not path.strip():
        raise InvalidInputError(f"path: {shown(given)} is no path. Give where the report goes, or several of these.")
    form = PurePosixPath(path).suffix.lower().removeprefix(".")
    if form not in FORMS:
        raise InvalidInputError(f"path: {path!r} ends with none of {', '.join(f'.{form}' for form in FORMS)}.")
    if "://" not in path and not path.startswith("/"):
        raise InvalidInputError(
            f"path: {path!r} is relative to wherever a worker runs. Begin it with / or with a scheme such as s3://."
        )
    return path, form
