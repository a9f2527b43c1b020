"""Addresses of the scheme ``lucca``, such as ``lucca://acme.ilucca.net/purchases``."""

from __future__ import annotations

from urllib.parse import SplitResult

__all__ = ["SCHEME", "sanitize_uri"]

SCHEME = "lucca"


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """
    Check the address of an asset, and write it as all that mean the same do. Airflow calls this.

    :param uri: with the scheme ``lucca``
    :raises ValueError: if it names no tenant
    """
    if not uri.hostname:
        raise ValueError(
            "URI format lucca:// must contain a host: the tenant, such as lucca://acme.ilucca.net/purchases."
        )
    return uri._replace(netloc=uri.netloc.lower())
