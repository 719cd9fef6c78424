"""nbgrader's gradebook and the folders of a course: the only module that opens the gradebook.

One submission's scores land in one transaction, so a grading that is killed leaves either all of
them or none.
"""

from __future__ import annotations

import contextlib
import datetime
import glob
import re
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from nbmark.course import Assignment
from nbmark.errors import AssignmentError, InfrastructureError, UsageError
from nbmark.gradebook_rows import (
    add_missing_rows,
    found_or_new,
    grades_of,
    refuse_lost,
    write_again,
    write_grades,
)
from nbmark.models import Graded
from nbmark.scoring import CellScore
from nbmark.slim_nbgrader import slim

with slim():
    from nbgrader.api import Gradebook, MissingEntry, SubmittedAssignment, SubmittedNotebook
    from nbgrader.coursedir import CourseDirectory
    from nbgrader.utils import parse_utc

DATABASE_ERRORS = (SQLAlchemyError, sqlite3.Error)


def load_config(root: Path) -> Config:
    """The course's ``nbgrader_config.py``.

    Raises
    ------
    UsageError
        If `root` is no nbgrader course.
    """
    if not (root / "nbgrader_config.py").exists():
        raise UsageError(f"no nbgrader_config.py in {root}; run nbmark in the course's folder")
    config: Config = PyFileConfigLoader("nbgrader_config.py", path=str(root)).load_config()
    config.CourseDirectory.setdefault("root", str(root))
    return config


