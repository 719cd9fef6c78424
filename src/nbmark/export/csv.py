"""An export of the gradebook as a CSV file that is safe to open in a spreadsheet.

The course's configuration names it as ``c.ExportApp.plugin_class``. Stock nbgrader quotes nothing
and writes 0.0 for work that has not been graded.
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

COLUMNS = """
    assignment duedate timestamp student_id last_name first_name email raw_score
    late_submission_penalty score max_score status
""".split()
PERSONAL = ("last_name", "first_name", "email")
# A spreadsheet runs a field that begins like this as a formula. Some treat the wide forms alike.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class GradesCsv(ExportPlugin):  # type: ignore[misc]  # nbgrader has no type hints
    """One line for each assignment and student, in which a score that does not exist is empty.

    A student with a folder under ``submitted/`` has a line too, even if the gradebook does not
    know them.
    """

    def export(self, gradebook: Any) -> None:
        """Write the file that ``--to`` names, by default ``grades.csv``, in one step."""
        target = Path(self.to or "grades.csv")
        self.log.info("Exporting grades to %s", target)
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for assignment in sorted(gradebook.assignments, key=lambda assignment: assignment.name):
            if not self.assignment or assignment.name in self.assignment:
                self._write_assignment(writer, gradebook, assignment)
        # Resolved first: a rename would replace a link itself and leave its target as it was.
        write_atomic(target.resolve(), text.getvalue().encode())

    def _write_assignment(self, writer: Any, gradebook: Any, assignment: Any) -> None:
        submissions = gradebook.assignment_submissions(assignment.name)
        graded = {submission.student.id: submission for submission in submissions}
        submitters = self._submitters(assignment.name)
        students = {student.id: student for student in gradebook.students}
        chosen = [str(student_id) for student_id in self.student]
        # An attacker may choose the name of a folder, so only a possible id gets a line.
        for student_id in sorted(students.keys() | set(filter(is_student_id, submitters))):
            if not chosen or student_id in chosen:
                student = students.get(student_id)
                row = {
                    "assignment": assignment.name,
                    "duedate": assignment.duedate,
                    "student_id": student_id,
                    "max_score": assignment.max_score,
                    **{name: getattr(student, name, None) for name in PERSONAL},
                    **_scores(graded.get(student_id), student_id in submitters),
                }
                writer.writerow({name: _field(value) for name, value in row.items()})

    def _submitters(self, assignment: str) -> set[str]:
        """Return the students with a folder under ``submitted/``."""
        # Without nbgrader's application around it, the plug-in knows no course folder.
        coursedir = getattr(self.parent, "coursedir", None)
        return set(Folders(coursedir).students(assignment)) if coursedir else set()


def _scores(submission: Any, has_submitted: bool) -> dict[str, Any]:
    """Return the columns that depend on the submission: no scores before all cells have points."""
    if submission is None:
        return {"status": "not graded" if has_submitted else "not submitted"}
    columns: dict[str, Any] = {"timestamp": submission.timestamp}
    grades = [grade for notebook in submission.notebooks for grade in notebook.grades]
    # A cell without a score belongs to a grading that did not finish. Its sum would be too small.
    if any(
        grade.auto_score is None and grade.manual_score is None and not _is_manual(grade)
        for grade in grades
    ):
        return {**columns, "status": "not graded"}
    penalty = submission.late_submission_penalty or 0.0
    by_hand = any(grade.needs_manual_grade for grade in grades)
    return {
        **columns,
        "raw_score": submission.score,
        "late_submission_penalty": penalty,
        "score": max(0.0, submission.score - penalty),
        "status": "needs manual grading" if by_hand else "graded",
    }


def _is_manual(grade: Any) -> bool:
    """Return whether a person gives the points: a task, or an answer cell with points."""
    solutions = {cell.name for cell in grade.notebook.notebook.solution_cells}
    return grade.cell.type == "TaskCell" or grade.name in solutions


def _field(value: Any) -> Any:
    """Return a field that no spreadsheet runs as a formula; None is empty."""
    if value is None:
        return ""
    # Before the test for formulas, because a negative number begins with a minus sign.
    if isinstance(value, int | float):
        return value
    text = str(value)
    return "'" + text if text.startswith(FORMULA) else text
