"""A submission that comes again unchanged keeps its marks, and nobody reviews it twice."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from conftest import run
from helpers import HALF, RIGHT, dump_gradebook, submit_toy
from nbmark.notebooks import Cell, read_notebook, write_notebook

LATER = "2026-11-02 11:00:00.000000 UTC"


@pytest.fixture(scope="module")
def marked_template(toy_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a course in which a person has given Ada marks for both of her tasks."""
    from nbgrader.api import Gradebook

    course = Path(shutil.copytree(toy_template, tmp_path_factory.mktemp("marked") / "course"))
    submit_toy(course, "ada", HALF)
    assert run(course, "nbmark", "grade", "toy").returncode == 0
    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        for cell, points in (("a", 2.5), ("w", 1)):
            row = gradebook.find_grade(cell, "toy", "toy", "ada")
            row.manual_score, row.needs_manual_grade = points, False
        gradebook.find_comment("w", "toy", "toy", "ada").manual_comment = "Well said."
        gradebook.db.commit()
    return course


@pytest.fixture
def marked(marked_template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(marked_template, tmp_path / "course"))


def grade(course: Path, *options: str) -> dict[str, list[Any]]:
    """Run ``nbmark grade``; return Ada's grade rows by cell."""
    completed = run(course, "nbmark", "grade", "toy", *options)
    assert completed.returncode == 0, completed.stderr
    assert "1 submissions to grade, 0 up to date" in completed.stderr
    (ada,) = dump_gradebook(course, "toy")
    assert ada["notebooks"]["toy"]["comments"]["w"] == [None, "Well said."]
    return ada["notebooks"]["toy"]["grades"]


REVIEWED = {"a": [2.0, 2.5, None, False], "w": [None, 1.0, None, False]}


def test_an_unchanged_submission_with_a_new_time_is_not_listed_for_review(marked):
    (marked / "submitted" / "ada" / "toy" / "timestamp.txt").write_text(LATER)
    assert grade(marked) == REVIEWED
    assert dump_gradebook(marked, "toy")[0]["timestamp"] == "2026-11-02 11:00:00"


def test_grading_the_same_submission_by_force_lists_nothing_for_review(marked):
    assert grade(marked, "--force") == REVIEWED


def test_only_a_changed_written_answer_is_listed_for_review(marked):
    submit_toy(marked, "ada", HALF, "Because of the sum.")
    assert grade(marked) == {**REVIEWED, "w": [None, 1.0, None, True]}


def test_a_cell_added_below_a_written_answer_is_listed_for_review(marked):
    path = marked / "submitted" / "ada" / "toy" / "toy.ipynb"
    cells = [*read_notebook(path.read_bytes()), Cell("markdown", "And because of the sum.")]
    path.write_bytes(write_notebook(cells, {}, {}))
    assert grade(marked) == {**REVIEWED, "w": [None, 1.0, None, True]}


def test_only_changed_code_is_listed_for_review(marked):
    submit_toy(marked, "ada", HALF + "  # twice")
    assert grade(marked) == {**REVIEWED, "a": [2.0, 2.5, None, True]}


def test_a_score_that_changes_is_listed_for_review(marked):
    submit_toy(marked, "ada", RIGHT)
    assert grade(marked)["a"] == [3.0, 2.5, None, True]


def test_an_answer_that_waits_for_a_person_still_waits_after_a_resubmission(marked):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{marked}/gradebook.db") as gradebook:
        row = gradebook.find_grade("w", "toy", "toy", "ada")
        row.manual_score, row.needs_manual_grade = None, True
        gradebook.db.commit()
    (marked / "submitted" / "ada" / "toy" / "timestamp.txt").write_text(LATER)
    assert grade(marked)["w"] == [None, None, None, True]
