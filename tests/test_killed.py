"""After a kill at any moment, a second run gives what an undisturbed run would have given."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from types import NoneType

import pytest

from conftest import BIN, run
from helpers import HALF, RIGHT, dump_gradebook, submit_toy
from nbmark.course.course import Course
from nbmark.errors import InfrastructureError
from nbmark.models import Submission
from nbmark.workers.pool import CheckPool

ANSWERS = {"ada": RIGHT, "ben": HALF, "cleo": RIGHT, "dina": HALF}
WRITES = "evidence.store replaced_folder CourseGradebook.record evidence.mark_complete".split()
REWRITES = "CourseGradebook.record_again write_atomic evidence.store evidence.mark_complete".split()
# Replaces one step of writing the records by one that kills its own process at the second call.
KILL = """
import os, signal, sys
from nbmark.records import evidence
from nbmark.records import store
from nbmark.gradebook.gradebook import CourseGradebook
owners = {{"evidence": evidence, "CourseGradebook": CourseGradebook}}
owner = owners.get("{step}".split(".")[0], store)
name = "{step}".split(".")[-1]
original, calls = getattr(owner, name), []
def killing(*arguments, **keywords):
    calls.append(1)
    if len(calls) == 2 and "{when}" == "before": os.kill(os.getpid(), signal.SIGKILL)
    result = original(*arguments, **keywords)
    if len(calls) == 2: os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(owner, name, killing)
"""
COMMANDS = {
    "nbmark": "from nbmark.commands.cli import main; main(['grade', 'toy'])",
    "nbgrader": "from nbgrader.apps import NbGraderApp; "
    "NbGraderApp.launch_instance(['autograde', 'toy'])",
}


@pytest.fixture
def course(toy_course: Path) -> Path:
    """Return a course with four submissions, none of them graded."""
    for student, answer in ANSWERS.items():
        submit_toy(toy_course, student, answer)
    return toy_course


@pytest.fixture(scope="module")
def undisturbed(toy_template: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """Return the gradebook's rows after a grading that nothing disturbed."""
    course = Path(shutil.copytree(toy_template, tmp_path_factory.mktemp("undisturbed") / "course"))
    for student, answer in ANSWERS.items():
        submit_toy(course, student, answer)
    assert run(course, "nbmark", "grade", "toy").returncode == 0
    return dump_gradebook(course, "toy")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("step", WRITES)
def test_a_kill_between_two_writes_loses_nothing(course, undisturbed, command, step):
    when = "before" if command == "nbmark" else "after"
    script = KILL.format(step=step, when=when) + COMMANDS[command]
    killed = subprocess.run(
        [sys.executable, "-c", script], cwd=course, capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not_graded_as_zero(course)
    arguments = ["grade", "toy"] if command == "nbmark" else ["autograde", "toy"]
    second = run(course, command, *arguments)
    assert second.returncode == 0, second.stderr
    assert dump_gradebook(course, "toy") == undisturbed


@pytest.mark.parametrize("delay_s", [2.5, 3.5, 4.5])
def test_a_kill_at_any_time_loses_nothing(course, undisturbed, delay_s):
    process = subprocess.Popen(
        [str(BIN / "nbgrader"), "autograde", "toy"],
        cwd=course,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=dict(os.environ),
    )
    time.sleep(delay_s)
    process.kill()
    process.wait()
    assert run(course, "nbgrader", "autograde", "toy").returncode == 0
    assert dump_gradebook(course, "toy") == undisturbed


def test_an_interrupt_stops_at_once_and_a_second_run_finishes(course, undisturbed):
    submit_toy(course, "ada", "import time\ntime.sleep(25)\n" + RIGHT)
    process = subprocess.Popen(
        [str(BIN / "nbmark"), "grade", "toy"],
        cwd=course,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background jobs with interrupts ignored, and every child inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    time.sleep(5)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert "run it again for the rest" in process.communicate()[1]
    assert process.returncode == 130
    assert time.monotonic() - began < 10  # the submission that is running would take 25
    submit_toy(course, "ada", RIGHT)
    assert run(course, "nbmark", "grade", "toy").returncode == 0
    assert dump_gradebook(course, "toy") == undisturbed


@pytest.fixture(scope="module")
def changed(toy_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a graded course whose check is stricter by now: Ada and Cleo lose a point."""
    course = Path(shutil.copytree(toy_template, tmp_path_factory.mktemp("changed") / "course"))
    for student, answer in ANSWERS.items():
        submit_toy(course, student, answer.replace("3.0", "3.4"))
    checks = course / "graders" / "toy" / "test_toy.py"
    strict_checks = checks.read_text()
    checks.write_text(strict_checks.replace("matches(3.0,", "matches(3.0, abs=0.5,"))
    assert run(course, "nbmark", "grade", "toy").returncode == 0
    checks.write_text(strict_checks)
    assert run(course, "nbmark", "verify", "toy").returncode == 0
    return course


@pytest.fixture(scope="module")
def regraded(changed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same course after an undisturbed ``nbmark regrade --apply``."""
    course = Path(shutil.copytree(changed, tmp_path_factory.mktemp("regraded") / "course"))
    assert run(course, "nbmark", "regrade", "toy", "--apply").returncode == 0
    assert [row["score"] for row in dump_gradebook(course, "toy")] == [2, 2, 2, 2]
    return course


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", REWRITES)
def test_regrading_after_a_kill_gives_what_an_undisturbed_run_gives(
    changed, regraded, tmp_path, step, when
):
    course = Path(shutil.copytree(changed, tmp_path / "course"))
    arguments = ["regrade", "toy", "--apply", "--workers", "1"]
    script = f"from nbmark.commands.cli import main; main({arguments})"
    killed = subprocess.run(
        [sys.executable, "-c", KILL.format(step=step, when=when) + script],
        cwd=course,
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    second = run(course, "nbmark", "regrade", "toy", "--apply")
    assert second.returncode == 0, second.stderr
    assert "4 regraded" in second.stdout
    assert dump_gradebook(course, "toy") == dump_gradebook(regraded, "toy")
    for student in ANSWERS:
        name = f"autograded/{student}/toy/toy.ipynb"
        assert (course / name).read_text() == (regraded / name).read_text()
    graded = run(course, "nbmark", "grade", "toy").stdout
    assert "4 up to date" in graded
    assert "earlier checks" not in graded


def not_graded_as_zero(course: Path) -> bool:
    """Return whether no submission in the gradebook lacks a score."""
    return all(
        row["notebooks"]["toy"]["grades"]["a"][0] is not None
        for row in dump_gradebook(course, "toy")
    )


@pytest.mark.parametrize("delay_s", [0, 0.1, 1])
def test_an_interrupt_leaves_no_submission_waiting_for_a_check_process(toy_course, delay_s):
    submission = Submission("ada", {"toy": None}, "0" * 64, b"")
    assignment = Course(toy_course).assignment("toy")
    with closing(CheckPool(assignment, "bubblewrap", 2)) as pool:
        with suppress(KeyboardInterrupt), pool.threads() as threads:
            futures = [threads.submit(pool.grade, submission) for _ in range(4)]
            time.sleep(delay_s)
            raise KeyboardInterrupt
        for future in futures:
            error_types = InfrastructureError | NoneType
            assert future.cancelled() or isinstance(future.exception(), error_types)
