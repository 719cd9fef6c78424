"""Kills the grader again and again at random moments, and looks at what is left each time."""

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

ANSWERS = {"ada": (RIGHT, 3.0), "ben": (HALF, 2.0), "cleo": (RIGHT, 3.0), "dina": ("a = 0", 0.0)}
LONGEST_S = 4.0
GRADE = [sys.executable, "-m", "nbmark.commands.cli", "grade", "toy"]


def kill_and_resume(course: Path, kills: int, start: int) -> list[str]:
    """Hand in, kill the grading at a random moment, look; after so many kills let it finish.

    Each grading that a kill did not catch is followed by new work of the same students, so that
    there is always something due. One line for each grade that was lost, doubled or invented.
    """
    rng = random.Random(start)  # noqa: S311
    troubles: list[str] = []
    caught = rounds = 0
    _hand_in(course, rounds)
    while caught < kills:
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
            caught += 1
            troubles += _looked_at(course, f"after kill {caught}")
        else:
            troubles += _finished(course, process.returncode, f"round {rounds}")
            rounds += 1
            _hand_in(course, rounds)
    done = subprocess.run(GRADE, cwd=course, check=False, capture_output=True, text=True)
    return troubles + _finished(course, done.returncode, f"in the end: {done.stderr[-300:]}")


def _hand_in(course: Path, number: int) -> None:
    """New work of everybody that earns what the last earned."""
    shutil.rmtree(course / "submitted", ignore_errors=True)
    for student in ANSWERS:
        submit_toy(course, student, f"# attempt {number}\n{ANSWERS[student][0]}")


def _kill(process: subprocess.Popen[bytes], whole: bool) -> None:
    """End the coordinator, or it and everything that it has started in its session."""
    if whole:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
    time.sleep(0.05)


def _looked_at(course: Path, when: str) -> list[str]:
    """Every grade that is there must be the right one, whole, and there once."""
    rows = dump_gradebook(course, "toy")
    names = [row["student"] for row in rows]
    troubles = [f"{when}: {one} twice" for one in names if names.count(one) > 1]
    for row in rows:
        found = row["notebooks"]["toy"]["grades"]["a"][0]
        if found != ANSWERS[row["student"]][1]:
            troubles.append(f"{when}: {row['student']} has {found}")
    return troubles


def _finished(course: Path, returncode: int, when: str) -> list[str]:
    missing = ANSWERS.keys() - {row["student"] for row in dump_gradebook(course, "toy")}
    troubles = [f"{when}: {one} has no grade" for one in missing]
    if returncode:
        troubles.append(f"{when}: exit status {returncode}")
    left = list((course / "autograded").rglob(".*.new"))
    return troubles + [f"{when}: {path}" for path in left] + _looked_at(course, when)
