"""Runs the first example DAG against a tenant on this machine, and shows a finance person what became of each purchase.

``make demo`` calls it. All it writes is in ``.airflow/demo``; of a running Airflow it takes neither settings nor ports.
"""

# ruff: noqa: T201 - a demo is there to print
from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from demo.deployment import ROOT, STOPS, clean_environment
from lucca_provider.sandbox import Sandbox

HOME = ROOT / ".airflow" / "demo"
LOG = HOME / "demo.log"
DATABASE = HOME / "validation.db"
DAG_ID = "lucca_close_validated_purchases"
BLOCKED = (
    {"conformityState": "ToReview", "paymentState": "None"},
    {"conformityState": "Confirmed", "paymentState": "ToPay"},
    {"conformityState": "Litigation", "paymentState": "OnHold"},
)
SHARES = {"closable": 0.80, "closed": 0.08, "Denied": 0.04, "Created": 0.04, "Cancelled": 0.04}
RESULTS = {
    "closed": "Closed",
    "already_closed": "Already closed before",
    "rejected": "Refused by Lucca",
    "stopped": "Stopped by the check in SQL, not sent to Lucca",
    "unresolved": "Unresolved",
    "missing": "Not tried",
}


def main() -> int:
    """Run the demo; the exit status is 0 if the closing got to its end, whatever Lucca refused."""
    for number in STOPS:
        signal.signal(number, stop)
    HOME.mkdir(parents=True, exist_ok=True)
    LOG.write_text("")
    with Sandbox(purchases=25, seed=7, states=SHARES) as lucca:
        for invoice in BLOCKED:
            lucca.add_purchase(invoices=[invoice])
        say(f"A Lucca tenant with {len(lucca.purchase_ids)} purchases is at {lucca.url}/")
        write_candidates(DATABASE, lucca, lucca.purchase_ids)
        environment = own_environment(lucca)
        say("Preparing Airflow, all in .airflow/demo …")
        if airflow(["db", "migrate"], environment):
            return give_up("Airflow's database could not be made")
        say(f"Running the DAG {DAG_ID} …")
        airflow(["dags", "test", DAG_ID], environment, progress=lambda: f"  {len(lucca.closings)} purchases closed")
        report = read_report()
        if report is None:
            return give_up("the DAG did not get to the closing")
        show(lucca, report)
    if report["rejected"]:
        print("\nAirflow shows this run as failed, because Lucca refused purchases. The others were not affected.")
    print(f"\nThe whole log is in {LOG.relative_to(ROOT)}, the DAG in dags/{DAG_ID}.py.")
    return 1 if report["unresolved"] else 0


def write_candidates(file: Path, lucca: Sandbox, purchase_ids: Iterable[int]) -> None:
    """Make the table that a pipeline would have filled: purchases, some of them with a flaw that SQL can find."""
    rows: list[list[Any]] = []
    for purchase_id in purchase_ids:
        invoiced = amount(lucca.purchase(purchase_id))
        rows.append([purchase_id, invoiced, invoiced, "Camille Roux"])
    closable = [row for row in rows if row[0] in lucca.closable_ids]
    closable[2][1] = round(closable[2][1] * 0.9, 2)
    closable[9][1] = round(closable[9][1] * 0.5, 2)
    closable[5][3] = None
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        database.execute("DROP TABLE IF EXISTS purchase_candidates")
        database.execute(
            "CREATE TABLE purchase_candidates"
            " (purchase_id INTEGER, ordered NUMERIC, invoiced NUMERIC, approved_by TEXT, problem TEXT)"
        )
        database.executemany("INSERT INTO purchase_candidates VALUES (?, ?, ?, ?, NULL)", rows)


