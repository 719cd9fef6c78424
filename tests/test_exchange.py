"""The course works with nbgrader's own commands, and nothing unsafe comes out of the exchange."""

from __future__ import annotations

import csv
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import notebook_hash
from traitlets.config import Config

from conftest import COURSE_ID, ROOT, run
from helpers import RIGHT, submit_toy
from nbmark.course.course import Course
from nbmark.export.csv import GradesCsv
from nbmark.intake.collect import SafeCollect
from nbmark.records import evidence

ME = pwd.getpwuid(os.getuid()).pw_name
EARLY, LATE = "2026-11-01 10:00:00.000000 UTC", "2026-11-02 10:00:00.000000 UTC"


@pytest.fixture
def connected(toy_course: Path, exchange: Path) -> Path:
    """Return a course whose configuration names the exchange."""
    config = toy_course / "nbgrader_config.py"
    config.write_text(config.read_text() + f"\nc.Exchange.root = {str(exchange)!r}\n")
    return toy_course


def add_entry(exchange: Path, student: str, stamp: str = EARLY) -> Path:
    """Submit through the exchange, in the form in which ``nbgrader submit`` does."""
    folder = exchange / COURSE_ID / "inbound" / f"{student}+toy+{stamp}+x"
    folder.mkdir()
    (folder / "toy.ipynb").write_text(f"{student} {stamp}")
    (folder / "timestamp.txt").write_text(stamp)
    return folder


def collect(course: Path, exchange: Path, **options: object) -> SafeCollect:
    config = Config()
    config.Exchange.root = str(exchange)
    collector = SafeCollect(
        coursedir=CourseDirectory(root=str(course), course_id=COURSE_ID, assignment_id="toy"),
        config=config,
        **options,
    )
    collector.start()
    return collector


def collected_files(course: Path, student: str) -> list[str]:
    folder = course / "submitted" / student / "toy"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_whole_loop_runs_with_nbgraders_own_commands(connected, exchange, tmp_path):
    student = tmp_path / "student"
    student.mkdir()
    (student / "nbgrader_config.py").write_text(
        "c = get_config()\n"
        f"c.CourseDirectory.course_id = {COURSE_ID!r}\nc.Exchange.root = {str(exchange)!r}\n"
    )

    def nbgrader(folder: Path, *arguments: str) -> str:
        completed = run(folder, "nbgrader", *arguments)
        assert completed.returncode == 0, (arguments, completed.stderr)
        return completed.stdout + completed.stderr

    nbgrader(connected, "release_assignment", "toy")
    nbgrader(student, "fetch_assignment", "toy")
    assert "failed" in nbgrader(student, "validate", "toy/toy.ipynb").lower()
    notebook = submit_toy(connected, "draft", RIGHT) / "toy.ipynb"
    shutil.move(notebook, student / "toy" / "toy.ipynb")
    shutil.rmtree(connected / "submitted")
    assert "Success" in nbgrader(student, "validate", "toy/toy.ipynb")
    nbgrader(student, "submit", "toy")
    assert "1 submissions of 'toy' collected" in nbgrader(connected, "collect", "toy")
    nbgrader(connected, "autograde", "toy")
    nbgrader(connected, "generate_feedback", "toy")
    nbgrader(connected, "release_feedback", "toy")
    nbgrader(student, "fetch_feedback", "toy")
    pages = list(student.rglob("*.html"))
    assert len(pages) == 1
    assert "a is right" in pages[0].read_text()
    nbgrader(connected, "export", "--to=grades.csv")
    rows = list(csv.DictReader((connected / "grades.csv").read_text().splitlines()))
    assert [(row["student_id"], row["score"], row["status"]) for row in rows] == [
        (ME, "3.0", "needs manual grading")
    ]


def test_a_student_needs_neither_nbmark_nor_the_checks(tmp_path):
    notebook = (ROOT / "release" / "mse" / "mse.ipynb").read_text()
    assert "nbmark" not in notebook
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(ROOT / "release" / "mse" / "mse.ipynb", alone)
    (alone / "sitecustomize.py").write_text("import sys\nsys.modules['nbmark'] = None\n")
    completed = run(alone, "nbgrader", "validate", "mse.ipynb", PYTHONPATH=str(alone))
    assert completed.returncode == 0, completed.stderr
    assert "VALIDATION FAILED" in completed.stdout


def test_a_later_entry_replaces_a_collected_one_only_with_update(toy_course, exchange):
    add_entry(exchange, ME, EARLY)
    collect(toy_course, exchange)
    notebook = toy_course / "submitted" / ME / "toy" / "toy.ipynb"
    assert EARLY in notebook.read_text()
    add_entry(exchange, ME, LATE)
    collect(toy_course, exchange)
    assert EARLY in notebook.read_text()
    collect(toy_course, exchange, update=True)
    assert LATE in notebook.read_text()
    assert not list((toy_course / "submitted" / ME).glob(".toy.*"))


