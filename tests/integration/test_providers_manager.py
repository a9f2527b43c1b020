"""Airflow finds the provider, the connection type and its form, each by its own ways."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from airflow import __version__ as airflow_version
from airflow.providers_manager import ProvidersManager

from lucca_provider import __version__
from lucca_provider.get_provider_info import get_provider_info
from tests.airflow_names import Asset

AIRFLOW = tuple(int(part) for part in airflow_version.split(".")[:2])
LABELS = {
    "requests_per_minute": "Requests per minute",
    "timeout": "Time-out in seconds",
    "allow_insecure_http": "Allow http",
}

api = pytest.mark.skipif(AIRFLOW < (3, 0), reason="Airflow 2 has no API for its form")
unimported = pytest.mark.skipif(AIRFLOW < (3, 3), reason="Airflow imports all hooks for the form before 3.3")
without_fab = AIRFLOW == (3, 1) and importlib.util.find_spec("wtforms") is None
filled = pytest.mark.skipif(
    without_fab, reason="Airflow 3.1 without the FAB provider asks for the form in its API only"
)
widgets = pytest.mark.skipif(AIRFLOW >= (3, 0), reason="Airflow 2 asks the hook for the form")
its_own_form = pytest.mark.filterwarnings("ignore::DeprecationWarning:wtforms")


@pytest.fixture(scope="module")
def manager() -> ProvidersManager:
    return ProvidersManager()


def test_airflow_providers_list_shows_it() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "airflow", "providers", "list", "--output", "json"],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ,
    )
    providers = json.loads(listed.stdout[listed.stdout.index("[{") :])
    (ours,) = [provider for provider in providers if provider["package_name"] == "airflow-provider-lucca"]
    assert ours["version"] == __version__
    assert "close purchases" in ours["description"]


def test_the_description_is_taken_whole(manager: ProvidersManager) -> None:
    provider = manager.providers["airflow-provider-lucca"]
    assert provider.version == __version__
    assert {key: provider.data[key] for key in get_provider_info()} == get_provider_info()


def test_the_connection_type_leads_to_the_hook(manager: ProvidersManager) -> None:
    if AIRFLOW >= (3, 2):
        from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

        hook = ProvidersManagerTaskRuntime().hooks["lucca"]
    else:
        hook = manager.hooks["lucca"]
    assert hook is not None
    assert hook.hook_name == "Lucca"
    assert hook.hook_class_name == "lucca_provider.hooks.lucca.LuccaHook"
    assert hook.connection_id_attribute_name == "lucca_conn_id"
    assert hook.connection_testable


def test_the_extra_link_is_registered(manager: ProvidersManager) -> None:
    assert "lucca_provider.links.lucca.LuccaInvoicesLink" in manager.extra_links_class_names


def test_an_asset_of_the_scheme_names_a_tenant() -> None:
    assert Asset(uri="lucca://ACME.ilucca.net/purchases/").uri == "lucca://acme.ilucca.net/purchases"
    assert Asset(uri="lucca://acme.ilucca.net").uri == "lucca://acme.ilucca.net/"


# In 3.x an error of the handler is one of the asset; in 2.11 it is a warning, unless Airflow is told to be strict.
@pytest.mark.parametrize("uri", ["lucca:///purchases", "lucca://", "lucca:purchases"])
def test_an_asset_without_a_tenant_is_refused(uri: str) -> None:
    with pytest.raises((ValueError, UserWarning), match="must contain a host"):
        Asset(uri=uri)


@filled
def test_the_fields_of_the_form(manager: ProvidersManager) -> None:
    fields = {name: field for name, field in manager.connection_form_widgets.items() if "__lucca__" in name}
    assert list(fields) == [f"extra__lucca__{name}" for name in LABELS]
    assert [field.field_name for field in fields.values()] == list(LABELS)
    assert [field.is_sensitive for field in fields.values()] == [False] * 3
    assert {field.package_name for field in fields.values()} == {"airflow-provider-lucca"}


@filled
def test_hidden_and_renamed_fields_of_the_form(manager: ProvidersManager) -> None:
    behaviour = manager.field_behaviours["lucca"]
    # Where the form is the hook's; those of the provider's description are in tests/system/test_browser.py.
    assert behaviour["hidden_fields"] == (["login"] if AIRFLOW < (3, 2) else ["login", "extra"])
    assert behaviour["relabeling"] == {
        "host": "Tenant (host)",
        "password": "API key (password)",
        "schema": "Schema (https or http)",
    }
    assert behaviour["placeholders"] == {
        "host": "acme.ilucca.net",
        "password": "the key alone, or: lucca application=…",
        "port": "443",
        "schema": "https",
        "extra__lucca__requests_per_minute": "45",
        "extra__lucca__timeout": "10",
    }


# -- Airflow 3 ------------------------------------------------------------------------------------------------------


@api
def test_the_form_as_the_web_ui_gets_it() -> None:
    # In a process of its own, since Airflow before 3.2 puts mocks into wtforms for it.
    code = """
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
(form,) = [data for data in HookMetaService.hook_meta_data() if data.connection_type == "lucca"]
print("answer:" + form.model_dump_json())
"""
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=os.environ)
    form: dict[str, Any] = json.loads(shown.stdout.rpartition("answer:")[2])
    assert form["hook_name"] == "Lucca"
    fields = form["extra_fields"]
    assert {name: field["schema"]["title"] for name, field in fields.items()} == LABELS
    assert {name: field["schema"]["type"] for name, field in fields.items()} == {
        "requests_per_minute": ["integer", "null"],
        # The forms that come from hooks know no fractions.
        "timeout": ["number" if AIRFLOW >= (3, 2) else "string", "null"],
        "allow_insecure_http": ["boolean", "null"],
    }
    assert {name: field["value"] for name, field in fields.items()} == {
        "requests_per_minute": None,
        "timeout": None,
        "allow_insecure_http": False if AIRFLOW >= (3, 2) else None,
    }
    assert all(field["description"] for field in fields.values())
    standard = form["standard_fields"]
    assert standard["login"]["hidden"]
    assert (standard["host"]["title"], standard["host"]["placeholder"]) == ("Tenant (host)", "acme.ilucca.net")
    assert (standard["password"]["title"], standard["password"]["hidden"]) == ("API key (password)", False)
    assert (standard["port"]["hidden"], standard["port"]["placeholder"]) == (False, "443")
    assert standard["url_schema"]["placeholder"] == "https"


@unimported
def test_the_form_is_shown_without_importing_the_hook() -> None:
    code = """
