"""The commands as a person types them refuse mistakes in one clear line, and show progress."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import classroom
from conftest import BIN, ROOT, run
from helpers import HALF, RIGHT, dump_gradebook, submit_toy
from nbmark.commands import progress as progress_module
from nbmark.commands.arguments import select
from nbmark.course.course import Course
from nbmark.course.lock import course_lock

WRONG_NAMES = {
    "grade ty": "no assignment 'ty' under source/ (found: toy). Did you mean 'toy'?",
    "verify ../toy": "no assignment '../toy' under source/ (found: toy)",
    "grade toy --student adda": "no submission of 'toy' by student 'adda' under submitted/ "
    "(found: ada). Did you mean 'ada'?",
    "grade toy --sandbox jail": "'jail' is not one of 'bubblewrap', 'none'",
    "grad toy": "no command 'grad' under nbmark (found: doctor, grade, regrade, verify). Did you "
    "mean 'grade'?",
    "--workers 2": "No such option '--workers' ('nbmark --help' lists the options)",
    "grade toy --workers 0": "0 is not in the range 1<=x<=512 ('nbmark grade --help' lists the",
    "grade toy --forc": "No such option '--forc'. Did you mean '--force'?",
    "grade toy play": "unexpected extra argument (play)",
    "grade toy --course nowhere": "'nowhere' does not exist",
    "regrade": "name one assignment, or say --all (found: toy)",
}


@pytest.mark.parametrize("command", WRONG_NAMES)
def test_a_name_that_does_not_exist_gets_one_line_and_exit_status_2(toy_course, command):
    submit_toy(toy_course, "ada", RIGHT)
    completed = run(toy_course, "nbmark", *command.split())
    assert completed.returncode == 2, completed.stderr
    (line,) = completed.stderr.splitlines()
    assert line.startswith("nbmark: ")
    assert WRONG_NAMES[command] in line
    assert dump_gradebook(toy_course, "toy") == []


def test_missing_checks_are_named(toy_course):
    shutil.rmtree(toy_course / "graders" / "toy")
    completed = run(toy_course, "nbmark", "grade", "toy")
    assert completed.returncode == 1
    assert "graders/toy is missing" in completed.stderr


def test_an_assignment_that_the_gradebook_lacks_is_refused_with_the_remedy(toy_course):
    (toy_course / "gradebook.db").unlink()
    completed = run(toy_course, "nbmark", "grade", "toy")
    assert completed.returncode == 1
    remedy = "nbgrader generate_assignment toy --force"
    assert f"the gradebook does not know 'toy'; run '{remedy}'" in completed.stderr
    assert run(toy_course, *remedy.split()).returncode == 0
    assert "nothing to grade" in run(toy_course, "nbmark", "grade", "toy").stdout


def test_outside_a_course_the_message_says_that_there_are_no_assignments(tmp_path):
    completed = run(tmp_path, "nbmark", "grade", "toy")
    assert completed.returncode == 2
    assert "no assignment 'toy' under source/ (found: none)" in completed.stderr


def test_only_the_named_student_is_graded(toy_course):
    for student in ("ada", "ben"):
        submit_toy(toy_course, student, RIGHT)
    completed = run(toy_course, "nbmark", "grade", "toy", "--student", "ben", "--json")
    assert [row["student"] for row in json.loads(completed.stdout)["students"]] == ["ben"]
    assert [row["student"] for row in dump_gradebook(toy_course, "toy")] == ["ben"]


def test_a_new_submission_is_graded_and_the_old_evidence_stays(toy_course):
    submit_toy(toy_course, "ada", HALF)
    run(toy_course, "nbmark", "grade", "toy")
    submit_toy(toy_course, "ada", RIGHT)
    completed = run(toy_course, "nbmark", "grade", "toy", "--json")
    row = json.loads(completed.stdout)["students"][0]
    assert (row["outcome"], row["points"]) == ("graded", 3.0)
    assert len(list((toy_course / "evidence" / "toy" / "ada").glob("*.json"))) == 3


def test_grades_from_earlier_checks_are_reported_and_left_unchanged(toy_course):
    submit_toy(toy_course, "ada", RIGHT)
    run(toy_course, "nbmark", "grade", "toy")
    checks = toy_course / "graders" / "toy" / "test_toy.py"
    checks.write_text(checks.read_text().replace("f doubles", "f doubles x"))
    completed = run(toy_course, "nbmark", "grade", "toy")
    assert "graded with earlier checks; 'nbmark regrade' judges again" in completed.stdout
    assert dump_gradebook(toy_course, "toy")[0]["notebooks"]["toy"]["grades"]["a"][0] == 3.0


def test_grading_without_a_sandbox_warns_and_is_recorded(toy_course):
    submit_toy(toy_course, "ada", RIGHT)
    completed = run(toy_course, "nbmark", "grade", "toy", "--sandbox", "none", "--json")
    assert completed.returncode == 0, completed.stderr
    assert "students' code runs with your rights" in completed.stderr
    assert json.loads(completed.stdout)["students"][0]["sandbox"] == "none"


@contextlib.contextmanager
def another_grading(course: Path) -> Iterator[None]:
    """Hold the course lock, as a grading does that began 90 seconds ago."""
    with course_lock(Course(course), 0, lambda running_s: None):
        began_at_s = time.time() - 90
        os.utime(course / ".nbmark" / "lock-since", (began_at_s, began_at_s))
        yield


def test_with_wait_0_a_second_grading_is_refused_at_once(toy_course):
    submit_toy(toy_course, "ada", RIGHT)
    with another_grading(toy_course):
        completed = run(toy_course, "nbmark", "grade", "toy", "--wait", "0")
    assert completed.returncode == 1
    (line,) = completed.stderr.splitlines()
    refusal = re.fullmatch(
        f"nbmark: another grading of {re.escape(str(toy_course))} has been running for "
        r"(\d+) s; run this again when it has finished "
        r"\('nbmark grade --wait SECONDS' waits longer\)",
        line,
    )
    assert refusal, line
    assert 90 <= int(refusal[1]) < 150
    assert dump_gradebook(toy_course, "toy") == []


def test_a_second_grading_waits_for_the_first(toy_course):
    submit_toy(toy_course, "ada", RIGHT)
    command = [BIN / "nbmark", "grade", "toy"]
    with another_grading(toy_course):
        process = subprocess.Popen(
            command, cwd=toy_course, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        line = process.stderr.readline()
        assert process.poll() is None
        assert dump_gradebook(toy_course, "toy") == []
    remaining_log = process.communicate()[1]
    waiting = re.fullmatch(
        r"nbmark: another grading of this course has been running for (\d+) s; waiting\n", line
    )
    assert waiting, line
    assert 90 <= int(waiting[1]) < 150
    assert process.returncode == 0, remaining_log
    assert [row["student"] for row in dump_gradebook(toy_course, "toy")] == ["ada"]


def test_material_that_changes_during_the_wait_is_read_after_it(toy_course):
    submit_toy(
        toy_course, "ada", "a = float(open('number.txt').read())\ndef f(x):\n    return 2 * x"
    )
    command = [BIN / "nbmark", "grade", "toy"]
    with another_grading(toy_course):
        process = subprocess.Popen(command, cwd=toy_course, stderr=subprocess.PIPE, text=True)
        process.stderr.readline()
        for folder in ("source", "release"):
            (toy_course / folder / "toy" / "number.txt").write_text("3")
    log = process.communicate()[1]
    assert process.returncode == 0, log
    assert dump_gradebook(toy_course, "toy")[0]["notebooks"]["toy"]["grades"]["a"][0] == 3


def test_a_notebook_that_is_a_link_is_not_followed(toy_course):
    folder = submit_toy(toy_course, "ada", RIGHT)
    (folder / "toy.ipynb").unlink()
    (folder / "toy.ipynb").symlink_to(toy_course / "source" / "toy" / "toy.ipynb")
    (folder / "secret.txt").symlink_to(toy_course / "gradebook.db")
    for command in (["nbmark", "grade", "toy"], ["nbgrader", "autograde", "toy", "--force"]):
        assert run(toy_course, *command).returncode == 0
        assert dump_gradebook(toy_course, "toy")[0]["score"] == 0
        folder = toy_course / "autograded" / "ada" / "toy"
        assert {path.name for path in folder.iterdir()} == {
            "submission_secret.txt",
            "timestamp.txt",
            "toy.ipynb",
        }


def test_pytest_runs_the_checks_on_one_notebook(tmp_path):
    wrong = tmp_path / "mine.ipynb"
    wrong.write_bytes(classroom.case("rss-for-mse").files()["mse.ipynb"])
    right = ROOT / "source" / "mse" / "mse.ipynb"
    passed = run(ROOT, "pytest", "graders/mse", "--submission", str(right))
    assert passed.returncode == 0, passed.stdout
    assert "22 passed" in passed.stdout
    check_wrong = ["pytest", "graders/mse", "--submission", str(wrong)]
    failed = run(ROOT, *check_wrong)
    assert failed.returncode == 1
    assert "This is the sum of the squared residuals" in failed.stdout
    stopped_early = run(ROOT, *check_wrong, "-x")
    assert "1 failed" in stopped_early.stdout
    selected = run(ROOT, *check_wrong, "-k", "plot", "--student-id", "ada")
    assert "4 passed, 18 deselected" in selected.stdout


def test_pytest_reports_a_missing_notebook(tmp_path):
    completed = run(ROOT, "pytest", "graders/mse", "--submission", str(tmp_path / "none.ipynb"))
    assert completed.returncode == 4
    assert "No such file or directory" in completed.stderr


def test_a_bare_pytest_does_not_collect_the_hidden_checks():
    completed = run(ROOT, "pytest", "--collect-only", "-q")
    assert "graders/" not in completed.stdout


@pytest.fixture
def two_assignments(toy_course):
    """Return a course with its assignment twice, as toy and as play, and no submissions."""
    for folder in ("source", "graders"):
        shutil.copytree(toy_course / folder / "toy", toy_course / folder / "play")
    source = toy_course / "source" / "play"
    (source / "toy.ipynb").rename(source / "play.ipynb")
    assert run(toy_course, "nbgrader", "generate_assignment", "play", "--force").returncode == 0
    return toy_course


def test_the_whole_course_is_graded_with_one_command(two_assignments):
    submit_toy(two_assignments, "ada", RIGHT)
    completed = run(two_assignments, "nbmark", "grade", "--all", "--json")
    assert completed.returncode == 0, completed.stderr
    assignments = json.loads(completed.stdout)["assignments"]
    rows = {assignment["assignment"]: assignment["students"] for assignment in assignments}
    assert rows["play"] == []
    assert [row["points"] for row in rows["toy"]] == [3]


def test_an_assignment_that_is_not_released_yet_is_skipped(toy_course):
    shutil.copytree(toy_course / "source" / "toy", toy_course / "source" / "next")
    shutil.copytree(toy_course / "graders" / "toy", toy_course / "graders" / "next")
    submit_toy(toy_course, "ada", RIGHT)
    for command in ("grade", "regrade"):
        completed = run(toy_course, "nbmark", command, "--all")
        assert completed.returncode == 0, completed.stderr
        assert "next: " not in completed.stderr
    completed = run(toy_course, "nbmark", "grade", "next")
    assert (completed.returncode, "does not know 'next'" in completed.stderr) == (1, True)


def test_a_broken_assignment_does_not_stop_the_others(two_assignments):
    submit_toy(two_assignments, "ada", RIGHT)
    folder = two_assignments / "submitted" / "ada" / "play"
    shutil.copytree(two_assignments / "submitted" / "ada" / "toy", folder)
    (folder / "toy.ipynb").rename(folder / "play.ipynb")
    checks = two_assignments / "graders" / "play" / "test_toy.py"
    checks.write_text(checks.read_text().replace("matches(3.0", "matches(3.5"))
    completed = run(two_assignments, "nbmark", "grade", "--all")
    assert completed.returncode == 1
    assert "refuses the reference solution" in completed.stderr
    assert "Traceback" not in completed.stderr
    assert len(dump_gradebook(two_assignments, "toy")) == 1
    assert dump_gradebook(two_assignments, "play") == []


def test_a_student_is_graded_in_every_assignment_that_they_submitted(two_assignments):
    submit_toy(two_assignments, "ada", RIGHT)
    assert run(two_assignments, "nbmark", "grade", "--all", "--student", "ada").returncode == 0
    completed = run(two_assignments, "nbmark", "grade", "--all", "--student", "nobody")
    assert completed.returncode == 2
    assert "no submission by student 'nobody' under submitted/" in completed.stderr


def test_the_students_of_a_whole_course_are_listed_when_their_assignment_is_due(toy_course):
    toy = Course(toy_course).assignment("toy")

    def selected(students: tuple[str, ...], present: list[str]) -> list[str] | None:
        return select([toy], students, lambda name: present, "submission", "submitted/")[0][1]

    assert selected((), ["ada", "ben"]) is None
    assert selected((), []) == []
    assert selected(("ben",), ["ada", "ben"]) == ["ben"]


def test_a_whole_course_with_one_broken_assignment_still_prints_json(toy_course):
    submit_toy(toy_course, "ada", RIGHT)
    (toy_course / "graders" / "toy" / "assignment.toml").write_text("[limit]\n")
    completed = run(toy_course, "nbmark", "grade", "--all", "--json")
    assert completed.returncode == 1
    assert json.loads(completed.stdout) == {"assignments": []}
    assert "no table 'limit'" in completed.stderr


@pytest.mark.parametrize("command", ["grade", "verify", "grade toy --all"])
def test_a_command_needs_one_assignment_or_all(toy_course, command):
    completed = run(toy_course, "nbmark", *command.split())
    assert completed.returncode == 2
    assert "name one assignment, or say --all (found: toy)" in completed.stderr


def test_a_students_markup_is_printed_as_text_and_control_characters_are_escaped(toy_course):
    submit_toy(
        toy_course,
        "ada",
        "class E(Exception): pass\ndef f(x):\n"
        "    raise E('[/] [bold]b \\x1b[2J \\u202e end')\na = 3",
    )
    completed = run(toy_course, "nbmark", "grade", "toy")
    assert completed.returncode == 0, completed.stderr
    assert "\x1b[2J" not in completed.stdout + completed.stderr
    assert "[bold]b \\u001b[2J \\u202e end" in completed.stdout.replace("\n", "")


def test_doctor_prints_the_limits_of_every_assignment(toy_course):
    (toy_course / "graders" / "toy" / "assignment.toml").write_text("[limits]\nfiles = 7\n")
    doctor = run(toy_course, "nbmark", "doctor", "--json")
    findings = {finding["subject"]: finding["found"] for finding in json.loads(doctor.stdout)}
    assert "cell_cpu_s 30, question_cpu_s 10, cpu_s 600, cell_timeout_s 60" in findings["limits"]
    assert findings["limits of toy"] == "files 7"
    submit_toy(toy_course, "ada", RIGHT)
    (toy_course / "graders" / "toy" / "assignment.toml").write_text("[limits]\nfiles = 'x'\n")
    completed = run(toy_course, "nbmark", "grade", "toy")
    assert completed.returncode == 1
    assert "files = 'x'; this setting takes a whole number above 0" in completed.stderr


def test_the_slowest_submission_of_the_last_grading_is_graded_first(toy_course):
    slow = f"import time\ntime.sleep(2)\n{RIGHT}"
    for student, answer in {"ada": RIGHT, "ben": slow, "cleo": RIGHT}.items():
        submit_toy(toy_course, student, answer)
    run(toy_course, "nbmark", "grade", "toy")
    completed = run(toy_course, "nbmark", "grade", "toy", "--force", "--workers", "1")
    lines = [line for line in completed.stderr.splitlines() if " of 3, " in line]
    assert "ben: 3 points" in lines[0]
    assert len(lines) == 3


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that must be there; without it the test would prove nothing."""
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def write_limits(course: Path, setting: str) -> None:
    (course / "graders/toy/assignment.toml").write_text(f"[limits]\n{setting}\n")


