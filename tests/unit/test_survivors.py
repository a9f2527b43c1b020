"""The list of mutants that no test notices is one of today's code: ``make mutation`` takes an hour, this does not."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT

LINES = [line for line in (ROOT / "tests" / "survivors.txt").read_text().splitlines() if line and line[0] != "#"]


def source_of(function: str) -> str:
    """Return the code of the module in which a function stands that is named as mutmut's results are."""
    package, module, *_ = function.split(".")
    return (ROOT / "lucca_provider" / package / f"{module}.py").read_text()


def entries() -> Iterator[tuple[str, str]]:
    for line in LINES:
        function, _, change = line.partition("  ")
        yield function, change


@pytest.mark.parametrize(("function", "change"), sorted(set(entries())))
def test_what_a_surviving_mutant_changes_is_still_there(function: str, change: str) -> None:
    source = source_of(function)
    *of_class, name = function.split(".")[2:]
    assert f"def {name}(" in source
    assert all(re.search(rf"^class {one}\b", source, re.MULTILINE) for one in of_class)
    if change:
        lines = {" ".join(line.split()) for line in source.splitlines()}
        assert any(f"{change} + ".startswith(f"- {line} + ") for line in lines if line)


def test_there_are_some() -> None:
    assert len(LINES) > 50
