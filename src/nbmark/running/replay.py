"""Replay of a submission that ran earlier: evidence answers the checks, and no code runs."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

from nbmark.errors import CheckFailed, NeverAsked
from nbmark.models import CellState, Evidence

# Reading a variable twice in one state gives the same value, so one recorded answer serves any
# number of reads. A call may answer differently each time: it may draw random numbers or count.
READ_ONLY = ("name", "const", "item")


class Replay:
    """The evidence of a submission, with the interface of a `submission_run.Run`.

    Each answer is found by its question, its grade cell, and how often the question came before.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._states = evidence.reached
        self._order = evidence.cells
        self._answers: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        for record in evidence.evidence:
            self._answers[record.cell, record.question].append((record.answer, record.failed))
        self._times_asked = Counter[tuple[str, str]]()

    def position(self, grade_id: str) -> tuple[int, int]:
        """Return a key that sorts grade cells by their place in the submission, unknown ones last.

        A cell is unknown if the instructor added it after the submission ran.
        """
        if grade_id in self._order:
            return 0, self._order.index(grade_id)
        return 1, 0

    def advance_to(self, grade_id: str) -> None:
        """Raise the error that the run raised when it reached the cell, if there was one.

        Raises
        ------
        CheckFailed
            If no check could pass at this cell.
        NeverAsked
            If no check used this cell when the notebook ran.
        """
        failed = self._state_at(grade_id).failed
        if failed:
            raise CheckFailed(failed)

    def ask(self, question: str, *, cell: str, check: str) -> str:
        """Return the recorded answer to a canonical question, as JSON text.

        Raises
        ------
        CheckFailed
            If the question had no answer when the notebook ran.
        NeverAsked
            If it was asked fewer times at this cell.
        """
        answers = self._answers.get((cell, question), [])
        ordinal = self._times_asked[cell, question]
        self._times_asked[cell, question] += 1
        if ordinal >= len(answers) and answers and _only_reads(json.loads(question)):
            ordinal = len(answers) - 1
        if ordinal >= len(answers):
            raise NeverAsked(f"'{check}' asks something new at '{cell}'")
        answer, failed = answers[ordinal]
        if failed:
            raise CheckFailed(failed)
        return answer

    def trouble_before(self, grade_id: str) -> str:
        """Return the first thing that went wrong in the cells of a task, empty if nothing did."""
        return self._state_at(grade_id).trouble

    def why_missing(self, name: str, *, cell: str) -> str:
        """Return why a name had no value after `cell`, empty if no cell explains it."""
        return self._state_at(cell).missing.get(name, "")

    def _state_at(self, grade_id: str) -> CellState:
        try:
            return self._states[grade_id]
        except KeyError:
            raise NeverAsked(f"no check asked anything at '{grade_id}'") from None


def _only_reads(tree: object) -> bool:
    """Return whether a question consists of names, constants and their items only."""
    if not isinstance(tree, list) or not tree or tree[0] not in READ_ONLY:
        return False
    return tree[0] != "item" or all(_only_reads(part) for part in tree[1:])
