"""
Builds what a release consists of, into ``dist/``: wheel, sdist, a bill of materials, and their digests.

``make dist`` calls it. It builds what is committed, twice, and fails unless both have the same bytes: anybody can
build a release again and compare it.
"""

# ruff: noqa: T201 - it is there to print
from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
PINS = ROOT / "requirements" / "airflow-3.3.txt"
NAME = "airflow-provider-lucca"


def main() -> int:
    """Build, compare, check and describe a release."""
    when = _run("git", "log", "-1", "--format=%ct").strip()
    if changed := _run("git", "status", "--porcelain"):
        print(f"These are not in the release, since they are not committed:\n{changed}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as temporary:
        first, second = (build(Path(temporary) / name, int(when)) for name in ("first", "second"))
        if digests(first) != digests(second):
            sys.exit(f"Two builds of one commit differ: {digests(first)} and {digests(second)}.")
        shutil.rmtree(DIST, ignore_errors=True)
        shutil.copytree(first, DIST)
    print(_run(sys.executable, "-m", "twine", "check", "--strict", *map(str, sorted(DIST.iterdir()))), end="")
    (wheel,) = DIST.glob("*.whl")
    bill = describe(wheel)
    version = bill["metadata"]["component"]["version"]
    (DIST / f"{NAME}-{version}.cdx.json").write_text(json.dumps(bill, indent=2) + "\n")
    sums = "".join(f"{digest}  {name}\n" for name, digest in digests(DIST).items())
    (DIST / "SHA256SUMS").write_text(sums)
    print(sums, end="")
    return 0


def build(folder: Path, when: int) -> Path:
    """
    Build wheel and sdist of what is committed, and return the folder that they are in.

    :param folder: where to build; it is made
    :param when: the moment that everything in them gets, in seconds since 1970
    """
    source, out = folder / "source", folder / "dist"
    source.mkdir(parents=True)
    # Modes too are those that git knows, whatever this clone's umask is.
    _run("git", "-c", "tar.umask=0022", "archive", "--output", str(folder / "source.tar"), "HEAD")
    with tarfile.open(folder / "source.tar") as archive:
        archive.extractall(source)  # noqa: S202 - it is ours
    _run(
        *(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)),
        SOURCE_DATE_EPOCH=str(when),
    )
    (sdist,) = out.glob("*.tar.gz")
    repack(sdist, when)
    return out


def repack(sdist: Path, when: int) -> None:
    """
    Write an sdist anew without what differs from build to build: setuptools puts the time and the user into it.

    :param sdist: the file
    :param when: the moment that everything in it gets, in seconds since 1970
    """
    packed = io.BytesIO()
    with (
        tarfile.open(sdist) as old,
        gzip.GzipFile(filename="", fileobj=packed, mode="wb", mtime=when) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            member.mtime, member.pax_headers = when, {}
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    sdist.write_bytes(packed.getvalue())


def describe(wheel: Path) -> dict[str, Any]:
    """
    Return a bill of materials in CycloneDX's JSON: the wheel, and all that comes with it on the pinned Airflow.

    :param wheel: the wheel; it is installed into an environment of its own
    """
    with tempfile.TemporaryDirectory() as environment:
        _run(sys.executable, "-m", "venv", "--without-pip", environment)
        _run(
            *(sys.executable, "-m", "pip", "--python", environment, "install", "-qq", "--no-compile"),
            *("--constraint", str(PINS), str(wheel)),
        )
        bill: dict[str, Any] = json.loads(
            _run(sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", environment)
        )
    (ours,) = (component for component in bill["components"] if component["name"] == NAME)
    bill["components"].remove(ours)
    # Where it was installed from is this machine's business.
    del ours["externalReferences"]
    ours["hashes"] = [{"alg": "SHA-256", "content": hashlib.sha256(wheel.read_bytes()).hexdigest()}]
    bill["metadata"]["component"] = ours
    if problem := JsonStrictValidator(SchemaVersion.from_version(bill["specVersion"])).validate_str(json.dumps(bill)):
        sys.exit(f"The bill of materials is not valid: {problem}")
    return bill


def digests(folder: Path) -> dict[str, str]:
    """
    Return the SHA-256 of each file, by its name.

    :param folder: where the files are
    """
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def _run(*command: str, **environ: str) -> str:
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **environ}, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
