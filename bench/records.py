"""The coordinator alone, and regrading: 1 000 submissions whose work takes no time.

Twenty submissions of `mse` are graded for real. Then a thousand students hand in copies of these,
and workers that do nothing give each its result at once, so that what is left is the coordinator:
reading submissions, evidence, feedback, and nbgrader's gradebook. The stored submissions are then
judged anew by ``nbmark regrade``, as they are and after a check was changed.

``python bench/records.py [--students 1000]``
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

from classes import command, hand_in, make_course, our_config

from nbmark import evidence
from nbmark.course import Course
from nbmark.gradebook import Registrar, load_config
from nbmark.grading import Settings, Submit, Watcher, grade
from nbmark.models import Graded, Submission

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
        registrar = Registrar.of_course(load_config(folder))
        began = time.monotonic()
        settings = Settings(force=True)
        rows = grade(assignment, registrar, Instant(results), None, settings, Watcher())
        _report("grade, work that takes no time", len(rows), time.monotonic() - began)
        began = time.monotonic()
        command(folder, "nbmark", "grade", ASSIGNMENT)
        _report("grade, nobody is due", students, time.monotonic() - began)
        _regrade(folder, "regrade, nothing changed")
        checks = folder / "graders" / ASSIGNMENT / f"test_{ASSIGNMENT}.py"
        checks.write_text(checks.read_text() + "\n# Judged anew.\n")
        began = time.monotonic()
        command(folder, "nbmark", "verify", ASSIGNMENT)
        print(f"verify, once after a change: {time.monotonic() - began:.1f} s")
        _regrade(folder, "regrade, checks changed")
        _regrade(folder, "regrade --apply", "--apply")


def _regrade(folder: Path, what: str, *options: str) -> None:
    began = time.monotonic()
    found = json.loads(command(folder, "nbmark", "regrade", ASSIGNMENT, "--json", *options))
    _report(what, found["judged"], time.monotonic() - began)


def _report(what: str, number: int, seconds: float) -> None:
    print(f"{what}: {number} in {seconds:.1f} s, {number / seconds:.0f} a second", flush=True)


if __name__ == "__main__":
    main()
