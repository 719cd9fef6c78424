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
from nbmark.errors import AssignmentError, InfrastructureError, UsageError
from nbmark.gradebook.rows import (
    add_missing_rows,
    find_or_add,
    grades_of,
    refuse_lost,
    write_again,
    write_grades,
)
from nbmark.models import CellScore, Graded

with slim():
    from nbgrader.api import Gradebook, MissingEntry, SubmittedAssignment, SubmittedNotebook
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
        self._open_gradebook: Gradebook | None = None
        self._is_analyzed = False

    @classmethod
    def of_course(cls, config: Config) -> CourseGradebook:
        return cls(CourseDirectory(config=config), config)

    def refuse_unknown_assignment(self, assignment: Assignment) -> None:
        """Raise `AssignmentError` unless the gradebook has the cells and points of `source/`."""
        command = f"nbgrader generate_assignment {assignment.name}"
        with self._open() as gradebook:
            try:
                row = gradebook.find_assignment(assignment.name)
            except MissingEntry:
                raise AssignmentError(
                    f"the gradebook does not know '{assignment.name}'; run '{command} --force'"
                ) from None
            in_gradebook = {
                (notebook.name, cell.name, float(cell.max_score))
                for notebook in row.notebooks
                for cell in notebook.grade_cells
            }
        in_source = {
            (name, cell.grade_id, float(cell.nbgrader["points"]))
            for name, cells in assignment.notebooks.items()
            for cell in cells
            if cell.is_grade
        }
        if in_gradebook != in_source:
            notebook, cell, points = sorted(in_gradebook ^ in_source)[0]
            # nbgrader lets a single notebook be added even after somebody has submitted.
            only = f" --notebook={notebook}" if notebook in assignment.notebooks else ""
            raise AssignmentError(
                f"the gradebook and source/{assignment.name} differ, for instance in the cell "
                f"'{cell}' of {points:g} points; run '{command}{only} --force'"
            )

    def submitters(self, assignment: str) -> set[str]:
        """Return the ids of the students with a submission in the gradebook."""
        with self._open() as gradebook:
            ids = (
                gradebook.db.query(SubmittedAssignment.student_id)
                .join(SubmittedAssignment.assignment)
                .filter_by(name=assignment)
            )
            return {student for (student,) in ids}

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
    ) -> None:
        """Write one submission's scores, all or nothing; marks given by hand stay."""
        with self._transaction(graded.student) as gradebook:
            submission = find_or_add(gradebook, graded)
            add_missing_rows(gradebook, submission)
            if submitted_at is not None:
                submission.timestamp = submitted_at
            refuse_lost(submission, scores)
            for notebook in submission.notebooks:
                write_grades(notebook, graded, scores)
                notebook.late_submission_penalty = None
            if submission.total_seconds_late > 0:
                # The database adds the scores up, and a penalty plugin reads that sum.
                gradebook.db.flush()
                gradebook.db.expire_all()
                for notebook in submission.notebooks:
                    self._penalise(submission, notebook)

    def record_again(
        self, graded: Graded, scores: Mapping[str, CellScore], before: Mapping[str, CellScore]
    ) -> None:
        """Write new scores of a submission that the gradebook has, all or nothing.

        Late penalties stay. A cell that a person has reviewed stays reviewed if its score is what
        it was `before`.
        """
        with self._transaction(graded.student) as gradebook:
            submission = gradebook.find_submission(graded.assignment, graded.student)
            add_missing_rows(gradebook, submission)
            refuse_lost(submission, scores)
            for grade in grades_of(submission):
                if grade.name in scores:
                    write_again(grade, scores[grade.name], before.get(grade.name))

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
    def _transaction(self, student: str) -> Iterator[Gradebook]:
        with self._open() as gradebook:
            self._analyze(gradebook)
            try:
                yield gradebook
                gradebook.db.commit()
            except Exception as error:
                gradebook.db.rollback()
                raise InfrastructureError(
                    f"the gradebook refused the scores of '{student}': {_first_line(error)}"
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

    def _penalise(self, submission: SubmittedAssignment, notebook: SubmittedNotebook) -> None:
        """Apply the configured late penalty plugin, as nbgrader's own preprocessor does."""
        from nbgrader.preprocessors import AssignLatePenalties  # loads nbconvert, which takes 0.5 s

        assigner = AssignLatePenalties(config=self._config)
        assigner.init_plugin()
        penalty = assigner.plugin_inst.late_submission_penalty(
            submission.student.id, notebook.score, submission.total_seconds_late
        )
        if penalty is not None:
            notebook.late_submission_penalty = assigner._check_late_penalty(notebook, penalty)

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


def _unusable(error: Exception) -> InfrastructureError:
    return InfrastructureError(f"the gradebook cannot be used: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    """Return the error without the statements and links that SQLAlchemy adds."""
    return next(iter(str(error).splitlines()), type(error).__name__)
