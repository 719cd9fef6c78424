"""The rows of one submission in nbgrader's gradebook: which there must be, and what is in them.

Nothing here commits: that is `gradebook`'s.
"""

from __future__ import annotations

from collections.abc import Mapping

from nbmark.course.slim_nbgrader import slim
from nbmark.errors import InfrastructureError
from nbmark.models import CellScore, Graded

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

NO_RESPONSE = "No response."


def find_or_add(gradebook: Gradebook, graded: Graded) -> SubmittedAssignment:
    """The submission's row; a new one is added, and its student too if need be.

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
        gradebook.db.add(submission)
    return submission


def add_missing_rows(gradebook: Gradebook, submission: SubmittedAssignment) -> None:
    """A row for every notebook and cell: the assignment may have grown since the submission."""
    with gradebook.db.no_autoflush:
        rows = {row.notebook: row for row in submission.notebooks}
        for notebook in submission.assignment.notebooks:
            row = rows.get(notebook) or SubmittedNotebook(notebook=notebook, assignment=submission)
            gradebook.db.add(row)
            for kind, there, cells in (
                (Grade, row.grades, [*notebook.grade_cells, *notebook.task_cells]),
                (Comment, row.comments, [*notebook.solution_cells, *notebook.task_cells]),
            ):
                known = {one.cell_id for one in there}
                gradebook.db.add_all(
                    [
                        kind(cell_id=cell.id, cell=cell, notebook=row)
                        for cell in cells
                        if cell.id not in known
                    ]
                )
    gradebook.db.flush()


def grades_of(submission: SubmittedAssignment) -> list[Grade]:
    """The grade rows of all of its notebooks."""
    return [grade for notebook in submission.notebooks for grade in notebook.grades]


def refuse_lost(submission: SubmittedAssignment, scores: Mapping[str, CellScore]) -> None:
    """Raise `InfrastructureError` if a score has no row: what is told as graded is stored."""
    lost = sorted(scores.keys() - {grade.name for grade in grades_of(submission)})
    if lost:
        raise InfrastructureError(
            f"it has no grade cell '{lost[0]}' in '{submission.name}'; "
            f"run 'nbgrader generate_assignment {submission.name} --force'"
        )


def write_again(grade: Grade, score: CellScore, before: CellScore | None) -> None:
    """A new score of a cell; who has looked at it need not look again unless something changed."""
    looked = before is not None and before.needs_look
    if grade.auto_score != score.earned or (score.needs_look and not looked):
        grade.needs_manual_grade = score.needs_look or grade.manual_score is not None
    elif looked and not score.needs_look and grade.manual_score is None:
        grade.needs_manual_grade = False  # the check that broke does not break any more
    grade.auto_score = score.earned


def write_grades(
    notebook: SubmittedNotebook, graded: Graded, scores: Mapping[str, CellScore]
) -> None:
    """The scores of a notebook's cells, which of them a person must look at, and what was empty."""
    cells = {
        str(cell.nbgrader.get("grade_id")): cell for cell in graded.notebooks.get(notebook.name, [])
    }
    released = {cell.name: cell.source for cell in notebook.notebook.source_cells}
    tasks = {cell.name for cell in notebook.notebook.task_cells}
    silent = {
        name
        for name, cell in cells.items()
        if name not in tasks
        and not cell.doubt
        and (cell.restored or cell.source == released.get(name))
    }
    for grade in notebook.grades:
        if grade.name in tasks:
            continue
        score = scores.get(grade.name)
        if score is not None:
            grade.auto_score = score.earned
        else:
            grade.auto_score = 0.0 if grade.name in silent else None
        grade.needs_manual_grade = (
            grade.manual_score is not None
            or grade.auto_score is None
            or notebook.name in graded.unreadable
            or (score is not None and score.needs_look)
            or (grade.name in cells and bool(cells[grade.name].doubt))
        )
    for comment in notebook.comments:
        comment.auto_comment = NO_RESPONSE if comment.name in silent else None
