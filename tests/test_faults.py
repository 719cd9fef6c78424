"""After a failure of the machine no grade is lost, doubled or invented; the next run completes."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import kills
import psutil
import pytest

from conftest import ROOT, run
from helpers import HALF, RIGHT, dump_gradebook, submit_toy

GRADE = [sys.executable, "-m", "nbmark.commands.cli", "grade", "toy"]


@pytest.fixture
def graded(toy_course: Path) -> Path:
    """Return a course with Ada and Ben graded, and a new, different submission of each."""
    submit_toy(toy_course, "ada", RIGHT)
    submit_toy(toy_course, "ben", HALF)
    assert run(toy_course, "nbmark", "grade", "toy").returncode == 0
    submit_toy(toy_course, "ada", HALF)
    submit_toy(toy_course, "ben", RIGHT)
    return toy_course


def points(course: Path) -> dict[str, float]:
    rows = dump_gradebook(course, "toy")
    return {row["student"]: row["notebooks"]["toy"]["grades"]["a"][0] for row in rows}


def assert_fails_without_traceback(completed: subprocess.CompletedProcess[str]) -> None:
    assert completed.returncode == 1
    assert "Traceback" not in completed.stderr


def test_ten_kills_at_random_moments_lose_no_grade(toy_course):
    assert kills.kill_and_resume(toy_course, kills=10, start=1) == []


def test_a_locked_gradebook_changes_nothing_and_the_next_run_completes(graded):
    lock = sqlite3.connect(graded / "gradebook.db")
    lock.execute("BEGIN EXCLUSIVE")
    completed = run(graded, "nbmark", "grade", "toy")
    lock.rollback()
    lock.close()
    assert_fails_without_traceback(completed)
    assert "gradebook" in completed.stderr
    assert "locked" in completed.stderr
    assert points(graded) == {"ada": 3.0, "ben": 2.0}
    assert run(graded, "nbmark", "grade", "toy").returncode == 0
    assert points(graded) == {"ada": 2.0, "ben": 3.0}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_changes_nothing_and_the_next_run_completes(graded, tmp_path):
    # Copy the course to a small disk, fill the disk, grade in vain, make room, and grade again.
    script = (
        'mount -t tmpfs -o size=3m small "$0" && cp -a "$1"/. "$0" && cd "$0" || exit 99; '
        'head -c 1G /dev/zero > filler 2>/dev/null; shift; "$@"; first=$?; '
        'rm filler; echo == >&2; "$@" && test $first = 1 && cp gradebook.db "$OUT"'
    )
    small = tmp_path / "small"
    small.mkdir()
    in_namespace = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    completed = subprocess.run(
        [*in_namespace, str(small), str(graded), *GRADE],
        env={**os.environ, "OUT": str(graded / "gradebook.db")},
        text=True,
        capture_output=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    log_of_full_disk, _ = completed.stderr.split("==\n")
    assert "Traceback" not in completed.stderr
    assert "No space left" in log_of_full_disk or "disk is full" in log_of_full_disk
    assert points(graded) == {"ada": 2.0, "ben": 3.0}


def test_a_check_process_killed_for_memory_costs_no_grade(graded):
    """A SIGKILL to each check process does here what the out-of-memory killer would do."""
    submit_toy(graded, "ada", "import time\ntime.sleep(4)\n" + HALF)
    process = subprocess.Popen(
        GRADE, cwd=graded, stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL
    )
    time.sleep(3)
    check_processes = [
        child
        for child in psutil.Process(process.pid).children()
        if "nbmark.workers.process" in child.cmdline()
    ]
    for check_process in check_processes:
        check_process.send_signal(signal.SIGKILL)
    log = process.communicate()[1]
    assert check_processes
    assert process.returncode == 1
    assert "the check process of 'toy' failed" in log
    assert "Traceback" not in log
    assert points(graded)["ada"] == 3.0  # the earlier grade
    assert run(graded, "nbmark", "grade", "toy").returncode == 0
    assert points(graded) == {"ada": 2.0, "ben": 3.0}


@pytest.mark.parametrize("jump_s", [-10_000_000, 10_000_000])
def test_a_clock_that_jumps_changes_nothing(graded, jump_s):
    """Everything that waits uses the monotonic clock, so a jump of the time of day is harmless."""
    site = graded / "jump" / "sitecustomize.py"
    site.parent.mkdir()
    # After 20 calls a process is in the middle of its work.
    site.write_text(f"""
import itertools, time, datetime
real, calls = time.time, itertools.count()
time.time = lambda: real() + ({jump_s} if next(calls) > 20 else 0)
""")
    completed = run(graded, "nbmark", "grade", "toy", PYTHONPATH=str(site.parent))
    assert completed.returncode == 0, completed.stderr
    assert points(graded) == {"ada": 2.0, "ben": 3.0}
    assert "0 submissions to grade" in run(graded, "nbmark", "grade", "toy").stderr


def test_in_a_container_without_user_namespaces_grading_refuses_and_says_why(graded):
    """Docker's default profile forbids the system calls for namespaces, and so does the script."""
    in_container = ["python", str(ROOT / "tests" / "without_namespaces.py")]
    grading = run(graded, *in_container, *GRADE)
    assert_fails_without_traceback(grading)
    assert "the sandbox did not start" in grading.stderr
    assert "nbmark doctor" in grading.stderr
    assert points(graded) == {"ada": 3.0, "ben": 2.0}
    doctor = run(graded, *in_container, *GRADE[:3], "doctor")
    assert doctor.returncode == 1
    assert "seccomp" in doctor.stdout
    assert shutil.which("bwrap")  # it is installed, so nothing but the namespaces was missing
