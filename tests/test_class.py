"""In the demonstration's class every case earns its points and reads its sentences."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import classroom
from conftest import ASSIGNMENTS, run
from helpers import dump_gradebook
from nbmark.course.course import Course

CASES = classroom.cases()
CANARY = "nbmark-canary-" + "0123456789abcdef" * 2
SECRETS = ("349.2008", "1.10502", "87.6714", "408.1515", "matches(", "def test_", "reference.")
Rows = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def graded(
    course_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Rows, subprocess.CompletedProcess[str]]:
    """Grade the class with a canary in `graders/` and in the memory of the check processes.

    Return the course, the rows by student and assignment, and the process that graded.
    """
    course = Path(shutil.copytree(course_template, tmp_path_factory.mktemp("class") / "course"))
    checks = course / "graders" / "reference.py"
    checks.write_text(checks.read_text() + f'\nCANARY = ["{CANARY}"]\n')
    # The canary changes the checks' digest but no grade. Without a new digest in the records,
    # grading would first verify every assignment again.
    for assignment in ASSIGNMENTS:
        material = Course(course).assignment(assignment)
        record = json.loads(material.record.read_text())
        material.record.write_text(json.dumps({**record, "digest": material.digest}))
    for case in CASES:
        classroom.submit(case, course)
    completed = run(course, "nbmark", "grade", "--all", "--json", NBMARK_CANARY=CANARY)
    for assignment in ("mse", "keras", "local-gradients"):
        feedback = run(course, "nbgrader", "generate_feedback", assignment)
        assert feedback.returncode == 0, feedback.stderr
    rows = {
        (row["student"], assignment["assignment"]): row
        for assignment in json.loads(completed.stdout)["assignments"]
        for row in assignment["students"]
    }
    return course, rows, completed


def test_the_class_is_large_enough_and_graded_with_exit_status_0(graded):
    _, rows, completed = graded
    assert completed.returncode == 0, completed.stderr
    assert len(rows) == len(CASES)
    assert sum(case.assignment == "mse" for case in CASES) >= 14
    for assignment in ASSIGNMENTS:
        assert sum(case.assignment == assignment for case in CASES) >= 3
    ran = [row for row in rows.values() if not row["unreadable"]]
    assert all(row["sandbox"] == "bubblewrap, forked" for row in ran)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_case_earns_exactly_its_points(graded, case):
    assert graded[1][case.student, case.assignment]["points"] == case.points


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_case_reads_its_sentences(graded, case):
    folder = graded[0] / "autograded" / case.student / case.assignment
    notebook = folder / f"{case.assignment}.ipynb"
    text = json.dumps(json.loads(notebook.read_text()), ensure_ascii=False)
    for sentence in case.says:
        assert json.dumps(sentence, ensure_ascii=False)[1:-1] in text


@pytest.mark.parametrize("student", ["olga", "hana", "nils", "pia", "quin"])
def test_no_file_a_wrong_submission_gets_back_holds_an_expected_number_or_a_check(graded, student):
    course = graded[0]
    for path in [
        *(course / "autograded" / student).rglob("*"),
        *(course / "feedback" / student).rglob("*"),
    ]:
        if path.is_file():
            text = visible_text(path)
            leaked = [secret for secret in SECRETS if secret in text]
            assert not leaked, (path, leaked)


def test_no_file_that_a_student_may_see_holds_the_canary(graded):
    course = graded[0]
    searched_files = 0
    for folder in ("release", "autograded", "feedback", "submitted"):
        for path in (course / folder).rglob("*"):
            if path.is_file():
                searched_files += 1
                assert CANARY.encode() not in path.read_bytes(), path
    assert searched_files > 3 * len(CASES)


def test_a_spying_submission_finds_nothing(graded):
    text = (graded[0] / "autograded" / "olga" / "mse" / "mse.ipynb").read_text()
    assert "spy found: []" in text


def test_no_script_of_a_student_stays_in_an_autograded_notebook(graded):
    course = graded[0]
    notebook = json.loads((course / "autograded" / "uma" / "mse" / "mse.ipynb").read_text())
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert not any("alert" in str(output.get("data", "")) for output in outputs)
    assert len(json.dumps(outputs)) < 5_000_000


def test_an_unreadable_notebook_gets_zero_points_and_needs_manual_grading(graded):
    rows = {row["student"]: row for row in dump_gradebook(graded[0], "mse")}
    grades = rows["quin"]["notebooks"]["mse"]["grades"].values()
    assert all(grade[0] == 0 and grade[3] for grade in grades)


def test_a_notebook_under_another_name_keeps_its_points_and_needs_one_look(graded):
    rows = {row["student"]: row for row in dump_gradebook(graded[0], "mse")}
    grades = rows["rosa"]["notebooks"]["mse"]["grades"]
    looked_at = {name for name, grade in grades.items() if grade[3]}
    assert looked_at == {"table", "written"}


def test_only_the_owner_can_read_the_evidence(graded):
    folder = graded[0] / "evidence" / "mse" / "emil"
    files = sorted(path.name for path in folder.iterdir())
    assert len(files) == 2
    assert re.fullmatch(r"[0-9a-f]{64}\.json", files[0])
    assert (graded[0] / "evidence").stat().st_mode & 0o777 == 0o700
    evidence = json.loads((folder / files[0]).read_text())
    assert {"cell", "check", "question", "answer", "failed"} == set(evidence["evidence"][0])
    assert evidence["versions"]["numpy"]
    assert evidence["sandbox"] == "bubblewrap, forked"


def visible_text(path: Path) -> str:
    """Return a file's text without pictures, style sheets and scripts."""
    text = path.read_text(errors="replace")
    text = re.sub(r'"image/png": "[^"]*"', "", text)
    text = re.sub(r"data:image/png;base64,[^\"']*", "", text)
    text = re.sub(r"<style.*?</style>|<script.*?</script>", "", text, flags=re.S)
    # Olga's own code lists the numbers that it searches for.
    return re.sub(r"numbers = .*?\n|numbers\s*</span>.*?\n", "", text).replace(
        'b\\"349.2008\\", b\\"1.10502\\", b\\"408.1515\\"', ""
    )
