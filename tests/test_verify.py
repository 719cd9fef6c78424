"""Verification reports each problem of an assignment in one line, and nobody is graded on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import ASSIGNMENTS, ROOT, run
from helpers import RIGHT, dump_gradebook, submit_toy

CHECKS = Path("graders") / "toy" / "test_toy.py"
SOURCE = Path("source") / "toy" / "toy.ipynb"


def change(course: Path, old: str, new: str, path: Path = CHECKS) -> None:
    """Replace some text in a file of the course; it must be there."""
    text = (course / path).read_text()
    assert old in text
    (course / path).write_text(text.replace(old, new))


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_every_case_of_the_course_is_as_expected(verified, assignment):
    reports = {report["assignment"]: report for report in verified["assignments"]}
    cases = reports[assignment]["cases"]
    problems = [(case["name"], case["problems"]) for case in cases if case["problems"]]
    assert not problems
    assert reports[assignment]["as_expected"]
    names = {case["name"] for case in cases}
    assert {"checks", "leaks", "reference", "release"} <= names
    assert sum(name.startswith("right/") for name in names) >= 3
    assert sum(name.startswith("wrong/") for name in names) >= 30


def test_the_whole_course_is_as_expected_with_exit_status_0(verified):
    assert verified["as_expected"]
    assert verified["returncode"] == 0
    assert [report["assignment"] for report in verified["assignments"]] == ASSIGNMENTS


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_the_committed_record_of_verification_is_up_to_date(verified, assignment):
    committed = json.loads((ROOT / "graders" / assignment / "verified.json").read_text())
    today = json.loads((verified["course"] / "graders" / assignment / "verified.json").read_text())
    assert committed == today, "run 'make verify' and commit graders/*/verified.json"


def test_a_fast_verification_skips_wrong_answers_and_is_not_recorded(toy_course):
    wrong = toy_course / "graders" / "toy" / "wrong"
    (wrong / "f-triples-again.toml").write_text((wrong / "f-triples.toml").read_text())
    completed = run(toy_course, "nbmark", "verify", "toy", "--fast", "--json")
    names = [case["name"] for case in json.loads(completed.stdout)["cases"]]
    assert completed.returncode == 0
    assert sum(name.startswith("wrong/f-triples") for name in names) == 1
    record = toy_course / "graders" / "toy" / "verified.json"
    before = record.read_text()
    assert run(toy_course, "nbmark", "verify", "toy").returncode == 0
    assert record.read_text() != before


def test_a_check_that_no_wrong_answer_fails_is_reported(toy_course):
    (toy_course / "graders" / "toy" / "wrong" / "f-triples.toml").unlink()
    completed = run(toy_course, "nbmark", "verify", "toy")
    assert completed.returncode == 1
    assert "no wrong answer under graders/toy/wrong fails test_f" in completed.stderr


def test_an_answer_under_right_that_loses_points_is_reported(toy_course):
    folder = toy_course / "graders" / "toy" / "right"
    folder.mkdir()
    answer = "title = 'text'\n[cells]\na-answer = '''\na = 3\ndef f(x):\n    return 2 * x + 1'''\n"
    (folder / "text.toml").write_text(answer)
    completed = run(toy_course, "nbmark", "verify", "toy")
    assert completed.returncode == 1
    assert "right/text: test_f deducts 2 points, not 0" in completed.stderr


def test_a_warning_of_the_reference_solution_is_reported(toy_course):
    warning = "import warnings\\nwarnings.warn('old')\\n"
    change(toy_course, "def f(x):\\n", f"{warning}def f(x):\\n", SOURCE)
    assert run(toy_course, "nbgrader", "generate_assignment", "toy", "--force").returncode == 0
    completed = run(toy_course, "nbmark", "verify", "toy")
    assert "(reference solution) writes a warning" in completed.stderr


def test_a_cell_that_prints_the_time_is_accepted(toy_course):
    change(toy_course, "def f(x):\\n", "import time\\nprint(time.time())\\ndef f(x):\\n", SOURCE)
    assert run(toy_course, "nbgrader", "generate_assignment", "toy", "--force").returncode == 0
    completed = run(toy_course, "nbmark", "verify", "toy")
    assert completed.returncode == 0, completed.stderr


DECORATOR = '@check("a", points=2, title="f doubles")'
# What is broken → text in the checks, what replaces it, and a part of the line about it.
BROKEN = {
    "names an unknown grade cell": ('"a", points=2', '"b", points=2', "names the grade cell 'b'"),
    "points do not add up": ('"a", points=2', '"a", points=1', "add up to 2 points, but the cell"),
    "raises on the reference": ('"a").matches', '"a").nonsense.matches', "test_a raised"),
    "refuses the reference": ("matches(3.0", "matches(3.5", "refuses the reference solution"),
    "rewards the release": ("student.number", "return\n    student.number", "untouched release"),
    "passes a known wrong answer": ("matches(3.0", "matches(3.5, rel=1", "deducts 0 points, not 1"),
    "has another sentence": ("One too many.", "Off by one.", "says 'Off by one.', not"),
    "cannot be imported": ("from nbmark", "from nowhere", "No module named 'nowhere'"),
    "has no decorator": (DECORATOR, "", "test_f in test_toy.py is not a check"),
}


@pytest.mark.parametrize("problem", BROKEN)
def test_a_broken_check_is_reported_in_one_line_with_exit_status_1(toy_course, problem):
    old, new, message = BROKEN[problem]
    change(toy_course, old, new)
    completed = run(toy_course, "nbmark", "verify", "toy", "--json")
    assert completed.returncode == 1
    assert not json.loads(completed.stdout)["as_expected"]
    lines = [line for line in completed.stderr.splitlines() if line.startswith("nbmark: ")]
    assert any(message in line for line in lines), completed.stderr
    assert "Traceback" not in completed.stderr


@pytest.mark.parametrize("command", [["nbmark", "grade", "toy"], ["nbgrader", "autograde", "toy"]])
def test_nobody_is_graded_on_broken_material(toy_course, command):
    change(toy_course, "matches(3.0", "matches(3.5")
    submit_toy(toy_course, "ada", RIGHT)
    completed = run(toy_course, *command)
    assert completed.returncode == 1
    assert "refuses the reference solution" in completed.stderr
    assert dump_gradebook(toy_course, "toy") == []
    assert not (toy_course / "autograded").exists()
    assert not (toy_course / "evidence").exists()


def test_a_grade_cell_without_a_check_is_reported(toy_course):
    text = (toy_course / CHECKS).read_text().replace('"a", points', '"w", points')
    (toy_course / CHECKS).write_text(text)
    completed = run(toy_course, "nbmark", "verify", "toy")
    assert "the grade cell 'a' (3 points) has no check" in completed.stderr
    assert completed.returncode == 1


def test_a_reference_solution_that_fails_is_reported(toy_course):
    change(toy_course, "return 2 * x", "return 1 / 0", SOURCE)
    completed = run(toy_course, "nbmark", "verify", "toy")
    assert completed.returncode == 1
    assert "test_f refuses the reference solution" in completed.stderr


def test_a_release_that_names_a_check_is_refused(toy_course):
    (toy_course / "release" / "toy" / "notes.txt").write_text("see test_toy.py")
    completed = run(toy_course, "nbmark", "verify", "toy")
    assert completed.returncode == 1
    assert "notes.txt in release/ names 'test_toy'" in completed.stderr


def test_a_question_that_changes_later_output_is_reported(toy_course):
    counting = "n = [0]\\ndef f(x):\\n    n.append(1)\\n    return"
    change(toy_course, "def f(x):\\n    return", counting, SOURCE)
    change(toy_course, "*answer*", "answer", SOURCE)
    notebook = json.loads((toy_course / SOURCE).read_text())
    cell = {"cell_type": "code", "id": "z", "metadata": {}, "source": "print(n)"}
    notebook["cells"].append({**cell, "outputs": [], "execution_count": None})
    (toy_course / SOURCE).write_text(json.dumps(notebook))
    assert run(toy_course, "nbgrader", "generate_assignment", "toy", "--force").returncode == 0
    completed = run(toy_course, "nbmark", "verify", "toy")
    assert "prints something different once checks ask questions" in completed.stderr


def test_a_check_that_raises_on_one_submission_does_not_stop_the_others(toy_course):
    change(
        toy_course,
        'student.number("a").matches(3.0',
        'student.value("a").value + 0.0\n    student.number("a").matches(3.0',
    )
    submit_toy(toy_course, "ada", RIGHT)
    submit_toy(toy_course, "ben", "a = np.array(['three'])\ndef f(x):\n    return 2 * x")
    submit_toy(toy_course, "cleo", "a = 'x'\ndef f(x):\n    return 2 * x")
    # The visible test passes for a text of size 1; then the check adds a number to it.
    completed = run(toy_course, "nbmark", "grade", "toy", "--json")
    assert completed.returncode in (0, 1)
    rows = {row["student"]: row for row in dump_gradebook(toy_course, "toy")}
    grade = rows["cleo"]["notebooks"]["toy"]["grades"]["a"]
    assert grade[0] == 2.0
    assert grade[3] is True
    assert rows["ada"]["notebooks"]["toy"]["grades"]["a"] == [3.0, None, None, False]
    page = (toy_course / "autograded" / "cleo" / "toy" / "toy.ipynb").read_text()
    assert "A person will look at it" in page
    assert "Traceback" not in page
    assert "TypeError" in completed.stdout
