"""Students' ids of every kind are graded, and everybody who handed in stands in ``grades.csv``."""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config

from conftest import COURSE_ID, run
from helpers import HALF, RIGHT, STAMP, submit_toy
from nbmark.course.folders import Folders
from nbmark.intake.collect import SafeCollect
from nbmark.untrusted.names import printable_name, unfit_as_id

REFUSE = """CREATE TRIGGER refuse BEFORE INSERT ON submitted_assignment
BEGIN SELECT RAISE(ABORT, 'closed for today'); END"""
IDS = [
    "Ada Lovelace",
    "o'neil",
    'x"y',
    "李小明",
    "عادل",
    "😀",
    "UNI\\ada",
    "Lovelace, Ada",
    "a+b",
    "a;b&c<i>",
    "$HOME",
    "%41",
    "{a}",
    "#1",
    "=1+1",
    "-x",
    "a.",
    "n" * 128,
]
REFUSED = [
    ".hidden",
    " ada",
    "ada ",
    "ad\na",
    "\x1b[2J",
    "\u202eada",
    "a\u200db",
    "a\u00a0b",
    "\udcff",
    "s*",
    "a?",
    "a[1]",
    "n" * 129,
]


@pytest.fixture
def course(toy_course: Path, exchange: Path) -> Path:
    """Return a course whose students are known by other names than the machine's users."""
    config = toy_course / "nbgrader_config.py"
    settings = f"\nc.Exchange.root = {str(exchange)!r}\nc.SafeCollect.check_owner = False\n"
    config.write_text(config.read_text() + settings)
    return toy_course


def nbgrader(folder: Path, *arguments: str) -> str:
    completed = run(folder, "nbgrader", *arguments)
    assert completed.returncode == 0, (arguments, completed.stderr)
    return completed.stderr


def grades_csv(course: Path) -> dict[str, dict[str, str]]:
    """Export the grades; return the rows by student id."""
    nbgrader(course, "export", "--to=grades.csv")
    rows = csv.DictReader((course / "grades.csv").read_text().splitlines())
    return {row["student_id"]: row for row in rows}


def test_ids_of_every_kind_go_from_the_exchange_to_feedback_and_grades(course, exchange):
    for number, student in enumerate(IDS):
        folder = submit_toy(course, student, RIGHT)
        (folder / "submission_secret.txt").write_text(f"secret {number}")
        entry = exchange / COURSE_ID / "inbound" / f"{student}+toy+{STAMP}+x"
        shutil.copytree(folder, entry)
    shutil.rmtree(course / "submitted")
    assert f"{len(IDS)} submissions of 'toy' collected" in nbgrader(course, "collect", "toy")
    graded = run(course, "nbmark", "grade", "toy", "--json")
    assert graded.returncode == 0, graded.stderr
    rows = json.loads(graded.stdout)["students"]
    assert {row["student"]: row["points"] for row in rows} == dict.fromkeys(IDS, 3.0)
    assert run(course, "nbmark", "regrade", "toy").returncode == 0
    nbgrader(course, "generate_feedback", "toy")
    nbgrader(course, "release_feedback", "toy")
    for student in IDS:
        assert "a is right" in (course / "feedback" / student / "toy" / "toy.html").read_text()
    assert len(list((exchange / COURSE_ID / "feedback").rglob("*.html"))) == len(IDS)
    exported = grades_csv(course)
    assert exported.keys() == set(IDS) - {"=1+1", "-x"} | {"'=1+1", "'-x"}
    assert {row["score"] for row in exported.values()} == {"3.0"}


def test_a_student_with_an_unusual_id_is_submitted_and_graded_by_name(course, exchange):
    student = "-Ada O'Neil\\李小明"
    nbgrader(course, "release_assignment", "toy")
    own = exchange.parent / "student"
    shutil.move(submit_toy(course, "draft", RIGHT), own / "toy")
    shutil.rmtree(course / "submitted")
    settings = f"c.CourseDirectory.course_id = {COURSE_ID!r}\nc.Exchange.root = {str(exchange)!r}\n"
    (own / "nbgrader_config.py").write_text(f"c = get_config()\n{settings}")
    nbgrader(own, "submit", "toy", f"--student={student}")
    nbgrader(course, "collect", "toy", f"--student={student}")
    graded = run(course, "nbmark", "grade", "toy", "--student", student)
    assert graded.returncode == 0, graded.stderr
    assert f"{student}: 3 points" in graded.stderr
    nbgrader(course, "autograde", "toy", f"--student={student}", "--force")
    nbgrader(course, "generate_feedback", "toy", f"--student={student}")
    assert (course / "feedback" / student / "toy" / "toy.html").exists()


def test_a_notebook_sees_the_id_as_it_is(toy_course):
    submit_toy(toy_course, "李小明", f"{RIGHT}\nimport os\nprint(os.environ['JUPYTERHUB_USER'])")
    assert run(toy_course, "nbmark", "grade", "toy").returncode == 0
    notebook = toy_course / "autograded" / "李小明" / "toy" / "toy.ipynb"
    texts = [
        output.get("text", "")
        for cell in json.loads(notebook.read_text())["cells"]
        for output in cell.get("outputs", ())
    ]
    assert "李小明\n" in map("".join, texts)


