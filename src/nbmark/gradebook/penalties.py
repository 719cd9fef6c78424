"""Late penalties, by the plug-in that the course's configuration names.

A penalty depends on the due date, the student's extension and the score, and people change all
three after a submission was graded. So a penalty is computed whenever a command grades or regrades.
"""

from __future__ import annotations

import functools
from typing import Any

from sqlalchemy import or_
from traitlets.config import Config

from nbmark.course.slim_nbgrader import slim
from nbmark.errors import LatePenaltyError

with slim():
    from nbgrader.api import Assignment, Gradebook, SubmittedAssignment, SubmittedNotebook


class Penalties:
    """Computes late penalties with nbgrader's plug-in.

    Parameters
    ----------
    config
        nbgrader's configuration, which names the plug-in.
    """

    def __init__(self, config: Config) -> None:
        self._config = config

    def update(self, gradebook: Gradebook, submission: SubmittedAssignment) -> str:
        """Compute the penalty of each notebook; return how the sum changed, or an empty text.

        Raises
        ------
        LatePenaltyError
            If the plug-in fails.
        """
        late_s = _seconds_late(submission)
        # The database adds scores up, and the plug-in reads that sum.
        gradebook.db.flush()
        if late_s:
            gradebook.db.expire_all()
        before = _sum(submission)
        for notebook in submission.notebooks:
            notebook.late_submission_penalty = self._penalty(notebook, late_s) if late_s else None
        after = _sum(submission)
        if before == after:
            return ""
        return f"late penalty {_shown(before)}, now {_shown(after)}"

    def _penalty(self, notebook: SubmittedNotebook, late_s: float) -> float | None:
        """Return what the plug-in says, between 0 and the notebook's score as nbgrader has it."""
        student = notebook.assignment.student_id
        try:
            penalty = self._assigner.plugin_inst.late_submission_penalty(
                student, notebook.score, late_s
            )
            if penalty is None:
                return None
            checked: float = self._assigner._check_late_penalty(notebook, penalty)
        except Exception as error:  # the plug-in is the course's own code
            name = type(self._assigner.plugin_inst).__name__
            raise LatePenaltyError(
                f"the late penalty plug-in {name} failed for '{student}': "
                f"{type(error).__name__}: {error}; fix it and run this again"
            ) from error
        return checked

    @functools.cached_property
    def _assigner(self) -> Any:
        from nbgrader.preprocessors import AssignLatePenalties  # loads nbconvert, which takes 0.5 s

        assigner = AssignLatePenalties(config=self._config)
        assigner.init_plugin()
        return assigner


def possibly_late(gradebook: Gradebook, assignment: str) -> set[str]:
    """Return the students who may need another penalty: late, with an extension, or with one."""
    rows = (
        gradebook.db.query(SubmittedAssignment.student_id)
        .join(Assignment, Assignment.id == SubmittedAssignment.assignment_id)
        .outerjoin(SubmittedNotebook, SubmittedNotebook.assignment_id == SubmittedAssignment.id)
        .filter(
            Assignment.name == assignment,
            or_(
                SubmittedAssignment.timestamp > Assignment.duedate,
                SubmittedAssignment.extension.is_not(None),
                SubmittedNotebook.late_submission_penalty.is_not(None),
            ),
        )
    )
    return {student for (student,) in rows}


def _seconds_late(submission: SubmittedAssignment) -> float:
    # nbgrader fails on an extension without a due date.
    if submission.assignment.duedate is None:
        return 0.0
    return float(submission.total_seconds_late)


def _sum(submission: SubmittedAssignment) -> float:
    penalties = (notebook.late_submission_penalty or 0.0 for notebook in submission.notebooks)
    return round(sum(penalties), 9)


def _shown(penalty: float) -> str:
    return f"{penalty:g} points" if penalty else "none"
