"""What is on record of an assignment's submissions, and how a grading gets there.

A grading: evidence, files, gradebook, mark of completion, in this order; a kill between any two of
them leaves the submission due, and writing again gives the same.

A new judgement of what is graded: gradebook, files, evidence, mark. The old mark and the old
evidence stay until the new points are in the gradebook, so that judging again after a kill finds
the same student with the same difference.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from nbmark import evidence
from nbmark.course import Assignment
from nbmark.errors import InfrastructureError
from nbmark.evidence import Mark
from nbmark.feedback import autograded_notebook, gist
from nbmark.gradebook import Registrar
from nbmark.models import Graded
from nbmark.safefiles import replaced_folder, write_atomic, write_synced
from nbmark.scoring import CellScore, scores
from nbmark.submissions import Received

NO_EVIDENCE = (
    "its evidence in evidence/{0}/{1} is missing, damaged or of another version; "
    "run 'nbmark grade {0} --student {1}'"
)
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
        load = functools.partial(evidence.load, assignment.course, assignment.name)
        self._evidence = functools.lru_cache(maxsize=1)(load)  # `row` comes right after `is_due`

    def mark(self, student: str) -> Mark | None:
        """The mark of the student's last complete grading."""
        return evidence.completed(self._course, self._assignment.name, student)

    def is_due(self, received: Received) -> bool:
        """Whether this very submission has no complete grading in evidence, files and gradebook."""
        student, name = received.submission.student, self._assignment.name
        mark = self.mark(student)
        folder = self._registrar.autograded(student, name)
        return (
            mark is None
            or mark.digest != received.submission.digest
            or not all((folder / f"{one}.ipynb").is_file() for one in self._assignment.notebooks)
            or student not in self._in_gradebook
            or self._evidence(student) is None
        )

    def row(self, student: str) -> Row:
        """What is on record; of a grading with other checks than today's it says just that."""
        name, mark, graded = self._assignment.name, self.mark(student), self._evidence(student)
        if graded is None or mark is None:
            return Row(student, "not graded", trouble=NO_EVIDENCE.format(name, student))
        if mark.checks_digest != self.checks_digest:
            return Row(student, "up to date", trouble=EARLIER_CHECKS)
        try:
            return Row(student, "up to date", scores(graded, self._cells), gist(graded))
        except InfrastructureError as error:
            again = f"run 'nbmark grade {name} --student {student} --force'"
            return Row(student, "not graded", trouble=f"{error}; {again}")

    def write(self, graded: Graded, received: Received) -> Row:
        """Put a grading on record.

        Raises
        ------
        InfrastructureError
            If a cell has no result, or the gradebook refuses; the submission stays due.
        """
        points = scores(graded, self._cells)
        evidence.unmark(self._course, graded.assignment, graded.student)
        self._store(graded)
        folder = self._registrar.autograded(graded.student, graded.assignment)
        with replaced_folder(folder) as fresh:
            for name, data in {**_notebooks(graded), **received.notes}.items():
                write_synced(fresh / name, data)
        self._registrar.record(graded, points, received.submitted_at)
        self._complete(graded)
        return Row(graded.student, "graded", points, gist(graded))

    def rewrite(self, old: Graded, new: Graded) -> None:
        """Put a `new` judgement in the place of the `old` one, which is on record.

        Marks given by hand, comments, late penalties and the time of handing in stay.

        Raises
        ------
        InfrastructureError
            If a cell has no result, or the gradebook refuses; judging again gives the same.
        """
        points = scores(new, self._cells)
        known = {name: worth for name, worth in self._cells.items() if old.results_at(name)}
        self._registrar.record_again(new, points, scores(old, known))
        folder = self._registrar.autograded(new.student, new.assignment)
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in _notebooks(new).items():
            write_atomic(folder / name, data)
        self._store(new)
        self._complete(new)

    def _store(self, graded: Graded) -> None:
        self._evidence.cache_clear()
        evidence.store(self._course, graded)

    def _complete(self, graded: Graded) -> None:
        evidence.mark_complete(self._course, graded, self.checks_digest)


def _notebooks(graded: Graded) -> dict[str, bytes]:
    return {f"{name}.ipynb": autograded_notebook(graded, name) for name in graded.notebooks}
