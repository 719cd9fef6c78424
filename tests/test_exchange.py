"""The whole loop with nbgrader's own commands, and an exchange that somebody tampers with."""

from __future__ import annotations

import csv
import os
import pwd
import shutil
import sys
from pathlib import Path

import pytest
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config

from conftest import ROOT, run
from helpers import RIGHT, hand_in_toy
from nbmark.course.course import Course
from nbmark.export.csv import GradesCsv
from nbmark.intake.collect import SafeCollect
from nbmark.records import evidence

COURSE_ID = "curve-fitting"
ME = pwd.getpwuid(os.getuid()).pw_name
EARLY, LATE = "2026-11-01 10:00:00.000000 UTC", "2026-11-02 10:00:00.000000 UTC"


@pytest.fixture
def exchange(tmp_path: Path) -> Path:
    folder = tmp_path / "exchange"
    for name in ("inbound", "outbound", "feedback"):
        (folder / COURSE_ID / name).mkdir(parents=True)
    folder.chmod(0o777)
    return folder


@pytest.fixture
def connected(toy_course: Path, exchange: Path) -> Path:
    """A course whose configuration names the exchange."""
    config = toy_course / "nbgrader_config.py"
    config.write_text(config.read_text() + f"\nc.Exchange.root = {str(exchange)!r}\n")
    return toy_course


def entry(exchange: Path, student: str, stamp: str = EARLY, tail: str = "x") -> Path:
    folder = exchange / COURSE_ID / "inbound" / f"{student}+toy+{stamp}+{tail}"
    folder.mkdir()
    (folder / "toy.ipynb").write_text(f"{student} {stamp}")
    (folder / "timestamp.txt").write_text(stamp)
    return folder


def collect(course: Path, exchange: Path, **options: object) -> SafeCollect:
    config = Config()
    config.Exchange.root = str(exchange)
    found = SafeCollect(
        coursedir=CourseDirectory(root=str(course), course_id=COURSE_ID, assignment_id="toy"),
        config=config,
        **options,
    )
    found.start()
    return found


def taken(course: Path, student: str) -> list[str]:
    folder = course / "submitted" / student / "toy"
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_the_whole_loop_runs_with_nbgraders_own_commands(connected, exchange, tmp_path):
    student = tmp_path / "student"
    student.mkdir()
    (student / "nbgrader_config.py").write_text(
        "c = get_config()\n"
        f"c.CourseDirectory.course_id = {COURSE_ID!r}\nc.Exchange.root = {str(exchange)!r}\n"
    )

    def must(folder: Path, *words: str) -> str:
        done = run(folder, "nbgrader", *words)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout + done.stderr

    must(connected, "release_assignment", "toy")
    must(student, "fetch_assignment", "toy")
    assert "failed" in must(student, "validate", "toy/toy.ipynb").lower()
    work = hand_in_toy(connected, "draft", RIGHT) / "toy.ipynb"
    shutil.move(work, student / "toy" / "toy.ipynb")
    shutil.rmtree(connected / "submitted")
    assert "Success" in must(student, "validate", "toy/toy.ipynb")
    must(student, "submit", "toy")
    assert "1 submissions of 'toy' collected" in must(connected, "collect", "toy")
    must(connected, "autograde", "toy")
    must(connected, "generate_feedback", "toy")
    must(connected, "release_feedback", "toy")
    must(student, "fetch_feedback", "toy")
    pages = list(student.rglob("*.html"))
    assert len(pages) == 1
    assert "a is right" in pages[0].read_text()
    must(connected, "export", "--to=grades.csv")
    rows = list(csv.DictReader((connected / "grades.csv").read_text().splitlines()))
    assert [(row["student_id"], row["score"], row["status"]) for row in rows] == [
        (ME, "3.0", "needs manual grading")
    ]


