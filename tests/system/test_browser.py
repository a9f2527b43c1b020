"""
A person at a browser: the connection form, the link to Lucca, the approval and the report, and the page of the sandbox.

Pictures of what they see are kept in ``.airflow/screenshots``; ``make screenshots`` puts the best into ``docs/images``.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, ViewportSize, expect, sync_playwright

from local_airflow.api import HTTP, Run, wait_until
from local_airflow.deployment import PASSWORD, ROOT, USER, Deployment, clean_environment, free_ports
from lucca_provider.sandbox import Sandbox
from tests.system.conftest import KEY, PIECE
from tests.system.search import holds
from tests.system.test_airflow import assert_closed_once, read_report, wait_to_be_asked

Serve = Callable[..., Sandbox]
SCREENSHOTS = ROOT / ".airflow" / "screenshots"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
WIDE = ViewportSize(width=1280, height=940)
TALL = ViewportSize(width=1280, height=1880)
FLAT = ViewportSize(width=1280, height=660)
NARROW = ViewportSize(width=390, height=844)
# Chromium looks for its maker's servers otherwise, whatever it is told to open.
OFFLINE = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]
MASKED = "***"
UNPAID = {"conformityState": "Confirmed", "paymentState": "ToPay"}
IN_REVIEW = {"conformityState": "ToReview", "paymentState": "None"}

expect.set_options(timeout=30_000)


@pytest.fixture(scope="session", autouse=True)
def program() -> str:
    """Return where Chromium is, or say that it is missing, before an Airflow is started."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        reason = "this machine has no Chromium: `make debian-packages` installs it, as root"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return str(found)


@pytest.fixture(scope="module")
def browser(program: str) -> Iterator[Browser]:
    """Start a browser."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OFFLINE)
        yield browser
        browser.close()


def new_context(browser: Browser) -> BrowserContext:
    context = browser.new_context(viewport=WIDE, locale="en-GB", timezone_id="UTC", color_scheme="light")
    context.set_default_timeout(30_000)
    return context


@pytest.fixture(scope="module")
def context(browser: Browser, airflow: Deployment) -> BrowserContext:
    """Log in to Airflow."""
    context = new_context(browser)
    page = context.new_page()
    page.goto(f"{airflow.url}/auth/login")
    page.get_by_label("Username").fill(USER)
    page.locator("input[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="Dags").first).to_be_visible()
    page.close()
    return context


@pytest.fixture
def page(context: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Open a page, and keep a picture of what it shows at the end, also of a test that fails."""
    page = context.new_page()
    yield page
    page.screenshot(path=SCREENSHOTS / f"end-of-{request.node.name}.png")
    page.close()


# -- the connection form ---------------------------------------------------------------------------------------------


def open_form(page: Page, airflow: Deployment, conn_id: str) -> Locator:
    """Open the form for a new connection, and choose the type *Lucca*."""
    page.goto(f"{airflow.url}/connections")
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Connection ID").fill(conn_id)
    form.get_by_role("combobox", name="Connection Type").fill("Lucca")
    page.get_by_role("option", name="Lucca", exact=True).click()
    return form


def fields(section: Locator) -> list[tuple[str, str]]:
    """Return label and placeholder of the fields that a section of the form shows."""
    found = []
    for box in section.locator("input, textarea").all():
        if box.is_visible() or box.get_attribute("type") == "checkbox":
            label = box.evaluate("box => box.labels[0].textContent.trim()")
            found.append((label, box.get_attribute("placeholder") or ""))
    return found


def test_the_form_shows_the_fields_of_a_lucca_connection_and_no_others(airflow: Deployment, page: Page) -> None:
    form = open_form(page, airflow, "lucca_acme")
    standard = form.get_by_role("region", name="Standard Fields")
    expect(standard.get_by_label("Tenant")).to_be_visible()
    assert fields(standard) == [
        ("Description", ""),
        ("Tenant (host)", "acme.ilucca.net"),
        ("API key (password)", "the key alone, or: lucca application=…"),
        ("Port", "443"),
        ("Schema (https or http)", "https"),
    ]
    form.get_by_role("button", name="Extra Fields", exact=True).click()
    extra = form.get_by_role("region").filter(has_text="Requests per minute")
    expect(extra.get_by_label("Requests per minute")).to_be_visible()
    assert [label for label, _ in fields(extra)] == ["Requests per minute", "Time-out in seconds", "Allow http"]
    expect(extra.get_by_label("Allow http")).not_to_be_checked()
    for help_text in ("Leave empty for 45.", "Leave empty for 10.", "test servers only"):
        expect(extra.get_by_text(help_text)).to_be_visible()
    page.screenshot(path=SCREENSHOTS / "connection-extra.png")


