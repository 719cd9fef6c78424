"""One line about one student's submission, as tables and logs show it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from nbmark.models import CellScore


@dataclass(frozen=True)
class Row:
    """The outcome for one student's submission.

    Parameters
    ----------
    student
        The name of the folder under ``submitted/``. It may be hostile if it was not graded.
    scores
        Grade id → points, empty if there are none.
    says
        The first thing to know about it, for a table.
    trouble
        Why it was not graded.
    notes
        What else happened: a changed late penalty, a time that could not be read.
    sentences
        The title and the sentence of each check that was not passed.
    """

    student: str
    outcome: Literal["graded", "up to date", "not graded"]
    scores: dict[str, CellScore] = field(default_factory=dict)
    says: str = ""
    trouble: str = ""
    notes: tuple[str, ...] = ()
    sentences: tuple[tuple[str, str], ...] = ()

    @property
    def line(self) -> str:
        """Return everything to know about the submission, as one text."""
        return "; ".join(filter(None, (*self.notes, self.trouble or self.says)))

    @property
    def earned(self) -> float:
        return round(sum(score.earned for score in self.scores.values()), 9)