def test_the_student_needs_neither_the_engine_nor_the_checks(connected, tmp_path):
    notebook = (ROOT / "release" / "mse" / "mse.ipynb").read_text()
    assert "nbmark" not in notebook
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(ROOT / "release" / "mse" / "mse.ipynb", alone)
    blocked = alone / "sitecustomize.py"
    blocked.write_text("import sys\nsys.modules['nbmark'] = None\n")
    done = run(alone, "nbgrader", "validate", "mse.ipynb", PYTHONPATH=str(alone))
    assert done.returncode == 0, done.stderr
    assert "VALIDATION FAILED" in done.stdout


def test_the_newest_acceptable_entry_is_collected_and_an_update_replaces_it(toy_course, exchange):
    entry(exchange, ME, EARLY)
    collect(toy_course, exchange)
    text = toy_course / "submitted" / ME / "toy" / "toy.ipynb"
    assert EARLY in text.read_text()
    entry(exchange, ME, LATE)
    collect(toy_course, exchange)
    assert EARLY in text.read_text()
    collect(toy_course, exchange, update=True)
    assert LATE in text.read_text()
    assert not list((toy_course / "submitted" / ME).glob(".toy.*"))


def test_nothing_reached_through_a_link_is_collected(toy_course, exchange):
    folder = entry(exchange, ME)
    (folder / "secret").symlink_to(toy_course / "gradebook.db")
    (folder / "folder").symlink_to(toy_course / "graders")
    (folder / "toy.ipynb").unlink()
    (folder / "toy.ipynb").symlink_to(toy_course / "source" / "toy" / "toy.ipynb")
    os.link(toy_course / "gradebook.db", folder / "hard")
    os.mkfifo(folder / "pipe")
    collect(toy_course, exchange)
    assert taken(toy_course, ME) == ["timestamp.txt"]


def test_an_entry_that_is_a_link_itself_is_skipped(toy_course, exchange):
    entry(exchange, ME)
    bad = exchange / COURSE_ID / "inbound" / f"zoe+toy+{LATE}+x"
    bad.symlink_to(toy_course / "graders")
    done = collect(toy_course, exchange, check_owner=False)
    assert done.skipped == 1
    assert taken(toy_course, ME)
    assert not (toy_course / "submitted" / "zoe").exists()


def test_what_is_handed_in_as_somebody_else_is_refused(toy_course, exchange):
    entry(exchange, "daemon")
    entry(exchange, ME)
    done = collect(toy_course, exchange)
    assert done.skipped == 1
    assert taken(toy_course, ME)
    assert not (toy_course / "submitted" / "daemon").exists()


@pytest.mark.parametrize("name", ["..", ".hidden", "a b", "nobody\n", "é", "-x", "a" * 200, ""])
def test_a_student_id_that_is_no_folder_name_is_skipped(toy_course, exchange, name):
    inbound = exchange / COURSE_ID / "inbound"
    folder = inbound / f"{name}+toy+{EARLY}+x"
    folder.mkdir()
    entry(exchange, ME)
    done = collect(toy_course, exchange, check_owner=False)
    assert done.skipped == 1
    assert sorted(p.name for p in (toy_course / "submitted").iterdir()) == [ME]


@pytest.mark.parametrize(
    "name", ["ada+toy+yesterday+x", "ada+toy+x", "ada+toy+9999999999999-01-01+x"]
)
def test_a_malformed_entry_is_reported_and_the_rest_collected(toy_course, exchange, name):
    (exchange / COURSE_ID / "inbound" / name).mkdir()
    entry(exchange, ME)
    done = collect(toy_course, exchange, check_owner=False)
    assert done.skipped == 1
    assert taken(toy_course, ME) == ["timestamp.txt", "toy.ipynb"]


def test_size_and_number_are_capped(toy_course, exchange):
    folder = entry(exchange, ME)
    for number in range(30):
        (folder / f"z{number:02}.txt").write_text("x")
    (folder / "big.bin").write_bytes(b"x" * 5000)
    deep = folder
    for _ in range(12):
        deep /= "d"
        deep.mkdir()
    (deep / "deep.txt").write_text("x")
    collect(toy_course, exchange, max_files=10, max_file_bytes=4000)
    found = taken(toy_course, ME)
    assert len(found) == 10
    assert "big.bin" not in found
    assert not any("deep.txt" in one for one in found)


