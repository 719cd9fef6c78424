"""An assignment that changes after students handed in: nobody loses points for a later task."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import run
from helpers import HALF, RIGHT, STAMP, dump_gradebook, submit_toy
from nbmark.notebooks import read_notebook, write_notebook

SOURCE = Path("source") / "toy" / "toy.ipynb"
SENTENCE = "This task was added after you handed in, so it does not count for you."
CHECK_B = """

@check("b", points=5, title="b is five")
def test_b(student):
    assert student.number("b") == approx(5)
"""
WRONG_B = """title = "b is six"\n[cells]\nb-answer = "b = 6"\n
[[loses]]\ncheck = "test_b"\npoints = 5\nsays = ""\n"""
TOMORROW = "2099-01-01 10:00:00.000000 UTC"


def add_task(course: Path) -> None:
    """Add a task `b` of five points to the source, between the tasks `a` and `w`."""
    notebook = json.loads((course / SOURCE).read_text())
    answer, test = (json.loads(json.dumps(notebook["cells"][index])) for index in (1, 2))
    answer |= {"id": "b-answer", "source": "### BEGIN SOLUTION\nb = 5\n### END SOLUTION"}
    answer["metadata"]["nbgrader"]["grade_id"] = "b-answer"
    test |= {"id": "b", "source": "assert True"}
    test["metadata"]["nbgrader"] |= {"grade_id": "b", "points": 5}
    notebook["cells"][3:3] = [answer, test]
    (course / SOURCE).write_text(json.dumps(notebook))
    graders = course / "graders" / "toy"
    with (graders / "test_toy.py").open("a") as checks:
        checks.write(CHECK_B)
    (graders / "wrong" / "six.toml").write_text(WRONG_B)


def release(course: Path) -> None:
    completed = run(course, "nbgrader", "generate_assignment", "toy", "--force", "--no-db")
    assert completed.returncode == 0, completed.stderr


def submit_with_task(course: Path, student: str, stamp: str = STAMP) -> None:
    """Hand in the changed assignment, with the right answers."""
    folder = submit_toy(course, student, RIGHT)
    (folder / "timestamp.txt").write_text(stamp)
    path = folder / "toy.ipynb"
    cells = [
        replace(cell, source="b = 5") if cell.grade_id == "b-answer" else cell
        for cell in read_notebook(path.read_bytes())
    ]
    path.write_bytes(write_notebook(cells, {}, {}))


def grades(course: Path) -> dict[str, dict[str, list[Any]]]:
    """Return each student's grade rows by cell."""
    return {
        row["student"]: row["notebooks"]["toy"]["grades"] for row in dump_gradebook(course, "toy")
    }


def page(course: Path, student: str, notebook: str = "toy") -> str:
    return (course / "autograded" / student / "toy" / f"{notebook}.ipynb").read_text()


