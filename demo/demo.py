"""Runs the first example DAG against a tenant on this machine, and shows a finance person what became of each purchase.

``make demo`` calls it. All it writes is in ``.airflow``; of a running Airflow it takes neither settings nor ports.
"""

# ruff: noqa: T201 - a demo is there to print
from __future__ import annotations

import contextlib
import json
import shutil
import signal
import sqlite3
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from local_airflow.deployment import ROOT, STOPS, Deployment
from lucca_provider.reading.counts import say_count
from lucca_provider.sandbox import Sandbox

FOLDER = ROOT / ".airflow"
LOG = FOLDER / "demo.log"
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
    FOLDER.mkdir(exist_ok=True)
    with Sandbox(purchases=25, seed=7, states=SHARES) as lucca:
        for invoice in BLOCKED:
            lucca.add_purchase(invoices=[invoice])
        say(f"A Lucca tenant with {len(lucca.purchase_ids)} purchases is at {lucca.url}/")
        say("Preparing Airflow, all in .airflow …")
        try:
            with Deployment(environ=lucca.environ, folder=FOLDER, whole=False) as airflow:
                report = close(airflow, lucca)
        except RuntimeError as error:
            print(f"\nThe demo failed: {error}", file=sys.stderr)
            return 1
    if report["rejected"]:
        print("\nAirflow shows this run as failed, because Lucca refused purchases. The others were not affected.")
    print(f"\nThe whole log is in {LOG.relative_to(ROOT)}, the DAG in dags/{DAG_ID}.py.")
    return 1 if report["unresolved"] else 0


def close(airflow: Deployment, lucca: Sandbox) -> dict[str, Any]:
    """Run the DAG, print what became of each purchase, and return the report."""
    database = airflow.home / "validation.db"
    write_candidates(database, lucca, lucca.purchase_ids)
    airflow.environ["AIRFLOW_CONN_LUCCA_VALIDATION"] = json.dumps({"conn_type": "sqlite", "host": str(database)})
    say(f"Running the DAG {DAG_ID} …")

    def show_progress(end: str = "\r") -> None:
        if sys.stdout.isatty() or end == "\n":
            print(f"  {say_count(len(lucca.closings))} closed", end=end, flush=True)

    # It fails, since Lucca refuses purchases.
    airflow.run("dags", "test", DAG_ID, may_fail=True, meanwhile=show_progress)
    show_progress(end="\n")
    shutil.copy(airflow.log("dags-test"), LOG)
    report = read_report(airflow.home / "airflow.db")
    show(lucca, read_results(report, database))
    return report


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


def stop(number: int, frame: object) -> NoReturn:
    """Leave at a signal, once; what is running is ended on the way out."""
    for each in STOPS:
        signal.signal(each, signal.SIG_IGN)
    print("\nStopping …", flush=True)
    sys.exit(128 + number)


def read_report(file: Path) -> dict[str, Any]:
    """
    Return the report that the closing pushed to XCom.

    :raises RuntimeError: if there is none
    """
    with contextlib.closing(sqlite3.connect(file)) as database:
        row = database.execute("SELECT value FROM xcom WHERE task_id = 'close' AND key = 'return_value'").fetchone()
    if row is None:
        end = "\n".join(LOG.read_text(errors="replace").splitlines()[-20:])
        raise RuntimeError(f"the DAG did not get to the closing. The end of {LOG.relative_to(ROOT)}:\n\n{end}")
    report = json.loads(row[0])
    return json.loads(report) if isinstance(report, str) else report


def show(lucca: Sandbox, results: dict[int, tuple[str, str]]) -> None:
    """Print what became of each purchase."""
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


def read_results(report: dict[str, Any], file: Path) -> dict[int, tuple[str, str]]:
    """Return result and reason by purchase, from the table that the checks wrote to and from the closing's report."""
    with contextlib.closing(sqlite3.connect(file)) as database:
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


if __name__ == "__main__":
    sys.exit(main())
