"""The rows of one submission in nbgrader's gradebook: which ones must exist, and their values.

Nothing here commits. `gradebook` does, once a submission.
"""

from __future__ import annotations

from collections.abc import Mapping

from nbmark.course.slim_nbgrader import slim
from nbmark.errors import InfrastructureError
from nbmark.models import CellScore, Graded, GradedCell

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

NO_RESPONSE = "No response."  # nbgrader's own words, so that both commands leave the same pages


def find_or_add(gradebook: Gradebook, graded: Graded) -> SubmittedAssignment:
    """Return the submission's row; add it if it is missing, and its student too.

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
    # Building the row reads others, and SQLAlchemy would write the unfinished row before that.
    with gradebook.db.no_autoflush:
        submission = SubmittedAssignment(assignment=assignment, student=student)
        gradebook.db.add(submission)
    return submission


def add_missing_rows(gradebook: Gradebook, submission: SubmittedAssignment) -> None:
    """Add the rows of notebooks and cells that the assignment has gained since the submission."""
    with gradebook.db.no_autoflush:
        rows = {row.notebook: row for row in submission.notebooks}
        for notebook in submission.assignment.notebooks:
            row = rows.get(notebook) or SubmittedNotebook(notebook=notebook, assignment=submission)
            gradebook.db.add(row)
            for kind, existing, cells in (
                (Grade, row.grades, [*notebook.grade_cells, *notebook.task_cells]),
                (Comment, row.comments, [*notebook.solution_cells, *notebook.task_cells]),
            ):
                cell_ids = {grade_or_comment.cell_id for grade_or_comment in existing}
                gradebook.db.add_all(
                    [
                        kind(cell_id=cell.id, cell=cell, notebook=row)
                        for cell in cells
                        if cell.id not in cell_ids
                    ]
                )
    # A new row gets its id and its defaults when it is written.
    gradebook.db.flush()


def grades_of(submission: SubmittedAssignment) -> list[Grade]:
    """Return the grade rows of all notebooks of a submission."""
    return [grade for notebook in submission.notebooks for grade in notebook.grades]


def refuse_lost(submission: SubmittedAssignment, scores: Mapping[str, CellScore]) -> None:
    """Raise `InfrastructureError` if a score has no row, because it would vanish silently."""
    without_row = sorted(scores.keys() - {grade.name for grade in grades_of(submission)})
    if without_row:
        raise InfrastructureError(
            f"it has no grade cell '{without_row[0]}' in '{submission.name}'; "
            f"run 'nbgrader generate_assignment {submission.name} --force'"
        )


def write_again(grade: Grade, score: CellScore, before: CellScore | None) -> None:
    """Write the new score of a cell; a reviewed cell is listed again only if its score changed."""
    needed_look = before is not None and before.needs_look
    if grade.auto_score != score.earned or (score.needs_look and not needed_look):
        grade.needs_manual_grade = score.needs_look or grade.manual_score is not None
    elif needed_look and not score.needs_look and grade.manual_score is None:
        grade.needs_manual_grade = False  # the check that broke works again
    grade.auto_score = score.earned


def write_grades(
    notebook: SubmittedNotebook, graded: Graded, scores: Mapping[str, CellScore]
) -> None:
    """Write the scores of a notebook's cells, and mark those that a person must grade or review."""
    cells = {
        str(cell.nbgrader.get("grade_id")): cell for cell in graded.notebooks.get(notebook.name, [])
    }
    tasks = {cell.name for cell in notebook.notebook.task_cells}
    unanswered = _unanswered(notebook, cells) - tasks
    for grade in notebook.grades:
        # A person gives all points of a task, so nothing automatic belongs in its row.
        if grade.name in tasks:
            continue
        score = scores.get(grade.name)
        if score is not None:
            grade.auto_score = score.earned
        else:
            # None means that a person still has to grade it. An answer that was left as released
            # gets zero, as nbgrader's own autograder gives it.
            grade.auto_score = 0.0 if grade.name in unanswered else None
        grade.needs_manual_grade = (
            # The submission may have changed since a person gave marks, so they review them.
            grade.manual_score is not None
            or grade.auto_score is None
            or notebook.name in graded.unreadable
            or (score is not None and score.needs_look)
            or (grade.name in cells and bool(cells[grade.name].doubt))
        )
    for comment in notebook.comments:
        comment.auto_comment = NO_RESPONSE if comment.name in unanswered else None


def _unanswered(notebook: SubmittedNotebook, cells: Mapping[str, GradedCell]) -> set[str]:
    """Return the grade ids of cells that are as the student received them.

    A doubtful cell is never one of them, because a person must look at it first.
    """
    released = {cell.name: cell.source for cell in notebook.notebook.source_cells}
    return {
        grade_id
        for grade_id, cell in cells.items()
        if not cell.doubt and (cell.restored or cell.source == released.get(grade_id))
    }
