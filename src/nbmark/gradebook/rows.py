"""The rows of one submission in nbgrader's gradebook: which ones must exist, and their values.

Nothing here commits. `gradebook` does, once a submission.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Earlier:
    """The last complete grading of a student, and the scores that it gave."""

    graded: Graded
    scores: Mapping[str, CellScore]


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


def add_missing_rows(gradebook: Gradebook, submission: SubmittedAssignment, graded: Graded) -> None:
    """Add the rows that the submission lacks; cells that came after it get none."""
    with gradebook.db.no_autoflush:
        rows = {row.notebook: row for row in submission.notebooks}
        for notebook in submission.assignment.notebooks:
            if notebook.name not in graded.notebooks:
                continue  # the assignment has lost it
            row = rows.get(notebook) or SubmittedNotebook(notebook=notebook, assignment=submission)
            gradebook.db.add(row)
            for grade in _without_marks(row, graded) if graded.added_later else ():
                row.grades.remove(grade)
                gradebook.db.delete(grade)
            counted = counted_cells(graded, notebook.name)
            graded_cells = [
                cell
                for cell in [*notebook.grade_cells, *notebook.task_cells]
                if (cell.name, cell.type) in counted
            ]
            for kind, existing, cells in (
                (Grade, row.grades, graded_cells),
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


def counted_cells(graded: Graded, notebook: str) -> set[tuple[str, str]]:
    """Return grade id and nbgrader's kind of each cell that has points for this submission."""
    kinds = {"grade": "GradeCell", "task": "TaskCell"}
    return {
        (str(cell.nbgrader.get("grade_id")), kind)
        for cell in graded.notebooks.get(notebook, [])
        for flag, kind in kinds.items()
        if cell.nbgrader.get(flag)
    }


def _without_marks(row: SubmittedNotebook, graded: Graded) -> list[Grade]:
    """Return the grades of cells that came after the submission, unless a person gave points."""
    return [
        grade
        for grade in row.grades
        if grade.cell.name in graded.added_later
        and grade.manual_score is None
        and grade.extra_credit is None
    ]


def grades_of(submission: SubmittedAssignment) -> list[Grade]:
    """Return the grade rows of all notebooks of a submission."""
    return [grade for notebook in submission.notebooks for grade in notebook.grades]


def refuse_lost(submission: SubmittedAssignment, scores: Mapping[str, CellScore]) -> None:
    """Raise `InfrastructureError` if a score has no row, because it would vanish silently."""
    without_row = sorted(scores.keys() - {grade.name for grade in grades_of(submission)})
    if without_row:
        raise InfrastructureError(
            f"it has no grade cell '{without_row[0]}' in '{submission.name}'; run this again"
        )


def write_grades(
    notebook: SubmittedNotebook,
    graded: Graded,
    scores: Mapping[str, CellScore],
    before: Earlier | None = None,
) -> None:
    """Write the scores of a notebook's cells, and mark those that a person must grade or review.

    Marks by hand stay. A cell that a person has reviewed stays reviewed if its answer and its score
    are what they were `before`.
    """
    cells = {
        str(cell.nbgrader.get("grade_id")): cell for cell in graded.notebooks.get(notebook.name, [])
    }
    tasks = {cell.name for cell in notebook.notebook.task_cells}
    # Whatever else was handed in may hold an answer, so a person looks before it counts as none.
    has_other_files = bool(graded.notices.get(notebook.name))
    unanswered = set() if has_other_files else _unanswered(notebook, cells) - tasks
    counted = counted_cells(graded, notebook.name)
    same = _same_answers(before.graded, graded, notebook.name) if before else set()
    for grade in notebook.grades:
        # A person gives all points of a task, so nothing automatic belongs in its row. A cell that
        # the assignment has lost keeps its row as it is.
        if grade.name in tasks or (grade.name, grade.cell.type) not in counted:
            continue
        score = scores.get(grade.name)
        if score is not None:
            auto_score: float | None = score.earned
        else:
            # None means that a person still has to grade it. An answer that was left as released
            # gets zero, as nbgrader's own autograder gives it.
            auto_score = 0.0 if grade.name in unanswered else None
        needs_look = auto_score is None or _is_doubtful(notebook.name, grade.name, graded, score)
        if before is None or grade.name not in same:
            # The answer may have changed since a person gave marks, so they review them.
            grade.needs_manual_grade = needs_look or grade.manual_score is not None
        else:
            needed_look = grade.auto_score is None or _is_doubtful(
                notebook.name, grade.name, before.graded, before.scores.get(grade.name)
            )
            _review_again(grade, needs_look, needed_look, auto_score != grade.auto_score)
        grade.auto_score = auto_score
    # The page of an unreadable notebook says why it has no answers.
    silent = set() if notebook.name in graded.unreadable else unanswered
    for comment in notebook.comments:
        comment.auto_comment = NO_RESPONSE if comment.name in silent else None


def _review_again(grade: Grade, needs_look: bool, needed_look: bool, is_changed: bool) -> None:
    """List a cell with the same answer for review only if its score or its doubts have changed."""
    if is_changed or (needs_look and not needed_look):
        grade.needs_manual_grade = needs_look or grade.manual_score is not None
    elif needed_look and not needs_look and grade.manual_score is None:
        grade.needs_manual_grade = False  # the check that broke works again


def _is_doubtful(notebook: str, grade_id: str, graded: Graded, score: CellScore | None) -> bool:
    """Return whether a person must look at a cell although it may have a score."""
    return (
        notebook in graded.unreadable
        or grade_id in graded.doubts
        or (score is not None and score.needs_look)
    )


def _same_answers(old: Graded, new: Graded, notebook: str) -> set[str]:
    """Return the grade ids of cells whose answers are the same in two gradings."""
    old_answers, new_answers = (
        _answers(graded.notebooks.get(notebook, ())) for graded in (old, new)
    )
    # In one submission nothing of the student's changes, whatever the instructor has changed.
    is_same_submission = old.digest == new.digest
    return {
        grade_id
        for grade_id, answer in new_answers.items()
        if grade_id in old_answers and (is_same_submission or old_answers[grade_id] == answer)
    }


def _answers(cells: Iterable[GradedCell]) -> dict[str, list[tuple[str, str]]]:
    """Return what the student wrote for each grade cell: since the grade cell before it.

    Cells that were added below a grade cell may go on with its answer, so they count there as well.
    """
    answers: dict[str, list[tuple[str, str]]] = {}
    answer: list[tuple[str, str]] = []
    above: list[tuple[str, str]] = []  # the answer of the grade cell above, as long as it may go on
    for cell in cells:
        if cell.nbgrader.get("solution"):
            above = []
            answer.append((cell.kind, cell.source))
        elif not cell.nbgrader:
            above.append((cell.kind, cell.source))
            answer.append((cell.kind, cell.source))
        if cell.nbgrader.get("grade"):
            answers[str(cell.nbgrader.get("grade_id"))] = above = answer
            answer = []
    return answers


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
