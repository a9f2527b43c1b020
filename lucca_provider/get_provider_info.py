"""What Airflow learns about this provider, in one dict that serves 2.11 to 3.4."""

from __future__ import annotations

from typing import Any

from lucca_provider import __version__

__all__ = ["CONNECTION_FIELDS", "FIELD_BEHAVIOUR", "get_provider_info"]

CONNECTION_FIELDS: dict[str, Any] = {
    "requests_per_minute": {
        "label": "Requests per minute",
        "description": "Requests per minute for each task. Lucca allows 50 per tenant. Leave empty for 45.",
        "schema": {"type": ["integer", "null"], "minimum": 1},
    },
    "timeout": {
        "label": "Time-out in seconds",
        "description": "Seconds to wait for Lucca. Leave empty for 10. Not below 5.",
        "schema": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 3600},
    },
    "allow_insecure_http": {
        "label": "Allow http",
        "description": "Allow unencrypted http (test servers only).",
        "schema": {"type": ["boolean", "null"], "default": False},
    },
}
"""The extras of a connection, as Airflow 3.2+ reads them; the hook makes the older form's widgets from the same."""

FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["login", "extra"],
    "relabeling": {"host": "Tenant (host)", "password": "API key (password)", "schema": "Schema (https or http)"},
    "placeholders": {
        "host": "acme.ilucca.net",
        "password": "the key alone, or: lucca application=…",
        "port": "443",
        "schema": "https",
        "requests_per_minute": "45",
        "timeout": "10",
    },
}

_ASSET_URIS = [{"schemes": ["lucca"], "handler": "lucca_provider.assets.lucca.sanitize_uri"}]


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description (schema: ``provider_info.schema.json`` in Airflow)."""
    return {
        "package-name": "airflow-provider-lucca",
        "name": "Lucca",
        "description": "`Lucca Invoices <https://www.luccasoftware.com>`__: close purchases.",
        "versions": [__version__],
        "connection-types": [
            {
                "connection-type": "lucca",
                "hook-class-name": "lucca_provider.hooks.lucca.LuccaHook",
                "hook-name": "Lucca",
                "conn-fields": CONNECTION_FIELDS,
                "ui-field-behaviour": FIELD_BEHAVIOUR,
            }
        ],
        "extra-links": ["lucca_provider.links.lucca.LuccaInvoicesLink"],
        "asset-uris": _ASSET_URIS,
        # What Airflow 2 calls them. Without the key "handler" either is ignored.
        "dataset-uris": _ASSET_URIS,
    }