import sys
from airflow.providers_manager import ProvidersManager
manager = ProvidersManager()
names = [meta.connection_type for meta in manager.iter_connection_type_hook_ui_metadata()]
fields = manager._connection_form_widgets_from_metadata
print("lucca" in names, "extra__lucca__timeout" in fields, "lucca_provider.hooks.lucca" in sys.modules)
"""
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=os.environ)
    assert shown.stdout.split()[-3:] == ["True", "True", "False"]


# -- Airflow 2 ------------------------------------------------------------------------------------------------------


@pytest.fixture
def submit(manager: ProvidersManager) -> Any:
    """Fill in Airflow's own form, and return the fields of the connection that it would store."""
    from airflow.www.forms import create_connection_form_class
    from airflow.www.views import ConnectionModelView
    from flask import Flask
    from flask_babel import Babel
    from werkzeug.datastructures import MultiDict

    app = Flask("form")
    app.config.update(SECRET_KEY="for-tests", WTF_CSRF_ENABLED=False)
    Babel(app)

    def fill_in(**fields: str) -> Any:
        with app.test_request_context(method="POST"):
            form = create_connection_form_class()(MultiDict({"conn_id": "x", "conn_type": "lucca", **fields}))
            assert form.validate(), form.errors
            ConnectionModelView.process_form(object.__new__(ConnectionModelView), form, True)
            return form

    return fill_in


@widgets
@its_own_form
@pytest.mark.parametrize(
    ("filled_in", "stored"),
    [
        ({}, {"requests_per_minute": None, "timeout": None, "allow_insecure_http": False}),
        (
            {"requests_per_minute": "", "timeout": ""},
            {"requests_per_minute": None, "allow_insecure_http": False},
        ),
        (
            {"requests_per_minute": "30", "timeout": "2.5", "allow_insecure_http": "y"},
            {"requests_per_minute": 30, "timeout": "2.5", "allow_insecure_http": True},
        ),
    ],
)
def test_the_form_stores_what_the_hook_reads(filled_in: dict[str, str], stored: dict[str, Any], submit: Any) -> None:
    from airflow.models.connection import Connection

    from lucca_provider.hooks._tenant import Tenant

    form = submit(host="acme.ilucca.net", password="key", **{f"extra__lucca__{k}": v for k, v in filled_in.items()})
    assert json.loads(form.extra.data) == stored
    tenant = Tenant.from_connection(
        Connection(conn_id="x", host=form.host.data, password=form.password.data, extra=form.extra.data)
    )
    assert tenant.requests_per_minute == (stored["requests_per_minute"] or 45)
    assert tenant.timeout == float(stored.get("timeout") or 10)


@widgets
@its_own_form
def test_extras_without_a_field_outlive_the_form(submit: Any) -> None:
    form = submit(host="acme.ilucca.net", extra='{"window_seconds": 1}')
    assert json.loads(form.extra.data)["window_seconds"] == 1


@widgets
@its_own_form
def test_the_labels_of_the_form(submit: Any) -> None:
    form = submit()
    shown = {name: getattr(form, f"extra__lucca__{name}") for name in LABELS}
    assert {name: str(field.label.text) for name, field in shown.items()} == LABELS
    assert all(field.description for field in shown.values())
    assert "lucca" in dict(form.conn_type.choices)
    assert form.password.type == "PasswordField"
