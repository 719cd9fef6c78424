"""An assignment of several notebooks: each task is found in whatever file holds it."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from pathlib import Path

import msgspec

from handed_in import DONE, UNTOUCHED, Files, Toy, as_file, submit, text_of
from helpers import RIGHT
from nbmark.course.course import Assignment, Course
from nbmark.course.folders import Folders, load_config
from nbmark.intake.choose import Chosen, choose
from nbmark.intake.receive import Inbox
from nbmark.models import Check, CheckResult, GainedCells, Graded
from nbmark.notebooks import Cell
from nbmark.records.feedback import autograded_notebook, summary
from nbmark.running.no_run import NOT_GRADED, NoRun


def make_pair(course: Path, toy: Toy) -> Assignment:
    """Make an assignment of two notebooks, whose grade ids begin with their names."""
    for part in ("one", "two"):
        for folder in ("source", "release"):
            path = course / folder / "pair" / f"{part}.ipynb"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(as_file(part_of(toy, part, UNTOUCHED)))
    (course / "graders" / "pair").mkdir()
    return Course(course).assignment("pair")


def part_of(toy: Toy, part: str, answers: dict[str, str]) -> list[Cell]:
    return [
        replace(cell, nbgrader={**cell.nbgrader, "grade_id": f"{part}-{cell.grade_id}"})
        for cell in toy.cells(answers)
    ]


def chosen(assignment: Assignment, files: Files, gained: GainedCells | None = None) -> Chosen:
    submit(assignment.course.root, "ada", "pair", files)
    folders = Folders.of_course(load_config(assignment.course.root))
    submission = Inbox(assignment, folders, {}).receive("ada").submission
    return choose(assignment, msgspec.structs.replace(submission, gained=gained))


def test_swapped_notebooks_of_an_assignment_are_told_apart_by_their_cells(toy_course):
    toy = Toy(toy_course)
    pair = make_pair(toy_course, toy)
    one, two = (as_file(part_of(toy, part, DONE)) for part in ("one", "two"))
    result = chosen(pair, {"one.ipynb": two, "two.ipynb": one})
    assert not result.unreadable
    for part, other in (("one", "two"), ("two", "one")):
        answers = {cell.grade_id: cell.source for cell in result.cells[part]}
        assert answers[f"{part}-a-answer"] == RIGHT
        (notice,) = result.notices[part]
        assert f"holds the tasks of another notebook. `{other}.ipynb` was graded" in notice.says
        assert notice.needs_look


def test_a_missing_notebook_is_one_line_however_many_tasks_it_has(toy_course):
    toy = Toy(toy_course)
    pair = make_pair(toy_course, toy)
    result = chosen(pair, {"one.ipynb": as_file(part_of(toy, "one", DONE))})
    assert result.unreadable == {"two": "The submission has no notebook called two.ipynb."}
    results = [
        CheckResult(Check(f"test_{number}", "two-a", 1, str(number)), "failed", NOT_GRADED)
        for number in range(22)
    ]
    cells = {name: NoRun(cells).finish() for name, cells in result.cells.items()}
    graded = Graded("ada", "pair", "0", cells, results, unreadable=result.unreadable)
    assert summary(graded) == result.unreadable["two"]
    page = text_of(json.loads(autograded_notebook(graded, "two")))
    assert page.count("could not be graded") == 1
    assert NOT_GRADED not in page


def test_a_notebook_under_another_name_shows_which_version_its_student_had(toy_course):
    toy = Toy(toy_course)
    pair = make_pair(toy_course, toy)
    before, later = datetime.datetime(2026, 11, 1), datetime.datetime(2026, 11, 2)
    since = {cell.grade_id: later for cell in pair.notebooks["two"] if cell.grade_id}
    gained = GainedCells(since, before, None)
    one, two = (as_file(part_of(toy, part, DONE)) for part in ("one", "two"))
    assert "two-a" in chosen(pair, {"one.ipynb": one}, gained).added_later
    result = chosen(pair, {"one.ipynb": one, "two (1).ipynb": two}, gained)
    assert not result.added_later
    assert "two (1).ipynb" in result.notices["two"][0].says
