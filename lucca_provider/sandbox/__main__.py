"""The command line: ``python -m lucca_provider.sandbox`` serves a tenant until Ctrl-C."""

# ruff: noqa: T201 - a command line is there to print
from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import re
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any, get_args, get_type_hints

from lucca_provider.sandbox import FAULTS, Behaviour, Sandbox
from lucca_provider.sandbox.settings import Settings

_MOST_IDS = 20
"""How many ids of a kind are printed at the start."""

_OPTIONS = {
    "may_close": ("--no-right-to-close", "answer closings with 403"),
    "list_tokens": ("--page-numbers", "page lists by number, not by token"),
}
"""Options that are named for what happens without the setting."""

_METAVARS = {int: "N", float: "SECONDS", str: "TEXT"}

_ONLY_IN_PROGRAMS = ("states", "clock", "keep_requests")


def main(argv: Sequence[str] | None = None) -> int:
    """
    Serve a tenant until SIGINT or SIGTERM.

    :param argv: the arguments, those of the process by default
    :returns: exit status: 0, or 1 if the address can't be had; bad arguments exit with 2
    """
    parser = _parser()
    options = vars(parser.parse_args(argv))
    options["faults"] = dict(options.pop("fault"))
    try:
        sandbox = Sandbox(**options)
    except ValueError as error:
        parser.error(str(error))
    try:
        with _until_signal() as stop, sandbox as lucca:
            print(_welcome(lucca), flush=True)
            stop.wait()
    except OSError as error:
        print(
            f"Can't listen on {sandbox.host} port {sandbox.port}: {error.strerror}. "
            "Choose another address with --host, or another port with --port; --port 0 takes any that is free.",
            file=sys.stderr,
        )
        return 1
    print("Stopped.", flush=True)
    return 0


@contextlib.contextmanager
def _until_signal() -> Iterator[threading.Event]:
    """Let SIGINT and SIGTERM set an event for as long as the block lasts."""
    stop = threading.Event()
    before = {n: signal.signal(n, lambda *_: stop.set()) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _welcome(lucca: Sandbox) -> str:
    exports = "\n".join(f"  export {name}={shlex.quote(value)}" for name, value in lucca.environ.items())
    return (
        f"A Lucca tenant (purchases: {len(lucca.purchase_ids)}, closable: {len(lucca.closable_ids)}):\n"
        f"  Address   {lucca.url}\n"
        f"  API key   {lucca.api_key}\n"
        f"  Closable  {_ids(lucca.closable_ids)}\n"
        f"  Blocked   {_ids(lucca.blocked_ids)}\n"
        f"  Closed    {_ids(lucca.closed_ids)}\n"
        f"{exports}\n"
        f"Watch it at {lucca.url}/, end it with Ctrl-C."
    )


def _ids(ids: Sequence[int]) -> str:
    more = f" and {len(ids) - _MOST_IDS} more" if len(ids) > _MOST_IDS else ""
    return (", ".join(map(str, ids[:_MOST_IDS])) or "none") + more


def _parser() -> argparse.ArgumentParser:
    """Make an option of each setting: its type and default are the member's, its help is the docstring's."""
    parser = argparse.ArgumentParser(
        prog="python -m lucca_provider.sandbox",
        description="Serve a Lucca tenant on this machine.",
        epilog="faults:\n" + "\n".join(f"  {name:<15} {meaning}" for name, meaning in FAULTS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = get_type_hints(Settings)
    words = _words(Settings) | _words(Behaviour)
    # What a sandbox is made of comes first, then how it behaves.
    for setting in sorted(dataclasses.fields(Settings), key=lambda setting: hasattr(Behaviour, setting.name)):
        if setting.name not in _ONLY_IN_PROGRAMS:
            _add_option(parser, setting, kinds[setting.name], words.get(setting.name, ""))
    parser.set_defaults(port=8765)
    parser.add_argument(
        "--fault",
        type=_fault,
        action="append",
        default=[],
        metavar="NAME=P",
        help="a fault and its probability, 0 to 1; may be repeated",
    )
    return parser


def _add_option(parser: argparse.ArgumentParser, setting: dataclasses.Field[Any], kind: Any, told: str) -> None:
    option, told = _OPTIONS.get(setting.name, ("--" + setting.name.replace("_", "-"), told))
    add = functools.partial(parser.add_argument, option, dest=setting.name, default=setting.default)
    if isinstance(setting.default, bool):
        add(action="store_false" if setting.default else "store_true", help=told)
        return
    # A setting that may be None is a number otherwise.
    kind = next((each for each in get_args(kind) if each in _METAVARS), kind)
    add(
        type=_port if setting.name == "port" else kind if kind in _METAVARS else str,
        choices=get_args(kind) or None,
        metavar=_METAVARS.get(kind),
        help=told if setting.default is None else f"{told} (%(default)s)",
    )


def _words(settings: type) -> dict[str, str]:
    """Return what a class's docstring says of each parameter, without its markup."""
    entries = re.findall(r"^ *:param (\w+): (.+?)(?=^ *:|\Z)", settings.__doc__ or "", re.MULTILINE | re.DOTALL)
    return {name: " ".join(text.split()).replace("``", "").replace("%", "%%") for name, text in entries}


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 65535")
    return int(text)


def _fault(text: str) -> tuple[str, float]:
    name, equals, probability = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} should look like error_after=0.2")
    try:
        return name, float(probability)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{probability!r} in {text!r} is not a number") from None


# Airflow's plugin loader runs whatever lies below plugins/ under the name of its file, which here is "__main__" too,
# and by which it is in no package. `python -m` names the package.
if __name__ == "__main__" and __package__ != "":
    sys.exit(main())
