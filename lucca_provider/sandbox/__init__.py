"""A Lucca tenant on this machine, for demos, tests, and users' own DAG tests.

It knows nothing of the rest of the package, and so is an independent witness of what the provider sends.
``python -m lucca_provider.sandbox`` serves it; :class:`Sandbox` does so within a program; the pytest fixture is in
:mod:`lucca_provider.sandbox.fixtures`.
"""

from __future__ import annotations

try:
    import fastapi  # noqa: F401
    import uvicorn  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(f"the sandbox needs {error.name}: pip install 'airflow-provider-lucca[sandbox]'") from error

from .api import Behaviour
from .faults import FAULTS, Faults
from .server import Sandbox
from .tenant import Closing, Request

__all__ = ["FAULTS", "Behaviour", "Closing", "Faults", "Request", "Sandbox"]
