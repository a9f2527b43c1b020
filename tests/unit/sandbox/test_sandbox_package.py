"""The package's surface, and the pytest fixture that it offers."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

import pytest

import lucca_provider.sandbox

pytest_plugins = ["pytester"]

FOLDER = Path(lucca_provider.sandbox.__file__).parent


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn"])
def test_without_the_extra_the_error_says_what_to_install(missing, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("lucca_provider.sandbox")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=r"pip install 'airflow-provider-lucca\[sandbox\]'") as caught:
        importlib.import_module("lucca_provider.sandbox")
    assert missing in str(caught.value)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_it_is_independent_of_airflow_and_of_the_rest_of_the_package(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module]
        assert node.__class__ is not ast.ImportFrom or node.level < 2
        for module in modules:
            assert not module.startswith("airflow")
            assert not module.startswith("lucca_provider") or module.startswith("lucca_provider.sandbox")


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