def test_a_connection_saved_in_the_form_works_and_its_key_is_masked(
    airflow: Deployment, page: Page, serve: Serve
) -> None:
    lucca = serve(5)
    airflow.api.delete("/connections/lucca_acme")
    form = open_form(page, airflow, "lucca_acme")
    form.get_by_label("Tenant").fill("acme.ilucca.net")
    form.get_by_label("API key").fill(KEY)
    expect(form.get_by_label("API key")).to_have_attribute("type", "password")
    form.screenshot(path=SCREENSHOTS / "connection.png")
    form.get_by_label("Tenant").fill(lucca.host)
    form.get_by_label("Port").fill(str(lucca.port))
    form.get_by_label("Schema").fill("http")
    form.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_be_hidden()

    # Whoever comes back to the form finds stars, and may save them: the key stays what it was.
    page.goto(f"{airflow.url}/connections")
    page.get_by_role("row").filter(has_text="lucca_acme").get_by_role("button", name="Edit").click()
    form = page.get_by_role("dialog")
    expect(form.get_by_label("API key")).to_have_value(MASKED)
    assert not holds(page.content(), PIECE)
    form.get_by_role("button", name="Extra Fields", exact=True).click()
    form.get_by_label("Requests per minute").fill("30")
    form.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_be_hidden()

    run = airflow.api.trigger("close", {"purchase_ids": lucca.purchase_ids, "lucca_conn_id": "lucca_acme"})
    assert run.wait() == "success"
    assert "30 requests in 60 s" in run.log("close")
    assert_closed_once(lucca, lucca.purchase_ids)


def fill_in(form: Locator, lucca: Sandbox, key: str = KEY) -> None:
    """Fill in what the guide on connections says, and Schema, since this is a test server."""
    form.get_by_label("Tenant").fill(lucca.host)
    form.get_by_label("API key").fill(key)
    form.get_by_label("Port").fill(str(lucca.port))
    form.get_by_label("Schema").fill("http")


@pytest.mark.parametrize("works", [True, False], ids=["works", "wrong key"])
def test_a_saved_connection_is_tested_in_the_list(airflow: Deployment, page: Page, serve: Serve, works: bool) -> None:
    lucca = serve(1)
    airflow.api.delete("/connections/lucca_tested")
    form = open_form(page, airflow, "lucca_tested")
    fill_in(form, lucca, KEY if works else "another-key")
    form.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    row = page.get_by_role("row").filter(has_text="lucca_tested")
    asked = len(lucca.requests)
    row.get_by_role("button", name="Test Connection").click()
    said = f"Connected to {lucca.url}." if works else "Lucca refused the API key."
    expect(page.get_by_text(said)).to_be_visible()
    assert [request.path for request in lucca.requests[asked:]] == ["/cleemy-procurement/api/natures"]
    page.screenshot(path=SCREENSHOTS / f"tested-{works}.png")


# -- Airflow 2 -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def airflow_2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start the web server of Airflow 2.11, whose pages are others, and return its address."""
    python = Path(os.environ.get("PYTHON_OF_AIRFLOW_2", ROOT / ".venv" / "2-11" / "bin" / "python"))
    if not python.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"there is no Airflow 2.11: {python}")
    home = tmp_path_factory.mktemp("airflow-2")
    (port,) = free_ports(1)
    environ = clean_environment() | {
        "PYTHONPATH": str(ROOT),
        "NO_PROXY": "127.0.0.1",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
        "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(port),
    }
    person = f"--username {USER} --password {PASSWORD} --role Admin --firstname A --lastname B --email a@b.test"
    with (home / "log").open("wb") as log:
        run = partial(subprocess.run, env=environ, cwd=home, check=True, stdout=log, stderr=log)
        run([python, "-m", "airflow", "db", "migrate"])
        run([python, "-m", "airflow", "users", "create", *person.split()])
        server = subprocess.Popen(
            [python, "-m", "airflow", "webserver", "--debug"], env=environ, cwd=home, stdout=log, stderr=log
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: server.poll() is not None or answers(f"{url}/health"), "a web server", seconds=180)
            assert server.poll() is None, (home / "log").read_text()[-4000:]
            yield url
        finally:
            server.kill()
            server.wait()


def answers(url: str) -> bool:
    try:
        return bool(HTTP.get(url, timeout=5).ok)
    except OSError:
        return False


