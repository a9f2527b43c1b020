"""``python -m lucca_provider.sandbox``."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import runpy
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from lucca_provider.sandbox import FAULTS, Sandbox, __main__


class Interrupted(Sandbox):
    """Is told to stop as soon as it runs."""

    def __enter__(self):
        Interrupted.last = super().__enter__()
        signal.raise_signal(signal.SIGTERM)
        return self


def test_it_says_where_the_tenant_is_and_stops_when_told(monkeypatch, capsys):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(__main__, "Sandbox", Interrupted)
    assert __main__.main(["--port", "0", "--purchases", "10", "--api-key", "it's"]) == 0
    lucca, told = Interrupted.last, capsys.readouterr().out
    assert re.findall(r"(?:Address|API key) +(\S+)", told) == [lucca.url, "it's"]
    (export,) = re.findall(r"^ *(export .*)$", told, re.MULTILINE)
    assert shlex.split(export) == ["export", f"AIRFLOW_CONN_LUCCA_DEFAULT={lucca.connection_uri}"]
    assert [int(number) for number in re.findall(r"(?:purchases|closable): (\d+)", told)] == [10, 7]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_every_option_reaches_the_sandbox(monkeypatch):
    given = {}
    monkeypatch.setattr(__main__, "Sandbox", lambda **options: given.update(options) or Interrupted(port=0))
    line = (
        "--host ::1 --port 1 --purchases 2 --limit 3 --window 4 --latency 5 --seed 6 --api-key k --fault-on all "
        "--fault html=0.2 --fault hang=0.1 --hang-seconds 7 --retry-after 8 --retry-after-date --list-status 403 "
        "--wrong-module --missing-state --list-ignores-limit --list-repeats-token --no-right-to-close --page-numbers"
    )
    assert __main__.main(line.split()) == 0
    assert given == {
        "host": "::1",
        "port": 1,
        "purchases": 2,
        "limit": 3,
        "window": 4.0,
        "latency": 5.0,
        "seed": 6,
        "api_key": "k",
        "fault_on": "all",
        "faults": {"html": 0.2, "hang": 0.1},
        "hang_seconds": 7.0,
        "retry_after": 8.0,
        "retry_after_date": True,
        "list_status": 403,
        "wrong_module": True,
        "missing_state": True,
        "list_ignores_limit": True,
        "list_repeats_token": True,
        "may_close": False,
        "list_tokens": False,
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--port 65536", "'65536' is not a number from 0 to 65535"),
        ("--port http", "'http' is not a number from 0 to 65535"),
        ("--fault html", "'html' should look like error_after=0.2"),
        ("--fault html=often", "'often' in 'html=often' is not a number"),
        ("--fault htm=0.1", "unknown fault 'htm': use one of"),
        ("--fault html=2", "fault html: probability 2.0 is not between 0 and 1"),
        ("--purchases -1", "purchases is -1"),
        ("--limit -1", "limit is -1"),
        ("--window 0", "window is 0.0"),
        ("--latency -1", "must not be negative"),
        ("--list-status 4", "list_status is 4; it must be an HTTP status"),
        ("--list-status 600", "list_status is 600"),
        ("--api-key=", "api_key must be printable ASCII"),
    ],
)
def test_a_bad_value_is_named(line, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        __main__.main(line.split())
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_taken_port_is_named(capsys):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        assert __main__.main(["--port", str(port)]) == 1
    said = capsys.readouterr().err
    assert all(word in said for word in ("127.0.0.1", str(port), os.strerror(errno.EADDRINUSE), "--port"))


def test_help_lists_the_faults(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "lucca_provider.sandbox.__main__")
    monkeypatch.setattr(sys, "argv", ["sandbox", "--help"])
    with pytest.raises(SystemExit):
        runpy.run_module("lucca_provider.sandbox", run_name="__main__")
    out = capsys.readouterr().out
    assert all(name in out for name in FAULTS)


def test_ctrl_c_ends_a_process_cleanly():
    command = [sys.executable, "-W", "error", "-m", "lucca_provider.sandbox", "--port", "0", "--purchases", "3"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as process:
        welcome = ""
        while "Ctrl-C" not in welcome and (line := process.stdout.readline()):
            welcome += line
        address = re.search(r"http://\S+", welcome)[0]
        with contextlib.closing(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address)) as page:
            assert b"Lucca sandbox" in page.read()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
