"""Runs a whole Airflow with the example DAGs, and a Lucca tenant beside it, for looking around.

``make ui`` calls it. All that it writes is in ``.airflow`` and gone at the end; of another Airflow it takes neither
settings nor ports.
"""

# ruff: noqa: T201 - it is there to print
from __future__ import annotations

import contextlib
import csv
import json
import signal
import sqlite3
import sys
import time
from pathlib import Path

from demo.demo import BLOCKED, amount, say, stop, write_candidates
from local_airflow.deployment import PASSWORD, ROOT, STOPS, USER, Deployment
from lucca_provider.sandbox import Sandbox

SHARE = 10
"""How many purchases each of the examples that are told what to close is told of."""


def main() -> int:
    """Run both until a signal ends them."""
    for number in STOPS:
        signal.signal(number, stop)
    (ROOT / ".airflow").mkdir(exist_ok=True)
    say("Starting Airflow, all in .airflow; that takes half a minute …")
    airflow = Deployment(environ={"AIRFLOW__CORE__TEST_CONNECTION": "Enabled"}, folder=ROOT / ".airflow")
    try:
        # Slow enough for people to see the closings come.
        with Sandbox(purchases=0, latency=0.3) as lucca, airflow:
            add_month(lucca, airflow.home)
            set_up(airflow, lucca)
            print(f"\nAirflow is at        {airflow.url}")
            print(f"the Lucca tenant at  {lucca.url}")
            print(f"Log in to Airflow as {USER} with the password {PASSWORD}")
            print("\nTrigger any of the seven DAGs. Where one asks for ids, take them from the page of the tenant.")
            say("Ctrl-C ends both and discards everything.")
            while True:
                time.sleep(1)
                if not lucca.closable_ids:
                    add_month(lucca, airflow.home)
    except (RuntimeError, TimeoutError) as error:
        print(f"\nAirflow did not start: {error}", file=sys.stderr)
        return 1


def add_month(lucca: Sandbox, folder: Path) -> None:
    """Add purchases to the tenant, and tell the examples of some of them, with a flaw here and there."""
    added = [lucca.add_purchase() for _ in range(4 * SHARE)]
    for invoice in BLOCKED:
        lucca.add_purchase(invoices=[invoice])
    in_sql, in_python, in_warehouse, _ = (added[start : start + SHARE] for start in range(0, len(added), SHARE))
    write_candidates(folder / "validation.db", lucca, in_sql)
    with (folder / "candidates.csv").open("w", newline="") as file:
        rows: list[list[object]] = [
            [number, amount(lucca.purchase(number)), amount(lucca.purchase(number))] for number in in_python
        ]
        rows[3][1] = "unknown"
        csv.writer(file).writerows([["purchase_id", "ordered", "invoiced"], *rows])
    with contextlib.closing(sqlite3.connect(folder / "warehouse.db")) as database, database:
        database.execute("DROP TABLE IF EXISTS warehouse_invoices")
        database.execute(
            "CREATE TABLE warehouse_invoices (purchase_id INTEGER, supplier TEXT, currency TEXT, amount NUMERIC)"
        )
        for number in in_warehouse:
            purchase = lucca.purchase(number)
            cent = 0.01 if number == in_warehouse[4] else 0
            row = [number, purchase["supplier"]["name"], "EUR", round(amount(purchase) + cent, 2)]
            database.execute("INSERT INTO warehouse_invoices VALUES (?, ?, ?, ?)", row)


def set_up(airflow: Deployment, lucca: Sandbox) -> None:
    """Give Airflow what the examples need, where people find and can change it."""
    airflow.api.set_connection("lucca_default", lucca.connection_uri)
    for name in ("validation", "warehouse"):
        database = {"conn_type": "sqlite", "host": str(airflow.home / f"{name}.db")}
        airflow.api.set_connection(f"lucca_{name}", json.dumps(database))
    airflow.api.set_variable("lucca_candidates", f"file://{airflow.home / 'candidates.csv'}")
    airflow.api.set_pool("lucca", 4)


if __name__ == "__main__":
    sys.exit(main())
