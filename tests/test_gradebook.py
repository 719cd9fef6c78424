"""Grading writes exactly its scores into nbgrader's gradebook, and changes nothing else there."""

from __future__ import annotations

import datetime
import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import run
from helpers import HALF, RIGHT, dump_gradebook, submit_toy
from nbmark.course.course import Course
from nbmark.course.folders import load_config
from nbmark.errors import InfrastructureError
from nbmark.gradebook.gradebook import CourseGradebook
from nbmark.gradebook.rows import Earlier
from nbmark.models import CellScore, Graded
from nbmark.notebooks import read_notebook, write_notebook
from nbmark.records import evidence

SUBMITTED_AT = datetime.datetime(2026, 11, 2, 10)
KNOWN_WRONG_ANSWER = """title = "b is six"\n[cells]\nb-answer = "b = 6"\n
[[loses]]\ncheck = "test_b"\npoints = 5\nsays = ""\n"""


@pytest.fixture(scope="module")
def graded_template(toy_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    course = Path(shutil.copytree(toy_template, tmp_path_factory.mktemp("graded") / "course"))
    submit_toy(course, "ada", RIGHT)
    submit_toy(course, "ben", HALF)
    assert run(course, "nbmark", "grade", "toy").returncode == 0
    return course


@pytest.fixture
def graded(graded_template: Path, tmp_path: Path) -> Path:
    """Return a course with Ada's right and Ben's half right submission, both graded."""
    return Path(shutil.copytree(graded_template, tmp_path / "course"))


@contextmanager
def edited_gradebook(course: Path) -> Iterator[Any]:
    """Yield nbgrader's own gradebook, and save the changes at the end of the block."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        yield gradebook
        gradebook.db.commit()


def course_gradebook(course: Path) -> CourseGradebook:
    return CourseGradebook.of_course(load_config(course))


def graded_submission(course: Path, student: str) -> Graded:
    return evidence.load(Course(course), "toy", student)


def record_again(course: Path, new: CellScore, before: CellScore) -> list[Any]:
    """Record a new score of Ben's cell 'a', and return its row in the gradebook."""
    ben = graded_submission(course, "ben")
    course_gradebook(course).record_again(ben, {"a": new}, Earlier(ben, {"a": before}))
    return dump_gradebook(course, "toy")[1]["notebooks"]["toy"]["grades"]["a"]


def score(earned: float, *, needs_look: bool = False) -> CellScore:
    return CellScore(earned, 3, needs_look)


def add_notebook(course: Path) -> None:
    """Add a second notebook to the assignment, with one grade cell, `b`, of five points."""
    source = course / "source" / "toy"
    notebook = json.loads((source / "toy.ipynb").read_text())
    _, answer, test, _ = notebook["cells"]
    answer["source"] = "### BEGIN SOLUTION\nb = 5\n### END SOLUTION"
    answer["metadata"]["nbgrader"]["grade_id"] = "b-answer"
    test["source"] = "assert True"
    test["metadata"]["nbgrader"] |= {"grade_id": "b", "points": 5}
    (source / "extra.ipynb").write_text(json.dumps({**notebook, "cells": [answer, test]}))
    graders = course / "graders" / "toy"
    with (graders / "test_toy.py").open("a") as checks:
        checks.write(
            '\n\n@check("b", points=5, title="b is five")\ndef test_b(student):\n'
            '    assert student.number("b") == approx(5)\n'
        )
    (graders / "wrong" / "six.toml").write_text(KNOWN_WRONG_ANSWER)
    refused = run(course, "nbmark", "grade", "toy")
    assert refused.returncode == 1
    remedy = re.search("run 'nbgrader (.*)'$", refused.stderr.strip())[1]
    completed = run(course, "nbgrader", *remedy.split())
    assert completed.returncode == 0, completed.stderr


def submit_extra(course: Path, student: str) -> None:
    """Put the second notebook, with the right answer, beside the student's first."""
    cells = read_notebook((course / "release" / "toy" / "extra.ipynb").read_bytes())
    cells = [
        replace(cell, source="b = 5") if cell.grade_id == "b-answer" else cell for cell in cells
    ]
    path = course / "submitted" / student / "toy" / "extra.ipynb"
    path.write_bytes(write_notebook(cells, {}, {}))


def test_a_notebook_added_after_a_grading_is_stored_as_if_always_there(graded):
    add_notebook(graded)
    for student in ("ada", "ben", "cleo"):
        submit_toy(graded, student, RIGHT)
        submit_extra(graded, student)
    completed = run(graded, "nbmark", "grade", "toy", "--json")
    assert completed.returncode == 0, completed.stderr
    assert [row["points"] for row in json.loads(completed.stdout)["students"]] == [8, 8, 8]
    ada, ben, cleo = dump_gradebook(graded, "toy")
    assert cleo["score"] == 8
    assert cleo["notebooks"]["extra"]["grades"] == {"b": [5.0, None, None, False]}
    for row in (ada, ben):
        assert {**row, "student": "cleo"} == cleo


def test_a_notebook_added_later_does_not_count_for_an_earlier_submission(graded):
    add_notebook(graded)
    completed = run(graded, "nbmark", "grade", "toy", "--json")
    assert completed.returncode == 0, completed.stderr
    ada, ben = json.loads(completed.stdout)["students"]
    assert (ada["outcome"], ada["points"], ben["points"]) == ("graded", 3, 2)
    assert (ada["unreadable"], list(ada["cells"])) == ({}, ["a"])
    row = dump_gradebook(graded, "toy")[0]["notebooks"]
    assert row["extra"]["grades"] == {}
    assert row["toy"]["grades"]["a"] == [3.0, None, None, False]
    page = (graded / "autograded" / "ada" / "toy" / "extra.ipynb").read_text()
    assert "This task was added after you handed in" in page
    assert run(graded, "nbgrader", "generate_feedback", "toy").returncode == 0
    (graded / "source" / "toy" / "extra.ipynb").unlink()
    checks = graded / "graders" / "toy" / "test_toy.py"
    checks.write_text(checks.read_text().split('\n\n@check("b"')[0] + "\n")
    (graded / "graders" / "toy" / "wrong" / "six.toml").unlink()
    remove = run(graded, "nbgrader", "generate_assignment", "toy", "--force", "--no-db")
    assert remove.returncode == 0, remove.stderr
    completed = run(graded, "nbmark", "grade", "toy", "--force")
    assert completed.returncode == 0, completed.stderr
    assert list(dump_gradebook(graded, "toy")[0]["notebooks"]) == ["toy"]


def test_a_score_without_a_row_is_refused_in_one_line_and_nothing_is_stored(graded):
    before = dump_gradebook(graded, "toy")
    scores = {"a": score(0), "z": score(1)}
    ben = graded_submission(graded, "ben")
    with pytest.raises(
        InfrastructureError, match=r"of 'ben': it has no grade cell 'z' in 'toy'; run .*$"
    ):
        course_gradebook(graded).record(ben, scores, SUBMITTED_AT)
    with pytest.raises(InfrastructureError, match="no grade cell 'z'"):
        course_gradebook(graded).record_again(ben, scores, Earlier(ben, {}))
    assert dump_gradebook(graded, "toy") == before


def test_a_refusal_of_the_database_is_reported_in_one_line(graded):
    with edited_gradebook(graded) as gradebook:
        gradebook.db.connection().exec_driver_sql(
            "CREATE TRIGGER t BEFORE UPDATE ON grade BEGIN SELECT RAISE(ABORT, 'no more'); END"
        )
    ben = graded_submission(graded, "ben")
    with pytest.raises(InfrastructureError) as caught:
        course_gradebook(graded).record(ben, {"a": score(0)}, SUBMITTED_AT)
    assert str(caught.value).endswith("the scores of 'ben': (sqlite3.IntegrityError) no more")


def test_a_cell_graded_by_hand_needs_no_second_look_if_its_score_did_not_change(graded):
    with edited_gradebook(graded) as gradebook:
        for cell, points in (("a", 2.5), ("w", 1)):
            row = gradebook.find_grade(cell, "toy", "toy", "ben")
            row.manual_score, row.needs_manual_grade = points, False
    before = dump_gradebook(graded, "toy")
    assert record_again(graded, score(2), score(2)) == [2.0, 2.5, None, False]
    assert record_again(graded, score(2, needs_look=True), score(2, needs_look=True))[-1] is False
    assert dump_gradebook(graded, "toy") == before


def test_a_cell_graded_by_hand_needs_a_second_look_if_its_score_changed(graded):
    with edited_gradebook(graded) as gradebook:
        row = gradebook.find_grade("a", "toy", "toy", "ben")
        row.manual_score, row.needs_manual_grade = 2.5, False
    assert record_again(graded, score(3), score(2)) == [3.0, 2.5, None, True]


def test_a_broken_check_needs_manual_grading_and_a_fixed_one_does_not(graded):
    broken = score(2, needs_look=True)
    assert record_again(graded, broken, score(2)) == [2.0, None, None, True]
    assert record_again(graded, score(2), broken) == [2.0, None, None, False]
    assert record_again(graded, score(1, needs_look=True), score(2))[-1] is True
    assert record_again(graded, score(3), score(1, needs_look=True)) == [3.0, None, None, False]


def test_regrading_does_not_create_a_submission_that_the_gradebook_lacks(graded):
    ben = graded_submission(graded, "ben")
    with edited_gradebook(graded) as gradebook:
        gradebook.remove_student("ben")
    with pytest.raises(InfrastructureError, match="refused the scores of 'ben'"):
        course_gradebook(graded).record_again(ben, {"a": score(3)}, Earlier(ben, {}))
    assert [row["student"] for row in dump_gradebook(graded, "toy")] == ["ada"]


# Copy the rows of one submission 500 times, each time under a new id.
MANY_ROWS = (
    "CREATE TEMP TABLE copied AS SELECT * FROM grade WHERE notebook_id = "
    "(SELECT min(notebook_id) FROM grade)",
    *(
        "UPDATE copied SET id = id || 'x', notebook_id = notebook_id || 'x'",
        "INSERT INTO grade SELECT * FROM copied",
    )
    * 500,
    "DROP TABLE copied",
)
PLAN = "EXPLAIN QUERY PLAN SELECT * FROM grade WHERE notebook_id = 'x'"


def test_grading_makes_sqlite_look_up_a_submissions_rows_by_index(graded):
    with closing(sqlite3.connect(graded / "gradebook.db")) as database:
        for table in ("grade", "comment"):
            for statement in MANY_ROWS:
                database.execute(statement.replace("grade", table))
        database.commit()
        assert "SCAN grade" in str(database.execute(PLAN).fetchall())
    assert run(graded, "nbmark", "grade", "toy", "--force").returncode == 0
    with closing(sqlite3.connect(graded / "gradebook.db")) as database:
        for table in ("grade", "comment"):
            plan = database.execute(PLAN.replace("grade", table)).fetchall()
            assert f"SEARCH {table} USING INDEX" in str(plan)
