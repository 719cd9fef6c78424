"""The coordinator alone, and regrading: 1 000 submissions whose work takes no time.

Twenty submissions of `mse` are graded for real. Then a thousand students hand in copies of these,
and workers that do nothing give each its result at once, so that what is left is the coordinator:
reading submissions, evidence, feedback, and nbgrader's gradebook. The stored submissions are then
judged anew by ``nbmark regrade``, as they are and after a check was changed. Beside the time of
each command stands the memory of its own process, which should hardly grow with the class.

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
from dataclasses import replace
from pathlib import Path

from classes import BIN, command, hand_in, make_course, our_config

from nbmark.course.course import Course
from nbmark.gradebook.gradebook import CourseGradebook, load_config
from nbmark.grading.grade import Settings, Submit, Watcher, grade
from nbmark.models import Graded, Submission
from nbmark.records import evidence

ASSIGNMENT = "mse"
REAL = 20


class Instant:
    """Workers whose work is done before it is asked for."""

    at_once = 4

    def __init__(self, results: list[Graded]) -> None:
        self._results = {one.digest: one for one in results}

    @contextlib.contextmanager
    def running(self) -> Iterator[Submit]:
        """Gives what answers at once."""
        yield self._answer

    def _answer(self, submission: Submission) -> Future[Graded]:
        found: Future[Graded] = Future()
        found.set_result(replace(self._results[submission.digest], student=submission.student))
        return found


def main() -> None:
    """Print submissions a second for each step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--students", type=int, default=1000)
    students = parser.parse_args().students
    with tempfile.TemporaryDirectory(prefix="nbmark-bench-") as name:
        folder = Path(name)
        make_course(folder, our_config(), ASSIGNMENT)
        hand_in(folder, ASSIGNMENT, REAL, mixed=True)
        command(folder, "nbmark", "grade", ASSIGNMENT)
        course = Course(folder)
        assignment = course.assignment(ASSIGNMENT)
        results = [
            found
            for one in evidence.students(course, ASSIGNMENT)
            if (found := evidence.load(course, ASSIGNMENT, one))
        ]
        real = sorted((folder / "submitted").iterdir())
        for number in range(students - REAL):
            copy = folder / "submitted" / f"copy-{number:05}"
            shutil.copytree(real[number % REAL], copy)
        registrar = CourseGradebook.of_course(load_config(folder))
        began = time.monotonic()
        settings = Settings(force=True)
        rows = grade(assignment, registrar, Instant(results), None, settings, Watcher())
        _report("grade, work that takes no time", len(rows), time.monotonic() - began)
        del rows
        _measured(folder, "grade, nobody is due", students, "grade", ASSIGNMENT)
        _measured(folder, "regrade, nothing changed", students, "regrade", ASSIGNMENT)
        checks = folder / "graders" / ASSIGNMENT / f"test_{ASSIGNMENT}.py"
        checks.write_text(checks.read_text() + "\n# Judged anew.\n")
        began = time.monotonic()
        command(folder, "nbmark", "verify", ASSIGNMENT)
        print(f"verify, once after a change: {time.monotonic() - began:.1f} s")
        _measured(folder, "regrade, checks changed", students, "regrade", ASSIGNMENT)
        _measured(folder, "regrade --apply", students, "regrade", ASSIGNMENT, "--apply")


def _measured(folder: Path, what: str, number: int, *words: str) -> None:
    """Run a command that must succeed; its time, and the memory of its own process."""
    began, peak_kib = time.monotonic(), 0
    with subprocess.Popen(
        [BIN / "nbmark", *words, "--json"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        while running.poll() is None:
            peak_kib = max(peak_kib, _peak_kib(running.pid))
            time.sleep(0.02)
    if running.returncode:
        sys.exit(f"bench: nbmark {' '.join(words)} failed")
    _report(what, number, time.monotonic() - began, f", {peak_kib >> 10} MiB")


def _peak_kib(pid: int) -> int:
    """The most resident memory that a process has had since it began, 0 if it has ended."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status") as lines:
        return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
    return 0


def _report(what: str, number: int, seconds: float, more: str = "") -> None:
    rate = number / seconds
    print(f"{what}: {number} in {seconds:.1f} s, {rate:.0f} a second{more}", flush=True)


if __name__ == "__main__":
    main()
