"""A submission that ran earlier, as evidence: it answers what was asked then, and runs nothing."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

from nbmark.errors import CheckFailed, NeverAsked
from nbmark.models import CellState, Evidence

# Whoever reads a variable again in the same state sees the same.
READS = ("name", "const", "item")


class Replay:
    """Stands in for a `runner.Run`; an answer is found by its question, grade cell and ordinal."""

    def __init__(self, evidence: Evidence) -> None:
        self._reached = evidence.reached
        self._order = evidence.cells
        self._answers: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        for one in evidence.evidence:
            self._answers[one.cell, one.question].append((one.answer, one.failed))
        self._asked = Counter[tuple[str, str]]()

    def position(self, grade_id: str) -> tuple[int, int]:
        """Where a grade cell stands; unknown ones last."""
        known = grade_id in self._order
        return (0, self._order.index(grade_id)) if known else (1, 0)

    def advance_to(self, grade_id: str) -> None:
        """Raise what was raised when the cell was reached.

        Raises
        ------
        CheckFailed
            As then.
        NeverAsked
            If no check looked at this cell.
        """
        failed = self._at(grade_id).failed
        if failed:
            raise CheckFailed(failed)

    def ask(self, question: str, *, cell: str, check: str) -> str:
        """The answer that the question got.

        Raises
        ------
        CheckFailed
            If there was none then.
        NeverAsked
            If it was not asked so often at this cell.
        """
        found = self._answers.get((cell, question), [])
        ordinal = self._asked[cell, question]
        self._asked[cell, question] += 1
        if ordinal >= len(found) and found and _only_reads(json.loads(question)):
            ordinal = len(found) - 1
        if ordinal >= len(found):
            raise NeverAsked(f"'{check}' asks something new at '{cell}'")
        answer, failed = found[ordinal]
        if failed:
            raise CheckFailed(failed)
        return answer

    def trouble_before(self, grade_id: str) -> str:
        """What went wrong last before the cell."""
        return self._at(grade_id).trouble

    def _at(self, grade_id: str) -> CellState:
        try:
            return self._reached[grade_id]
        except KeyError:
            raise NeverAsked(f"no check looked at '{grade_id}'") from None


def _only_reads(tree: object) -> bool:
    """Whether a question calls nothing of the student's: names, constants and their items."""
    if not isinstance(tree, list) or not tree or tree[0] not in READS:
        return False
    return tree[0] != "item" or all(_only_reads(one) for one in tree[1:])
