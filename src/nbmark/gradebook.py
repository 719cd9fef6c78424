"""nbgrader's gradebook and folders: the only module that touches them.

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
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from nbmark.course import Assignment
from nbmark.errors import AssignmentError, InfrastructureError, UsageError
from nbmark.models import Graded, RunCell
from nbmark.scoring import CellScore
from nbmark.slim_nbgrader import slim

with slim():
    from nbgrader.api import (
        Comment,
        Grade,
        Gradebook,
        MissingEntry,
        Student,
        SubmittedAssignment,
        SubmittedNotebook,
    )
    from nbgrader.coursedir import CourseDirectory
    from nbgrader.utils import parse_utc

NO_RESPONSE = "No response."
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
        remedy = f"run 'nbgrader generate_assignment {assignment.name} --force'"
        with self._open() as gradebook:
            try:
                found = gradebook.find_assignment(assignment.name)
            except MissingEntry:
                raise AssignmentError(
                    f"the gradebook does not know '{assignment.name}'; {remedy}"
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
            cell = sorted(known ^ wanted)[0]
            raise AssignmentError(
                f"the gradebook and source/{assignment.name} differ, for instance in the cell "
                f"'{cell[1]}' of {cell[2]:g} points; {remedy}"
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
        with self._writing(graded) as (gradebook, submission):
            if submitted_at is not None:
                submission.timestamp = submitted_at
            _write_all_grades(submission, graded, scores)
            for notebook in submission.notebooks:
                notebook.late_submission_penalty = None
            if submission.total_seconds_late > 0:
                gradebook.db.flush()
                gradebook.db.expire_all()  # the database adds the scores up
                for notebook in submission.notebooks:
                    self._penalise(submission, notebook)

    def record_again(self, graded: Graded, scores: Mapping[str, CellScore]) -> None:
        """Write new scores of a submission, all or nothing; late penalties stay as well."""
        with self._writing(graded) as (_, submission):
            _write_all_grades(submission, graded, scores)

    @contextlib.contextmanager
    def _writing(self, graded: Graded) -> Iterator[tuple[Gradebook, SubmittedAssignment]]:
        with self._open() as gradebook:
            try:
                yield gradebook, _submission(gradebook, graded)
                gradebook.db.commit()
            except Exception as error:
                gradebook.db.rollback()
                raise InfrastructureError(
                    f"the gradebook refused the scores of '{graded.student}': {error}"
                ) from error

    def dump(self, assignment: str) -> list[dict[str, Any]]:
        """Everything the gradebook holds on an assignment, without ids made at random, sorted."""
        with self._open() as gradebook:
            return [
                {
                    "student": one.student.id,
                    "timestamp": str(one.timestamp),
                    "seconds_late": one.total_seconds_late,
                    "score": one.score,
                    "notebooks": {note.name: _dump_notebook(note) for note in one.notebooks},
                }
                for one in sorted(
                    gradebook.assignment_submissions(assignment), key=lambda one: one.student.id
                )
            ]

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
    return InfrastructureError(f"the gradebook cannot be used: {str(error).splitlines()[0]}")


def parse_timestamp(text: str) -> datetime.datetime | None:
    """The instant in a ``timestamp.txt``, in UTC without a zone as nbgrader keeps it, or None."""
    try:
        found: datetime.datetime = parse_utc(text.strip())
    except (ValueError, OverflowError, TypeError):
        return None
    return found


def _submission(gradebook: Gradebook, graded: Graded) -> SubmittedAssignment:
    """The submission's row with a row for every cell; new ones are added but not committed.

    nbgrader's own `add_submission` commits at once, and a kill after it would export zeros.
    """
    try:
        return gradebook.find_submission(graded.assignment, graded.student)
    except MissingEntry:
        assignment = gradebook.find_assignment(graded.assignment)
    try:
        student = gradebook.find_student(graded.student)
    except MissingEntry:
        student = Student(id=graded.student)
        gradebook.db.add(student)
    with gradebook.db.no_autoflush:
        submission = SubmittedAssignment(assignment=assignment, student=student)
        for notebook in assignment.notebooks:
            row = SubmittedNotebook(notebook=notebook, assignment=submission)
            for cell in [*notebook.grade_cells, *notebook.task_cells]:
                Grade(cell_id=cell.id, cell=cell, notebook=row)
            for cell in [*notebook.solution_cells, *notebook.task_cells]:
                Comment(cell_id=cell.id, cell=cell, notebook=row)
        gradebook.db.add(submission)
    gradebook.db.flush()
    return submission


def _write_all_grades(
    submission: SubmittedAssignment, graded: Graded, scores: Mapping[str, CellScore]
) -> None:
    for notebook in submission.notebooks:
        cells = {
            str(cell.nbgrader.get("grade_id")): cell
            for cell in graded.notebooks.get(notebook.name, [])
        }
        _write_grades(notebook, cells, scores, notebook.name in graded.unreadable)


def _write_grades(
    notebook: SubmittedNotebook, cells: Mapping[str, RunCell], scores: Mapping[str, CellScore],
    unreadable: bool,
) -> None:  # fmt: skip
    released = {cell.name: cell.source for cell in notebook.notebook.source_cells}
    tasks = {cell.name for cell in notebook.notebook.task_cells}
    silent = {
        name for name, cell in cells.items()
        if name not in tasks and not cell.doubt
        and (cell.restored or cell.source == released.get(name))
    }  # fmt: skip
    for grade in notebook.grades:
        if grade.name in tasks:
            continue
        score = scores.get(grade.name)
        if score is not None:
            grade.auto_score = score.earned
        else:
            grade.auto_score = 0.0 if grade.name in silent else None
        grade.needs_manual_grade = (
            grade.manual_score is not None or grade.auto_score is None or unreadable
            or (score is not None and score.needs_look)
            or (grade.name in cells and bool(cells[grade.name].doubt))
        )  # fmt: skip
    for comment in notebook.comments:
        comment.auto_comment = NO_RESPONSE if comment.name in silent else None


def _dump_notebook(notebook: SubmittedNotebook) -> dict[str, Any]:
    return {
        "late_penalty": notebook.late_submission_penalty,
        "flagged": notebook.flagged,
        "grades": {
            one.name: [one.auto_score, one.manual_score, one.extra_credit, one.needs_manual_grade]
            for one in sorted(notebook.grades, key=lambda one: one.name)
        },
        "comments": {
            one.name: [one.auto_comment, one.manual_comment]
            for one in sorted(notebook.comments, key=lambda one: one.name)
        },
    }