@pytest.mark.parametrize("secret", ["", "+x", "+q3Zk-_9aPz0T"])
@pytest.mark.parametrize(
    "stamp", ["2026-07-02 14:00:00.000000 CEST", "2026-07-02 14:00:00 +0200", "2026-07-02 14:00:00"]
)
def test_the_newest_entry_in_time_is_found_in_any_time_zone(toy_course, exchange, stamp, secret):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{toy_course}/gradebook.db") as gradebook:
        gradebook.update_or_create_assignment("toy", duedate="2026-07-02 12:30:00 UTC")
    for student_stamp in (stamp, "2026-07-02 11:00:00 UTC", "2026-07-02 12:45:00 UTC"):
        folder = add_entry(exchange, ME, student_stamp)
        folder.rename(folder.with_name(folder.name.removesuffix("+x") + secret))
    collector = collect(toy_course, exchange, before_duedate=True, timezone="Europe/Berlin")
    notebook = toy_course / "submitted" / ME / "toy" / "toy.ipynb"
    assert notebook.read_text() == f"{ME} {stamp}"
    assert collector.skipped == 0
    collect(toy_course, exchange, update=True, timezone="Europe/Berlin")
    assert notebook.read_text() == f"{ME} 2026-07-02 12:45:00 UTC"


def test_an_entry_whose_time_is_not_certain_is_skipped_with_the_reason(
    toy_course, exchange, caplog
):
    add_entry(exchange, ME, "2026-07-02 14:00:00.000000 CEST")
    add_entry(exchange, ME, EARLY)
    collector = collect(toy_course, exchange)
    assert collector.skipped == 1
    assert "the time zone 'CEST' is not one of c.Exchange.timezone (UTC)" in caplog.text
    assert EARLY in (toy_course / "submitted" / ME / "toy" / "toy.ipynb").read_text()


def test_a_collected_time_that_cannot_be_read_does_not_stop_a_collection(toy_course, exchange):
    add_entry(exchange, ME, EARLY)
    collect(toy_course, exchange)
    (toy_course / "submitted" / ME / "toy" / "timestamp.txt").write_text("yesterday")
    collect(toy_course, exchange, update=True)
    assert EARLY in (toy_course / "submitted" / ME / "toy" / "timestamp.txt").read_text()


def test_no_file_behind_a_link_is_collected(toy_course, exchange):
    folder = add_entry(exchange, ME)
    (folder / "secret").symlink_to(toy_course / "gradebook.db")
    (folder / "folder").symlink_to(toy_course / "graders")
    (folder / "toy.ipynb").unlink()
    (folder / "toy.ipynb").symlink_to(toy_course / "source" / "toy" / "toy.ipynb")
    os.link(toy_course / "gradebook.db", folder / "hard")
    os.mkfifo(folder / "pipe")
    collect(toy_course, exchange)
    assert collected_files(toy_course, ME) == ["timestamp.txt"]


def test_an_entry_that_is_itself_a_link_is_skipped(toy_course, exchange):
    add_entry(exchange, ME)
    link = exchange / COURSE_ID / "inbound" / f"zoe+toy+{LATE}+x"
    link.symlink_to(toy_course / "graders")
    collector = collect(toy_course, exchange, check_owner=False)
    assert collector.skipped == 1
    assert collected_files(toy_course, ME)
    assert not (toy_course / "submitted" / "zoe").exists()


def test_an_entry_in_another_users_name_is_skipped(toy_course, exchange):
    add_entry(exchange, "daemon")
    add_entry(exchange, ME)
    collector = collect(toy_course, exchange)
    assert collector.skipped == 1
    assert collected_files(toy_course, ME)
    assert not (toy_course / "submitted" / "daemon").exists()


@pytest.mark.parametrize("student", ["..", ".hidden", "a*", "nobody\n", "\u202ea", "a" * 129, ""])
def test_an_entry_whose_student_id_nbgrader_could_not_use_is_skipped(toy_course, exchange, student):
    (exchange / COURSE_ID / "inbound" / f"{student}+toy+{EARLY}+x").mkdir()
    add_entry(exchange, ME)
    collector = collect(toy_course, exchange, check_owner=False)
    assert collector.skipped == 1
    assert [path.name for path in (toy_course / "submitted").iterdir()] == [ME]


@pytest.mark.parametrize(
    "name", ["ada+toy+yesterday+x", "ada+toy+x", "ada+toy+9999999999999-01-01+x"]
)
def test_a_malformed_entry_is_skipped_and_the_rest_collected(toy_course, exchange, name):
    (exchange / COURSE_ID / "inbound" / name).mkdir()
    add_entry(exchange, ME)
    collector = collect(toy_course, exchange, check_owner=False)
    assert collector.skipped == 1
    assert collected_files(toy_course, ME) == ["timestamp.txt", "toy.ipynb"]


