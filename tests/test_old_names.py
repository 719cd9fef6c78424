"""An nbgrader_config.py with the names of earlier releases still works, and prints the new ones."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from conftest import run
from helpers import RIGHT, STAMP, submit_toy
from nbmark import nbgrader_plugins

OLD_NAMES = {
    "SafeCollect": "nbmark.collect.SafeCollect",
    "GradesCsv": "nbmark.exporters.GradesCsv",
    "clean_html": "nbmark.safehtml.clean",
    "markdown2html": "nbmark.safehtml.markdown",
}


@pytest.fixture
def old_course(toy_course: Path) -> Path:
    """Return a course whose configuration uses every old name."""
    config = toy_course / "nbgrader_config.py"
    text = config.read_text()
    for new, old in OLD_NAMES.items():
        assert f'"nbmark.nbgrader_plugins.{new}"' in text
        text = text.replace(f'"nbmark.nbgrader_plugins.{new}"', f'"{old}"')
    config.write_text(text)
    return toy_course


def run_with_notices(course: Path, command: str, *names: str) -> None:
    """Run a command, which must succeed and print one notice for each of these new names.

    Every command prints the one for SafeCollect, because nbgrader always loads the exchange.
    """
    completed = run(course, *command.split())
    assert completed.returncode == 0, completed.stderr
    notices = [line for line in completed.stderr.splitlines() if line.startswith("nbmark: ")]
    assert sorted(notices) == [
        f"nbmark: nbgrader_config.py uses {OLD_NAMES[name]}; write nbmark.nbgrader_plugins.{name} "
        "instead, because the next release will not know the old name"
        for name in names
    ]


def test_collecting_works_with_the_old_name(old_course, tmp_path):
    student = pwd.getpwuid(os.getuid()).pw_name
    exchange = tmp_path / "exchange"
    entry = exchange / "curve-fitting" / "inbound" / f"{student}+toy+{STAMP}+x"
    entry.mkdir(parents=True)
    exchange.chmod(0o777)  # nbgrader refuses an exchange that not everybody may write to
    (entry / "toy.ipynb").write_text("{}")
    (entry / "timestamp.txt").write_text(STAMP)
    (entry / "link.txt").symlink_to(old_course / "gradebook.db")
    with (old_course / "nbgrader_config.py").open("a") as config:
        config.write(f"\nc.Exchange.root = {str(exchange)!r}\n")
    run_with_notices(old_course, "nbgrader collect toy", "SafeCollect")
    collected = old_course / "submitted" / student / "toy"
    assert {path.name for path in collected.iterdir()} == {"timestamp.txt", "toy.ipynb"}


def test_exporting_works_with_the_old_name(old_course):
    submit_toy(old_course, "ada", RIGHT)
    run_with_notices(old_course, "nbgrader export --to=grades.csv", "SafeCollect", "GradesCsv")
    header, row = (old_course / "grades.csv").read_text().splitlines()
    assert header.endswith(",status,reason")
    assert ",not graded," in row


def test_feedback_is_cleaned_with_the_old_names(old_course):
    submit_toy(old_course, "ada", RIGHT, "Because. <script>owned()</script>")
    assert run(old_course, "nbmark", "grade", "toy").returncode == 0
    names = ("SafeCollect", "clean_html", "markdown2html")
    run_with_notices(old_course, "nbgrader generate_feedback toy", *names)
    page = (old_course / "feedback" / "ada" / "toy" / "toy.html").read_text()
    assert "Because." in page
    assert "<script>owned()" not in page


@pytest.mark.parametrize("name", nbgrader_plugins.HOMES)
def test_every_new_name_can_be_imported(name):
    assert callable(getattr(nbgrader_plugins, name))
