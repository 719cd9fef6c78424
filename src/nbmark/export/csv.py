"""An export of the gradebook as a CSV file that is safe to open in a spreadsheet.

The course's configuration names it as ``c.ExportApp.plugin_class``. Stock nbgrader quotes nothing
and writes 0.0 for work that has not been graded.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbgrader.plugins import ExportPlugin

from nbmark.course.course import Course
from nbmark.course.folders import Folders
from nbmark.errors import EvidenceUnusable
from nbmark.records import evidence
from nbmark.untrusted.files import write_atomic
from nbmark.untrusted.names import printable_name, unfit_as_id
from nbmark.untrusted.text import one_line

COLUMNS = """
    assignment duedate timestamp student_id last_name first_name email raw_score
    late_submission_penalty score max_score status reason
""".split()
PERSONAL = ("last_name", "first_name", "email")
INVALID_ID = "the name of the folder cannot be a student's id: {}"
NO_GRADING = "not graded yet; run: {}"
FAILED = "the last try to grade it failed: {}"
# A spreadsheet runs a field that begins like this as a formula. Some treat the wide forms alike.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class GradesCsv(ExportPlugin):  # type: ignore[misc]  # nbgrader has no type hints
    """One line for each assignment and student, in which a score that does not exist is empty.

    Everybody with a folder under ``submitted/`` has a line too, even if the gradebook does not know
    them. The column ``reason`` says why a submission has no points.
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
        for student_id in sorted(students.keys() | submitters):
            if not chosen or student_id in chosen:
                student = students.get(student_id)
                scores = _scores(graded.get(student_id), student_id in submitters)
                row = {
                    "assignment": assignment.name,
                    "duedate": assignment.duedate,
                    # An attacker may choose the name of a folder.
                    "student_id": printable_name(student_id),
                    "max_score": assignment.max_score,
                    **{name: getattr(student, name, None) for name in PERSONAL},
                    **scores,
                    "reason": self._reason(assignment.name, student_id, scores),
                }
                writer.writerow({name: _field(value) for name, value in row.items()})

    @property
    def _coursedir(self) -> Any:
        """nbgrader's object for the course's folders, None without an application around it."""
        return getattr(self.parent, "coursedir", None)

    def _submitters(self, assignment: str) -> set[str]:
        """Return the names of the folders under ``submitted/``."""
        return set(Folders(self._coursedir).students(assignment)) if self._coursedir else set()

    def _reason(self, assignment: str, student: str, scores: Mapping[str, Any]) -> str:
        """Return why a submission has no points, or none for its last version; else empty."""
        status = scores["status"]
        unfit = unfit_as_id(student)
        if status == "not submitted" or not self._coursedir:
            return ""
        if unfit:
            return INVALID_ID.format(unfit)
        course = Course(Path(self._coursedir.root))
        failure = evidence.failure(course, assignment, student)
        if failure:
            return FAILED.format(one_line(failure, 500))
        if status == "not graded":
            return NO_GRADING.format(evidence.grade_command(assignment, student))
        # Evidence is large, so only that of a submission without any points is read.
        if status != "needs manual grading" or scores["raw_score"]:
            return ""
        try:
            graded = evidence.load(course, assignment, student)
        except EvidenceUnusable:
            return ""
        return "; ".join(f"{name}.ipynb: {why}" for name, why in graded.unreadable.items())


def _scores(submission: Any, has_submitted: bool) -> dict[str, Any]:
    """Return the columns that depend on the submission: no scores before all cells have points."""
    if submission is None:
        return {"status": "not graded" if has_submitted else "not submitted"}
    grades = [grade for notebook in submission.notebooks for grade in notebook.grades]
    columns: dict[str, Any] = {
        "timestamp": submission.timestamp,
        # nbgrader's own maximum counts every cell of the assignment. A cell that came after a
        # submission has no row in it, and one that the assignment has lost still has.
        "max_score": sum(grade.max_score for grade in grades),
    }
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