def test_the_button_of_airflow_2_tests_when_adding_and_when_editing(browser: Browser, airflow_2: str) -> None:
    page = new_context(browser).new_page()
    page.goto(f"{airflow_2}/login/")
    page.locator("#username").fill(USER)
    page.locator("#password").fill(PASSWORD)
    page.locator("input[type=submit]").click()
    with Sandbox(purchases=1, api_key=KEY) as lucca:
        page.goto(f"{airflow_2}/connection/add")
        page.locator("#conn_id").fill("lucca_acme")
        page.locator("#conn_type").select_option("lucca", force=True)
        expect(page.locator("label[for=host]")).to_have_text("Tenant (host)")
        for field, value in (("host", lucca.host), ("password", KEY), ("port", str(lucca.port)), ("schema", "http")):
            page.locator(f"#{field}").fill(value)
        # Airflow posts these under two names each, and a box that is checked as "y".
        page.locator("#extra__lucca__requests_per_minute").fill("30")
        page.locator("#extra__lucca__allow_insecure_http").check()
        for place in ("add", "edit"):
            asked = len(lucca.requests)
            page.locator("#test-connection").click()
            expect(page.locator(".alert")).to_contain_text(f"Connected to {lucca.url}")
            assert len(lucca.requests) == asked + 1
            page.screenshot(path=SCREENSHOTS / f"airflow-2-{place}.png")
            if place == "add":
                page.locator("form#model_form button[type=submit]").click()
                page.goto(f"{airflow_2}/connection/edit/1")
                # It sends no key that it has saved.
                page.locator("#password").fill(KEY)
    page.context.close()


# -- a run -----------------------------------------------------------------------------------------------------------


def test_the_extra_link_leads_to_the_tenant(airflow: Deployment, page: Page, serve: Serve) -> None:
    lucca = serve(3)
    run = airflow.api.trigger("close", {"purchase_ids": lucca.purchase_ids})
    assert run.wait() == "success"
    asked = len(lucca.requests)
    page.goto(f"{airflow.url}/dags/close/runs/{run.run_id}/tasks/close/details")
    link = page.get_by_role("link", name="Lucca Invoices")
    expect(link).to_have_attribute("href", f"{lucca.url}/cleemy-procurement")
    with page.context.expect_page() as opened:
        link.click()
    tenant = opened.value
    expect(tenant.get_by_role("heading", name="Lucca sandbox")).to_be_visible()
    expect(tenant.locator("#closed")).to_have_text("3")
    tenant.close()
    # A look at the page costs nothing of the tenant's limit.
    assert len(lucca.requests) == asked


def test_the_page_of_the_sandbox_shows_closings_as_they_come(airflow: Deployment, page: Page, serve: Serve) -> None:
    lucca = serve(36, latency=0.7)
    ids = lucca.purchase_ids
    lucca.set_purchase(ids[4], invoices=[UNPAID])
    lucca.set_purchase(ids[9], state="Closed")
    lucca.fail_next("error_after", purchase_id=ids[6])
    page.set_viewport_size(FLAT)
    page.goto(lucca.url)
    expect(page.locator("#closed")).to_have_text("1")
    page.evaluate("window.kept = true")
    run = airflow.api.trigger("close", {"purchase_ids": ids})
    expect(page.locator("#closed")).to_have_text(re.compile("^(1[2-9]|2[0-4])$"), timeout=60_000)
    time = page.get_by_role("region", name="Requests").locator("td").first
    assert time.evaluate("cell => cell.scrollWidth <= cell.clientWidth")
    page.screenshot(path=SCREENSHOTS / "sandbox.png")
    assert run.wait() == "failed"
    expect(page.locator("#closed")).to_have_text("35")
    standing = {number: page.locator(f"[data-purchase='{number}'] .tag") for number in ids}
    for number in ids:
        expect(standing[number]).to_have_text("blocked" if number == ids[4] else "closed")
    assert page.evaluate("window.kept")
    page.get_by_role("button", name="Approve and pay").click()
    expect(standing[ids[4]]).to_have_text("closable")
    expect(page.get_by_role("button")).to_have_count(0)
    assert lucca.closable_ids == [ids[4]]

    page.set_viewport_size(NARROW)
    for name in ("Purchases", "Requests"):
        row = page.get_by_role("region", name=name).locator("tbody tr").first
        for cell in row.locator("td").all():
            box = cell.bounding_box()
            assert box
            assert (box["width"] > 30, box["x"] >= 0, box["x"] + box["width"] <= NARROW["width"]) == (True,) * 3
    page.screenshot(path=SCREENSHOTS / "sandbox-narrow.png")


def cells(table: Locator) -> list[list[str]]:
    """Return the texts of a table, row by row below its heading."""
    return [row.locator("td").all_inner_texts() for row in table.locator("tbody tr").all()]


