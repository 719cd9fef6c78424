"""Where nbmark takes over from ``nbgrader autograde`` and from formgrader's button.

``c.Autograde.exporter_class = "nbmark.nbgrader_plugins.GradingExporter"``: nbgrader makes its
exporter once a run, after it has found the submissions and before it has touched one. That is the
moment to grade them all, by the same `grading.grade` as everybody, and to leave nbgrader nothing to
do: its own loop would copy what a link points to, stop at invalid JSON, and skip for good what was
half done when somebody pulled the plug.
"""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import Any

from nbconvert.exporters import NotebookExporter
from nbgrader.converters.base import NbGraderException
from traitlets import Enum

from nbmark.checkpool import CheckPool
from nbmark.course import Course
from nbmark.errors import NbmarkError
from nbmark.gradebook import Registrar
from nbmark.grading import Settings, Watcher, grade
from nbmark.records import Row
from nbmark.verify import Case


class GradingExporter(NotebookExporter):
    """Grades the submissions of the `Autograde` converter that makes it."""

    sandbox = Enum(
        ["bubblewrap", "none"],
        "bubblewrap",
        help="The wall around students' code: bubblewrap, or none (development only).",
    ).tag(config=True)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]  # nbconvert's own
        converter: Any = self.parent
        settings = Settings(self.sandbox, converter.force, converter.create_student)
        coursedir = converter.coursedir
        try:
            assignment = Course(Path(coursedir.root)).assignment(coursedir.assignment_id)
            with closing(CheckPool(assignment, self.sandbox, 1)) as processes:
                rows = grade(
                    assignment,
                    Registrar(coursedir, converter.config),
                    processes,
                    _students(converter),
                    settings,
                    _Log(converter.log),
                )
        except NbmarkError as error:
            for line in str(error).splitlines():
                converter.log.error(line)
            raise NbGraderException(str(error)) from error
        converter.assignments = {}
        failed = [row.student for row in rows if row.outcome == "not graded"]
        if failed:
            raise NbGraderException(f"not graded: {', '.join(failed)}; their grades are as before")


class _Log(Watcher):
    """Plain lines in nbgrader's log."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def verifying(self, case: Case, total: int) -> None:
        self._log.info(
            "verified %s of %d cases: %s",
            case.name,
            total,
            "as expected" if case.as_expected else "NOT as expected",
        )

    def begin(self, due: int, up_to_date: int) -> None:
        self._log.info("%d submissions to grade, %d up to date", due, up_to_date)

    def finished(self, row: Row) -> None:
        if row.outcome == "not graded":
            self._log.error("%s was not graded: %s", row.student, row.trouble)
        else:
            self._log.info("%s: %g points", row.student, row.earned)


def _students(converter: Any) -> list[str] | None:
    """Whom nbgrader was asked to grade; None for everybody, those without a notebook included."""
    excluded = set(filter(None, converter.coursedir.student_id_exclude.split(",")))
    if converter.coursedir.student_id == "*" and not excluded:
        return None
    pattern = re.compile(
        converter._format_source("(?P<assignment>.*)", "(?P<student>.*)", escape=True)
    )
    found = (pattern.fullmatch(folder) for folder in converter.assignments)
    return sorted({match["student"] for match in found if match} - excluded)