def test_the_number_the_size_and_the_depth_of_files_are_limited(toy_course, exchange):
    folder = add_entry(exchange, ME)
    for number in range(30):
        (folder / f"z{number:02}.txt").write_text("x")
    (folder / "big.bin").write_bytes(b"x" * 5000)
    deep = folder
    for _ in range(12):
        deep /= "d"
        deep.mkdir()
    (deep / "deep.txt").write_text("x")
    collect(toy_course, exchange, max_files=10, max_file_bytes=4000)
    files = collected_files(toy_course, ME)
    assert len(files) == 10
    assert "big.bin" not in files
    assert not any("deep.txt" in file for file in files)


def test_files_that_the_course_ignores_leave_room_for_the_others(toy_course, exchange):
    cache = add_entry(exchange, ME) / "__pycache__"
    cache.mkdir()
    for number in range(30):
        (cache / f"{number}.pyc").write_text("x")
    collect(toy_course, exchange, max_files=10)
    assert collected_files(toy_course, ME) == ["timestamp.txt", "toy.ipynb"]


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "x" * 250 + ".csv"])
def test_a_file_with_the_longest_possible_name_is_collected(toy_course, exchange, name):
    (add_entry(exchange, ME) / name).write_text("x")
    collector = collect(toy_course, exchange)
    assert collector.skipped == 0
    assert collected_files(toy_course, ME) == sorted(["timestamp.txt", "toy.ipynb", name])


NOTES: dict[str, dict[str, bytes]] = {
    "in-order": {"submission_secret.txt": b"ada-secret"},
    "no-secret": {},
    "no-notes": {"timestamp.txt": b""},
    "empty-secret": {"submission_secret.txt": b""},
    "binary-secret": {"submission_secret.txt": b"\xff\x00\xfe"},
    "long-notes": {"timestamp.txt": b"2" * 2000, "submission_secret.txt": b"x" * 2000},
    "odd-time": {"timestamp.txt": b"yesterday \xff", "submission_secret.txt": b"odd-secret"},
}


def test_no_students_time_or_secret_keeps_feedback_from_the_class(connected, exchange):
    for student, notes in NOTES.items():
        folder = submit_toy(connected, student, RIGHT)
        for name, data in notes.items():
            (folder / name).write_bytes(data)
    (connected / "submitted" / "no-notes" / "toy" / "timestamp.txt").unlink()
    for command in ("nbmark grade", "nbgrader generate_feedback", "nbgrader release_feedback"):
        completed = run(connected, *command.split(), "toy")
        assert completed.returncode == 0, completed.stderr
    pages = list((exchange / COURSE_ID / "feedback").glob("*.html"))
    assert len(pages) == len(NOTES)
    # The name under which the student's own `nbgrader fetch_feedback` looks.
    secret = NOTES["in-order"]["submission_secret.txt"].decode()
    named = notebook_hash(secret=secret, notebook_id="toy")
    assert f"{named}.html" in {page.name for page in pages}


def test_another_users_files_in_an_entry_are_left_out(toy_course, exchange):
    file = add_entry(exchange, ME) / "other.txt"
    file.write_text("x")
    if os.geteuid() == 0:
        os.chown(file, 12345, 12345)
        collect(toy_course, exchange)
        assert "other.txt" not in collected_files(toy_course, ME)
    else:
        # Only root can give a file away, so this file has the same owner as its entry.
        collect(toy_course, exchange)
        assert "other.txt" in collected_files(toy_course, ME)


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # in nbgrader's add_submission
def test_exported_grades_are_quoted_without_formulas_or_invented_zeros(toy_course, tmp_path):
    from nbgrader.api import Gradebook

    for student in ("@cmd", "ada"):
        submit_toy(toy_course, student, RIGHT)
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


def test_a_submission_without_a_grade_is_exported_as_not_graded(toy_course):
    from nbgrader.api import Gradebook

    for student in ("ada", "cleo", "dan"):
        submit_toy(toy_course, student, RIGHT)
    completed = run(toy_course, "nbmark", "grade", "toy", "--student", "ada")
    assert completed.returncode == 0, completed.stderr
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


def test_formgraders_button_grades_inside_a_running_event_loop(toy_course):
    submit_toy(toy_course, "ada", RIGHT)
    script = """
import asyncio, sys
from traitlets.config.loader import PyFileConfigLoader
from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from nbgrader.utils import notebook_hash
config = PyFileConfigLoader("nbgrader_config.py", path=".").load_config()
async def press():
    api = NbGraderAPI(CourseDirectory(config=config), config=config)
    result = api.autograde("toy", "ada", force=False)
    print(result["success"], api.get_submission("toy", "ada")["score"])
asyncio.run(press())
"""
    completed = subprocess.run(
        [sys.executable, "-c", script], cwd=toy_course, capture_output=True, text=True, check=False
    )
    assert completed.stdout.strip().endswith("True 3.0"), completed.stdout + completed.stderr
    graded = evidence.load(Course(toy_course), "toy", "ada")
    assert graded is not None
    assert graded.sandbox == "bubblewrap, forked"
