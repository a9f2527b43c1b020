"""A Lucca tenant on this machine, for demos, tests, and users' own DAG tests.

It knows nothing of the rest of the package, and so is an independent witness of what the provider sends. It needs
nothing beyond the standard library; only the fixture needs pytest.
``python -m lucca_provider.sandbox`` serves it; :class:`Sandbox` does so within a program; the pytest fixture is in
:mod:`lucca_provider.sandbox.fixtures`.
"""

from __future__ import annotations

from .faults import FAULTS, Faults
from .record import Request
from .server import Sandbox
from .settings import Behaviour
from .tenant import Closing

__all__ = ["FAULTS", "Behaviour", "Closing", "Faults", "Request", "Sandbox"]