class Registrar:
    """Where submissions lie and where their grades go.

    Parameters
    ----------
    coursedir
        nbgrader's own object for the folders and the database.
    config
        nbgrader's configuration: the plugin for late penalties is looked up in it.
    """

    def __init__(self, coursedir: CourseDirectory, config: Config) -> None:
        self._coursedir = coursedir
        self._config = config
        self._kept: Gradebook | None = None
        self._is_counted = False

    @classmethod
    def of_course(cls, config: Config) -> Registrar:
        return cls(CourseDirectory(config=config), config)

    def submitted(self, student: str, assignment: str) -> Path:
        return Path(self._path(self._coursedir.submitted_directory, student, assignment))

    def autograded(self, student: str, assignment: str) -> Path:
        return Path(self._path(self._coursedir.autograded_directory, student, assignment))

    def students(self, assignment: str) -> list[str]:
        """Everybody who has a folder for the assignment under ``submitted/``, sorted."""
        folder = self._coursedir.submitted_directory
        pattern = re.compile(
            self._coursedir.format_path(
                folder, "(?P<student>.+)", re.escape(assignment), escape=True
            ),
            re.DOTALL,  # a hostile name may hold a line break
        )
        paths = glob.glob(self._coursedir.format_path(folder, "*", glob.escape(assignment)))
        found = [match["student"] for path in paths if (match := pattern.fullmatch(path))]
        return sorted(one for one in found if not one.startswith("."))

    def refuse_strangers(self, assignment: Assignment) -> None:
        """Raise `AssignmentError` unless the gradebook knows the assignment as `source/` has it."""
        command = f"nbgrader generate_assignment {assignment.name}"
        with self._open() as gradebook:
            try:
                found = gradebook.find_assignment(assignment.name)
            except MissingEntry:
                raise AssignmentError(
                    f"the gradebook does not know '{assignment.name}'; run '{command} --force'"
                ) from None
            known = {
                (notebook.name, cell.name, float(cell.max_score))
                for notebook in found.notebooks
                for cell in notebook.grade_cells
            }
        wanted = {
            (name, cell.grade_id, float(cell.nbgrader["points"]))
            for name, cells in assignment.notebooks.items()
            for cell in cells
            if cell.is_grade
        }
        if known != wanted:
            notebook, cell, points = sorted(known ^ wanted)[0]
            # A single notebook may be added even where somebody has handed in.
            only = f" --notebook={notebook}" if notebook in assignment.notebooks else ""
            raise AssignmentError(
                f"the gradebook and source/{assignment.name} differ, for instance in the cell "
                f"'{cell}' of {points:g} points; run '{command}{only} --force'"
            )

    def handed_in(self, assignment: str) -> set[str]:
        """Everybody who has a submission in the gradebook."""
        with self._open() as gradebook:
            found = (
                gradebook.db.query(SubmittedAssignment.student_id)
                .join(SubmittedAssignment.assignment)
                .filter_by(name=assignment)
            )
            return {student for (student,) in found}

    def due_date(self, assignment: str) -> datetime.datetime | None:
        """When the assignment is due, in UTC without a zone; None if there is no such date."""
        with self._open() as gradebook:
            try:
                found: datetime.datetime | None = gradebook.find_assignment(assignment).duedate
            except MissingEntry:
                return None
            return found

    def refuse_unknown_student(self, student: str) -> None:
        """Raise `UsageError` unless the student is in the gradebook already."""
        with self._open() as gradebook:
            try:
                gradebook.find_student(student)
            except MissingEntry:
                raise UsageError(f"no student '{student}' in the gradebook") from None

    def record(
        self,
        graded: Graded,
        scores: Mapping[str, CellScore],
        submitted_at: datetime.datetime | None,
    ) -> None:
        """Write one submission's scores, all or nothing; marks given by hand stay."""
        with self._writing(graded.student) as gradebook:
            submission = found_or_new(gradebook, graded)
            add_missing_rows(gradebook, submission)
            if submitted_at is not None:
                submission.timestamp = submitted_at
            refuse_lost(submission, scores)
            for notebook in submission.notebooks:
                write_grades(notebook, graded, scores)
                notebook.late_submission_penalty = None
            if submission.total_seconds_late > 0:
                gradebook.db.flush()
                gradebook.db.expire_all()  # the database adds the scores up
                for notebook in submission.notebooks:
                    self._penalise(submission, notebook)

    def record_again(
        self, graded: Graded, scores: Mapping[str, CellScore], before: Mapping[str, CellScore]
    ) -> None:
        """Write new scores of a submission that the gradebook has, all or nothing.

        Late penalties stay as well, and so does the word of a person who has looked at a cell whose
        score is what it was `before`.
        """
        with self._writing(graded.student) as gradebook:
            submission = gradebook.find_submission(graded.assignment, graded.student)
            add_missing_rows(gradebook, submission)
            refuse_lost(submission, scores)
            for grade in grades_of(submission):
                if grade.name in scores:
                    write_again(grade, scores[grade.name], before.get(grade.name))

    @contextlib.contextmanager
    def _writing(self, student: str) -> Iterator[Gradebook]:
        """One transaction for a student's scores."""
        with self._open() as gradebook:
            self._count(gradebook)
            try:
                yield gradebook
                gradebook.db.commit()
            except Exception as error:
                gradebook.db.rollback()
                raise InfrastructureError(
                    f"the gradebook refused the scores of '{student}': {_first_line(error)}"
                ) from error

    def _count(self, gradebook: Gradebook) -> None:
        """Tell SQLite once how large nbgrader's tables are, whose indexes begin with the cell.

        Then it looks up a notebook's rows by cell and notebook; else it reads everybody's, which
        with ten thousand submissions takes 20 ms instead of 3.
        """
        if self._is_counted or gradebook.engine.dialect.name != "sqlite":
            return
        self._is_counted = True
        with contextlib.suppress(*DATABASE_ERRORS):  # locked or broken: who writes is told so
            gradebook.db.execute(text("ANALYZE"))
            gradebook.db.commit()
        gradebook.db.rollback()

    def _penalise(self, submission: SubmittedAssignment, notebook: SubmittedNotebook) -> None:
        """As nbgrader's own preprocessor, with the late penalty plugin that is configured."""
        from nbgrader.preprocessors import AssignLatePenalties  # which loads nbconvert

        assigner = AssignLatePenalties(config=self._config)
        assigner.init_plugin()
        penalty = assigner.plugin_inst.late_submission_penalty(
            submission.student.id, notebook.score, submission.total_seconds_late
        )
        if penalty is not None:
            notebook.late_submission_penalty = assigner._check_late_penalty(notebook, penalty)

    @contextlib.contextmanager
    def kept_open(self) -> Iterator[None]:
        """One connection for all that is done in the block, between whose steps nothing is held."""
        with self._opened() as gradebook:
            self._kept = gradebook
            try:
                yield
            finally:
                self._kept = None

    @contextlib.contextmanager
    def _open(self) -> Iterator[Gradebook]:
        """nbgrader's gradebook; a file that is locked or broken is our own trouble."""
        if self._kept is None:
            with self._opened() as gradebook:
                yield gradebook
            return
        try:
            yield self._kept
        except DATABASE_ERRORS as error:
            raise _unusable(error) from error
        finally:
            self._kept.db.rollback()  # gives back every lock; what is written was committed
            self._kept.db.expunge_all()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Gradebook]:
        try:
            with Gradebook(self._coursedir.db_url, self._coursedir.course_id) as gradebook:
                yield gradebook
        except DATABASE_ERRORS as error:
            raise _unusable(error) from error

    def _path(self, step: str, student: str, assignment: str) -> str:
        return str(self._coursedir.format_path(step, student, assignment))


def _unusable(error: Exception) -> InfrastructureError:
    return InfrastructureError(f"the gradebook cannot be used: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    """What went wrong, without the statements and links that SQLAlchemy adds."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def parse_timestamp(text: str) -> datetime.datetime | None:
    """The instant in a ``timestamp.txt``, in UTC without a zone as nbgrader keeps it, or None."""
    try:
        found: datetime.datetime = parse_utc(text.strip())
    except (ValueError, OverflowError, TypeError):
        return None
    return found
