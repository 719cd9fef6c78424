"""Sentences that half of a class reads: then the task or the check may be wrong, not the students.

Personal numbers that were drawn for other ids, for instance, fail everybody's check in one way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nbmark.records.row import Row
from nbmark.untrusted.text import one_line

MIN_STUDENTS = 3  # two students may well make the same mistake


@dataclass(frozen=True)
class Shared:
    """A sentence that at least half of the graded students read at one check.

    Parameters
    ----------
    title, sentence
        The title of the check, and what it says.
    students, graded
        How many students read it, and how many have a grade.
    """

    title: str
    sentence: str
    students: int
    graded: int

    def __str__(self) -> str:
        return (
            f"{self.students} of {self.graded} students read the same at '{self.title}': "
            f"'{one_line(self.sentence, 300)}'; check whether the task and the check agree"
        )

    def as_json(self) -> dict[str, Any]:
        """Return the fields as ``nbmark grade --json`` prints them."""
        return asdict(self)


def shared_sentences(rows: Sequence[Row]) -> list[Shared]:
    """Return the sentences that at least half of the class reads, the most frequent first."""
    graded = [row for row in rows if row.scores]
    counts = Counter(
        (title, _without_id(sentence, row.student))
        for row in graded
        for title, sentence in dict.fromkeys(row.sentences)
    )
    return [
        Shared(title, sentence, students, len(graded))
        for (title, sentence), students in counts.most_common()
        if students >= MIN_STUDENTS and 2 * students >= len(graded)
    ]


def _without_id(sentence: str, student: str) -> str:
    """Return a sentence without the id of its reader, so that it is the same for all readers."""
    return sentence.replace(f"'{student}'", "'…'")
