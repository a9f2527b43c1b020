"""Looks for a secret in everything that an Airflow wrote, in whatever form it may stand there."""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Iterator
from urllib.parse import quote

import sqlalchemy
from cryptography.fernet import Fernet, InvalidToken

from demo.deployment import FERNET_KEY, Deployment

ENCRYPTED_ASIDE = ("connection",)
"""Tables that may hold the secret, as long as Airflow's Fernet key is needed to read it."""


def search(airflow: Deployment, secret: str) -> set[str]:
    """
    Return the places that hold a secret.

    Looked into are all files below ``AIRFLOW_HOME``, so the logs and, with SQLite, what was deleted from the database
    too, and all columns of all tables. A place is called by the folder of the file, or by the table.
    """
    places = set()
    for file in airflow.home.rglob("*"):
        # SQLite's own files hold what the tables do, in one piece.
        decrypt = not file.name.startswith("airflow.db")
        if file.is_file() and holds(file.read_bytes().decode("latin-1"), secret, decrypt=decrypt):
            places.add(file.relative_to(airflow.home).parts[0])
    engine = sqlalchemy.create_engine(airflow.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    with engine.connect() as database:
        for table in sqlalchemy.inspect(database).get_table_names():
            name = engine.dialect.identifier_preparer.quote(table)
            rows = database.execute(sqlalchemy.text(f"SELECT * FROM {name}"))  # noqa: S608 - a name of the database
            texts = (_text(value) for row in rows for value in row)
            if any(holds(text, secret, decrypt=table not in ENCRYPTED_ASIDE) for text in texts):
                places.add(table)
    engine.dispose()
    return places


def holds(text: str, secret: str, *, decrypt: bool = True) -> bool:
    """Tell whether a text holds a secret, in one of its forms, or within something compressed or encrypted."""
    forms = list(_forms(secret))
    return any(form in layer for layer in _layers(text, decrypt=decrypt) for form in forms)


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield secret.replace("/", "\\/")
    yield quote(secret)
    yield quote(secret, safe="")
    # Base64 looks different for each of three places that the secret may begin at.
    for before in range(3):
        data = b"?" * before + secret.encode()
        whole = slice((before * 8 + 5) // 6, len(data) * 8 // 6)
        yield base64.b64encode(data).decode()[whole]
        yield base64.urlsafe_b64encode(data).decode()[whole]


def _layers(text: str, *, decrypt: bool) -> Iterator[str]:
    """Return a text, and what is packed into it the way that Airflow or this provider packs things."""
    yield text
    for token in re.findall(r"gAAAAA[\w=-]{90,}" if decrypt else r"(?!)", text):
        try:
            yield from _layers(Fernet(FERNET_KEY).decrypt(token.encode()).decode("latin-1"), decrypt=False)
        except InvalidToken:
            continue
    for token in re.findall(r"eJ[\w+/=-]{20,}", text):
        try:
            yield zlib.decompress(base64.b64decode(token)).decode("latin-1")
        except (binascii.Error, zlib.error):
            continue


def _text(value: object) -> str:
    return bytes(value).decode("latin-1") if isinstance(value, bytes | memoryview) else str(value)
