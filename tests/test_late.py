"""A late penalty follows the due date, the extension and the score, without running a notebook."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from conftest import run
from helpers import HALF, RIGHT, dump_gradebook, submit_toy
from nbmark.course.folders import load_config
from nbmark.gradebook.gradebook import CourseGradebook

PLUGIN = """
import nbgrader.plugins

class HalfOfTheScore(nbgrader.plugins.LateSubmissionPlugin):
    def late_submission_penalty(self, student_id, score, total_seconds_late):
        return score / 2

c.AssignLatePenalties.plugin_class = HalfOfTheScore
"""
BROKEN = PLUGIN.replace("score / 2", "score / 0")


@pytest.fixture(scope="module")
def graded_template(toy_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a course with Ada's right and Ben's half right submission, without a due date."""
    course = Path(shutil.copytree(toy_template, tmp_path_factory.mktemp("late") / "course"))
    with (course / "nbgrader_config.py").open("a") as config:
        config.write(PLUGIN)
    submit_toy(course, "ada", RIGHT)
    submit_toy(course, "ben", HALF)
    assert run(course, "nbmark", "grade", "toy").returncode == 0
    return course


@pytest.fixture
def graded(graded_template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(graded_template, tmp_path / "course"))


def set_due_date(course: Path, duedate: str) -> None:
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        gradebook.update_or_create_assignment("toy", duedate=duedate)


def grade(course: Path, *options: str) -> dict[str, dict[str, Any]]:
    """Run ``nbmark grade``, which must succeed; return its rows by student."""
    completed = run(course, "nbmark", "grade", "toy", "--json", *options)
    assert completed.returncode == 0, completed.stderr
    return {row["student"]: row for row in json.loads(completed.stdout)["students"]}


def penalties(course: Path) -> dict[str, float | None]:
    return {
        row["student"]: row["notebooks"]["toy"]["late_penalty"]
        for row in dump_gradebook(course, "toy")
    }


LATE, IN_TIME = "2026-11-01 10:00:00 UTC", "2026-11-03 10:00:00 UTC"


def test_a_moved_due_date_changes_penalties_without_running_a_notebook(graded):
    set_due_date(graded, LATE)
    rows = grade(graded)
    assert {row["outcome"] for row in rows.values()} == {"up to date"}
    assert rows["ada"]["notes"] == ["late penalty none, now 1.5 points"]
    assert penalties(graded) == {"ada": 1.5, "ben": 1}
    assert grade(graded)["ada"]["notes"] == []
    completed = run(graded, "nbgrader", "autograde", "toy", "--force")
    assert completed.returncode == 0, completed.stderr
    assert penalties(graded) == {"ada": 1.5, "ben": 1}
    set_due_date(graded, IN_TIME)
    assert "late penalty 1.5 points, now none" in run(graded, "nbmark", "grade", "toy").stdout
    assert penalties(graded) == {"ada": None, "ben": None}


def test_an_extension_takes_the_penalty_of_one_student_away(graded):
    from nbgrader.api import Gradebook

    set_due_date(graded, LATE)
    grade(graded)
    with Gradebook(f"sqlite:///{graded}/gradebook.db") as gradebook:
        gradebook.grant_extension("toy", "ada", days=2)
    rows = grade(graded)
    assert (rows["ada"]["notes"], rows["ben"]["notes"]) == (
        ["late penalty 1.5 points, now none"],
        [],
    )
    assert penalties(graded) == {"ada": None, "ben": 1}
    assert penalties(graded) == {"ada": None, "ben": 1}


def test_an_extension_without_a_due_date_has_no_effect(graded):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{graded}/gradebook.db") as gradebook:
        gradebook.grant_extension("toy", "ada", days=2)
    assert grade(graded)["ada"]["notes"] == []


def test_marks_by_hand_count_for_the_penalty(graded):
    from nbgrader.api import Gradebook

    set_due_date(graded, LATE)
    grade(graded)
    with Gradebook(f"sqlite:///{graded}/gradebook.db") as gradebook:
        gradebook.find_grade("w", "toy", "toy", "ada").manual_score = 2
        gradebook.db.commit()
    assert grade(graded)["ada"]["notes"] == ["late penalty 1.5 points, now 2.5 points"]
    assert grade(graded, "--force")["ada"]["notes"] == []
    assert penalties(graded)["ada"] == 2.5


def test_regrading_computes_penalties_again_only_when_it_writes(graded):
    set_due_date(graded, LATE)
    assert run(graded, "nbmark", "regrade", "toy").returncode == 0
    assert penalties(graded)["ada"] is None
    completed = run(graded, "nbmark", "regrade", "toy", "--apply")
    assert completed.returncode == 0, completed.stderr
    assert "late penalty none, now 1.5 points" in completed.stdout
    assert penalties(graded) == {"ada": 1.5, "ben": 1}


def test_a_broken_plug_in_is_named_and_grades_stay(graded):
    set_due_date(graded, LATE)
    config = graded / "nbgrader_config.py"
    config.write_text(config.read_text().replace(PLUGIN, BROKEN))
    before = dump_gradebook(graded, "toy")
    for options in ((), ("--force",)):
        completed = run(graded, "nbmark", "grade", "toy", "--json", *options)
        assert completed.returncode == 1
        assert "Traceback" not in completed.stderr
        (ada, _) = json.loads(completed.stdout)["students"]
        assert ada["trouble"] == (
            "the late penalty plug-in HalfOfTheScore failed for 'ada': ZeroDivisionError: "
            "float division by zero; fix it and run this again"
        )
    assert dump_gradebook(graded, "toy") == before


def test_only_students_who_may_be_late_are_looked_at(graded):
    gradebook = CourseGradebook.of_course(load_config(graded))
    assert gradebook.possibly_late("toy") == set()
    set_due_date(graded, LATE)
    assert gradebook.possibly_late("toy") == {"ada", "ben"}
    grade(graded)
    set_due_date(graded, IN_TIME)
    assert gradebook.possibly_late("toy") == {"ada", "ben"}  # they have a penalty
    grade(graded)
    assert gradebook.possibly_late("toy") == set()