BROKEN_FILES = {
    "a configuration that is not Python": (
        lambda course: edit(course / "nbgrader_config.py", "c = get_config()", "c = = 1"),
        "nbgrader_config.py cannot be used: SyntaxError: invalid syntax",
    ),
    "a configuration that fails": (
        lambda course: edit(course / "nbgrader_config.py", "c = get_config()", "c = {}['x']"),
        "nbgrader_config.py cannot be used: KeyError: 'x'; fix it in /",
    ),
    "limits in another encoding": (
        lambda course: (course / "graders/toy/assignment.toml").write_bytes(b"# caf\xe9\n"),
        "graders/toy/assignment.toml is not TOML in UTF-8: 'utf-8' codec can't decode byte 0xe9",
    ),
    "a grade cell without points": (
        lambda course: edit(course / "source/toy/toy.ipynb", '"points": 3,', ""),
        "source/toy: the grade cell 'a' has no points; give it a number",
    ),
    "a grade cell with points in words": (
        lambda course: edit(course / "source/toy/toy.ipynb", '"points": 3,', '"points": "three",'),
        "source/toy: the grade cell 'a' has points = 'three'; give it a number",
    ),
    "a whole number with a decimal point": (
        lambda course: write_limits(course, "memory_mib = 1024.0"),
        "graders/toy/assignment.toml: memory_mib = 1024.0; this setting takes a whole number "
        "above 0",
    ),
    "a limit that is not a number": (
        lambda course: write_limits(course, "cell_timeout_s = nan"),
        "graders/toy/assignment.toml: cell_timeout_s = nan; this setting takes a number above 0",
    ),
}


