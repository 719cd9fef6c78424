"""nbgrader's gradebook, opened here and nowhere else.

One submission's scores land in one transaction, so a grading that is killed leaves either all of
them or none.
"""

from __future__ import annotations

import contextlib
import datetime
import sqlite3
from collections.abc import Iterator, Mapping

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from traitlets.config import Config

from nbmark.course.course import Assignment
from nbmark.course.slim_nbgrader import slim
from nbmark.errors import AssignmentError, InfrastructureError, LatePenaltyError, UsageError
from nbmark.gradebook.assignment_cells import (
    changes,
    enter_source,
    remove_unused,
    rows_in_gradebook,
    rows_in_source,
)
from nbmark.gradebook.penalties import Penalties, possibly_late
from nbmark.gradebook.rows import Earlier, add_missing_rows, find_or_add, refuse_lost, write_grades
from nbmark.models import CellScore, Graded

with slim():
    from nbgrader.api import Gradebook, MissingEntry, Student, SubmittedAssignment
    from nbgrader.coursedir import CourseDirectory

DATABASE_ERRORS = (SQLAlchemyError, sqlite3.Error)


class CourseGradebook:
    """The gradebook of one course.

    Parameters
    ----------
    coursedir
        nbgrader's own object for the course, which names the database.
    config
        nbgrader's configuration: it names the plugin for late penalties.
    """

    def __init__(self, coursedir: CourseDirectory, config: Config) -> None:
        self._coursedir = coursedir
        self._config = config
        self._penalties = Penalties(config)
        self._open_gradebook: Gradebook | None = None
        self._is_analyzed = False

    @classmethod
    def of_course(cls, config: Config) -> CourseGradebook:
        return cls(CourseDirectory(config=config), config)

    def refuse_unknown_assignment(self, assignment: Assignment) -> None:
        """Raise `AssignmentError` unless nbgrader has entered the assignment into the gradebook."""
        with self._open() as gradebook:
            try:
                gradebook.find_assignment(assignment.name)
            except MissingEntry:
                raise AssignmentError(
                    f"the gradebook does not know '{assignment.name}'; run 'nbgrader "
                    f"generate_assignment {assignment.name} --force'"
                ) from None

    def cells(self, assignment: str) -> set[tuple[str, str]]:
        """Return notebook and grade id of each of the assignment's cells in the gradebook."""
        with self._open() as gradebook:
            rows = rows_in_gradebook(gradebook.find_assignment(assignment))
            return {(notebook, grade_id) for notebook, _, grade_id in rows}

    def enter_cells(self, assignment: Assignment, *, source_changed: bool | None) -> list[str]:
        """Bring the assignment's cells up to date with ``source/``; return a line for each change.

        Parameters
        ----------
        source_changed
            Whether the notebooks changed since the last time, None if there is no record of it.
        """
        wanted = rows_in_source(assignment)
        with self._open() as gradebook:
            present = rows_in_gradebook(gradebook.find_assignment(assignment.name))
        # Without a record, nbgrader has just entered the cells itself. With one, cells that the
        # source has lost may stay in the gradebook.
        is_exact = source_changed is None and len(wanted) == len(present)
        if wanted.items() <= present.items() and (is_exact or source_changed is False):
            return []
        enter_source(assignment, self._coursedir, self._config)
        with self._transaction(f"the cells of '{assignment.name}'") as gradebook:
            row = gradebook.find_assignment(assignment.name)
            return [*changes(present, wanted), *remove_unused(gradebook, row, wanted)]

    def submission_times(self, assignment: str) -> dict[str, datetime.datetime | None]:
        """Return when each student in the gradebook submitted, in UTC; None if that is unknown."""
        with self._open() as gradebook:
            rows = (
                gradebook.db.query(SubmittedAssignment.student_id, SubmittedAssignment.timestamp)
                .join(SubmittedAssignment.assignment)
                .filter_by(name=assignment)
            )
            return {row.student_id: row.timestamp for row in rows}

    def possibly_late(self, assignment: str) -> set[str]:
        """Return the students whose late penalty may have to change."""
        with self._open() as gradebook:
            return possibly_late(gradebook, assignment)

    def lms_user_ids(self) -> dict[str, str]:
        """Return student id → id in the learning management system, where there is one."""
        with self._open() as gradebook:
            ids = gradebook.db.query(Student.id, Student.lms_user_id)
            return {student: lms_user_id for student, lms_user_id in ids if lms_user_id}

    def due_date(self, assignment: str) -> datetime.datetime | None:
        """Return when the assignment is due, in UTC without a zone; None if there is no date."""
        with self._open() as gradebook:
            try:
                due: datetime.datetime | None = gradebook.find_assignment(assignment).duedate
            except MissingEntry:
                return None
            return due

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
        before: Earlier | None = None,
    ) -> str:
        """Write one submission's scores, all or nothing; marks given by hand stay.

        Returns
        -------
        penalty
            How the late penalty changed, empty if it did not.
        """
        with self._transaction(f"the scores of '{graded.student}'") as gradebook:
            submission = find_or_add(gradebook, graded)
            submission.timestamp = submitted_at
            return self._write(gradebook, submission, graded, scores, before)

    def record_again(self, graded: Graded, scores: Mapping[str, CellScore], before: Earlier) -> str:
        """Write new scores of a submission that the gradebook has, as `record` does."""
        with self._transaction(f"the scores of '{graded.student}'") as gradebook:
            submission = gradebook.find_submission(graded.assignment, graded.student)
            return self._write(gradebook, submission, graded, scores, before)

    def update_lateness(
        self, assignment: str, student: str, submitted_at: datetime.datetime | None
    ) -> str:
        """Write the time of a graded submission, and its penalty; return how the penalty changed.

        The due date, an extension or marks by hand may have changed since it was graded.
        """
        with self._transaction(f"the late penalty of '{student}'") as gradebook:
            submission = gradebook.find_submission(assignment, student)
            submission.timestamp = submitted_at
            return self._penalties.update(gradebook, submission)

    def _write(
        self,
        gradebook: Gradebook,
        submission: SubmittedAssignment,
        graded: Graded,
        scores: Mapping[str, CellScore],
        before: Earlier | None,
    ) -> str:
        add_missing_rows(gradebook, submission, graded)
        refuse_lost(submission, scores)
        for notebook in submission.notebooks:
            write_grades(notebook, graded, scores, before)
        return self._penalties.update(gradebook, submission)

    @contextlib.contextmanager
    def kept_open(self) -> Iterator[None]:
        """Use one connection for the whole block; no lock is held between two operations."""
        with self._connection() as gradebook:
            self._open_gradebook = gradebook
            try:
                yield
            finally:
                self._open_gradebook = None

    @contextlib.contextmanager
    def _transaction(self, what: str) -> Iterator[Gradebook]:
        """Give the gradebook for the block, and keep all of its changes or none.

        Parameters
        ----------
        what
            The changes, for the message about a refusal.
        """
        with self._open() as gradebook:
            self._analyze(gradebook)
            try:
                yield gradebook
                gradebook.db.commit()
            except LatePenaltyError:
                gradebook.db.rollback()
                raise
            except Exception as error:
                gradebook.db.rollback()
                raise InfrastructureError(
                    f"the gradebook refused {what}: {_first_line(error)}"
                ) from error

    def _analyze(self, gradebook: Gradebook) -> None:
        """Let SQLite measure nbgrader's tables once, so that it picks the right index.

        nbgrader's indexes begin with the cell. Without statistics SQLite reads everybody's rows of
        a cell, which takes 20 ms instead of 3 with ten thousand submissions.
        """
        if self._is_analyzed or gradebook.engine.dialect.name != "sqlite":
            return
        self._is_analyzed = True
        with contextlib.suppress(*DATABASE_ERRORS):  # if it is broken, the next write reports it
            gradebook.db.execute(text("ANALYZE"))
            gradebook.db.commit()
        gradebook.db.rollback()

    @contextlib.contextmanager
    def _open(self) -> Iterator[Gradebook]:
        """Give the connection that is kept open, or a new one for the block."""
        if self._open_gradebook is None:
            with self._connection() as gradebook:
                yield gradebook
            return
        try:
            yield self._open_gradebook
        except DATABASE_ERRORS as error:
            raise _unusable(error) from error
        finally:
            # Gives back every lock: whatever should stay has been committed.
            self._open_gradebook.db.rollback()
            self._open_gradebook.db.expunge_all()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Gradebook]:
        try:
            with Gradebook(self._coursedir.db_url, self._coursedir.course_id) as gradebook:
                yield gradebook
        except DATABASE_ERRORS as error:
            raise _unusable(error) from error


def possible_points(db_url: str, notebook: str, assignment: str, student: str) -> float:
    """Return the points of the cells that count for a student in one notebook."""
    with Gradebook(db_url) as gradebook:
        submitted = gradebook.find_submission_notebook(notebook, assignment, student)
        return float(sum(grade.max_score for grade in submitted.grades))


def _unusable(error: Exception) -> InfrastructureError:
    return InfrastructureError(f"the gradebook cannot be used: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    """Return the error without the statements and links that SQLAlchemy adds."""
    return next(iter(str(error).splitlines()), type(error).__name__)
