"""Writes the gradebook as a CSV file that a spreadsheet and a later reader can trust.

Used as ``c.ExportApp.plugin_class = "nbmark.export.csv.GradesCsv"``. Stock nbgrader quotes nothing
and writes 0.0 for work that nobody has graded.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from nbgrader.plugins import ExportPlugin

from nbmark.course.folders import Folders
from nbmark.intake.receive import is_student_id
from nbmark.untrusted.files import write_atomic

COLUMNS = (
    "assignment",
    "duedate",
    "timestamp",
    "student_id",
    "last_name",
    "first_name",
    "email",
    "raw_score",
    "late_submission_penalty",
    "score",
    "max_score",
    "status",
)
PERSONAL = ("last_name", "first_name", "email")
# The wide forms too: some spreadsheets read them alike.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class GradesCsv(ExportPlugin):  # type: ignore[misc]  # nbgrader has no type hints
    """One line for each assignment and student; a score that does not exist is left empty.

    Whoever has a folder under ``submitted/`` has a line too, known to the gradebook or not.
    """

    def export(self, gradebook: Any) -> None:
        """Write the file that ``--to`` names, by default ``grades.csv``, in one go."""
        target = Path(self.to or "grades.csv")
        self.log.info("Exporting grades to %s", target)
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for assignment in sorted(gradebook.assignments, key=lambda one: one.name):
            if not self.assignment or assignment.name in self.assignment:
                self._write_assignment(writer, gradebook, assignment)
        write_atomic(target.resolve(), text.getvalue().encode())

    def _write_assignment(self, writer: Any, gradebook: Any, assignment: Any) -> None:
        graded = {one.student.id: one for one in gradebook.assignment_submissions(assignment.name)}
        handed_in = self._handed_in(assignment.name)
        known = {one.id: one for one in gradebook.students}
        wanted = [str(one) for one in self.student]
        for student in sorted(known.keys() | set(filter(is_student_id, handed_in))):
            if not wanted or student in wanted:
                row = {
                    "assignment": assignment.name,
                    "duedate": assignment.duedate,
                    "student_id": student,
                    "max_score": assignment.max_score,
                    **{name: getattr(known.get(student), name, None) for name in PERSONAL},
                    **_scores(graded.get(student), student in handed_in),
                }
                writer.writerow({name: _cell(value) for name, value in row.items()})

    def _handed_in(self, assignment: str) -> set[str]:
        """Everybody with a folder under ``submitted/``; nobody where no application calls."""
        coursedir = getattr(self.parent, "coursedir", None)
        return set(Folders(coursedir).students(assignment)) if coursedir else set()


def _scores(submission: Any, handed_in: bool) -> dict[str, Any]:
    """The columns that depend on the submission; without a finished grading only its status."""
    if submission is None:
        return {"status": "not graded" if handed_in else "not submitted"}
    found: dict[str, Any] = {"timestamp": submission.timestamp}
    grades = [grade for notebook in submission.notebooks for grade in notebook.grades]
    if any(
        one.auto_score is None and one.manual_score is None and not _is_manual(one)
        for one in grades
    ):
        return {**found, "status": "not graded"}
    penalty = submission.late_submission_penalty or 0.0
    by_hand = any(grade.needs_manual_grade for grade in grades)
    return {
        **found,
        "raw_score": submission.score,
        "late_submission_penalty": penalty,
        "score": max(0.0, submission.score - penalty),
        "status": "needs manual grading" if by_hand else "graded",
    }


def _is_manual(grade: Any) -> bool:
    """Whether a person gives the points: a task, or an answer cell that is graded."""
    solutions = {cell.name for cell in grade.notebook.notebook.solution_cells}
    return grade.cell.type == "TaskCell" or grade.name in solutions


def _cell(value: Any) -> Any:
    """A field that no spreadsheet takes for a formula; None is empty."""
    if value is None:
        return ""
    if isinstance(value, int | float):
        return value
    text = str(value)
    return "'" + text if text.startswith(FORMULA) else text
