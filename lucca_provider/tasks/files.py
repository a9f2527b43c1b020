"""Files of a report, on a disk or in an object store: written whole or not at all, and never over another's."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import uuid
from pathlib import Path
from typing import Any

from lucca_provider.reports.identity import IDENTITY_BYTES, read_identity, read_rows

__all__ = ["FileTakenError", "write_report"]

log = logging.getLogger(__name__)

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
"""What a file system without hard links answers, such as that of some network shares."""


class FileTakenError(Exception):
    """There is a file already, and it is not an earlier report of the same task."""


def write_report(path: str, data: bytes, form: str) -> dict[str, str]:
    """
    Write a file, in the place of one that the same task of the same run wrote before.

    If that one says of purchases what the new one does not, it is kept beside it, under a name with its SHA-256.

    :param path: of any ``ObjectStoragePath``
    :param data: its content
    :param form: one of :data:`~lucca_provider.reports.identity.FORMS`
    :return: the path, and that of a file that was kept, to the SHA-256 of the content, in hexadecimal
    :raises FileTakenError: if there is another file
    :raises Exception: what the store raises, if it cannot be written
    """
    before = _read(path, IDENTITY_BYTES)
    if before == b"":
        # It may also be another process's that is just beginning to write, so it is nobody's to replace.
        raise FileTakenError(f"{path} is empty, as a process that is killed may leave a file. It was left alone.")
    if before is not None and read_identity(before, form) != read_identity(data, form):
        raise FileTakenError(
            f"{path} already exists, and is not a report of this task, run and tenant. It was left alone."
        )
    kept = {} if before is None else _keep(path, data, form)
    _write(path, data, replace=before is not None)
    return {path: hashlib.sha256(data).hexdigest(), **kept}


def _keep(path: str, data: bytes, form: str) -> dict[str, str]:
    """Keep the file that is there, if the new one would lose what it says."""
    before = _read(path) or b""
    if read_rows(before, form) <= read_rows(data, form):
        return {}
    digest = hashlib.sha256(before).hexdigest()
    root, suffix = os.path.splitext(path)
    beside = f"{root}.{digest[:12]}{suffix}"
    # It is there already if a try was killed after it had kept it.
    kept = _read(beside)
    if kept is None:
        _write(beside, before, replace=False)
    elif kept != before:
        raise FileTakenError(f"{beside} already exists, and is not the report that was to be kept there.")
    log.warning("An earlier report of this run says what the new one does not. It was kept as %s.", beside)
    return {beside: digest}


def _read(path: str, length: int = -1) -> bytes | None:
    place = _place(path)
    try:
        with place.fs.open(place.path, "rb") as file:
            return bytes(file.read(length))
    except FileNotFoundError:
        return None


def _place(path: str) -> Any:
    from lucca_provider.compat import ObjectStoragePath

    return ObjectStoragePath(path)


def _write(path: str, data: bytes, *, replace: bool) -> None:
    from fsspec.implementations.local import LocalFileSystem

    place = _place(path)
    if isinstance(place.fs, LocalFileSystem):
        _write_locally(Path(place.path), data, replace=replace)
    else:
        _write_remotely(place, data, replace=replace)


def _write_locally(path: Path, data: bytes, *, replace: bool) -> None:
    """
    Write beside the file, then give that its name at once.

    Not by a transaction of fsspec's: for a local disk that writes mode ``xb`` straight to the file, and mode ``wb`` to
    another folder, often on another disk, from where it is copied (2026.9.0).
    """
    if not replace and path.is_symlink():
        raise FileTakenError(f"{path} is a link to a file that does not exist. It was left alone.")
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            part.replace(path)
        else:
            _name(part, path)
    finally:
        part.unlink(missing_ok=True)


def _name(part: Path, path: Path) -> None:
    """Give a file its name, unless another one has it: a link refuses what a renaming would overwrite."""
    try:
        os.link(part, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        path.open("xb").close()
        part.replace(path)


def _write_remotely(place: Any, data: bytes, *, replace: bool) -> None:
    """Write within a transaction, which an object store ends by the file's appearing as a whole."""
    with place.fs.transaction, place.fs.open(place.path, "wb" if replace else "xb") as file:
        file.write(data)
