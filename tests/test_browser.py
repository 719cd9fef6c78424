"""A real browser runs no script of a student, in formgrader or on feedback pages.

Each payload calls ``owned()``; the browser notes every call, every dialog and every request.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import attacks
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from conftest import BIN, run

DISPLAY = [case for case in attacks.cases() if case.family == "display"]
BY_CASE = pytest.mark.parametrize(
    "number", range(len(DISPLAY)), ids=lambda number: DISPLAY[number].name
)
NOTE_CALLS = "window.calls = []; window.owned = () => window.calls.push(document.URL)"
# nbconvert's pages fetch MathJax and the like from here; no other server may be asked.
LIBRARIES = re.compile(r"https://(cdnjs\.cloudflare\.com|cdn\.jsdelivr\.net|unpkg\.com)/")


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a course with the display cases, graded, with feedback."""
    course = tmp_path_factory.mktemp("display") / "course"
    attacks.make_course(course, "no canary here", "target")
    for number, case in enumerate(DISPLAY):
        case.submit(course / "submitted" / f"{number}-{case.name}" / "target", course, {})
    for command in ("nbmark grade target", "nbgrader generate_feedback target"):
        completed = run(course, *command.split())
        assert completed.returncode == 0, completed.stderr
    return course


@pytest.fixture(scope="module")
def formgrader(course: Path) -> Iterator[str]:
    """Start a Jupyter server for formgrader, and return its address on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"--allow-root --no-browser --port={port} --ip=127.0.0.1 --IdentityProvider.token=t"
    extension = "--ServerApp.jpserver_extensions={'nbgrader.server_extensions.formgrader': True}"
    server = subprocess.Popen(
        [BIN / "jupyter", "server", *options.split(), extension],
        cwd=course,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/api/status?token=t")
        yield address
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium, "this test needs a real browser; install one: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Return a page that notes calls of ``owned()``, dialogs and requests.

    Requests to other machines are noted and then fail.
    """
    context = browser.new_context()
    context.add_init_script(NOTE_CALLS)
    page = context.new_page()
    page.requested = []  # type: ignore[attr-defined]
    page.dialogs = []  # type: ignore[attr-defined]
    page.on("dialog", lambda dialog: (page.dialogs.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: page.requested.append(request.url))
    context.route(re.compile("^https?://(?!127\\.0\\.0\\.1)"), lambda route: route.abort())
    yield page
    context.close()


def test_the_payloads_run_if_nothing_cleans_them(page):
    words = next(case for case in DISPLAY if case.name == "script-in-text-cells").answers["words"]
    page.goto("about:blank")
    page.evaluate(NOTE_CALLS)
    page.set_content(f"<script>{NOTE_CALLS}</script>{words}")
    page.wait_for_timeout(300)
    assert page.evaluate("window.calls.length") > 2


@BY_CASE
def test_nothing_runs_on_a_feedback_page(course, page, number):
    path = course / "feedback" / f"{number}-{DISPLAY[number].name}" / "target" / "target.html"
    page.goto(path.as_uri())
    assert_nothing_ran(page, "body")


@BY_CASE
def test_nothing_runs_in_formgrader(course, formgrader, page, number):
    from nbgrader.api import Gradebook

    student = f"{number}-{DISPLAY[number].name}"
    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        submission = gradebook.find_submission_notebook("target", "target", student).id
    page.goto(f"{formgrader}/formgrader/submissions/{submission}/?token=t")
    assert page.locator(".nbgrader_cell").count() > 4
    assert_nothing_ran(page, "#notebook-container")


def test_nothing_runs_in_formgraders_list_of_students(formgrader, page):
    page.goto(f"{formgrader}/formgrader/gradebook/target/target?token=t")
    assert_nothing_ran(page, "body")


def assert_nothing_ran(page: Page, work: str) -> None:
    """Open everything that opens in the student's work, then check that no payload ran.

    Parameters
    ----------
    work
        A selector of the part of the page that the student wrote.
    """
    page.wait_for_timeout(200)  # handlers of load and error events need a moment
    for link in page.locator(f"{work} a[href]").all():
        assert re.match(r"(https?://|mailto:|#|/|file:)", link.get_attribute("href") or "#")
    for summary in page.locator(f"{work} summary, {work} details").all():
        summary.click(timeout=500)
    assert page.evaluate("window.calls") == []
    assert page.dialogs == []  # type: ignore[attr-defined]
    other_servers = [
        url
        for url in page.requested  # type: ignore[attr-defined]
        if not url.startswith(("http://127.0.0.1", "file:", "data:", "about:", "blob:"))
        and not LIBRARIES.match(url)
    ]
    assert other_servers == []
    inside = page.locator(work)
    for forbidden in ("script[src*='192.0.2']", "iframe", "object", "form", "svg script", "base"):
        assert inside.locator(forbidden).count() == 0, forbidden
    assert inside.locator("[style*='fixed'], [style*='url('], .navbar-fixed-top").count() == 0


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310  # loopback
            return
        except OSError:
            assert time.monotonic() < deadline, "the Jupyter server did not start"
            time.sleep(0.3)
