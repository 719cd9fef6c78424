"""Kill the grader at random moments again and again, and check the grades after each kill."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from helpers import HALF, RIGHT, dump_gradebook, submit_toy

# Student → an answer, and the points that it earns.
ANSWERS = {"ada": (RIGHT, 3.0), "ben": (HALF, 2.0), "cleo": (RIGHT, 3.0), "dina": ("a = 0", 0.0)}
LONGEST_S = 4.0  # about what a whole grading takes, so that a kill may hit any step
GRADE = [sys.executable, "-m", "nbmark.commands.cli", "grade", "toy"]


def kill_and_resume(course: Path, kills: int, start: int) -> list[str]:
    """Kill a grading at a random moment, check the grades, and repeat; let the last one finish.

    Whenever a grading finishes before its kill, the same students submit new work, so that
    something is always due. Return a line for each grade that was lost, doubled or invented.

    Parameters
    ----------
    kills
        How many gradings are killed.
    start
        Seeds the random moments.
    """
    rng = random.Random(start)  # noqa: S311  # repeatable, and no secret
    troubles: list[str] = []
    killed = rounds = 0
    _submit_all(course, rounds)
    while killed < kills:
        process = subprocess.Popen(
            GRADE,
            cwd=course,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(rng.uniform(0.0, LONGEST_S))
        except subprocess.TimeoutExpired:
            _kill(process, whole=rng.random() < 0.5)
            killed += 1
            troubles += _wrong_grades(course, f"after kill {killed}")
        else:
            troubles += _unfinished(course, process.returncode, f"round {rounds}")
            rounds += 1
            _submit_all(course, rounds)
    last = subprocess.run(GRADE, cwd=course, check=False, capture_output=True, text=True)
    return troubles + _unfinished(course, last.returncode, f"in the end: {last.stderr[-300:]}")


def _submit_all(course: Path, number: int) -> None:
    """Submit new work of every student, which earns the same points as the last."""
    shutil.rmtree(course / "submitted", ignore_errors=True)
    for student in ANSWERS:
        submit_toy(course, student, f"# attempt {number}\n{ANSWERS[student][0]}")


def _kill(process: subprocess.Popen[bytes], whole: bool) -> None:
    """Kill the coordinator, or its whole process group."""
    if whole:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
    time.sleep(0.05)  # its children end with it, but not at the same instant


def _wrong_grades(course: Path, when: str) -> list[str]:
    """Return a line for each grade in the gradebook that is wrong, incomplete or there twice."""
    rows = dump_gradebook(course, "toy")
    names = [row["student"] for row in rows]
    troubles = [f"{when}: {name} twice" for name in names if names.count(name) > 1]
    for row in rows:
        points = row["notebooks"]["toy"]["grades"]["a"][0]
        if points != ANSWERS[row["student"]][1]:
            troubles.append(f"{when}: {row['student']} has {points}")
    return troubles


def _unfinished(course: Path, returncode: int, when: str) -> list[str]:
    """Return a line for each thing that a grading which ended by itself left undone or wrong."""
    missing = ANSWERS.keys() - {row["student"] for row in dump_gradebook(course, "toy")}
    troubles = [f"{when}: {student} has no grade" for student in missing]
    if returncode:
        troubles.append(f"{when}: exit status {returncode}")
    temporary = list((course / "autograded").rglob(".*.new"))
    return troubles + [f"{when}: {path}" for path in temporary] + _wrong_grades(course, when)
