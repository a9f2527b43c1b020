"""What the hook sends to close a purchase is what Lucca's OpenAPI document describes, and nothing more."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from openapi_core import OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest

from lucca_provider.hooks.lucca import LuccaHook
from tests.integration.scripted_server import Received, ScriptedServer, http

KEY = "b5c1-4f7e-KEY"


@pytest.fixture(scope="module")
def contract() -> OpenAPI:
    return OpenAPI.from_file_path(str(Path(__file__).parent / "close-a-purchase.yaml"))


@pytest.fixture
def close(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Received]:
    """Close a purchase, and return the request as it arrived."""

    def call(purchase_id: int, **options: Any) -> Received:
        with ScriptedServer(http(200)) as server:
            monkeypatch.setenv("AIRFLOW_CONN_LUCCA_DEFAULT", f"lucca://:{KEY}@127.0.0.1:{server.port}/http")
            hook = LuccaHook()
            hook.close_purchase(purchase_id, **options)
            hook.get_conn().close()
        (received,) = server.requests
        return received

    return call


def check(contract: OpenAPI, received: Received) -> None:
    contract.validate_request(
        MockRequest(
            "https://acme.ilucca.net",
            received.method.lower(),
            unquote(received.target),
            headers=received.headers,
            data=received.body,
            content_type=received.headers["content-type"],
        )
    )


@pytest.mark.parametrize(
    ("options", "body"),
    [
        ({}, {}),
        ({"comment": None, "closing_date": None}, {}),
        ({"comment": "Closed by Airflow"}, {"comment": "Closed by Airflow"}),
        ({"comment": ""}, {"comment": ""}),
        ({"comment": 'Clôturé – "été" 🧾\n\\'}, {"comment": 'Clôturé – "été" 🧾\n\\'}),
        ({"closing_date": datetime.date(2026, 1, 31)}, {"date": "2026-01-31"}),
        ({"closing_date": datetime.datetime(2026, 1, 31, 23, 59)}, {"date": "2026-01-31"}),
        ({"closing_date": "2028-02-29"}, {"date": "2028-02-29"}),
        ({"comment": "x", "closing_date": "2026-01-31"}, {"comment": "x", "date": "2026-01-31"}),
    ],
)
@pytest.mark.parametrize("purchase_id", [1, 2**31 - 1])
def test_a_closing_is_exactly_the_contract(
    purchase_id: int,
    options: dict[str, Any],
    body: dict[str, str],
    contract: OpenAPI,
    close: Callable[..., Received],
) -> None:
    received = close(purchase_id, **options)
    check(contract, received)
    assert received.method == "POST"
    assert received.target == f"/cleemy-procurement/api/purchases/{purchase_id}/closing"
    # OpenAPI has validators pass over a parameter that is called Authorization.
    assert received.headers["authorization"] == f"lucca application={KEY}"
    assert received.headers["content-type"] == "application/json"
    assert json.loads(received.body) == body


@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"target": "/cleemy-procurement/api/purchases/twelve/closing"},
        {"target": "/cleemy-procurement/api/purchases/12/close"},
        {"body": b"[]"},
        {"body": b'{"comment": 5}'},
        {"body": b'{"comment": null}'},
        {"body": b'{"date": "31/01/2026"}'},
        {"body": b'{"date": "2026-02-30"}'},
        {"headers": {"content-type": "text/plain"}},
    ],
)
def test_the_check_notices_what_is_not_the_contract(change: dict[str, Any], contract: OpenAPI) -> None:
    good = {
        "method": "POST",
        "target": "/cleemy-procurement/api/purchases/12/closing",
        "headers": {"content-type": "application/json", "authorization": "lucca application=x"},
        "body": b"{}",
        "connection": 0,
    }
    check(contract, Received(**good))  # type: ignore[arg-type]
    with pytest.raises(OpenAPIError):
        check(contract, Received(**{**good, **change}))  # type: ignore[arg-type]
