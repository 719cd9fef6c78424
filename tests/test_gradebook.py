"""What is told as graded is in nbgrader's gradebook, and nothing else has moved there."""

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
from helpers import HALF, RIGHT, dump, hand_in_toy
from nbmark.course.course import Course
from nbmark.errors import InfrastructureError
from nbmark.gradebook.gradebook import CourseGradebook, load_config
from nbmark.models import CellScore, Graded
from nbmark.notebooks import read_notebook, write_notebook
from nbmark.records import evidence

WHEN = datetime.datetime(2026, 11, 2, 10)
WRONG = """title = "b is six"\n[cells]\nb-answer = "b = 6"\n
[[loses]]\ncheck = "test_b"\npoints = 5\nsays = ""\n"""


@pytest.fixture(scope="module")
def graded_template(toy_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    course = Path(shutil.copytree(toy_template, tmp_path_factory.mktemp("graded") / "course"))
    hand_in_toy(course, "ada", RIGHT)
    hand_in_toy(course, "ben", HALF)
    assert run(course, "nbmark", "grade", "toy").returncode == 0
    return course


@pytest.fixture
def graded(graded_template: Path, tmp_path: Path) -> Path:
    """A right and a half right submission, both on record."""
    return Path(shutil.copytree(graded_template, tmp_path / "course"))


@contextmanager
def gradebook(course: Path) -> Iterator[Any]:
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course}/gradebook.db") as found:
        yield found
        found.db.commit()


def registrar(course: Path) -> CourseGradebook:
    return CourseGradebook.of_course(load_config(course))


def on_record(course: Path, student: str) -> Graded:
    found = evidence.load(Course(course), "toy", student)
    assert found is not None
    return found


def record_again(course: Path, new: CellScore, before: CellScore) -> list[Any]:
    """Ben's row of the cell 'a' after a new judgement."""
    registrar(course).record_again(on_record(course, "ben"), {"a": new}, {"a": before})
    return dump(course, "toy")[1]["notebooks"]["toy"]["grades"]["a"]


def score(earned: float, *, needs_look: bool = False) -> CellScore:
    return CellScore(earned, 3, needs_look)


def add_notebook(course: Path) -> None:
    """The assignment gains a second notebook with one grade cell, `b`, of five points."""
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
    (graders / "wrong" / "six.toml").write_text(WRONG)
    refused = run(course, "nbmark", "grade", "toy")
    assert refused.returncode == 1
    remedy = re.search("run 'nbgrader (.*)'$", refused.stderr.strip())[1]
    done = run(course, "nbgrader", *remedy.split())
    assert done.returncode == 0, done.stderr


def hand_in_extra(course: Path, student: str) -> None:
    cells = read_notebook((course / "release" / "toy" / "extra.ipynb").read_bytes())
    cells = [replace(one, source="b = 5") if one.grade_id == "b-answer" else one for one in cells]
    path = course / "submitted" / student / "toy" / "extra.ipynb"
    path.write_bytes(write_notebook(cells, {}, {}))


def test_a_notebook_that_was_added_after_a_grading_is_stored_as_if_it_had_been_there(graded):
    add_notebook(graded)
    for student in ("ada", "ben", "cleo"):
        hand_in_toy(graded, student, RIGHT)
        hand_in_extra(graded, student)
    done = run(graded, "nbmark", "grade", "toy", "--json")
    assert done.returncode == 0, done.stderr
    assert [one["points"] for one in json.loads(done.stdout)["students"]] == [8, 8, 8]
    ada, ben, cleo = dump(graded, "toy")
    assert cleo["score"] == 8
    assert cleo["notebooks"]["extra"]["grades"] == {"b": [5.0, None, None, False]}
    for row in (ada, ben):
        assert {**row, "student": "cleo"} == cleo


def test_a_score_without_a_row_is_refused_in_one_line_and_nothing_is_stored(graded):
    before = dump(graded, "toy")
    scores = {"a": score(0), "z": score(1)}
    ben = on_record(graded, "ben")
    with pytest.raises(
        InfrastructureError, match=r"of 'ben': it has no grade cell 'z' in 'toy'; run .*$"
    ):
        registrar(graded).record(ben, scores, WHEN)
    with pytest.raises(InfrastructureError, match="no grade cell 'z'"):
        registrar(graded).record_again(ben, scores, {})
    assert dump(graded, "toy") == before


def test_a_refusal_of_the_database_is_told_in_one_line(graded):
    with gradebook(graded) as found:
        found.db.connection().exec_driver_sql(
            "CREATE TRIGGER t BEFORE UPDATE ON grade BEGIN SELECT RAISE(ABORT, 'no more'); END"
        )
    with pytest.raises(InfrastructureError) as caught:
        registrar(graded).record(on_record(graded, "ben"), {"a": score(0)}, WHEN)
    assert str(caught.value).endswith("the scores of 'ben': (sqlite3.IntegrityError) no more")


def test_a_person_who_has_looked_is_not_asked_again_where_nothing_changed(graded):
    with gradebook(graded) as found:
        for cell, points in (("a", 2.5), ("w", 1)):
            row = found.find_grade(cell, "toy", "toy", "ben")
            row.manual_score, row.needs_manual_grade = points, False
    before = dump(graded, "toy")
    assert record_again(graded, score(2), score(2)) == [2.0, 2.5, None, False]
    assert record_again(graded, score(2, needs_look=True), score(2, needs_look=True))[-1] is False
    assert dump(graded, "toy") == before


def test_a_person_is_asked_again_where_the_points_beside_theirs_changed(graded):
    with gradebook(graded) as found:
        row = found.find_grade("a", "toy", "toy", "ben")
        row.manual_score, row.needs_manual_grade = 2.5, False
    assert record_again(graded, score(3), score(2)) == [3.0, 2.5, None, True]


def test_a_check_that_breaks_asks_for_a_person_and_one_that_is_mended_does_not(graded):
    broken = score(2, needs_look=True)
    assert record_again(graded, broken, score(2)) == [2.0, None, None, True]
    assert record_again(graded, score(2), broken) == [2.0, None, None, False]
    assert record_again(graded, score(1, needs_look=True), score(2))[-1] is True
    assert record_again(graded, score(3), score(1, needs_look=True)) == [3.0, None, None, False]


def test_a_submission_that_is_not_there_is_not_made_by_a_new_judgement(graded):
    ben = on_record(graded, "ben")
    with gradebook(graded) as found:
        found.remove_student("ben")
    with pytest.raises(InfrastructureError, match="refused the scores of 'ben'"):
        registrar(graded).record_again(ben, {"a": score(3)}, {})
    assert [one["student"] for one in dump(graded, "toy")] == ["ada"]


MANY_ROWS = (
    "CREATE TEMP TABLE one AS SELECT * FROM grade WHERE notebook_id = "
    "(SELECT min(notebook_id) FROM grade)",
    *(
        "UPDATE one SET id = id || 'x', notebook_id = notebook_id || 'x'",
        "INSERT INTO grade SELECT * FROM one",
    )
    * 500,
    "DROP TABLE one",
)
PLAN = "EXPLAIN QUERY PLAN SELECT * FROM grade WHERE notebook_id = 'x'"


def test_a_submissions_rows_are_looked_up_however_many_others_there_are(graded):
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
