"""What Airflow learns about the provider is well-formed, and names things that exist."""

from __future__ import annotations

import importlib
import json
from importlib import resources
from urllib.parse import urlsplit

import jsonschema
import pytest

from lucca_provider import __version__
from lucca_provider.assets.lucca import sanitize_uri
from lucca_provider.get_provider_info import CONNECTION_FIELDS, FIELD_BEHAVIOUR, get_provider_info
from lucca_provider.hooks._tenant import DEFAULT_REQUESTS_PER_MINUTE, DEFAULT_TIMEOUT
from lucca_provider.hooks.lucca import LuccaHook

STANDARD_FIELDS = {"description", "host", "schema", "login", "password", "port", "extra"}


def test_it_is_what_airflow_expects() -> None:
    schema = json.loads(resources.files("airflow").joinpath("provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_it_is_json() -> None:
    assert json.loads(json.dumps(get_provider_info())) == get_provider_info()


def test_it_knows_its_version() -> None:
    assert get_provider_info()["versions"] == [__version__]


def test_the_classes_that_it_names_exist() -> None:
    info = get_provider_info()
    (connection_type,) = info["connection-types"]
    for path in (connection_type["hook-class-name"], *info["extra-links"]):
        module, _, name = path.rpartition(".")
        assert getattr(importlib.import_module(module), name)
    assert connection_type["connection-type"] == LuccaHook.conn_type == "lucca"
    assert connection_type["hook-name"] == LuccaHook.hook_name


@pytest.mark.parametrize("key", ["asset-uris", "dataset-uris"])
def test_the_scheme_of_its_assets_has_a_handler_that_exists(key: str) -> None:
    (registered,) = get_provider_info()[key]
    module, _, name = registered["handler"].rpartition(".")
    assert getattr(importlib.import_module(module), name) is sanitize_uri
    assert registered["schemes"] == ["lucca"]


def test_each_field_is_described_and_may_stay_empty() -> None:
    for field in CONNECTION_FIELDS.values():
        assert field["label"]
        assert field["description"]
        assert field["schema"]["type"][1:] == ["null"]


def test_no_field_has_a_name_that_airflow_takes_for_a_secret() -> None:
    from tests.airflow_names import redact

    assert [name for name in CONNECTION_FIELDS if redact({name: "shown"}) != {name: "shown"}] == []


def test_placeholders_and_labels_are_of_fields_that_are_there() -> None:
    shown = STANDARD_FIELDS.union(CONNECTION_FIELDS) - set(FIELD_BEHAVIOUR["hidden-fields"])
    assert set(FIELD_BEHAVIOUR["relabeling"]) <= shown
    assert set(FIELD_BEHAVIOUR["placeholders"]) <= shown


def test_placeholders_are_the_defaults() -> None:
    placeholders = FIELD_BEHAVIOUR["placeholders"]
    assert int(placeholders["requests_per_minute"]) == DEFAULT_REQUESTS_PER_MINUTE
    assert float(placeholders["timeout"]) == DEFAULT_TIMEOUT


@pytest.mark.parametrize("name", ["requests_per_minute", "timeout"])
def test_descriptions_name_the_defaults(name: str) -> None:
    assert FIELD_BEHAVIOUR["placeholders"][name] in CONNECTION_FIELDS[name]["description"]


@pytest.mark.parametrize(
    "uri", ["lucca://a b/x", "lucca://acme.ilucca.net:99999/x", "lucca://acme.ilucca.net:port/x", "lucca:///x"]
)
def test_an_asset_of_a_host_that_no_address_can_have_is_refused(uri):
    with pytest.raises(ValueError, match=r"host|[Pp]ort"):
        sanitize_uri(urlsplit(uri))


@pytest.mark.parametrize(
    "host", ["acme.ilucca.net", "acme-test.sandbox.eu1.luccasoftware.com", "127.0.0.1:8080", "[::1]:80"]
)
def test_an_asset_of_a_host_is_taken(host):
    assert sanitize_uri(urlsplit(f"lucca://{host.upper()}/purchases")).netloc == host