def test_ids_that_differ_in_case_or_normalisation_only_are_two_students(toy_course):
    answers = {"ada": RIGHT, "ADA": HALF, "\u00e9": RIGHT, "e\u0301": HALF, "\u0430da": HALF}
    for student, answer in answers.items():
        submit_toy(toy_course, student, answer)
    assert run(toy_course, "nbmark", "grade", "toy").returncode == 0
    again = run(toy_course, "nbmark", "grade", "toy")
    assert "0 submissions to grade, 5 up to date" in again.stderr
    # In the table their ids look different too.
    assert "\\xe9 " in again.stdout
    assert "e\\u0301 " in again.stdout
    assert {student: row["score"] for student, row in grades_csv(toy_course).items()} == {
        student: "3.0" if answer == RIGHT else "2.0" for student, answer in answers.items()
    }


@pytest.mark.parametrize("name", IDS)
def test_an_id_is_shown_as_it_is(name):
    assert not unfit_as_id(name)
    assert printable_name(name) == name


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_name_gets_a_reason(name):
    assert unfit_as_id(name)
    assert printable_name(name).isprintable()


def test_a_refused_folder_stands_in_the_table_and_in_the_csv_with_a_reason(toy_course):
    submit_toy(toy_course, "ada", RIGHT)
    for student in REFUSED:
        submit_toy(toy_course, student, RIGHT)
    graded = run(toy_course, "nbmark", "grade", "toy")
    assert graded.returncode == 1
    exported = grades_csv(toy_course)
    assert exported.pop("ada")["reason"] == ""
    assert exported.keys() == set(map(printable_name, REFUSED))
    for student in REFUSED:
        row = exported[printable_name(student)]
        assert (row["score"], row["status"]) == ("", "not graded")
        assert unfit_as_id(student) in row["reason"]
        assert any(
            line.startswith(printable_name(student)) and unfit_as_id(student) in line
            for line in graded.stdout.splitlines()
        )
    assert not list((toy_course / "evidence" / "toy").glob("*[*?\n]*"))


def test_a_refused_formula_stays_text_in_a_spreadsheet(toy_course):
    submit_toy(toy_course, "=1+1\n", RIGHT)
    assert "'=1+1\\u000a" in grades_csv(toy_course)


def test_the_csv_says_why_somebody_who_handed_in_has_no_points(toy_course):
    (submit_toy(toy_course, "ada", RIGHT) / "toy.ipynb").write_text("{")
    assert run(toy_course, "nbmark", "grade", "toy").returncode == 0
    submit_toy(toy_course, "Ben B", RIGHT)
    submit_toy(toy_course, "cleo", RIGHT)
    with sqlite3.connect(toy_course / "gradebook.db") as database:
        database.execute(REFUSE)
    assert run(toy_course, "nbmark", "grade", "toy", "--student", "cleo").returncode == 1
    with sqlite3.connect(toy_course / "gradebook.db") as database:
        database.execute("DROP TRIGGER refuse")
    rows = grades_csv(toy_course)
    assert rows["cleo"]["status"] == "not graded"
    assert rows["cleo"]["reason"].startswith("the last try to grade it failed: ")
    assert "closed for today" in rows["cleo"]["reason"]
    assert rows["ada"]["status"] == "needs manual grading"
    assert rows["ada"]["reason"].startswith("toy.ipynb: This file is not a notebook")
    assert rows["Ben B"]["status"] == "not graded"
    assert rows["Ben B"]["reason"] == "not graded yet; run: nbmark grade toy --student 'Ben B'"
    assert run(toy_course, "nbmark", "grade", "toy").returncode == 0
    rows = grades_csv(toy_course)
    assert rows["Ben B"]["reason"] == rows["cleo"]["reason"] == ""


def test_autograde_reports_a_refused_folder_even_if_it_excludes_a_student(toy_course):
    for student in ("ada", "ben", "a[1]"):
        submit_toy(toy_course, student, RIGHT)
    completed = run(
        toy_course, "nbgrader", "autograde", "toy", "--CourseDirectory.student_id_exclude=ben"
    )
    assert completed.returncode == 1
    assert "a[1] was not graded" in completed.stderr
    assert "ada: 3 points" in completed.stderr
    assert "ben" not in completed.stderr


def test_rests_of_replaced_folders_and_checkpoints_are_nobodys_submission(tmp_path):
    for name in ("ada", ".ada.new", ".ada.old", ".ipynb_checkpoints", ".hidden"):
        (tmp_path / "submitted" / "toy" / name).mkdir(parents=True)
    structure = "{nbgrader_step}/{assignment_id}/{student_id}"
    coursedir = CourseDirectory(root=str(tmp_path), directory_structure=structure)
    assert Folders(coursedir).students("toy") == [".hidden", "ada"]


def test_a_course_below_a_folder_with_brackets_has_students(tmp_path):
    course = tmp_path / "spring [2027]"
    (course / "submitted" / "ada" / "toy").mkdir(parents=True)
    assert Folders(CourseDirectory(root=str(course))).students("toy") == ["ada"]


def test_a_file_with_the_longest_possible_name_is_collected(course, exchange):
    entry = exchange / COURSE_ID / "inbound" / f"ada+toy+{STAMP}+x"
    entry.mkdir()
    (entry / ("n" * 255)).write_text("x")
    config = Config()
    config.Exchange.root = str(exchange)
    SafeCollect(
        coursedir=CourseDirectory(root=str(course), course_id=COURSE_ID, assignment_id="toy"),
        config=config,
        check_owner=False,
    ).start()
    assert (course / "submitted" / "ada" / "toy" / ("n" * 255)).read_text() == "x"
