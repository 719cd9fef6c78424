"""The records of an assignment's submissions, and the order in which they are written.

A grading: evidence, files, gradebook, mark of completion, in this order. A kill between any two of
them leaves the submission due, and writing again gives the same.

A regrading: gradebook, files, evidence, mark. The old mark and the old evidence
stay until the new points are in the gradebook, so that regrading after a kill finds the same
student with the same difference.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
from dataclasses import replace
from typing import Literal

from nbmark.checks.points import scores
from nbmark.course.course import Assignment
from nbmark.course.folders import Folders
from nbmark.errors import EvidenceUnusable, InfrastructureError
from nbmark.gradebook.gradebook import CourseGradebook
from nbmark.gradebook.rows import Earlier
from nbmark.intake.receive import Received
from nbmark.models import CellScore, Graded
from nbmark.records import evidence
from nbmark.records.cell_history import CellHistory
from nbmark.records.evidence import Mark
from nbmark.records.feedback import autograded_notebook, sentences, summary
from nbmark.records.row import Row
from nbmark.untrusted.files import replaced_folder, write_atomic, write_synced

EARLIER_CHECKS = "graded with earlier checks; 'nbmark regrade' judges again"


class Records:
    """The records of one assignment, as today's checks see them."""

    def __init__(
        self, assignment: Assignment, gradebook: CourseGradebook, folders: Folders
    ) -> None:
        self.checks_digest = assignment.digest
        self._assignment = assignment
        self._course = assignment.course
        self._gradebook = gradebook
        self._folders = folders
        self._cells = assignment.autograded_cells
        self._history = CellHistory(assignment, gradebook.cells(assignment.name))
        self._times = gradebook.submission_times(assignment.name)
        self._possibly_late = gradebook.possibly_late(assignment.name)
        load = functools.partial(evidence.load, assignment.course, assignment.name)
        # `row` comes right after `is_due` for the same student, so one entry saves half the reads.
        self._evidence = functools.lru_cache(maxsize=1)(load)

    def enter_assignment(self) -> list[str]:
        """Bring the gradebook up to date with ``source/``; return a line for each change."""
        source_changed = self._history.source_changed
        # The times come first. After a kill the gradebook would have the new cells, and without
        # the times they would count as there from the start.
        self._history.save(is_entered=False)
        lines = self._gradebook.enter_cells(self._assignment, source_changed=source_changed)
        self._history.save(is_entered=True)
        return lines

    def with_gained_cells(self, received: Received) -> Received:
        """Return the submission with what shows which cells the assignment gained after it."""
        if not self._history.has_gained_cells:
            return received
        earlier = self._earlier(received.submission.student)
        return self._history.with_gained_cells(received, earlier)

    def mark(self, student: str) -> Mark | None:
        """Return the mark of the student's last complete grading, or None."""
        return evidence.completed(self._course, self._assignment.name, student)

    def has_submission(self, student: str) -> bool:
        """Return whether the gradebook has a submission of the student."""
        return student in self._times

    def is_due(self, received: Received) -> bool:
        """Return whether evidence, files or gradebook lack a grading of this very submission."""
        student, name = received.submission.student, self._assignment.name
        mark = self.mark(student)
        folder = self._folders.autograded(student, name)
        return (
            mark is None
            or mark.digest != received.submission.digest
            or not all((folder / f"{nb}.ipynb").is_file() for nb in self._assignment.notebooks)
            or not self.has_submission(student)
            or self._earlier(student) is None
        )

    def row(self, received: Received) -> Row:
        """Return the row of the recorded grading; one made with earlier checks has no points.

        The late penalty is brought up to date.
        """
        student = received.submission.student
        row = self._recorded(student)
        submitted_at = self._time(received)
        if submitted_at == self._times[student] and student not in self._possibly_late:
            return _noted(row, received.time_unread)
        try:
            penalty = self._gradebook.update_lateness(self._assignment.name, student, submitted_at)
        except InfrastructureError as error:
            return Row(student, "not graded", trouble=str(error))
        return _noted(row, received.time_unread, penalty)

    def write(self, graded: Graded, received: Received) -> Row:
        """Record a grading.

        Raises
        ------
        InfrastructureError
            If a cell has no result, or the gradebook refuses; the submission stays due.
        """
        points = scores(graded, self._cells)
        earlier = self._earlier(graded.student)
        before = self._with_scores(earlier) if earlier else None
        # Without the old mark a kill from here on leaves the submission due.
        evidence.unmark(self._course, graded.assignment, graded.student)
        self._store(graded)
        folder = self._folders.autograded(graded.student, graded.assignment)
        with replaced_folder(folder) as fresh:
            for name, data in _notebooks(graded).items():
                write_synced(fresh / name, data)
            for name, text in received.notes.items():
                write_synced(fresh / name, text.encode())
        penalty = self._gradebook.record(graded, points, self._time(received), before)
        self._complete(graded)
        return _noted(_row("graded", graded, points), received.time_unread, penalty)

    def rewrite(self, old: Graded, new: Graded) -> str:
        """Replace the recorded grading `old` by the `new` one, a regrading of the same answers.

        Marks given by hand, comments and the time of submission stay. Return how the late penalty
        changed, or an empty text.

        Raises
        ------
        InfrastructureError
            If a cell has no result, or the gradebook refuses; regrading again gives the same.
        """
        points = scores(new, self._cells)
        penalty = self._gradebook.record_again(new, points, self._with_scores(old))
        folder = self._folders.autograded(new.student, new.assignment)
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in _notebooks(new).items():
            write_atomic(folder / name, data)
        self._store(new)
        self._complete(new)
        return penalty

    def _recorded(self, student: str) -> Row:
        name, mark = self._assignment.name, self.mark(student)
        try:
            graded = self._evidence(student)
        except EvidenceUnusable as error:
            return Row(student, "not graded", trouble=str(error))
        if mark is None or mark.checks_digest != self.checks_digest:
            return Row(student, "up to date", trouble=EARLIER_CHECKS)
        try:
            return _row("up to date", graded, scores(graded, self._cells))
        except InfrastructureError as error:
            command = f"{evidence.grade_command(name, student)} --force"
            return Row(student, "not graded", trouble=f"{error}; run: {command}")

    def _time(self, received: Received) -> datetime.datetime | None:
        """Return the time of submission that belongs in the gradebook.

        Without a ``timestamp.txt`` it stays, as nbgrader leaves it. One that cannot be read is not
        the time of an earlier submission, so the gradebook has none then.
        """
        if received.submitted_at is None and not received.time_unread:
            return self._times.get(received.submission.student)
        return received.submitted_at

    def note_failure(self, row: Row) -> None:
        """Note why a submission could not be graded, so that ``grades.csv`` can say it."""
        # The note is a help only, and a full disk may be the very reason.
        with contextlib.suppress(OSError):
            evidence.note_failure(self._course, self._assignment.name, row.student, row.trouble)

    def _earlier(self, student: str) -> Graded | None:
        """Return the last complete grading of the student, None if there is none to read."""
        try:
            return self._evidence(student)
        except EvidenceUnusable:
            return None

    def _with_scores(self, graded: Graded) -> Earlier:
        judged = {
            cell: possible for cell, possible in self._cells.items() if graded.results_at(cell)
        }
        return Earlier(graded, scores(graded, judged))

    def _store(self, graded: Graded) -> None:
        self._evidence.cache_clear()
        evidence.store(self._course, graded)

    def _complete(self, graded: Graded) -> None:
        evidence.mark_complete(self._course, graded, self.checks_digest)


def _noted(row: Row, *notes: str) -> Row:
    return replace(row, notes=tuple(filter(None, notes)))


def _row(
    outcome: Literal["graded", "up to date"], graded: Graded, points: dict[str, CellScore]
) -> Row:
    return Row(graded.student, outcome, points, summary(graded), sentences=sentences(graded))


def _notebooks(graded: Graded) -> dict[str, bytes]:
    return {f"{name}.ipynb": autograded_notebook(graded, name) for name in graded.notebooks}
