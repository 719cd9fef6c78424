"""``nbgrader autograde`` and ``nbmark grade`` write the same gradebook and the same files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from conftest import run
from helpers import HALF, RIGHT, dump_gradebook, submit_toy
from nbmark.course.folders import Folders, load_config

LATE = """
import nbgrader.plugins

class TenPercent(nbgrader.plugins.LateSubmissionPlugin):
    def late_submission_penalty(self, student_id, score, total_seconds_late):
        return score / 10

c.AssignLatePenalties.plugin_class = TenPercent
"""


@pytest.fixture
def both(toy_course: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Return two equal courses with late, wrong and unreadable work, and marks given by hand."""
    from nbgrader.api import Gradebook

    config = toy_course / "nbgrader_config.py"
    config.write_text(config.read_text() + LATE)
    submit_toy(toy_course, "ada", RIGHT)
    submit_toy(toy_course, "ben", HALF, "YOUR ANSWER HERE")
    submit_toy(toy_course, "cleo", "raise SystemExit")
    submit_toy(toy_course, "dina", RIGHT)
    (toy_course / "submitted" / "dina" / "toy" / "toy.ipynb").write_text("{")
    assert run(toy_course, "nbmark", "grade", "toy").returncode == 0
    with Gradebook(f"sqlite:///{toy_course}/gradebook.db") as gradebook:
        gradebook.update_or_create_assignment("toy", duedate="2026-11-01 10:00:00 UTC")
        grade = gradebook.find_grade("a", "toy", "toy", "ben")
        grade.manual_score, grade.extra_credit = 2.5, 0.5
        gradebook.find_grade("w", "toy", "toy", "ada").manual_score = 2
        gradebook.find_comment("w", "toy", "toy", "ada").manual_comment = "Well said."
        gradebook.db.commit()
    other = Path(shutil.copytree(toy_course, tmp_path / "other"))
    return toy_course, other


def test_both_commands_write_the_same_gradebook_and_notebooks(both):
    ours, stock = both
    nbmark = run(ours, "nbmark", "grade", "toy", "--force", "--workers", "2")
    nbgrader = run(stock, "nbgrader", "autograde", "toy", "--force")
    assert nbmark.returncode == 0, nbmark.stderr
    assert nbgrader.returncode == 0, nbgrader.stderr
    assert dump_gradebook(ours, "toy") == dump_gradebook(stock, "toy")
    for student in ("ada", "ben", "cleo", "dina"):
        name = f"autograded/{student}/toy/toy.ipynb"
        assert (ours / name).read_text() == (stock / name).read_text()


def test_marks_given_by_hand_survive_another_grading(both):
    course, _ = both
    assert run(course, "nbmark", "grade", "toy", "--force").returncode == 0
    rows = {row["student"]: row for row in dump_gradebook(course, "toy")}
    ada, ben = rows["ada"], rows["ben"]
    assert ben["notebooks"]["toy"]["grades"]["a"] == [2.0, 2.5, 0.5, False]
    assert ada["notebooks"]["toy"]["grades"]["w"][1] == 2
    assert ada["notebooks"]["toy"]["comments"]["w"][1] == "Well said."
    assert ada["seconds_late"] == 86400
    assert ada["notebooks"]["toy"]["late_penalty"] == pytest.approx(0.5)
    assert ben["notebooks"]["toy"]["late_penalty"] == pytest.approx(0.3)


def test_a_missing_written_answer_gets_zero_and_a_given_one_waits_for_a_person(both):
    course, _ = both
    rows = {row["student"]: row for row in dump_gradebook(course, "toy")}
    assert rows["ben"]["notebooks"]["toy"]["grades"]["w"] == [0.0, None, None, False]
    assert rows["ben"]["notebooks"]["toy"]["comments"]["w"][0] == "No response."
    assert rows["cleo"]["notebooks"]["toy"]["grades"]["w"] == [None, None, None, True]


def test_a_second_run_changes_nothing(both):
    course, _ = both
    # The due date has moved since the first run, so this one writes late penalties.
    assert "late penalty" in run(course, "nbmark", "grade", "toy").stdout
    before = (dump_gradebook(course, "toy"), files(course))
    assert "0 submissions to grade" in run(course, "nbmark", "grade", "toy").stderr
    assert run(course, "nbgrader", "autograde", "toy").returncode == 0
    assert (dump_gradebook(course, "toy"), files(course)) == before


def test_both_commands_give_zero_to_a_submission_without_a_notebook(both):
    for course in both:
        folder = course / "submitted" / "emil" / "toy"
        folder.mkdir(parents=True)
        (folder / "readme.txt").write_text("sorry")
    assert run(both[0], "nbmark", "grade", "toy").returncode == 0
    assert run(both[1], "nbgrader", "autograde", "toy").returncode == 0
    assert dump_gradebook(both[0], "toy") == dump_gradebook(both[1], "toy")
    page = (both[1] / "autograded" / "emil" / "toy" / "toy.ipynb").read_text()
    assert "has no notebook called toy.ipynb" in page
    assert not (both[1] / "autograded" / "emil" / "toy" / "readme.txt").exists()


def test_the_folders_list_everybody_who_submitted(both):
    folders = Folders.of_course(load_config(both[0]))
    assert folders.students("toy") == ["ada", "ben", "cleo", "dina"]


def files(course: Path) -> dict[str, tuple[int, bytes]]:
    """Return the time and content of every autograded file by path."""
    return {
        str(path.relative_to(course)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in (course / "autograded").rglob("*")
        if path.is_file()
    }