@pytest.mark.parametrize(
    ("problem", "command"),
    [
        *((problem, "grade toy") for problem in BROKEN_FILES),
        *(
            (problem, command)
            for problem in ("a configuration that fails", "a limit that is not a number")
            for command in ("grade --all", "regrade toy")
        ),
        ("a limit that is not a number", "verify toy"),
    ],
)
def test_a_broken_file_of_the_course_is_reported_in_one_line(toy_course, problem, command):
    submit_toy(toy_course, "ada", RIGHT)
    break_file, message = BROKEN_FILES[problem]
    break_file(toy_course)
    completed = run(toy_course, "nbmark", *command.split())
    assert completed.returncode == 1
    (line,) = [line for line in completed.stderr.splitlines() if line.startswith("nbmark: ")]
    assert message in line
    assert "Traceback" not in completed.stderr


def test_an_internal_error_is_one_line_and_a_traceback_on_request(toy_course):
    (toy_course / "sitecustomize.py").write_text(
        "import shutil\nshutil.which = lambda name: 1 / 0\n"
    )
    completed = run(toy_course, "nbmark", "doctor", PYTHONPATH=str(toy_course))
    assert completed.returncode == 1
    assert completed.stderr == (
        "nbmark: internal error, ZeroDivisionError: division by zero; please report it "
        "(NBMARK_TRACEBACK=1 shows where)\n"
    )
    environment = {"PYTHONPATH": str(toy_course), "NBMARK_TRACEBACK": "1"}
    completed = run(toy_course, "nbmark", "doctor", **environment)
    assert completed.returncode == 1
    assert "doctor.py" in completed.stderr
    assert completed.stderr.endswith("(NBMARK_TRACEBACK=1 shows where)\n")


