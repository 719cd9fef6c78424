"""The hook into ``nbgrader autograde`` and formgrader's button.

nbgrader makes its exporter once a run, after it has found the submissions and before it has touched
one. `GradingExporter` grades them all at that moment, with the same `grade.grade` as every other
way, and leaves nbgrader nothing to do. nbgrader's own loop would copy the target of a link, stop at
invalid JSON, and skip for good the student who was half graded when the power failed.
"""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import Any

from nbconvert.exporters import NotebookExporter
from nbgrader.converters.base import NbGraderException
from traitlets import Enum, Float

from nbmark.authoring.verify import Case
from nbmark.course.course import Course
from nbmark.course.folders import Folders
from nbmark.course.lock import WAIT_S, course_lock
from nbmark.errors import NbmarkError
from nbmark.gradebook.gradebook import CourseGradebook
from nbmark.grading.grade import grade
from nbmark.grading.job import Job, JobOptions
from nbmark.grading.progress import ProgressListener
from nbmark.grading.shared import shared_sentences
from nbmark.records.row import Row
from nbmark.sandbox import walls
from nbmark.untrusted.names import printable_name
from nbmark.workers.pool import CheckPool


class GradingExporter(NotebookExporter):
    """Grades the submissions of the `Autograde` converter that makes it."""

    sandbox = Enum(list(walls.KINDS), walls.DEFAULT, help=walls.OPTION_HELP).tag(config=True)
    wait_s = Float(WAIT_S, min=0, help="Seconds to wait for another grading of the course.").tag(
        config=True
    )

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]  # nbconvert's own
        converter: Any = self.parent
        try:
            rows = self._grade(converter)
        except NbmarkError as error:
            for line in str(error).splitlines():
                converter.log.error(line)
            raise NbGraderException(str(error)) from error
        converter.assignments = {}  # so that nbgrader's own loop has nothing left to grade
        failed = [printable_name(row.student) for row in rows if row.outcome == "not graded"]
        if failed:
            raise NbGraderException(f"not graded: {', '.join(failed)}; their grades are as before")

    def _grade(self, converter: Any) -> list[Row]:
        coursedir = converter.coursedir
        course = Course(Path(coursedir.root))

        def report(running_s: float) -> None:
            converter.log.warning(
                "another grading of this course has been running for %.0f s; waiting", running_s
            )

        with course_lock(course, self.wait_s, report):
            assignment = course.assignment(coursedir.assignment_id)
            job = Job(
                assignment,
                CourseGradebook(coursedir, converter.config),
                Folders(coursedir),
                _students(converter),
                JobOptions(self.sandbox, converter.force, converter.create_student),
                _Log(converter.log),
            )
            with closing(CheckPool(assignment, self.sandbox, 1)) as pool:
                rows = grade(job, pool)
        for shared in shared_sentences(rows):
            converter.log.warning("%s", shared)
        return rows


class _Log(ProgressListener):
    """Plain lines in nbgrader's log."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def verifying(self, case: Case, total: int) -> None:
        result = "as expected" if case.as_expected else "NOT as expected"
        self._log.info("verified %s, one of %d cases: %s", case.name, total, result)

    def noted(self, line: str) -> None:
        self._log.warning("%s", line)

    def begin(self, due: int, up_to_date: int) -> None:
        self._log.info("%d submissions to grade, %d up to date", due, up_to_date)

    def postponed(self, student: str) -> None:
        self._log.info("%s was stopped by the clock; it runs again after all others", student)

    def finished(self, row: Row) -> None:
        student = printable_name(row.student)
        if row.outcome == "not graded":
            self._log.error("%s was not graded: %s", student, row.trouble)
        else:
            self._log.info("%s: %g points", student, row.earned)
        for note in row.notes:
            self._log.warning("%s: %s", student, note)


def _students(converter: Any) -> list[str] | None:
    """Return the students that nbgrader was asked to grade.

    None stands for all of them, including those whose folder nbgrader itself passes over: it has no
    notebook, or nbgrader takes its name for a pattern.
    """
    coursedir = converter.coursedir
    excluded = set(filter(None, coursedir.student_id_exclude.split(",")))
    if coursedir.student_id == "*":
        if not excluded:
            return None
        everybody = Folders(coursedir).students(coursedir.assignment_id)
        return [student for student in everybody if student not in excluded]
    pattern = re.compile(
        converter._format_source("(?P<assignment>.*)", "(?P<student>.*)", escape=True)
    )
    matches = (pattern.fullmatch(folder) for folder in converter.assignments)
    return sorted({match["student"] for match in matches if match} - excluded)
