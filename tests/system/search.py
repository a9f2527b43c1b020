"""
Looks for a secret in everything that an Airflow wrote, in whatever form it may stand there.

What is looked for is a piece from the middle of the secret, of letters and digits alone: it stays the same whatever is
done to other characters (``%2b``, ``\\u002B``, ``&#43;``), and when the ends are cut off.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import sqlalchemy
from cryptography.fernet import Fernet, InvalidToken

from local_airflow.deployment import FERNET_KEY, Deployment

ENCRYPTED_ASIDE = ("connection", "connection_test_request")
"""Where Airflow keeps connections, saved ones and tested ones: as long as its Fernet key is needed to read them."""


def search(airflow: Deployment, piece: str, *folders: Path) -> set[str]:
    """
    Return the places that hold a piece of a secret.

    Looked into are all files below ``AIRFLOW_HOME``, so the logs and, with SQLite, what was deleted from the database
    too, all columns of all tables, and all files of other folders. A place is called by the folder of the file, or by
    the table.
    """
    places = set()
    for folder in (airflow.home, *folders):
        for file in folder.rglob("*"):
            # The database's own files hold what the tables do, in one piece.
            decrypt = folder == airflow.home and not file.name.startswith("airflow.db")
            # A server may remove a file meanwhile.
            with suppress(FileNotFoundError):
                if file.is_file() and holds(file.read_bytes().decode("latin-1"), piece, decrypt=decrypt):
                    places.add(file.relative_to(folder).parts[0])
    engine = sqlalchemy.create_engine(airflow.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    with engine.connect() as database:
        for table in sqlalchemy.inspect(database).get_table_names():
            name = engine.dialect.identifier_preparer.quote(table)
            rows = database.execute(sqlalchemy.text(f"SELECT * FROM {name}"))  # noqa: S608 - a name of the database
            texts = (_text(value) for row in rows for value in row)
            if any(holds(text, piece, decrypt=table not in ENCRYPTED_ASIDE) for text in texts):
                places.add(table)
    engine.dispose()
    return places


def holds(text: str, piece: str, *, decrypt: bool = True) -> bool:
    """Tell whether a text holds a piece of a secret, in one of its forms, or within something packed or encrypted."""
    in_any_case = [piece.lower(), piece.lower().encode().hex(), piece.upper().encode().hex()]
    encoded = list(_base64(piece))
    for layer in _layers(text, decrypt=decrypt):
        lower = layer.lower()
        if any(form in lower for form in in_any_case) or any(form in layer for form in encoded):
            return True
    return False


def _base64(piece: str) -> Iterator[str]:
    # It looks different for each of three places that the piece may begin at.
    for before in range(3):
        data = b"?" * before + piece.encode()
        yield base64.b64encode(data).decode()[(before * 8 + 5) // 6 : len(data) * 8 // 6]


def _layers(text: str, *, decrypt: bool) -> Iterator[str]:
    """Return a text, and what is packed into it the way that Airflow, this provider or a web server packs things."""
    yield text
    for token in re.findall(r"gAAAAA[\w=-]{90,}" if decrypt else r"(?!)", text, re.ASCII):
        try:
            yield from _layers(Fernet(FERNET_KEY).decrypt(token.encode()).decode("latin-1"), decrypt=False)
        except InvalidToken:
            continue
    # Base64 of what zlib and gzip write.
    for token in re.findall(r"(?:eJ|H4sI)[\w+/=-]{20,}", text, re.ASCII):
        try:
            yield zlib.decompress(base64.b64decode(token), wbits=32 + zlib.MAX_WBITS).decode("latin-1")
        except (binascii.Error, zlib.error):
            continue


def _text(value: object) -> str:
    return bytes(value).decode("latin-1") if isinstance(value, bytes | memoryview) else str(value)