def test_the_folder_of_an_unknown_student_does_not_stop_the_others(toy_course):
    run(toy_course, "nbgrader", "db", "student", "add", "ada")
    submit_toy(toy_course, "ada", RIGHT)
    (toy_course / "submitted" / "zoe" / "toy").mkdir(parents=True)
    config = toy_course / "nbgrader_config.py"
    config.write_text(config.read_text() + "\nc.Autograde.create_student = False\n")
    completed = run(toy_course, "nbgrader", "autograde", "toy")
    assert completed.returncode == 1
    assert "zoe was not graded: no student 'zoe' in the gradebook" in completed.stderr
    assert [row["student"] for row in dump_gradebook(toy_course, "toy")] == ["ada"]
    assert run(toy_course, "nbgrader", "db", "student", "add", "zoe").returncode == 0
    assert run(toy_course, "nbgrader", "autograde", "toy").returncode == 0
    assert [row["student"] for row in dump_gradebook(toy_course, "toy")] == ["ada", "zoe"]


def test_a_folder_whose_name_is_no_student_id_is_never_up_to_date(toy_course):
    submit_toy(toy_course, "ada", RIGHT)
    submit_toy(toy_course, "no*student", RIGHT)
    for due in (2, 1):
        completed = run(toy_course, "nbmark", "grade", "toy")
        assert completed.returncode == 1
        assert f"{due} submissions to grade, {2 - due} up to date" in completed.stderr
        assert f"1 of {due}, 1 failed" in completed.stderr
    assert "1 up to date, 1 not graded" in completed.stdout
    assert "no*student: the name of its folder under submitted/ cannot be" in completed.stderr


