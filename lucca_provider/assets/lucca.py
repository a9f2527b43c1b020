"""Addresses of the scheme ``lucca``, such as ``lucca://acme.ilucca.net/purchases``."""

from __future__ import annotations

import re
from urllib.parse import SplitResult

__all__ = ["SCHEME", "sanitize_uri"]

SCHEME = "lucca"
_HOST = r"[\w.\-:]+"
"""Also an address of IP version 6, which stands in brackets."""


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """
    Check the address of an asset, and write it as all that mean the same do. Airflow calls this.

    :param uri: with the scheme ``lucca``
    :raises ValueError: if it names no tenant, or one that no address can have
    """
    if not uri.hostname or not re.fullmatch(_HOST, uri.hostname):
        raise ValueError(
            "URI format lucca:// must contain a host: the tenant, such as lucca://acme.ilucca.net/purchases."
        )
    # Reading a port that is none, or above 65535, raises ValueError.
    _ = uri.port
    return uri._replace(netloc=uri.netloc.lower())
