"""Measure the coordinator alone, and regrading: 1 000 submissions whose work takes no time.

Twenty submissions of `mse` are graded for real. Then a thousand students submit copies of them, and
workers that have the results already return each at once. So only the coordinator's work remains:
reading submissions, writing evidence and feedback, and nbgrader's gradebook. Then ``nbmark
regrade`` judges the stored submissions again, first with the same checks, then with a changed one.
The memory of each command's own process should hardly grow with the class.

``python bench/records.py [--students 1000]``
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import msgspec
from classes import BIN, command, make_course, our_config, submit_class

from nbmark.course.course import Assignment, Course
from nbmark.course.folders import Folders, load_config
from nbmark.gradebook.gradebook import CourseGradebook
from nbmark.grading.grade import grade
from nbmark.grading.job import Job, JobOptions
from nbmark.models import Graded, Submission
from nbmark.records import evidence
from nbmark.sandbox import walls
from nbmark.workers.api import Submit

ASSIGNMENT = "mse"
REAL = 20


class InstantWorkers:
    """Workers that have every result before they are asked for it."""

    max_under_way = 4

    def __init__(self, results: list[Graded]) -> None:
        self._results = {graded.digest: graded for graded in results}

    def prepare(self) -> None:
        """Do nothing: there is no process to start."""

    def start(self) -> None:
        """Do nothing: there is no process to start."""

    @contextlib.contextmanager
    def running(self) -> Iterator[Submit]:
        """Give the function that answers at once."""
        yield self._answer

    def close(self) -> None:
        """Do nothing: there is no process to end."""

    def _answer(self, submission: Submission) -> Future[Graded]:
        # The digest covers notebooks and time, so a copy has the digest of its original.
        original = self._results[submission.digest]
        answer: Future[Graded] = Future()
        answer.set_result(msgspec.structs.replace(original, student=submission.student))
        return answer


def main() -> None:
    """Print submissions a second for each step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--students", type=int, default=1000)
    students = parser.parse_args().students
    with tempfile.TemporaryDirectory(prefix="nbmark-bench-") as name:
        folder = Path(name)
        make_course(folder, our_config(), ASSIGNMENT)
        submit_class(folder, ASSIGNMENT, REAL, mixed=True)
        command(folder, "nbmark", "grade", ASSIGNMENT)
        course = Course(folder)
        results = [
            evidence.load(course, ASSIGNMENT, student)
            for student in evidence.students(course, ASSIGNMENT)
        ]
        _copy_submissions(folder, students - REAL)
        _grade_at_once(folder, course.assignment(ASSIGNMENT), results)
        _measure(folder, "grade, no submission is due", students, "grade", ASSIGNMENT)
        _measure(folder, "regrade, nothing changed", students, "regrade", ASSIGNMENT)
        checks = folder / "graders" / ASSIGNMENT / f"test_{ASSIGNMENT}.py"
        checks.write_text(checks.read_text() + "\n# A change that alters no result.\n")
        # The first command after a change verifies the assignment, which must not count below.
        began = time.monotonic()
        command(folder, "nbmark", "verify", ASSIGNMENT)
        print(f"verify, once after a change: {time.monotonic() - began:.1f} s")
        _measure(folder, "regrade, checks changed", students, "regrade", ASSIGNMENT)
        _measure(folder, "regrade --apply", students, "regrade", ASSIGNMENT, "--apply")


def _copy_submissions(folder: Path, number: int) -> None:
    originals = sorted((folder / "submitted").iterdir())
    for index in range(number):
        copy = folder / "submitted" / f"copy-{index:05}"
        shutil.copytree(originals[index % len(originals)], copy)


def _grade_at_once(folder: Path, assignment: Assignment, results: list[Graded]) -> None:
    """Grade all students in this process, with workers that take no time."""
    config = load_config(folder)
    gradebook, folders = CourseGradebook.of_course(config), Folders.of_course(config)
    job = Job(assignment, gradebook, folders, None, JobOptions(walls.DEFAULT, force=True))
    began = time.monotonic()
    number = len(grade(job, InstantWorkers(results)))
    _report("grade, work that takes no time", number, time.monotonic() - began)


def _measure(folder: Path, step: str, number: int, *words: str) -> None:
    """Run a command that must succeed, and print its time and the memory of its own process."""
    began, peak_kib = time.monotonic(), 0
    with subprocess.Popen(
        [BIN / "nbmark", *words, "--json"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        # The kernel keeps the peak only while the process lives, so the last sample counts.
        while process.poll() is None:
            peak_kib = max(peak_kib, _peak_kib(process.pid))
            time.sleep(0.02)
    if process.returncode:
        sys.exit(f"bench: nbmark {' '.join(words)} failed")
    _report(step, number, time.monotonic() - began, f", {peak_kib >> 10} MiB")


def _peak_kib(pid: int) -> int:
    """Return the most resident memory that a process has had so far, 0 if it has ended."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status") as lines:
        return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
    return 0


def _report(step: str, number: int, seconds: float, memory: str = "") -> None:
    rate = number / seconds
    print(f"{step}: {number} in {seconds:.1f} s, {rate:.0f} a second{memory}", flush=True)


if __name__ == "__main__":
    main()
