"""Writes the gradebook as a CSV file that a spreadsheet and a later reader can trust.

Used as ``c.ExportApp.plugin_class = "nbmark.exporters.GradesCsv"``. Stock nbgrader quotes nothing
and writes 0.0 for work that nobody has graded.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from nbgrader.plugins import ExportPlugin

from nbmark.safefiles import write_atomic

COLUMNS = (
    "assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email",
    "raw_score", "late_submission_penalty", "score", "max_score", "status",
)  # fmt: skip
# The wide forms too: some spreadsheets read them alike.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class GradesCsv(ExportPlugin):  # type: ignore[misc]  # nbgrader has no type hints
    """One line for each assignment and student; a score that does not exist is left empty."""

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
        handed_in = {
            one.student.id: one for one in gradebook.assignment_submissions(assignment.name)
        }
        wanted = [str(one) for one in self.student]
        for student in sorted(gradebook.students, key=lambda one: one.id):
            if not wanted or student.id in wanted:
                row = {
                    "assignment": assignment.name, "duedate": assignment.duedate,
                    "student_id": student.id, "last_name": student.last_name,
                    "first_name": student.first_name, "email": student.email,
                    "max_score": assignment.max_score, **_scores(handed_in.get(student.id)),
                }  # fmt: skip
                writer.writerow({name: _cell(value) for name, value in row.items()})


def _scores(submission: Any) -> dict[str, Any]:
    """The columns that depend on the submission; without a finished grading only its status."""
    if submission is None:
        return {"status": "not submitted"}
    found: dict[str, Any] = {"timestamp": submission.timestamp}
    grades = [grade for notebook in submission.notebooks for grade in notebook.grades]
    if any(one.auto_score is None and one.manual_score is None and not _is_manual(one)
           for one in grades):  # fmt: skip
        return {**found, "status": "not graded"}
    penalty = submission.late_submission_penalty or 0.0
    by_hand = any(grade.needs_manual_grade for grade in grades)
    return {
        **found, "raw_score": submission.score, "late_submission_penalty": penalty,
        "score": max(0.0, submission.score - penalty),
        "status": "needs manual grading" if by_hand else "graded",
    }  # fmt: skip


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