@pytest.fixture(scope="module")
def changed_template(toy_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a course with a later task; Ada was graded before it, Ben handed in before it."""
    course = Path(shutil.copytree(toy_template, tmp_path_factory.mktemp("changed") / "course"))
    submit_toy(course, "ada", RIGHT)
    assert run(course, "nbmark", "grade", "toy").returncode == 0
    submit_toy(course, "ben", HALF)
    add_task(course)
    release(course)
    submit_with_task(course, "cleo")
    submit_with_task(course, "dina", TOMORROW)
    path = course / "submitted" / "dina" / "toy" / "toy.ipynb"
    cells = [cell for cell in read_notebook(path.read_bytes()) if not cell.grade_id.startswith("b")]
    path.write_bytes(write_notebook(cells, {}, {}))
    completed = run(course, "nbmark", "grade", "toy")
    assert completed.returncode == 0, completed.stderr
    assert "toy: 'b' (5 points) is new in the gradebook" in completed.stderr
    return course


@pytest.fixture
def changed(changed_template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(changed_template, tmp_path / "course"))


def test_after_nbgrader_removed_the_release_our_message_brings_it_back(toy_course):
    submit_toy(toy_course, "ada", RIGHT)
    assert run(toy_course, "nbmark", "grade", "toy").returncode == 0
    add_task(toy_course)
    stock = run(toy_course, "nbgrader", "generate_assignment", "toy", "--force")
    assert "Cannot add or remove cells" in stock.stderr
    assert not (toy_course / "release" / "toy").exists()
    refused = run(toy_course, "nbmark", "grade", "toy")
    assert refused.returncode == 1
    remedy = re.search("run 'nbgrader (.*)'$", refused.stderr.strip())[1]
    assert run(toy_course, "nbgrader", *remedy.split()).returncode == 0
    completed = run(toy_course, "nbmark", "grade", "toy")
    assert completed.returncode == 0, completed.stderr
    assert list(grades(toy_course)["ada"]) == ["a", "w"]
    # From here on nbgrader's own command works as always.
    assert run(toy_course, "nbgrader", "generate_assignment", "toy", "--force").returncode == 0


def test_new_cells_are_entered_as_nbgrader_enters_them(changed, tmp_path):
    from nbgrader.api import Gradebook

    stock = tmp_path / "stock"
    stock.mkdir()
    shutil.copytree(changed / "source", stock / "source")
    shutil.copy(changed / "nbgrader_config.py", stock)
    assert run(stock, "nbgrader", "generate_assignment", "toy").returncode == 0

    def rows(course: Path) -> set[tuple[Any, ...]]:
        with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
            notebook = gradebook.find_notebook("toy", "toy")
            return {
                *(
                    (cell.name, cell.source, cell.checksum, cell.locked, cell.cell_type)
                    for cell in notebook.source_cells
                ),
                *((cell.name, cell.max_score, cell.cell_type) for cell in notebook.grade_cells),
                *(cell.name for cell in notebook.solution_cells),
            }

    assert rows(changed) == rows(stock)


def test_a_later_task_counts_for_those_who_had_it(changed):
    assert grades(changed)["cleo"]["b"] == [5.0, None, None, False]
    assert SENTENCE not in page(changed, "cleo")


@pytest.mark.parametrize("student", ["ada", "ben"])
def test_a_later_task_neither_counts_nor_hides_for_an_earlier_submission(changed, student):
    completed = run(changed, "nbmark", "regrade", "toy", "--apply", "--json")
    assert completed.returncode == 0, completed.stderr
    assert list(grades(changed)[student]) == ["a", "w"]
    assert page(changed, student).count(SENTENCE) == 1
    forced = run(changed, "nbmark", "grade", "toy", "--force", "--student", student, "--json")
    (row,) = json.loads(forced.stdout)["students"]
    assert row["points"] == {"ada": 3, "ben": 2}[student]
    assert list(row["cells"]) == ["a"]
    assert list(grades(changed)[student]) == ["a", "w"]


def test_a_student_who_deleted_an_existing_task_gets_zero_and_a_look(changed):
    assert run(changed, "nbmark", "regrade", "toy", "--apply").returncode == 0
    for _ in range(2):
        assert grades(changed)["dina"]["b"] == [0.0, None, None, True]
        assert SENTENCE not in page(changed, "dina")
        forced = run(changed, "nbmark", "grade", "toy", "--force", "--student", "dina")
        assert forced.returncode == 0, forced.stderr


def test_without_a_time_an_earlier_grading_shows_which_tasks_there_were(toy_course):
    (submit_toy(toy_course, "ada", RIGHT) / "timestamp.txt").unlink()
    assert run(toy_course, "nbmark", "grade", "toy").returncode == 0
    add_task(toy_course)
    release(toy_course)
    assert run(toy_course, "nbmark", "grade", "toy", "--force").returncode == 0
    assert list(grades(toy_course)["ada"]) == ["a", "w"]
    assert run(toy_course, "nbmark", "grade", "toy", "--force").returncode == 0
    assert list(grades(toy_course)["ada"]) == ["a", "w"]


def test_each_student_has_their_own_maximum_in_export_formgrader_and_feedback(changed):
    from nbgrader.api import Gradebook

    expected = {"ada": 5, "ben": 5, "cleo": 10, "dina": 10}
    assert run(changed, "nbmark", "regrade", "toy", "--apply").returncode == 0
    assert run(changed, "nbgrader", "export").returncode == 0
    with (changed / "grades.csv").open() as file:
        assert {
            row["student_id"]: float(row["max_score"]) for row in csv.DictReader(file)
        } == expected
    with Gradebook(f"sqlite:///{changed}/gradebook.db") as gradebook:
        listed = gradebook.submission_dicts("toy")
    assert {row["student"]: row["max_score"] for row in listed} == expected
    completed = run(changed, "nbgrader", "generate_feedback", "toy")
    assert completed.returncode == 0, completed.stderr
    for student, points in expected.items():
        text = (changed / "feedback" / student / "toy" / "toy.html").read_text()
        assert float(re.search(r"\(Score: [\d.]+ / ([\d.]+)\)", text)[1]) == points
        assert (SENTENCE in text) == (points == 5)


def test_a_comparison_enters_nothing_into_the_gradebook(toy_course):
    submit_toy(toy_course, "ada", RIGHT)
    assert run(toy_course, "nbmark", "grade", "toy").returncode == 0
    history = toy_course / "evidence" / "toy" / ".cells.json"
    before = (dump_gradebook(toy_course, "toy"), history.read_bytes())
    add_task(toy_course)
    release(toy_course)
    completed = run(toy_course, "nbmark", "regrade", "toy", "--json")
    assert completed.returncode == 0, completed.stderr
    assert json.loads(completed.stdout)["differ"] == 0
    assert (dump_gradebook(toy_course, "toy"), history.read_bytes()) == before


def test_changed_points_hold_for_everybody(toy_course):
    submit_toy(toy_course, "ada", RIGHT)
    assert run(toy_course, "nbmark", "grade", "toy").returncode == 0
    source = toy_course / SOURCE
    source.write_text(source.read_text().replace('"points": 3', '"points": 4'))
    checks = toy_course / "graders" / "toy" / "test_toy.py"
    checks.write_text(checks.read_text().replace("points=1", "points=2"))
    wrong = toy_course / "graders" / "toy" / "wrong" / "four.toml"
    wrong.write_text(wrong.read_text().replace("points = 1", "points = 2"))
    release(toy_course)
    completed = run(toy_course, "nbmark", "regrade", "toy", "--apply")
    assert completed.returncode == 0, completed.stderr
    assert "'a' has 4 points for everybody now, before 3" in completed.stderr
    assert grades(toy_course)["ada"]["a"] == [4.0, None, None, False]


def test_a_removed_task_leaves_its_points_to_those_who_have_them(changed):
    notebook = json.loads((changed / SOURCE).read_text())
    notebook["cells"] = [cell for cell in notebook["cells"] if cell["id"] not in ("b", "b-answer")]
    (changed / SOURCE).write_text(json.dumps(notebook))
    checks = changed / "graders" / "toy" / "test_toy.py"
    checks.write_text(checks.read_text().replace(CHECK_B, ""))
    (changed / "graders" / "toy" / "wrong" / "six.toml").unlink()
    release(changed)
    submit_toy(changed, "emil", RIGHT)
    completed = run(changed, "nbmark", "grade", "toy", "--force")
    assert completed.returncode == 0, completed.stderr
    assert "'b' is no longer in source/toy: 2 students keep what they have" in completed.stderr
    rows = grades(changed)
    assert rows["cleo"]["b"] == [5.0, None, None, False]
    assert rows["dina"]["b"] == [0.0, None, None, False]
    assert list(rows["emil"]) == ["a", "w"]
    assert run(changed, "nbmark", "regrade", "toy", "--apply").returncode == 0
    assert grades(changed) == rows
    assert run(changed, "nbgrader", "generate_feedback", "toy").returncode == 0


def test_a_task_that_nobody_has_points_for_leaves_the_gradebook(toy_course):
    before = dump_cells(toy_course)
    submit_toy(toy_course, "ada", RIGHT)
    add_task(toy_course)
    release(toy_course)
    assert run(toy_course, "nbmark", "grade", "toy").returncode == 0
    assert len(dump_cells(toy_course)) == len(before) + 2
    shutil.copy(Path(__file__).parent / "toy" / SOURCE, toy_course / SOURCE)
    checks = toy_course / "graders" / "toy" / "test_toy.py"
    checks.write_text(checks.read_text().replace(CHECK_B, ""))
    (toy_course / "graders" / "toy" / "wrong" / "six.toml").unlink()
    release(toy_course)
    with_points = [student for student, cells in grades(toy_course).items() if "b" in cells]
    assert with_points == []
    completed = run(toy_course, "nbmark", "grade", "toy", "--force")
    assert completed.returncode == 0, completed.stderr
    assert dump_cells(toy_course) == before


def dump_cells(course: Path) -> list[str]:
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        notebook = gradebook.find_notebook("toy", "toy")
        return sorted(f"{cell.type} {cell.name}" for cell in notebook._base_cells)


def test_cheap_problems_are_reported_before_any_trial_runs(toy_course):
    (toy_course / "release" / "toy" / "toy.ipynb").write_text('{"cells": []}')
    completed = run(toy_course, "nbmark", "verify", "toy", "--json")
    assert completed.returncode == 1
    assert [case["name"] for case in json.loads(completed.stdout)["cases"]] == ["checks", "leaks"]
    remedy = "run 'nbgrader generate_assignment toy --force --no-db'"
    assert f"differs from its source in cell 'a'; {remedy}" in completed.stderr
    submit_toy(toy_course, "ada", RIGHT)
    completed = run(toy_course, "nbmark", "grade", "toy")
    assert completed.returncode == 1
    assert "verified reference" not in completed.stderr


def test_a_damaged_record_of_new_tasks_stops_grading_in_one_line(changed):
    (changed / "evidence" / "toy" / ".cells.json").write_text("{")
    before = dump_gradebook(changed, "toy")
    completed = run(changed, "nbmark", "grade", "toy", "--force")
    assert completed.returncode == 1
    assert "Traceback" not in completed.stderr
    assert "evidence/toy/.cells.json is damaged" in completed.stderr
    assert dump_gradebook(changed, "toy") == before