@pytest.fixture
def reports() -> Iterator[Path]:
    """Make a folder for reports. A picture shows its path, which therefore tells nothing of this machine."""
    folder = Path("/tmp/reports")  # noqa: S108 (an existing folder is left alone)
    try:
        folder.mkdir()
    except FileExistsError:
        folder = Path(tempfile.mkdtemp(prefix="reports-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def test_a_person_approves_the_month_end_and_gets_a_report_of_it(
    airflow: Deployment, page: Page, serve: Serve, reports: Path
) -> None:
    lucca = serve(5)
    *closable, excluded = lucca.purchase_ids
    addresses = "https://ferrand.example | www.ferrand.example | orders@ferrand.example"
    lucca.set_purchase(closable[0], title=f"Chairs | {addresses}")
    blocked = [lucca.add_purchase(invoices=[invoice]) for invoice in (UNPAID, IN_REVIEW)]
    airflow.api.set_variable("lucca_reports", str(reports))
    run = airflow.api.trigger("lucca_close_month_end", {"exclude": [excluded]})
    wait_to_be_asked(airflow.home, run, "approve")

    page.set_viewport_size(TALL)
    page.goto(f"{airflow.url}/dags/{run.dag_id}/runs/{run.run_id}/tasks/approve/required_actions")
    expect(page.get_by_role("button", name="Approve")).to_be_enabled()
    expect(page.get_by_text("Close the ready purchases (4)?").first).to_be_visible()
    tables = page.get_by_role("table").filter(has_text="Supplier")
    ready, not_ready, left_out = tables.all()
    assert [row[0] for row in cells(ready)] == [str(number) for number in closable]
    for number, (_, title, supplier, billed, _) in zip(closable, cells(ready), strict=True):
        purchase = lucca.purchase(number)
        assert title.replace("\N{WORD JOINER}", "") == purchase["title"]
        assert supplier == purchase["supplier"]["name"]
        assert billed == f"{purchase['billedAmount']['counter']['value']:,.2f}\N{NO-BREAK SPACE}EUR"
    assert tables.get_by_role("link").count() == 0
    assert [row[0] for row in cells(not_ready)] == [str(number) for number in blocked]
    assert [row[-1].split(": ")[1] for row in cells(not_ready)] == ["not paid", "to review, not paid"]
    assert [row[0] for row in cells(left_out)] == [str(excluded)]
    page.screenshot(path=SCREENSHOTS / "approval.png")
    assert not lucca.closings

    # Before the answer comes, an invoice comes in.
    changed, *closed = closable
    lucca.add_document(changed, conformityState="Confirmed", paymentState="Paid", amount=10_000)
    page.get_by_role("button", name="Approve").click()
    assert run.wait(seconds=300) == "success"
    assert_closed_once(lucca, closed)
    assert {closing.comment for closing in lucca.closings} == {
        f"Month-end by Airflow, {run.run_id}, approved by {USER}"
    }
    assert_reported(run, lucca, reports, closed=closed, left_out=[*blocked, excluded, changed])

    (file,) = (one for one in reports.glob("*.html") if not one.stem.endswith("-check"))
    page.goto(file.as_uri())
    expect(page.get_by_role("heading", level=2)).to_have_text(["Left out (4)", "Closed (3)"])
    left_out, shown = page.get_by_role("table").filter(has_text="Supplier").all()
    assert {int(row[0]) for row in cells(left_out)} == {*blocked, excluded, changed}
    assert [int(row[0]) for row in cells(shown)] == closed
    page.set_viewport_size(WIDE)
    page.screenshot(path=SCREENSHOTS / "month-end-report.png", full_page=True)


def assert_reported(run: Run, lucca: Sandbox, folder: Path, *, closed: list[int], left_out: list[int]) -> None:
    """See that the files are those that the task wrote, and say what Lucca says."""
    (approved,) = folder.glob("*-check.html")
    assert run.xcom("check", "sha256") == {str(approved): hashlib.sha256(approved.read_bytes()).hexdigest()}
    files = {file.suffix: file for file in folder.iterdir() if file != approved}
    assert set(files) == {".html", ".csv", ".md"}
    checksums = {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files.values()}
    assert run.xcom("report", "sha256") == checksums
    rows = read_report(folder)
    assert [number for number, row in rows.items() if row["Outcome"] == "closed"] == closed
    assert {number for number, row in rows.items() if row["Outcome"] == "left out"} == set(left_out)
    for number, row in rows.items():
        purchase = lucca.purchase(number)
        value = purchase["billedAmount"]["counter"]["value"]
        assert (row["State in Lucca"], row["Billed amount"]) == (purchase["state"], f"{value:.2f}".replace(".", ","))
        assert row["Approved by"] == USER
        assert f"\n| {number} | " in files[".md"].read_text()
    assert re.search(r"billed .* when approved, .* now", rows[left_out[-1]]["Reason"])
