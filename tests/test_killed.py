"""Whatever is killed, whenever: a second run gives what an undisturbed one would have given."""

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
from helpers import HALF, RIGHT, dump, hand_in_toy
from nbmark.course.course import Course
from nbmark.errors import InfrastructureError
from nbmark.models import Submission
from nbmark.workers.pool import CheckPool

ANSWERS = {"ada": RIGHT, "ben": HALF, "cleo": RIGHT, "dina": HALF}
AGAIN = ("CourseGradebook.record_again", "write_atomic", "evidence.store", "evidence.mark_complete")
STEPS = ("evidence.store", "replaced_folder", "CourseGradebook.record", "evidence.mark_complete")
KILL = """
import os, signal, sys
from nbmark.records import evidence
from nbmark.records.store import store
from nbmark.gradebook.gradebook import CourseGradebook
owner = {{"evidence": evidence, "CourseGradebook": CourseGradebook}}.get("{step}".split(".")[0], records)
name = "{step}".split(".")[-1]
real, calls = getattr(owner, name), []
def killed(*arguments, **keywords):
    calls.append(1)
    if len(calls) == 2 and "{when}" == "before": os.kill(os.getpid(), signal.SIGKILL)
    found = real(*arguments, **keywords)
    if len(calls) == 2: os.kill(os.getpid(), signal.SIGKILL)
    return found
setattr(owner, name, killed)
"""
COMMANDS = {
    "nbmark": "from nbmark.commands.cli import main; main(['grade', 'toy'])",
    "nbgrader": "from nbgrader.apps import NbGraderApp; "
    "NbGraderApp.launch_instance(['autograde', 'toy'])",
}


@pytest.fixture
def handed_in(toy_course: Path) -> Path:
    for student, answer in ANSWERS.items():
        hand_in_toy(toy_course, student, answer)
    return toy_course


@pytest.fixture(scope="module")
def undisturbed(toy_template: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    course = Path(shutil.copytree(toy_template, tmp_path_factory.mktemp("calm") / "course"))
    for student, answer in ANSWERS.items():
        hand_in_toy(course, student, answer)
    assert run(course, "nbmark", "grade", "toy").returncode == 0
    return dump(course, "toy")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_between_two_writes_loses_nothing(handed_in, undisturbed, command, step):
    when = "before" if command == "nbmark" else "after"
    script = KILL.format(step=step, when=when) + COMMANDS[command]
    killed = subprocess.run(
        [sys.executable, "-c", script], cwd=handed_in, capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not_graded_as_zero(handed_in)
    again = run(
        handed_in,
        *(["nbmark", "grade", "toy"] if command == "nbmark" else ["nbgrader", "autograde", "toy"]),
    )
    assert again.returncode == 0, again.stderr
    assert dump(handed_in, "toy") == undisturbed


@pytest.mark.parametrize("delay_s", [2.5, 3.5, 4.5])
def test_a_kill_at_any_time_loses_nothing(handed_in, undisturbed, delay_s):
    process = subprocess.Popen(
        [str(BIN / "nbgrader"), "autograde", "toy"],
        cwd=handed_in,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=dict(os.environ),
    )
    time.sleep(delay_s)
    process.kill()
    process.wait()
    assert run(handed_in, "nbgrader", "autograde", "toy").returncode == 0
    assert dump(handed_in, "toy") == undisturbed


def test_an_interrupt_stops_at_once_and_a_second_run_finishes(handed_in, undisturbed):
    hand_in_toy(handed_in, "ada", "import time\ntime.sleep(25)\n" + RIGHT)
    process = subprocess.Popen(
        [str(BIN / "nbmark"), "grade", "toy"],
        cwd=handed_in,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background hands on that interrupts are ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    time.sleep(5)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert "run it again for the rest" in process.communicate()[1]
    assert process.returncode == 130
    assert time.monotonic() - began < 10  # the submission under way would take 25
    hand_in_toy(handed_in, "ada", RIGHT)
    assert run(handed_in, "nbmark", "grade", "toy").returncode == 0
    assert dump(handed_in, "toy") == undisturbed


@pytest.fixture(scope="module")
def changed(toy_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everybody graded, and since then a check has become stricter: Ada and Cleo lose a point."""
    course = Path(shutil.copytree(toy_template, tmp_path_factory.mktemp("changed") / "course"))
    for student, answer in ANSWERS.items():
        hand_in_toy(course, student, answer.replace("3.0", "3.4"))
    checks = course / "graders" / "toy" / "test_toy.py"
    strict = checks.read_text()
    checks.write_text(strict.replace("matches(3.0,", "matches(3.0, abs=0.5,"))
    assert run(course, "nbmark", "grade", "toy").returncode == 0
    checks.write_text(strict)
    assert run(course, "nbmark", "verify", "toy").returncode == 0
    return course


@pytest.fixture(scope="module")
def judged_anew(changed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, after an undisturbed ``nbmark regrade --apply``."""
    course = Path(shutil.copytree(changed, tmp_path_factory.mktemp("anew") / "course"))
    assert run(course, "nbmark", "regrade", "toy", "--apply").returncode == 0
    assert [row["score"] for row in dump(course, "toy")] == [2, 2, 2, 2]
    return course


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", AGAIN)
def test_judging_again_after_a_kill_gives_what_the_first_time_would_have(
    changed, judged_anew, tmp_path, step, when
):
    course = Path(shutil.copytree(changed, tmp_path / "course"))
    script = "from nbmark.commands.cli import main; main(['regrade', 'toy', '--apply', '--workers', '1'])"
    killed = subprocess.run(
        [sys.executable, "-c", KILL.format(step=step, when=when) + script],
        cwd=course,
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    again = run(course, "nbmark", "regrade", "toy", "--apply")
    assert again.returncode == 0, again.stderr
    assert "4 judged anew" in again.stdout
    assert dump(course, "toy") == dump(judged_anew, "toy")
    for student in ANSWERS:
        name = f"autograded/{student}/toy/toy.ipynb"
        assert (course / name).read_text() == (judged_anew / name).read_text()
    graded = run(course, "nbmark", "grade", "toy").stdout
    assert "4 up to date" in graded
    assert "earlier checks" not in graded


def not_graded_as_zero(course: Path) -> bool:
    """Whether every submission in the gradebook is there with all its scores."""
    return all(row["notebooks"]["toy"]["grades"]["a"][0] is not None for row in dump(course, "toy"))


@pytest.mark.parametrize("delay_s", [0, 0.1, 1])
def test_whoever_waits_for_a_check_process_that_is_ended_is_told(toy_course, delay_s):
    submission = Submission("ada", {"toy": None}, "0" * 64, b"")
    assignment = Course(toy_course).assignment("toy")
    with closing(CheckPool(assignment, "bubblewrap", 2)) as pool:
        with suppress(KeyboardInterrupt), pool.threads() as threads:
            waiting = [threads.submit(pool.grade, submission) for _ in range(4)]
            time.sleep(delay_s)
            raise KeyboardInterrupt
        for one in waiting:
            assert one.cancelled() or isinstance(one.exception(), InfrastructureError | NoneType)
