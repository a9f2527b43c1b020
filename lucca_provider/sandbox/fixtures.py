"""A pytest fixture that gives a test a Lucca tenant of its own.

In a project's ``conftest.py``:

.. code-block:: python

    pytest_plugins = ["lucca_provider.sandbox.fixtures"]

and in its tests:

.. code-block:: python

    @pytest.mark.lucca_sandbox(purchases=5, states={"closable": 1})
    def test_my_dag(lucca_sandbox):
        dag.test()
        assert lucca_sandbox.closed_ids == lucca_sandbox.purchase_ids

Airflow's connection ``lucca_default`` leads to that tenant for as long as the test runs.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lucca_provider.sandbox import Sandbox

__all__ = ["lucca_sandbox"]


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, for projects that run pytest with ``--strict-markers``."""
    config.addinivalue_line(
        "markers", "lucca_sandbox(**options): what lucca_provider.sandbox.Sandbox is made with for this test"
    )


@pytest.fixture
def lucca_sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Serve a tenant, made with the arguments of the marker ``lucca_sandbox``, as ``lucca_default``."""
    marker = request.node.get_closest_marker("lucca_sandbox")
    args, options = (marker.args, marker.kwargs) if marker else ((), {})
    with Sandbox(*args, **options) as lucca:
        for name, value in lucca.environ.items():
            monkeypatch.setenv(name, value)
        yield lucca