def test_a_log_shows_progress_speed_and_the_time_left(toy_course):
    for student in ("ada", "ben"):
        submit_toy(toy_course, student, RIGHT)
    lines = run(toy_course, "nbmark", "grade", "toy").stderr.splitlines()
    assert lines[0] == "toy: 2 submissions to grade, 0 up to date"
    for number, line in enumerate(lines[1:], start=1):
        progress = re.fullmatch(
            rf"toy: {number} of 2, 0 failed, \d+ a minute, (\d+) s left: (ada|ben): 3 points", line
        )
        assert progress, line
    assert len(lines) == 3
    assert progress[1] == "0"


def test_a_terminal_shows_progress_in_one_line(toy_course):
    submit_toy(toy_course, "ada", RIGHT)
    terminal, program_end = pty.openpty()
    command = [BIN / "nbmark", "grade", "toy"]
    with subprocess.Popen(command, cwd=toy_course, stdout=subprocess.DEVNULL, stderr=program_end):
        os.close(program_end)
        screen = b""
        # Linux reports the end of a terminal's output as an error, not as an empty read.
        with contextlib.suppress(OSError):
            while data := os.read(terminal, 1 << 16):
                screen += data
    os.close(terminal)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.decode())
    assert re.search(r"toy .* 1/1 0 failed, \d+ a minute 0:00:00", text)
    assert "submissions to grade" not in text


def test_a_log_shows_progress_before_the_first_submission_is_graded(monkeypatch, capsys):
    monkeypatch.setattr(progress_module, "REPORT_S", 0.05)
    with contextlib.closing(progress_module.Progress("toy", "grade")) as progress:
        time.sleep(0.1)  # the time for verifying the assignment does not count
        progress.checked(0, 1000)
        time.sleep(0.1)
        progress.checked(7, 1000)
    log = capsys.readouterr().err
    assert log == "toy: checked whether 7 of 1000 submissions need grading\n"


def test_grades_from_before_a_failure_are_still_printed_as_json(two_assignments):
    submit_toy(two_assignments, "ada", RIGHT)
    conftest = two_assignments / "graders" / "toy" / "conftest.py"
    conftest.write_text("def pytest_collection():\n    raise OSError('the disk is gone')\n")
    completed = run(two_assignments, "nbmark", "grade", "--all", "--json")
    assert completed.returncode == 1
    assignments = json.loads(completed.stdout)["assignments"]
    assert [assignment["assignment"] for assignment in assignments] == ["play"]
    assert "nbmark: pytest failed on graders/toy: INTERNALERROR> OSError" in completed.stderr
    assert "Traceback" not in completed.stderr
