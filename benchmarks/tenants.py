"""Sandboxes in processes of their own, so that a tenant's work is not counted as ours."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from lucca_provider.sandbox.api import ROOT


@dataclass(frozen=True)
class Tenant:
    """A sandbox in another process."""

    url: str
    api_key: str
    connection_uri: str
    purchase_ids: list[int]
    _pipe: Connection

    @property
    def closed(self) -> int:
        """How many purchases are closed."""
        return len(self._ask("closed_ids"))

    @property
    def asked(self) -> int:
        """How many requests there were, of those that it keeps."""
        return len(self._ask("requests"))

    def reopen(self) -> None:
        """Open all purchases again, and forget the requests."""
        self._ask("reopen")

    @property
    def throttled(self) -> int:
        """How many requests were answered 429."""
        return int(self._ask("throttled"))

    @property
    def headers(self) -> dict[str, str]:
        """What a request needs."""
        return {"Authorization": f"lucca application={self.api_key}"}

    def closing(self, purchase_id: int) -> str:
        """Return the address of a closing."""
        return f"{self.url}{ROOT}/purchases/{purchase_id}/closing"

    def connection(self, **extra: object) -> str:
        """Return an Airflow connection to the tenant."""
        return "&".join([f"{self.connection_uri}?", *(f"{name}={value}" for name, value in extra.items())])

    def _ask(self, name: str) -> Any:
        self._pipe.send(name)
        return self._pipe.recv()


@contextmanager
def tenant(purchases: int, **options: object) -> Iterator[Tenant]:
    """Serve a tenant whose purchases can all be closed; ``options`` are those of the sandbox."""
    ours, theirs = multiprocessing.Pipe()
    options = {"purchases": purchases, "states": {"closable": 1}, "keep_requests": 1, **options}
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(options, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        url, api_key, connection_uri, purchase_ids = ours.recv()
        yield Tenant(url, api_key, connection_uri, purchase_ids, ours)
    finally:
        ours.close()
        process.join()


def _serve(options: dict[str, Any], pipe: Connection) -> None:
    from lucca_provider.sandbox import Sandbox

    with Sandbox(**options) as lucca:
        pipe.send((lucca.url, lucca.api_key, lucca.connection_uri, lucca.purchase_ids))
        while True:
            try:
                name = pipe.recv()
            except EOFError:
                return
            if name == "reopen":
                for purchase_id in lucca.closed_ids:
                    lucca.set_purchase(purchase_id, state="Ongoing")
                lucca.reset_requests()
            pipe.send(None if name == "reopen" else getattr(lucca, name))
