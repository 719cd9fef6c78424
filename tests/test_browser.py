"""What a real browser does with a submission full of payloads: nothing, in formgrader and feedback.

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

DISPLAY = [one for one in attacks.cases() if one.family == "display"]
NOTE_CALLS = "window.calls = []; window.owned = () => window.calls.push(document.URL)"
# Where nbconvert's pages fetch MathJax and the like; nothing else may be asked.
LIBRARIES = re.compile(r"https://(cdnjs\.cloudflare\.com|cdn\.jsdelivr\.net|unpkg\.com)/")


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The display cases, graded, with feedback."""
    course = tmp_path_factory.mktemp("display") / "course"
    attacks.make_course(course, "no canary here", "target")
    for number, case in enumerate(DISPLAY):
        case.submit(course / "submitted" / f"{number}-{case.name}" / "target", course, {})
    for command in ("nbmark grade target", "nbgrader generate_feedback target"):
        done = run(course, *command.split())
        assert done.returncode == 0, done.stderr
    return course


@pytest.fixture(scope="module")
def formgrader(course: Path) -> Iterator[str]:
    """The address of formgrader in a Jupyter server of its own, on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [
            str(BIN / "jupyter"),
            "server",
            "--allow-root",
            "--no-browser",
            f"--port={port}",
            "--ip=127.0.0.1",
            "--IdentityProvider.token=t",
            "--ServerApp.jpserver_extensions={'nbgrader.server_extensions.formgrader': True}",
        ],
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
    assert chromium, "the test of what a browser runs needs one: apt-get install chromium"
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium)
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that notes calls of ``owned()`` and requests to the outside, which all fail."""
    context = browser.new_context()
    context.add_init_script(NOTE_CALLS)
    found = context.new_page()
    found.asked = []  # type: ignore[attr-defined]
    found.dialogs = []  # type: ignore[attr-defined]
    found.on("dialog", lambda one: (found.dialogs.append(one.message), one.dismiss()))
    found.on("request", lambda one: found.asked.append(one.url))
    context.route(re.compile("^https?://(?!127\\.0\\.0\\.1)"), lambda route: route.abort())
    yield found
    context.close()


def test_the_payloads_do_run_where_nobody_cleans_them(page):
    words = next(one for one in DISPLAY if one.name == "script-in-text-cells").answers["words"]
    page.goto("about:blank")
    page.evaluate(NOTE_CALLS)
    page.set_content(f"<script>{NOTE_CALLS}</script>{words}")
    page.wait_for_timeout(300)
    assert page.evaluate("window.calls.length") > 2


@pytest.mark.parametrize("number", range(len(DISPLAY)), ids=lambda number: DISPLAY[number].name)
def test_nothing_runs_on_a_feedback_page(course, page, number):
    path = course / "feedback" / f"{number}-{DISPLAY[number].name}" / "target" / "target.html"
    page.goto(path.as_uri())
    nothing_happened(page, "body")


@pytest.mark.parametrize("number", range(len(DISPLAY)), ids=lambda number: DISPLAY[number].name)
def test_nothing_runs_in_formgrader(course, formgrader, page, number):
    from nbgrader.api import Gradebook

    student = f"{number}-{DISPLAY[number].name}"
    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        submission = gradebook.find_submission_notebook("target", "target", student).id
    page.goto(f"{formgrader}/formgrader/submissions/{submission}/?token=t")
    assert page.locator(".nbgrader_cell").count() > 4
    nothing_happened(page, "#notebook-container")


def test_formgraders_list_of_students_is_safe(formgrader, page):
    page.goto(f"{formgrader}/formgrader/gradebook/target/target?token=t")
    nothing_happened(page, "body")


def nothing_happened(page: Page, work: str) -> None:
    """Click whatever can be clicked in the student's work, wait, and look."""
    page.wait_for_timeout(200)
    for link in page.locator(f"{work} a[href]").all():
        assert re.match(r"(https?://|mailto:|#|/|file:)", link.get_attribute("href") or "#")
    for summary in page.locator(f"{work} summary, {work} details").all():
        summary.click(timeout=500)
    assert page.evaluate("window.calls") == []
    assert page.dialogs == []  # type: ignore[attr-defined]
    strangers = [
        one
        for one in page.asked  # type: ignore[attr-defined]
        if not one.startswith(("http://127.0.0.1", "file:", "data:", "about:", "blob:"))
        and not LIBRARIES.match(one)
    ]
    assert strangers == []
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