def own_environment(lucca: Sandbox) -> dict[str, str]:
    """Return an environment with an Airflow of its own, whatever Airflow and proxies the user has set up."""
    return clean_environment() | {
        "AIRFLOW_HOME": str(HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW_CONN_LUCCA_VALIDATION": json.dumps({"conn_type": "sqlite", "host": str(DATABASE)}),
        **lucca.environ,
        "NO_PROXY": lucca.host,
        "no_proxy": lucca.host,
    }


def airflow(command: list[str], environment: dict[str, str], progress: Callable[[], str] | None = None) -> int:
    """Run an Airflow command into the log, and let nothing of it outlive the demo."""
    with LOG.open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", *command],
            env=environment,
            cwd=HOME,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a group of its own, which can be ended as a whole
        )
        with ended_at_last(process):
            while process.poll() is None:
                time.sleep(0.2)
                if progress and sys.stdout.isatty():
                    print(progress(), end="\r", flush=True)
        if progress:
            print(progress(), flush=True)
        return process.returncode


@contextlib.contextmanager
def ended_at_last(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a process and all that it started: politely, then for certain."""
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def stop(number: int, frame: object) -> NoReturn:
    """Leave at a signal, once; what is running is ended on the way out."""
    for each in STOPS:
        signal.signal(each, signal.SIG_IGN)
    print("\nStopping …", flush=True)
    sys.exit(128 + number)


def read_report() -> dict[str, Any] | None:
    """Return the report that the closing of this run pushed to XCom."""
    with contextlib.closing(sqlite3.connect(HOME / "airflow.db")) as database:
        row = database.execute(
            "SELECT value FROM xcom WHERE dag_run_id = (SELECT max(id) FROM dag_run WHERE dag_id = ?)"
            " AND task_id = 'close' AND key = 'return_value'",
            [DAG_ID],
        ).fetchone()
    if row is None:
        return None
    report = json.loads(row[0])
    return json.loads(report) if isinstance(report, str) else report


def show(lucca: Sandbox, report: dict[str, Any]) -> None:
    """Print what became of each purchase."""
    results = read_results(report)
    room = max(30, shutil.get_terminal_size((118, 24)).columns - 80)
    for result, heading in RESULTS.items():
        purchases = [
            lucca.purchase(purchase_id)
            for purchase_id in lucca.purchase_ids
            if results.get(purchase_id, ("missing", ""))[0] == result
        ]
        if not purchases:
            continue
        print(f"\n{heading}: {len(purchases)}, {sum(map(amount, purchases)):,.2f} euro")
        for purchase in purchases:
            supplier, title = purchase["supplier"]["name"], purchase["title"]
            reason, *more = textwrap.wrap(results.get(purchase["id"], ("", ""))[1], room) or [""]
            line = f"{purchase['id']:>8}  {supplier[:20]:<20}  {title[:31]:<31}  {amount(purchase):>9,.2f}  {reason}"
            print(line.rstrip())
            for line in more:
                print(f"{'':>76}{line}")


def read_results(report: dict[str, Any]) -> dict[int, tuple[str, str]]:
    """Return result and reason by purchase, from the table that the checks wrote to and from the closing's report."""
    with contextlib.closing(sqlite3.connect(DATABASE)) as database:
        problems = database.execute("SELECT purchase_id, problem FROM purchase_candidates WHERE problem IS NOT NULL")
        results = {purchase_id: ("stopped", problem) for purchase_id, problem in problems}
    for result in ("closed", "already_closed"):
        results |= dict.fromkeys(report[result], (result, ""))
    for one in report["rejected"]:
        reason = one["detail"] or one["title"] or f"status {one['status']}"
        results[one["id"]] = ("rejected", reason.removeprefix(f"Purchase {one['id']} can't be closed: "))
    return results | {one["id"]: ("unresolved", one["reason"]) for one in report["unresolved"]}


def amount(purchase: dict[str, Any]) -> float:
    """Return what was invoiced for a purchase, in euro."""
    value: float = purchase["billedAmount"]["counter"]["value"]
    return value


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def give_up(problem: str) -> int:
    """Say what went wrong, and return the exit status."""
    print(f"\nThe demo failed: {problem}. The end of {LOG.relative_to(ROOT)}:\n", file=sys.stderr)
    print("\n".join(LOG.read_text(errors="replace").splitlines()[-20:]), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
