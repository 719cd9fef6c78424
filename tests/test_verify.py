"""An assignment that is broken grades nobody, and says in one line each what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import ASSIGNMENTS, ROOT, run
from helpers import RIGHT, dump_gradebook, submit_toy

CHECKS = Path("graders") / "toy" / "test_toy.py"


def change(course: Path, old: str, new: str, path: Path = CHECKS) -> None:
    text = (course / path).read_text()
    assert old in text
    (course / path).write_text(text.replace(old, new))


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_every_case_of_the_course_is_as_expected(verified, assignment):
    found = next(one for one in verified["assignments"] if one["assignment"] == assignment)
    problems = [(case["name"], case["problems"]) for case in found["cases"] if case["problems"]]
    assert not problems
    assert found["as_expected"]
    names = {case["name"] for case in found["cases"]}
    assert {"checks", "leaks", "reference", "release"} <= names
    assert sum(name.startswith("right/") for name in names) >= 3
    assert sum(name.startswith("wrong/") for name in names) >= 30


def test_the_whole_course_is_as_expected_with_exit_status_0(verified):
    assert verified["as_expected"]
    assert verified["returncode"] == 0
    assert [one["assignment"] for one in verified["assignments"]] == ASSIGNMENTS


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_the_committed_record_of_verification_holds_today(verified, assignment):
    committed = json.loads((ROOT / "graders" / assignment / "verified.json").read_text())
    today = json.loads((verified["course"] / "graders" / assignment / "verified.json").read_text())
    assert committed == today, "run 'make verify' and commit graders/*/verified.json"


def test_a_fast_trial_leaves_wrong_answers_out_and_is_not_remembered(toy_course):
    extra = (toy_course / "graders" / "toy" / "wrong" / "f-triples.toml").read_text()
    (toy_course / "graders" / "toy" / "wrong" / "f-triples-again.toml").write_text(extra)
    done = run(toy_course, "nbmark", "verify", "toy", "--fast", "--json")
    names = [case["name"] for case in json.loads(done.stdout)["cases"]]
    assert done.returncode == 0
    assert sum(name.startswith("wrong/f-triples") for name in names) == 1
    record = toy_course / "graders" / "toy" / "verified.json"
    before = record.read_text()
    assert run(toy_course, "nbmark", "verify", "toy").returncode == 0
    assert record.read_text() != before


def test_a_check_that_no_wrong_answer_fails_is_named(toy_course):
    (toy_course / "graders" / "toy" / "wrong" / "f-triples.toml").unlink()
    done = run(toy_course, "nbmark", "verify", "toy")
    assert done.returncode == 1
    assert "no wrong answer under graders/toy/wrong fails test_f" in done.stderr


def test_an_honest_form_that_is_refused_is_named(toy_course):
    folder = toy_course / "graders" / "toy" / "right"
    folder.mkdir()
    answer = "title = 'text'\n[cells]\na-answer = '''\na = 3\ndef f(x):\n    return [2 * x]'''\n"
    (folder / "text.toml").write_text(answer.replace("[2 * x]", "2 * x + 1"))
    done = run(toy_course, "nbmark", "verify", "toy")
    assert done.returncode == 1
    assert "right/text: test_f deducts 2 points, not 0" in done.stderr


def test_a_reference_that_warns_is_named(toy_course):
    source = Path("source") / "toy" / "toy.ipynb"
    change(
        toy_course, "def f(x):\\n", "import warnings\\nwarnings.warn('old')\\ndef f(x):\\n", source
    )
    assert run(toy_course, "nbgrader", "generate_assignment", "toy", "--force").returncode == 0
    done = run(toy_course, "nbmark", "verify", "toy")
    assert "(reference solution) writes a warning" in done.stderr


def test_a_cell_that_prints_the_time_is_no_disturbance(toy_course):
    source = Path("source") / "toy" / "toy.ipynb"
    change(toy_course, "def f(x):\\n", "import time\\nprint(time.time())\\ndef f(x):\\n", source)
    assert run(toy_course, "nbgrader", "generate_assignment", "toy", "--force").returncode == 0
    done = run(toy_course, "nbmark", "verify", "toy")
    assert done.returncode == 0, done.stderr


BROKEN = {
    "names no grade cell": ('"a", points=2', '"b", points=2', "names the grade cell 'b'"),
    "points do not add up": ('"a", points=2', '"a", points=1', "add up to 2 points, but the cell"),
    "raises on the reference": ('"a").matches', '"a").nonsense.matches', "test_a raised"),
    "refuses the reference": ("matches(3.0", "matches(3.5", "refuses the reference solution"),
    "pays for the release": ("student.number", "return\n    student.number", "untouched release"),
    "passes a known wrong answer": ("matches(3.0", "matches(3.5, rel=1", "deducts 0 points, not 1"),
    "says another sentence": ("One too many.", "Off by one.", "says 'Off by one.', not"),
    "cannot be imported": ("from nbmark", "from nowhere", "No module named 'nowhere'"),
    "is no check": (
        '@check("a", points=2, title="f doubles")',
        "",
        "test_f in test_toy.py is not a check",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_check_is_named_in_one_line_and_exit_status_1(toy_course, how):
    old, new, said = BROKEN[how]
    change(toy_course, old, new)
    done = run(toy_course, "nbmark", "verify", "toy", "--json")
    assert done.returncode == 1
    assert not json.loads(done.stdout)["as_expected"]
    lines = [line for line in done.stderr.splitlines() if line.startswith("nbmark: ")]
    assert any(said in line for line in lines), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["nbmark", "grade", "toy"], ["nbgrader", "autograde", "toy"]])
def test_nobody_is_graded_on_broken_material(toy_course, command):
    change(toy_course, "matches(3.0", "matches(3.5")
    submit_toy(toy_course, "ada", RIGHT)
    done = run(toy_course, *command)
    assert done.returncode == 1
    assert "refuses the reference solution" in done.stderr
    assert dump_gradebook(toy_course, "toy") == []
    assert not (toy_course / "autograded").exists()
    assert not (toy_course / "evidence").exists()


def test_a_grade_cell_without_a_check_is_named(toy_course):
    text = (toy_course / CHECKS).read_text().replace('"a", points', '"w", points')
    (toy_course / CHECKS).write_text(text)
    done = run(toy_course, "nbmark", "verify", "toy")
    assert "the grade cell 'a' (3 points) has no check" in done.stderr
    assert done.returncode == 1


def test_a_reference_solution_that_fails_is_named(toy_course):
    source = Path("source") / "toy" / "toy.ipynb"
    change(toy_course, "return 2 * x", "return 1 / 0", source)
    done = run(toy_course, "nbmark", "verify", "toy")
    assert done.returncode == 1
    assert "test_f refuses the reference solution" in done.stderr


def test_a_release_that_names_a_check_is_refused(toy_course):
    (toy_course / "release" / "toy" / "notes.txt").write_text("see test_toy.py")
    done = run(toy_course, "nbmark", "verify", "toy")
    assert done.returncode == 1
    assert "notes.txt in release/ names 'test_toy'" in done.stderr


def test_questions_that_disturb_are_found(toy_course):
    source = Path("source") / "toy" / "toy.ipynb"
    change(
        toy_course,
        "def f(x):\\n    return",
        "n = [0]\\ndef f(x):\\n    n.append(1)\\n    return",
        source,
    )
    change(toy_course, "*answer*", "answer", source)
    notebook = json.loads((toy_course / source).read_text())
    notebook["cells"].append(
        {
            "cell_type": "code",
            "id": "z",
            "metadata": {},
            "source": "print(n)",
            "outputs": [],
            "execution_count": None,
        }
    )
    (toy_course / source).write_text(json.dumps(notebook))
    assert run(toy_course, "nbgrader", "generate_assignment", "toy", "--force").returncode == 0
    done = run(toy_course, "nbmark", "verify", "toy")
    assert "prints something different once checks ask questions" in done.stderr


def test_a_check_that_raises_on_one_odd_submission_stops_nobody(toy_course):
    change(
        toy_course,
        'student.number("a").matches(3.0',
        'student.value("a").value + 0.0\n    student.number("a").matches(3.0',
    )
    submit_toy(toy_course, "ada", RIGHT)
    submit_toy(toy_course, "ben", "a = np.array(['three'])\ndef f(x):\n    return 2 * x")
    submit_toy(toy_course, "cleo", "a = 'x'\ndef f(x):\n    return 2 * x")
    # The visible test passes for a text of size 1; then the check adds a number to it.
    done = run(toy_course, "nbmark", "grade", "toy", "--json")
    assert done.returncode in (0, 1)
    rows = {row["student"]: row for row in dump_gradebook(toy_course, "toy")}
    if rows:  # the material passed its own trial
        grade = rows["cleo"]["notebooks"]["toy"]["grades"]["a"]
        assert grade[0] == 2.0
        assert grade[3] is True
        assert rows["ada"]["notebooks"]["toy"]["grades"]["a"] == [3.0, None, None, False]
        page = (toy_course / "autograded" / "cleo" / "toy" / "toy.ipynb").read_text()
        assert "A person will look at it" in page
        assert "Traceback" not in page
        assert "TypeError" in done.stdout
    assert rows
