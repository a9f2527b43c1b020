"""The command line: ``python -m lucca_provider.sandbox`` serves a tenant until Ctrl-C."""

# ruff: noqa: T201 - a command line is there to print
from __future__ import annotations

import argparse
import contextlib
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

from lucca_provider.sandbox import FAULTS, Sandbox


def main(argv: Sequence[str] | None = None) -> int:
    """Serve a tenant until SIGINT or SIGTERM.

    :param argv: the arguments, those of the process by default.
    :returns: exit status: 0, or 1 if the address can't be had. Bad arguments exit with 2.
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
            "Choose another with --port, or --port 0 for any that is free.",
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
        f"A Lucca tenant with {len(lucca.purchase_ids)} purchases, {len(lucca.closable_ids)} of them closable:\n"
        f"  Address  {lucca.url}\n"
        f"  API key  {lucca.api_key}\n"
        f"{exports}\n"
        f"Watch it at {lucca.url}/, end it with Ctrl-C."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lucca_provider.sandbox",
        description="Serve a Lucca tenant on this machine.",
        epilog="faults:\n" + "\n".join(f"  {name:<15} {meaning}" for name, meaning in FAULTS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add("--port", type=_port, default=8765, help="port to listen on, 0 for any that is free (%(default)s)")
    add("--purchases", type=int, default=60, metavar="N", help="how many to generate (%(default)s)")
    add("--limit", type=int, default=50, metavar="N", help="requests per window, 0 for no limit (%(default)s)")
    add("--window", type=float, default=60.0, metavar="SECONDS", help="length of the window (%(default)s)")
    add("--latency", type=float, default=0.0, metavar="SECONDS", help="time each request takes (%(default)s)")
    add("--seed", type=int, default=1, metavar="N", help="makes everything repeatable (%(default)s)")
    add("--api-key", default="sandbox-key", metavar="KEY", help="the key to accept (%(default)s)")
    add(
        "--fault",
        type=_fault,
        action="append",
        default=[],
        metavar="NAME=P",
        help="a fault and its probability, 0 to 1; may be repeated",
    )
    add("--fault-on", choices=("closing", "all"), default="closing", help="what meets faults (%(default)s)")
    add("--hang-seconds", type=float, default=30.0, metavar="SECONDS", help="length of a hang (%(default)s)")
    add("--retry-after", type=float, metavar="SECONDS", help="what 503 and a made-up 429 ask to wait")
    add("--retry-after-date", action="store_true", help="write Retry-After as a date")
    add("--list-status", type=int, metavar="STATUS", help="answer lists with this status")
    for name, meaning in (
        ("wrong-module", "answer 404 to everything"),
        ("missing-state", "leave the state out of purchases"),
        ("list-ignores-limit", "keep to pages of 100 whatever is asked"),
        ("list-repeats-token", "let next always lead to the second page"),
    ):
        add(f"--{name}", action="store_true", help=meaning)
    add("--no-right-to-close", dest="may_close", action="store_false", help="answer closings with 403")
    add("--page-numbers", dest="list_tokens", action="store_false", help="page lists by number, not by token")
    return parser


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
