"""Our own faults: no grade is lost, none doubled, none invented, and the next run completes."""

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
from helpers import HALF, RIGHT, dump, hand_in_toy

GRADE = [sys.executable, "-m", "nbmark.commands.cli", "grade", "toy"]


@pytest.fixture
def graded(toy_course: Path) -> Path:
    """Ada and Ben graded; both have handed in anew, other work than before."""
    hand_in_toy(toy_course, "ada", RIGHT)
    hand_in_toy(toy_course, "ben", HALF)
    assert run(toy_course, "nbmark", "grade", "toy").returncode == 0
    hand_in_toy(toy_course, "ada", HALF)
    hand_in_toy(toy_course, "ben", RIGHT)
    return toy_course


def points(course: Path) -> dict[str, float]:
    return {
        row["student"]: row["notebooks"]["toy"]["grades"]["a"][0] for row in dump(course, "toy")
    }


def one_line_and_no_traceback(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_ten_kills_at_random_moments_lose_nothing(toy_course):
    assert kills.kill_and_resume(toy_course, kills=10, start=1) == []


def test_a_locked_gradebook_changes_nothing_and_the_next_run_completes(graded):
    lock = sqlite3.connect(graded / "gradebook.db")
    lock.execute("BEGIN EXCLUSIVE")
    done = run(graded, "nbmark", "grade", "toy")
    lock.rollback()
    lock.close()
    one_line_and_no_traceback(done)
    assert "gradebook" in done.stderr
    assert "locked" in done.stderr
    assert points(graded) == {"ada": 3.0, "ben": 2.0}
    assert run(graded, "nbmark", "grade", "toy").returncode == 0
    assert points(graded) == {"ada": 2.0, "ben": 3.0}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_changes_nothing_and_the_next_run_completes(graded, tmp_path):
    script = (
        'mount -t tmpfs -o size=3m small "$0" && cp -a "$1"/. "$0" && cd "$0" || exit 99; '
        'head -c 1G /dev/zero > filler 2>/dev/null; shift; "$@"; first=$?; '
        'rm filler; echo == >&2; "$@" && test $first = 1 && cp gradebook.db "$OUT"'
    )
    small = tmp_path / "small"
    small.mkdir()
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
            str(small),
            str(graded),
            *GRADE,
        ],
        env={**os.environ, "OUT": str(graded / "gradebook.db")},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    full, _ = done.stderr.split("==\n")
    assert "Traceback" not in done.stderr
    assert "No space left" in full or "disk is full" in full
    assert points(graded) == {"ada": 2.0, "ben": 3.0}


def test_a_worker_that_is_killed_for_memory_costs_nobody_a_grade(graded):
    """The kernel's out-of-memory killer ends a check process: here a SIGKILL to each, once."""
    hand_in_toy(graded, "ada", "import time\ntime.sleep(4)\n" + HALF)
    process = subprocess.Popen(
        GRADE, cwd=graded, stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL
    )
    time.sleep(3)
    workers = [
        one
        for one in psutil.Process(process.pid).children()
        if "nbmark.workers.process" in one.cmdline()
    ]
    for worker in workers:
        worker.send_signal(signal.SIGKILL)
    said = process.communicate()[1]
    assert workers
    assert process.returncode == 1
    assert "the check process of 'toy' failed" in said
    assert "Traceback" not in said
    assert points(graded)["ada"] == 3.0  # as it was
    assert run(graded, "nbmark", "grade", "toy").returncode == 0
    assert points(graded) == {"ada": 2.0, "ben": 3.0}


@pytest.mark.parametrize("jump_s", [-10_000_000, 10_000_000])
def test_a_clock_that_jumps_changes_nothing(graded, jump_s):
    """Everything that waits uses the monotonic clock; only the wall clock jumps, in mid-grading."""
    site = graded / "jump" / "sitecustomize.py"
    site.parent.mkdir()
    site.write_text(f"""
import itertools, time, datetime
real, calls = time.time, itertools.count()
time.time = lambda: real() + ({jump_s} if next(calls) > 20 else 0)
""")
    done = run(graded, "nbmark", "grade", "toy", PYTHONPATH=str(site.parent))
    assert done.returncode == 0, done.stderr
    assert points(graded) == {"ada": 2.0, "ben": 3.0}
    assert "0 submissions to grade" in run(graded, "nbmark", "grade", "toy").stderr


def test_inside_a_container_without_user_namespaces_grading_refuses_and_says_why(graded):
    """As Docker's default profile does: the system call that makes a namespace is forbidden."""
    script = ROOT / "tests" / "without_namespaces.py"
    done = subprocess.run(
        [sys.executable, str(script), *GRADE],
        cwd=graded,
        text=True,
        capture_output=True,
        check=False,
    )
    one_line_and_no_traceback(done)
    assert "the sandbox did not start" in done.stderr
    assert "nbmark doctor" in done.stderr
    assert points(graded) == {"ada": 3.0, "ben": 2.0}
    doctor = subprocess.run(
        [sys.executable, str(script), *GRADE[:3], "doctor"],
        cwd=graded,
        text=True,
        capture_output=True,
        check=False,
    )
    assert doctor.returncode == 1
    assert "seccomp" in doctor.stdout
    assert shutil.which("bwrap")
