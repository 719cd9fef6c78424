"""What is on record of an assignment's submissions, and how a grading gets there.

Evidence, files, gradebook, mark of completion, in this order: a kill between any two of them leaves
the submission due, and writing again gives the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nbmark import evidence
from nbmark.course import Assignment
from nbmark.evidence import Mark
from nbmark.feedback import autograded_notebook, gist
from nbmark.gradebook import Registrar
from nbmark.models import Graded
from nbmark.safefiles import replaced_folder, write_atomic, write_synced
from nbmark.scoring import CellScore, scores
from nbmark.submissions import Received

EARLIER_CHECKS = "graded with earlier checks; 'nbmark regrade' judges anew"


@dataclass(frozen=True)
class Row:
    """What became of one student's submission.

    Parameters
    ----------
    outcome
        ``graded``, ``up to date`` or ``not graded``.
    scores
        Grade id → points, empty if there are none.
    says
        The first thing to know about it, for a table.
    trouble
        Why it was not graded.
    """

    student: str
    outcome: str
    scores: dict[str, CellScore] = field(default_factory=dict)
    says: str = ""
    trouble: str = ""

    @property
    def earned(self) -> float:
        return round(sum(one.earned for one in self.scores.values()), 9)


class Records:
    """The records of one assignment, as today's checks see them."""

    def __init__(self, assignment: Assignment, registrar: Registrar) -> None:
        self.checks_digest = assignment.digest()
        self._assignment = assignment
        self._course = assignment.course
        self._registrar = registrar
        self._cells = assignment.autograded_cells
        self._in_gradebook = registrar.handed_in(assignment.name)

    def mark(self, student: str) -> Mark | None:
        """The mark of the student's last complete grading."""
        return evidence.completed(self._course, self._assignment.name, student)

    def is_due(self, received: Received) -> bool:
        """Whether this very submission has no complete grading in files and gradebook."""
        student, name = received.submission.student, self._assignment.name
        mark = self.mark(student)
        folder = self._registrar.autograded(student, name)
        return (
            mark is None
            or mark.digest != received.submission.digest
            or not all((folder / f"{one}.ipynb").is_file() for one in self._assignment.notebooks)
            or student not in self._in_gradebook
        )

    def row(self, student: str) -> Row:
        """What is on record; of a grading with other checks than today's it says just that."""
        mark = self.mark(student)
        graded = evidence.load(self._course, self._assignment.name, student)
        if graded is None or mark is None:
            return Row(student, "up to date")
        if mark.checks_digest != self.checks_digest:
            return Row(student, "up to date", trouble=EARLIER_CHECKS)
        return Row(student, "up to date", scores(graded, self._cells), gist(graded))

    def write(self, graded: Graded, received: Received) -> Row:
        """Put a grading on record.

        Raises
        ------
        InfrastructureError
            If a cell has no result, or the gradebook refuses; the submission stays due.
        """
        points = scores(graded, self._cells)
        self._begin(graded)
        folder = self._registrar.autograded(graded.student, graded.assignment)
        with replaced_folder(folder) as fresh:
            for name, data in {**_notebooks(graded), **received.notes}.items():
                write_synced(fresh / name, data)
        self._registrar.record(graded, points, received.submitted_at)
        self._complete(graded)
        return Row(graded.student, "graded", points, gist(graded))

    def rewrite(self, graded: Graded) -> Row:
        """Put a new judgement of a submission on record that was graded before.

        Marks given by hand, comments, late penalties and the time of handing in stay.
        """
        points = scores(graded, self._cells)
        self._begin(graded)
        folder = self._registrar.autograded(graded.student, graded.assignment)
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in _notebooks(graded).items():
            write_atomic(folder / name, data)
        self._registrar.record_again(graded, points)
        self._complete(graded)
        return Row(graded.student, "graded", points, gist(graded))

    def _begin(self, graded: Graded) -> None:
        evidence.unmark(self._course, graded.assignment, graded.student)
        evidence.store(self._course, graded)

    def _complete(self, graded: Graded) -> None:
        evidence.mark_complete(self._course, graded, self.checks_digest)


def _notebooks(graded: Graded) -> dict[str, bytes]:
    return {f"{name}.ipynb": autograded_notebook(graded, name) for name in graded.notebooks}
