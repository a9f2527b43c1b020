"""The package's surface, and the pytest fixture that it offers."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import lucca_provider.sandbox

pytest_plugins = ["pytester"]

FOLDER = Path(lucca_provider.sandbox.__file__).parent


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_it_needs_nothing_but_the_standard_library_and_for_the_fixture_pytest(path):
    allowed = {*sys.stdlib_module_names, "pytest"} if path.name == "fixtures.py" else {*sys.stdlib_module_names}
    for module in imported_by(ast.parse(path.read_text(encoding="utf-8"))):
        assert module.partition(".")[0] in allowed or module.startswith("lucca_provider.sandbox"), module


def imported_by(tree):
    """Return what a module imports, except for type checkers."""
    checked = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    ]
    skipped = {id(node) for block in checked for node in ast.walk(block)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level < 2
            yield "lucca_provider.sandbox." + (node.module or "") if node.level else node.module


def test_the_fixture_serves_a_tenant_and_points_airflow_at_it(pytester):
    pytester.makeini("[pytest]\naddopts = --strict-markers\n")
    pytester.makeconftest('pytest_plugins = ["lucca_provider.sandbox.fixtures"]')
    pytester.makepyfile(
        """
        import os
        import socket

        import pytest

        def test_plain(lucca_sandbox):
            assert os.environ["AIRFLOW_CONN_LUCCA_DEFAULT"] == lucca_sandbox.connection_uri
            assert len(lucca_sandbox.purchase_ids) == 60
            socket.create_connection((lucca_sandbox.host, lucca_sandbox.port)).close()

        @pytest.mark.lucca_sandbox(3, states={"closable": 1}, limit=7)
        def test_with_options(lucca_sandbox):
            assert len(lucca_sandbox.closable_ids) == 3

        def test_the_connection_is_gone_afterwards():
            assert "AIRFLOW_CONN_LUCCA_DEFAULT" not in os.environ
        """
    )
    pytester.runpytest_inprocess().assert_outcomes(passed=3)
