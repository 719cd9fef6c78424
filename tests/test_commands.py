"""The commands as a person types them: what they refuse, and how they say it."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

import classroom
from conftest import BIN, ROOT, run
from helpers import HALF, RIGHT, dump, hand_in_toy
from nbmark.commands import tables

WRONG_NAMES = {
    "grade ty": "no assignment 'ty' under source/ (found: toy). Did you mean 'toy'?",
    "verify ../toy": "no assignment '../toy' under source/ (found: toy)",
    "grade toy --student adda": "no submission of 'toy' by student 'adda' under submitted/ "
    "(found: ada). Did you mean 'ada'?",
    "grade toy --sandbox jail": "'jail' is not one of 'bubblewrap', 'none'",
    "grad toy": "no command 'grad' under nbmark (found: doctor, grade, regrade, verify). Did you "
    "mean 'grade'?",
    "--workers 2": "No such option '--workers' ('nbmark --help' tells what it takes)",
    "grade toy --workers 0": "0 is not in the range 1<=x<=512 ('nbmark grade --help' tells what",
    "grade toy --forc": "No such option '--forc'. Did you mean '--force'?",
    "grade toy play": "unexpected extra argument (play)",
    "grade toy --course nowhere": "'nowhere' does not exist",
    "regrade": "name one assignment, or say --all (found: toy)",
}


@pytest.mark.parametrize("words", WRONG_NAMES)
def test_a_name_that_does_not_exist_gets_one_line_and_exit_status_2(toy_course, words):
    hand_in_toy(toy_course, "ada", RIGHT)
    done = run(toy_course, "nbmark", *words.split())
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("nbmark: ")
    assert WRONG_NAMES[words] in line
    assert dump(toy_course, "toy") == []


def test_missing_checks_are_named(toy_course):
    shutil.rmtree(toy_course / "graders" / "toy")
    done = run(toy_course, "nbmark", "grade", "toy")
    assert done.returncode == 1
    assert "graders/toy is missing" in done.stderr


def test_a_gradebook_that_knows_another_source_is_refused(toy_course):
    source = toy_course / "source" / "toy" / "toy.ipynb"
    source.write_text(source.read_text().replace('"points": 3', '"points": 4'))
    done = run(toy_course, "nbmark", "grade", "toy")
    assert done.returncode == 1
    remedy = "nbgrader generate_assignment toy --notebook=toy --force"
    assert f"the cell 'a' of 3 points; run '{remedy}'" in done.stderr
    assert run(toy_course, *remedy.split()).returncode == 0
    assert "nothing to grade" in run(toy_course, "nbmark", "grade", "toy").stdout


def test_outside_a_course_one_line_says_so(tmp_path):
    done = run(tmp_path, "nbmark", "grade", "toy")
    assert done.returncode == 2
    assert "no assignment 'toy' under source/ (found: none)" in done.stderr


def test_one_student_is_graded_and_the_others_wait(toy_course):
    for student in ("ada", "ben"):
        hand_in_toy(toy_course, student, RIGHT)
    done = run(toy_course, "nbmark", "grade", "toy", "--student", "ben", "--json")
    assert [row["student"] for row in json.loads(done.stdout)["students"]] == ["ben"]
    assert [row["student"] for row in dump(toy_course, "toy")] == ["ben"]


def test_a_new_submission_is_due_and_the_old_evidence_stays(toy_course):
    hand_in_toy(toy_course, "ada", HALF)
    run(toy_course, "nbmark", "grade", "toy")
    hand_in_toy(toy_course, "ada", RIGHT)
    done = run(toy_course, "nbmark", "grade", "toy", "--json")
    row = json.loads(done.stdout)["students"][0]
    assert (row["outcome"], row["points"]) == ("graded", 3.0)
    assert len(list((toy_course / "evidence" / "toy" / "ada").glob("*.json"))) == 3


def test_who_was_graded_with_earlier_checks_is_told_of_and_left_alone(toy_course):
    hand_in_toy(toy_course, "ada", RIGHT)
    run(toy_course, "nbmark", "grade", "toy")
    checks = toy_course / "graders" / "toy" / "test_toy.py"
    checks.write_text(checks.read_text().replace("f doubles", "f doubles x"))
    done = run(toy_course, "nbmark", "grade", "toy")
    assert "graded with earlier checks; 'nbmark regrade' judges anew" in done.stdout
    assert dump(toy_course, "toy")[0]["notebooks"]["toy"]["grades"]["a"][0] == 3.0


def test_the_dangerous_sandbox_is_loud_and_recorded(toy_course):
    hand_in_toy(toy_course, "ada", RIGHT)
    done = run(toy_course, "nbmark", "grade", "toy", "--sandbox", "none", "--json")
    assert done.returncode == 0, done.stderr
    assert "students' code runs with your rights" in done.stderr
    assert json.loads(done.stdout)["students"][0]["sandbox"] == "none"


def test_a_second_grading_at_the_same_time_is_refused(toy_course):
    import fcntl
    import os

    hand_in_toy(toy_course, "ada", RIGHT)
    (toy_course / ".nbmark").mkdir(mode=0o700)
    fd = os.open(toy_course / ".nbmark" / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    done = run(toy_course, "nbmark", "grade", "toy")
    os.close(fd)
    assert done.returncode == 1
    assert f"another grading of {toy_course} is under way" in done.stderr


def test_a_link_for_a_notebook_is_not_followed(toy_course):
    folder = hand_in_toy(toy_course, "ada", RIGHT)
    (folder / "toy.ipynb").unlink()
    (folder / "toy.ipynb").symlink_to(toy_course / "source" / "toy" / "toy.ipynb")
    (folder / "secret.txt").symlink_to(toy_course / "gradebook.db")
    for command in (["nbmark", "grade", "toy"], ["nbgrader", "autograde", "toy", "--force"]):
        assert run(toy_course, *command).returncode == 0
        assert dump(toy_course, "toy")[0]["score"] == 0
        assert sorted(p.name for p in (toy_course / "autograded" / "ada" / "toy").iterdir()) == [
            "timestamp.txt",
            "toy.ipynb",
        ]


def test_pytest_runs_the_checks_on_one_notebook(tmp_path):
    wrong = tmp_path / "mine.ipynb"
    wrong.write_bytes(classroom.case("rss-for-mse").files()["mse.ipynb"])
    right = ROOT / "source" / "mse" / "mse.ipynb"
    passed = run(ROOT, "pytest", "graders/mse", "--submission", str(right))
    assert passed.returncode == 0, passed.stdout
    assert "22 passed" in passed.stdout
    failed = run(ROOT, "pytest", "graders/mse", "--submission", str(wrong))
    assert failed.returncode == 1
    assert "This is the sum of the squared residuals" in failed.stdout
    first = run(ROOT, "pytest", "graders/mse", "--submission", str(wrong), "-x")
    assert "1 failed" in first.stdout
    some = run(
        ROOT,
        "pytest",
        "graders/mse",
        "--submission",
        str(wrong),
        "-k",
        "plot",
        "--student-id",
        "ada",
    )
    assert "4 passed, 18 deselected" in some.stdout


def test_pytest_says_what_it_needs(tmp_path):
    done = run(ROOT, "pytest", "graders/mse", "--submission", str(tmp_path / "none.ipynb"))
    assert done.returncode == 4
    assert "No such file or directory" in done.stderr


def test_a_bare_pytest_does_not_collect_the_hidden_checks():
    done = run(ROOT, "pytest", "--collect-only", "-q")
    assert "graders/" not in done.stdout


@pytest.fixture
def two_assignments(toy_course):
    """The course with its assignment twice, under two names; nobody has handed in the second."""
    for folder in ("source", "graders"):
        shutil.copytree(toy_course / folder / "toy", toy_course / folder / "play")
    (toy_course / "source" / "play" / "toy.ipynb").rename(
        toy_course / "source" / "play" / "play.ipynb"
    )
    assert run(toy_course, "nbgrader", "generate_assignment", "play", "--force").returncode == 0
    return toy_course


def test_the_whole_course_is_graded_with_one_command(two_assignments):
    hand_in_toy(two_assignments, "ada", RIGHT)
    done = run(two_assignments, "nbmark", "grade", "--all", "--json")
    assert done.returncode == 0, done.stderr
    found = {one["assignment"]: one["students"] for one in json.loads(done.stdout)["assignments"]}
    assert found["play"] == []
    assert [row["points"] for row in found["toy"]] == [3]


def test_an_assignment_that_is_not_released_yet_is_passed_over(toy_course):
    shutil.copytree(toy_course / "source" / "toy", toy_course / "source" / "next")
    shutil.copytree(toy_course / "graders" / "toy", toy_course / "graders" / "next")
    hand_in_toy(toy_course, "ada", RIGHT)
    for command in ("grade", "regrade"):
        done = run(toy_course, "nbmark", command, "--all")
        assert done.returncode == 0, done.stderr
        assert "next: " not in done.stderr
    done = run(toy_course, "nbmark", "grade", "next")
    assert (done.returncode, "does not know 'next'" in done.stderr) == (1, True)


def test_a_broken_assignment_does_not_keep_the_others_from_being_graded(two_assignments):
    hand_in_toy(two_assignments, "ada", RIGHT)
    folder = two_assignments / "submitted" / "ada" / "play"
    shutil.copytree(two_assignments / "submitted" / "ada" / "toy", folder)
    (folder / "toy.ipynb").rename(folder / "play.ipynb")
    checks = two_assignments / "graders" / "play" / "test_toy.py"
    checks.write_text(checks.read_text().replace("matches(3.0", "matches(3.5"))
    done = run(two_assignments, "nbmark", "grade", "--all")
    assert done.returncode == 1
    assert "refuses the reference solution" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(dump(two_assignments, "toy")) == 1
    assert dump(two_assignments, "play") == []


def test_a_student_is_graded_wherever_they_handed_in(two_assignments):
    hand_in_toy(two_assignments, "ada", RIGHT)
    assert run(two_assignments, "nbmark", "grade", "--all", "--student", "ada").returncode == 0
    done = run(two_assignments, "nbmark", "grade", "--all", "--student", "nobody")
    assert done.returncode == 2
    assert "no submission by student 'nobody' under submitted/" in done.stderr


@pytest.mark.parametrize("words", [["grade"], ["verify"], ["grade", "toy", "--all"]], ids=" ".join)
def test_one_assignment_or_all_must_be_asked_for(toy_course, words):
    done = run(toy_course, "nbmark", *words)
    assert done.returncode == 2
    assert "name one assignment, or say --all (found: toy)" in done.stderr


def test_markup_and_control_characters_of_a_student_are_shown_as_they_are(toy_course):
    hand_in_toy(
        toy_course,
        "ada",
        "class E(Exception): pass\ndef f(x):\n"
        "    raise E('[/] [bold]b \\x1b[2J \\u202e end')\na = 3",
    )
    done = run(toy_course, "nbmark", "grade", "toy")
    assert done.returncode == 0, done.stderr
    assert "\x1b[2J" not in done.stdout + done.stderr
    assert "[bold]b \\u001b[2J \\u202e end" in done.stdout.replace("\n", "")


def test_doctor_prints_the_limits_of_every_assignment(toy_course):
    (toy_course / "graders" / "toy" / "assignment.toml").write_text("[limits]\nfiles = 7\n")
    findings = {
        one["subject"]: one["found"]
        for one in json.loads(run(toy_course, "nbmark", "doctor", "--json").stdout)
    }
    assert "cell_timeout_s 30" in findings["limits"]
    assert findings["limits of toy"] == "files 7"
    hand_in_toy(toy_course, "ada", RIGHT)
    (toy_course / "graders" / "toy" / "assignment.toml").write_text("[limits]\nfiles = 'x'\n")
    done = run(toy_course, "nbmark", "grade", "toy")
    assert done.returncode == 1
    assert "files = 'x'; this limit is a whole number above 0" in done.stderr


def test_whoever_took_longest_the_last_time_is_graded_first(toy_course):
    slow = f"import time\ntime.sleep(2)\n{RIGHT}"
    for student, answer in {"ada": RIGHT, "ben": slow, "cleo": RIGHT}.items():
        hand_in_toy(toy_course, student, answer)
    run(toy_course, "nbmark", "grade", "toy")
    done = run(toy_course, "nbmark", "grade", "toy", "--force", "--workers", "1")
    lines = [line for line in done.stderr.splitlines() if " of 3, " in line]
    assert "ben: 3 points" in lines[0]
    assert len(lines) == 3


def edit(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


BROKEN_FILES = {
    "a configuration that is no Python": (
        lambda course: edit(course / "nbgrader_config.py", "c = get_config()", "c = = 1"),
        "nbgrader_config.py cannot be used: SyntaxError: invalid syntax",
    ),
    "a configuration that fails": (
        lambda course: edit(course / "nbgrader_config.py", "c = get_config()", "c = {}['x']"),
        "nbgrader_config.py cannot be used: KeyError: 'x'; mend it in /",
    ),
    "limits in another encoding": (
        lambda course: (course / "graders/toy/assignment.toml").write_bytes(b"# caf\xe9\n"),
        "graders/toy/assignment.toml is no TOML in UTF-8: 'utf-8' codec can't decode byte 0xe9",
    ),
    "a grade cell without points": (
        lambda course: edit(course / "source/toy/toy.ipynb", '"points": 3,', ""),
        "source/toy: the grade cell 'a' has no points; give it a number",
    ),
    "a grade cell with points in words": (
        lambda course: edit(course / "source/toy/toy.ipynb", '"points": 3,', '"points": "three",'),
        "source/toy: the grade cell 'a' has points = 'three'; give it a number",
    ),
    "a whole number with a point": (
        lambda course: (course / "graders/toy/assignment.toml").write_text(
            "[limits]\nmemory_mib = 1024.0\n"
        ),
        "graders/toy/assignment.toml: memory_mib = 1024.0; this limit is a whole number above 0",
    ),
    "a limit that is no number": (
        lambda course: (course / "graders/toy/assignment.toml").write_text(
            "[limits]\ncell_timeout_s = nan\n"
        ),
        "graders/toy/assignment.toml: cell_timeout_s = nan; this limit is a number above 0",
    ),
}


@pytest.mark.parametrize(
    ("what", "command"),
    [
        *((what, "grade toy") for what in BROKEN_FILES),
        *(
            (what, command)
            for what in ("a configuration that fails", "a limit that is no number")
            for command in ("grade --all", "regrade toy")
        ),
        ("a limit that is no number", "verify toy"),
    ],
)
def test_a_broken_file_of_the_course_is_one_line(toy_course, what, command):
    hand_in_toy(toy_course, "ada", RIGHT)
    break_it, said = BROKEN_FILES[what]
    break_it(toy_course)
    done = run(toy_course, "nbmark", *command.split())
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("nbmark: ")]
    assert said in line
    assert "Traceback" not in done.stderr


def test_a_fault_of_our_own_is_one_line_and_shows_where_if_asked(toy_course):
    (toy_course / "sitecustomize.py").write_text(
        "import shutil\nshutil.which = lambda name: 1 / 0\n"
    )
    done = run(toy_course, "nbmark", "doctor", PYTHONPATH=str(toy_course))
    assert done.returncode == 1
    assert done.stderr == (
        "nbmark: internal error, ZeroDivisionError: division by zero; please report it "
        "(NBMARK_TRACEBACK=1 shows where)\n"
    )
    where = {"PYTHONPATH": str(toy_course), "NBMARK_TRACEBACK": "1"}
    done = run(toy_course, "nbmark", "doctor", **where)
    assert done.returncode == 1
    assert "doctor.py" in done.stderr
    assert done.stderr.endswith("(NBMARK_TRACEBACK=1 shows where)\n")


def test_a_folder_of_nobodys_keeps_nobody_from_being_graded(toy_course):
    run(toy_course, "nbgrader", "db", "student", "add", "ada")
    hand_in_toy(toy_course, "ada", RIGHT)
    (toy_course / "submitted" / "zoe" / "toy").mkdir(parents=True)
    config = toy_course / "nbgrader_config.py"
    config.write_text(config.read_text() + "\nc.Autograde.create_student = False\n")
    done = run(toy_course, "nbgrader", "autograde", "toy")
    assert done.returncode == 1
    assert "zoe was not graded: no student 'zoe' in the gradebook" in done.stderr
    assert [row["student"] for row in dump(toy_course, "toy")] == ["ada"]
    assert run(toy_course, "nbgrader", "db", "student", "add", "zoe").returncode == 0
    assert run(toy_course, "nbgrader", "autograde", "toy").returncode == 0
    assert [row["student"] for row in dump(toy_course, "toy")] == ["ada", "zoe"]


def test_a_folder_with_a_strange_name_is_not_up_to_date(toy_course):
    hand_in_toy(toy_course, "ada", RIGHT)
    hand_in_toy(toy_course, "no student", RIGHT)
    for due in (2, 1):
        done = run(toy_course, "nbmark", "grade", "toy")
        assert done.returncode == 1
        assert f"{due} submissions to grade, {2 - due} up to date" in done.stderr
        assert f"1 of {due}, 1 failed" in done.stderr
    assert "1 up to date, 1 not graded" in done.stdout
    assert "no student: the name of its folder under submitted/ cannot be" in done.stderr


def test_a_log_tells_how_far_it_is_how_fast_and_for_how_long(toy_course):
    for student in ("ada", "ben"):
        hand_in_toy(toy_course, student, RIGHT)
    lines = run(toy_course, "nbmark", "grade", "toy").stderr.splitlines()
    assert lines[0] == "toy: 2 submissions to grade, 0 up to date"
    for number, line in enumerate(lines[1:], start=1):
        found = re.fullmatch(
            rf"toy: {number} of 2, 0 failed, \d+ a minute, (\d+) s left: (ada|ben): 3 points", line
        )
        assert found, line
    assert len(lines) == 3
    assert found[1] == "0"


def test_a_terminal_shows_the_same_in_one_line(toy_course):
    hand_in_toy(toy_course, "ada", RIGHT)
    ours, theirs = pty.openpty()
    command = [BIN / "nbmark", "grade", "toy"]
    with subprocess.Popen(command, cwd=toy_course, stdout=subprocess.DEVNULL, stderr=theirs):
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # so a terminal ends
            while data := os.read(ours, 1 << 16):
                shown += data
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    assert re.search(r"toy .* 1/1 0 failed, \d+ a minute 0:00:00", text)
    assert "submissions to grade" not in text


def test_while_nobody_is_graded_yet_a_log_tells_what_is_going_on(monkeypatch, capsys):
    monkeypatch.setattr(report, "LOOK_S", 0.05)
    with contextlib.closing(tables.Progress("toy")) as progress:
        time.sleep(0.1)  # the trial of the assignment is not counted
        progress.looked(0, 1000)
        time.sleep(0.1)
        progress.looked(7, 1000)
    said = capsys.readouterr().err
    assert said == "toy: looked at 7 of 1000 submissions, whether they are due\n"


def test_what_is_graded_before_trouble_of_ours_is_printed_as_json(two_assignments):
    hand_in_toy(two_assignments, "ada", RIGHT)
    conftest = two_assignments / "graders" / "toy" / "conftest.py"
    conftest.write_text("def pytest_collection():\n    raise OSError('the disk is gone')\n")
    done = run(two_assignments, "nbmark", "grade", "--all", "--json")
    assert done.returncode == 1
    assert [one["assignment"] for one in json.loads(done.stdout)["assignments"]] == ["play"]
    assert "nbmark: pytest failed on graders/toy: INTERNALERROR> OSError" in done.stderr
    assert "Traceback" not in done.stderr
