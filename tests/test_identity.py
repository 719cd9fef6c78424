"""Personal numbers count under every id of a student, and only known ones are another student's."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nbgrader.api import Gradebook

import reference
from conftest import ROOT, new_course, run
from helpers import RIGHT, submit_toy
from nbmark.course.course import Course
from nbmark.course.folders import Folders, load_config
from nbmark.intake.identity import aliases_of, littlest_account
from nbmark.intake.receive import Inbox
from nbmark.notebooks import read_notebook, write_notebook

NAME = "local-gradients"
LONG = "a-student-with-a-very-long-name"
# Student → the id for which they typed the numbers of a patient.
CLASS = {"ada": "ada", "ben": "ada", "cleo": "dora", "jupyter-zoe": "zoe", "s123": "mia"}
OWN = ["own_r", "own_mse", "own_grad_b", "own_grad_a", "own_a_1", "own_b_1"]


def test_the_account_of_the_littlest_jupyterhub_and_its_user_are_one_student():
    assert aliases_of("jupyter-zoe") == ("zoe", "jupyter-jupyter-zoe")
    assert aliases_of("zoe") == ("jupyter-zoe",)
    assert aliases_of("s123", "zoe") == ("jupyter-s123", "zoe", "jupyter-zoe")


def test_a_long_name_on_the_littlest_jupyterhub_ends_in_a_hash():
    account = littlest_account(LONG)
    assert account.startswith("jupyter-a-student-with-a-v-")
    assert len(account) == 32
    assert account in aliases_of(LONG)
    assert littlest_account("x" * 17) == "jupyter-" + "x" * 17  # 25 characters are kept


def test_the_id_of_another_student_is_nobodys_alias(toy_course):
    for student in ("zoe", "jupyter-zoe"):
        submit_toy(toy_course, student, RIGHT)
    folders = Folders.of_course(load_config(toy_course))
    box = Inbox(Course(toy_course).assignment("toy"), folders, {"zoe": "jupyter-zoe"})
    submission = box.receive("zoe").submission
    assert "jupyter-zoe" not in submission.aliases
    assert submission.classmates == ("jupyter-zoe", "zoe")


def test_a_folder_that_is_no_students_makes_nobody_a_classmate(toy_course):
    submit_toy(toy_course, "zoe", RIGHT)
    os.makedirs(os.fsencode(toy_course) + b"/submitted/\xff/toy")
    folders = Folders.of_course(load_config(toy_course))
    box = Inbox(Course(toy_course).assignment("toy"), folders, {})
    assert box.receive("zoe").submission.classmates == ("zoe",)


def numbers_of(student: str) -> str:
    """Return an answer with the numbers of a student's patient, as someone who types them."""
    age, pressure, a, b = reference.patient(student)
    values = reference.backprop(a, b, age, pressure)
    numbers = [values[key] for key in ("r", "mse", "grad_b", "grad_a")]
    numbers += [a - 0.0002 * values["grad_a"], b - 0.0002 * values["grad_b"]]
    return "\n".join(f"{name} = {number!r}" for name, number in zip(OWN, numbers, strict=True))


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, Any]]]:
    """Grade the class; return the course and each student's checks of their own patient."""
    course = new_course(tmp_path_factory.mktemp("ids") / "course", ROOT, NAME)
    material = Course(course).assignment(NAME)
    record = json.loads(material.record.read_text())
    material.record.write_text(json.dumps({**record, "digest": material.digest}))
    cells = read_notebook((course / "source" / NAME / f"{NAME}.ipynb").read_bytes())
    for student, patient in CLASS.items():
        answers = {"own-answer": numbers_of(patient)}
        submitted = [
            replace(cell, source=answers.get(cell.grade_id, cell.source)) for cell in cells
        ]
        folder = course / "submitted" / student / NAME
        folder.mkdir(parents=True)
        (folder / f"{NAME}.ipynb").write_bytes(write_notebook(submitted, {}, {}))
    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        gradebook.add_student("s123", lms_user_id="mia")
    completed = run(course, "nbmark", "grade", NAME, "--json")
    assert completed.returncode == 0, completed.stderr
    rows = {
        row["student"]: {check["name"]: check for check in row["checks"] if check["cell"] == "own"}
        for row in json.loads(completed.stdout)["students"]
    }
    return course, rows


@pytest.mark.parametrize("student", ["ada", "jupyter-zoe", "s123"])
def test_numbers_drawn_for_any_id_of_the_student_earn_all_points(graded, student):
    assert sum(check["points"] for check in graded[1][student].values()) == 4


def test_the_numbers_of_another_student_of_the_class_earn_nothing_and_are_named(graded):
    for check in graded[1]["ben"].values():
        assert check["points"] == 0
        assert check["says"].startswith("These numbers belong to another patient.")


def test_numbers_of_nobody_in_the_class_are_not_called_anothers_and_the_collected_id_is_shown(
    graded,
):
    checks = graded[1]["cleo"]
    assert not any("another patient" in check["says"] for check in checks.values())
    residual = checks["test_own_residual"]
    assert "is not the residual of the patient who is drawn for your id" in residual["says"]
    assert "your work was collected as 'cleo'" in residual["own"]


def test_regrading_knows_the_same_ids_and_the_same_class(graded):
    completed = run(graded[0], "nbmark", "regrade", NAME, "--json")
    report = json.loads(completed.stdout)
    assert (report["judged"], report["differ"], report["ran again"]) == (len(CLASS), 0, 0)
