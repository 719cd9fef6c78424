"""The whole class of the demonstration: every case earns its points and reads its sentence."""

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
from nbmark.course.course import Course

CASES = classroom.cases()
CANARY = "nbmark-canary-" + "0123456789abcdef" * 2
SECRETS = ("349.2008", "1.10502", "87.6714", "408.1515", "matches(", "def test_", "reference.")
Rows = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def graded(
    course_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Rows, subprocess.CompletedProcess[str]]:
    """The class, graded with a canary in `graders/` and in the memory of the check processes."""
    course = Path(shutil.copytree(course_template, tmp_path_factory.mktemp("class") / "course"))
    checks = course / "graders" / "reference.py"
    checks.write_text(checks.read_text() + f'\nCANARY = ["{CANARY}"]\n')
    for assignment in ASSIGNMENTS:  # the canary is no reason to try everything again
        material = Course(course).assignment(assignment)
        record = json.loads(material.record.read_text())
        material.record.write_text(json.dumps({**record, "digest": material.digest()}))
    for one in CASES:
        classroom.submit(one, course)
    done = run(course, "nbmark", "grade", "--all", "--json", NBMARK_CANARY=CANARY)
    for assignment in ("mse", "keras", "local-gradients"):
        feedback = run(course, "nbgrader", "generate_feedback", assignment)
        assert feedback.returncode == 0, feedback.stderr
    rows = {
        (row["student"], one["assignment"]): row
        for one in json.loads(done.stdout)["assignments"]
        for row in one["students"]
    }
    return course, rows, done


def test_the_class_is_large_enough_and_graded_with_exit_status_0(graded):
    _, rows, done = graded
    assert done.returncode == 0, done.stderr
    assert len(rows) == len(CASES)
    assert sum(one.assignment == "mse" for one in CASES) >= 14
    for assignment in ASSIGNMENTS:
        assert sum(one.assignment == assignment for one in CASES) >= 3
    assert all(row["sandbox"] == "bubblewrap, forked" for row in rows.values())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_case_earns_exactly_its_points(graded, case):
    assert graded[1][case.student, case.assignment]["points"] == case.points


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_case_reads_its_sentence(graded, case):
    folder = graded[0] / "autograded" / case.student / case.assignment
    notebook = folder / f"{case.assignment}.ipynb"
    text = json.dumps(json.loads(notebook.read_text()), ensure_ascii=False)
    for sentence in case.says:
        assert json.dumps(sentence, ensure_ascii=False)[1:-1] in text


@pytest.mark.parametrize("student", ["olga", "hana", "nils", "pia", "quin"])
def test_no_artefact_of_a_wrong_submission_holds_an_expected_number_or_a_check(graded, student):
    course = graded[0]
    for path in [
        *(course / "autograded" / student).rglob("*"),
        *(course / "feedback" / student).rglob("*"),
    ]:
        if path.is_file():
            text = visible(path)
            found = [one for one in SECRETS if one in text]
            assert not found, (path, found)


def test_nothing_a_student_may_see_holds_the_canary(graded):
    course = graded[0]
    looked_at = 0
    for folder in ("release", "autograded", "feedback", "submitted"):
        for path in (course / folder).rglob("*"):
            if path.is_file():
                looked_at += 1
                assert CANARY.encode() not in path.read_bytes(), path
    assert looked_at > 3 * len(CASES)


def test_the_spy_found_nothing(graded):
    text = (graded[0] / "autograded" / "olga" / "mse" / "mse.ipynb").read_text()
    assert "spy found: []" in text


def test_no_script_of_a_student_reaches_the_instructors_browser(graded):
    course = graded[0]
    notebook = json.loads((course / "autograded" / "uma" / "mse" / "mse.ipynb").read_text())
    outputs = [one for cell in notebook["cells"] for one in cell.get("outputs", [])]
    assert not any("alert" in str(one.get("data", "")) for one in outputs)
    assert len(json.dumps(outputs)) < 5_000_000


def test_an_unreadable_notebook_is_marked_for_a_look(graded):
    from helpers import dump

    rows = {row["student"]: row for row in dump(graded[0], "mse")}
    for student in ("quin", "rosa"):
        grades = rows[student]["notebooks"]["mse"]["grades"].values()
        assert all(grade[0] == 0 and grade[3] for grade in grades)


def test_evidence_is_kept_where_only_the_owner_can_read(graded):
    folder = graded[0] / "evidence" / "mse" / "emil"
    files = sorted(path.name for path in folder.iterdir())
    assert len(files) == 2
    assert re.fullmatch(r"[0-9a-f]{64}\.json", files[0])
    assert (graded[0] / "evidence").stat().st_mode & 0o777 == 0o700
    evidence = json.loads((folder / files[0]).read_text())
    assert {"cell", "check", "question", "answer", "failed"} == set(evidence["evidence"][0])
    assert evidence["versions"]["numpy"]
    assert evidence["sandbox"] == "bubblewrap, forked"


def visible(path: Path) -> str:
    """What a file shows a reader: notebooks without pictures, pages without style sheets."""
    text = path.read_text(errors="replace")
    text = re.sub(r'"image/png": "[^"]*"', "", text)
    text = re.sub(r"data:image/png;base64,[^\"']*", "", text)
    text = re.sub(r"<style.*?</style>|<script.*?</script>", "", text, flags=re.S)
    # Olga's own source lists what she looks for.
    return re.sub(r"numbers = .*?\n|numbers\s*</span>.*?\n", "", text).replace(
        'b\\"349.2008\\", b\\"1.10502\\", b\\"408.1515\\"', ""
    )