def test_other_peoples_files_in_an_entry_are_left_out(toy_course, exchange):
    folder = entry(exchange, ME)
    stranger = folder / "stranger.txt"
    stranger.write_text("x")
    if os.geteuid() == 0:
        os.chown(stranger, 12345, 12345)
        collect(toy_course, exchange)
        assert "stranger.txt" not in taken(toy_course, ME)
    else:  # an ordinary user cannot give a file away: the entry's owner must then match
        collect(toy_course, exchange)
        assert "stranger.txt" in taken(toy_course, ME)


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # in nbgrader's add_submission
def test_grades_are_quoted_and_no_formula_and_never_a_zero_that_nobody_gave(toy_course, tmp_path):
    from nbgrader.api import Gradebook

    for student in ("@cmd", "ada"):
        hand_in_toy(toy_course, student, RIGHT)
    assert run(toy_course, "nbmark", "grade", "toy").returncode == 0
    target = tmp_path / "grades.csv"
    with Gradebook(f"sqlite:///{toy_course}/gradebook.db") as gradebook:
        gradebook.update_or_create_student("ben", last_name='O"Neil, jr', first_name="@SUM(1)")
        gradebook.update_or_create_student("cleo")
        gradebook.add_submission("toy", "cleo")
        GradesCsv(to=str(target)).export(gradebook)
    rows = {row["student_id"]: row for row in csv.DictReader(target.read_text().splitlines())}
    assert rows["'@cmd"]["score"] == "3.0"
    assert rows["ben"]["last_name"] == 'O"Neil, jr'
    assert rows["ben"]["first_name"] == "'@SUM(1)"
    assert (rows["ben"]["score"], rows["ben"]["status"]) == ("", "not submitted")
    assert (rows["cleo"]["score"], rows["cleo"]["status"]) == ("", "not graded")
    assert rows["ada"]["status"] == "needs manual grading"


def test_whoever_handed_in_and_has_no_grade_is_not_graded(toy_course):
    from nbgrader.api import Gradebook

    for student in ("ada", "cleo", "dan", "no id"):
        hand_in_toy(toy_course, student, RIGHT)
    done = run(toy_course, "nbmark", "grade", "toy", "--student", "ada")
    assert done.returncode == 0, done.stderr
    with Gradebook(f"sqlite:///{toy_course}/gradebook.db") as gradebook:
        gradebook.update_or_create_student("ben")
        gradebook.update_or_create_student("cleo", last_name="Moss")
    assert run(toy_course, "nbgrader", "export", "--to=grades.csv").returncode == 0
    rows = list(csv.DictReader((toy_course / "grades.csv").read_text().splitlines()))
    assert [(row["student_id"], row["score"], row["status"]) for row in rows] == [
        ("ada", "3.0", "needs manual grading"),
        ("ben", "", "not submitted"),
        ("cleo", "", "not graded"),
        ("dan", "", "not graded"),
    ]
    assert (rows[2]["last_name"], rows[3]["max_score"]) == ("Moss", "5.0")


def test_formgraders_button_grades_in_a_running_event_loop(toy_course):
    import subprocess

    hand_in_toy(toy_course, "ada", RIGHT)
    script = """
import asyncio, sys
from traitlets.config.loader import PyFileConfigLoader
from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
config = PyFileConfigLoader("nbgrader_config.py", path=".").load_config()
async def press():
    api = NbGraderAPI(CourseDirectory(config=config), config=config)
    found = api.autograde("toy", "ada", force=False)
    print(found["success"], api.get_submission("toy", "ada")["score"])
asyncio.run(press())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=toy_course, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip().endswith("True 3.0"), done.stdout + done.stderr
    graded = evidence.load(Course(toy_course), "toy", "ada")
    assert graded is not None
    assert graded.sandbox == "bubblewrap, forked"
