"""Runs one submission's notebooks, a cell at a time, only as far as somebody asks.

Checks pull: `Run.advance_to` runs a notebook up to a grade cell, then `Run.ask` puts questions to
the state as it is right after that cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nbmark.errors import CheckFailed
from nbmark.limits import Limits
from nbmark.models import AnsweredQuestion, CellState, GradedCell, NotebookContext
from nbmark.notebooks import Cell
from nbmark.running.budget import Budget
from nbmark.running.notebook_run import NotebookRun, OpenSession


class Run:
    """All notebooks of one submission.

    Parameters
    ----------
    notebooks
        Notebook name → restored cells.
    open_session
        Makes a session; called when a notebook's first cell is due, and for a fresh process.
        There is never more than one: a notebook is run to its end before the next one begins.
    surroundings
        What each notebook finds around it.
    """

    def __init__(
        self,
        notebooks: Mapping[str, Sequence[Cell]],
        limits: Limits,
        open_session: OpenSession,
        surroundings: NotebookContext,
    ) -> None:
        self.evidence: list[AnsweredQuestion] = []
        self.reached: dict[str, CellState] = {}
        self.spent_s = {"start": 0.0, "cells": 0.0, "questions": 0.0}
        budget = Budget(limits)
        self._runs = {
            name: NotebookRun(cells, limits, budget, open_session, surroundings, self.spent_s)
            for name, cells in notebooks.items()
        }
        self._of_cell = {
            cell.grade_id: run for run in self._runs.values() for cell in run.cells if cell.is_grade
        }

    def position(self, grade_id: str) -> tuple[int, int]:
        """Where a grade cell stands: number of its notebook and number in it; unknown ones last."""
        for number, run in enumerate(self._runs.values()):
            for index, cell in enumerate(run.cells):
                if cell.grade_id == grade_id:
                    return number, index
        return len(self._runs), 0

    def advance_to(self, grade_id: str) -> None:
        """Run everything up to and including a grade cell.

        Raises
        ------
        CheckFailed
            If the cell could not be reached, or its visible tests failed: no check can pass there.
        """
        own = self._of_cell[grade_id]
        for run in self._runs.values():
            if run is own:
                break
            run.end()
        failed = ""
        try:
            own.advance_to(grade_id)
        except CheckFailed as error:
            failed = error.says
            raise
        finally:
            self.reached[grade_id] = CellState(failed, own.last_trouble())

    def ask(self, question: str, *, cell: str, check: str) -> str:
        """The answer to a canonical question in the state after `cell`, as JSON text.

        Raises
        ------
        CheckFailed
            If the answer came too late, or the kernel died over it.
        """
        answer = failed = ""
        try:
            answer = self._of_cell[cell].ask(question)
        except CheckFailed as error:
            failed = error.says
            raise
        finally:
            self.evidence.append(AnsweredQuestion(cell, check, question, answer, failed))
        return answer

    def trouble_before(self, grade_id: str) -> str:
        """What went wrong last in the cells before a grade cell that `advance_to` has reached."""
        return self.reached[grade_id].trouble

    def finish(self) -> dict[str, list[GradedCell]]:
        """Run what is left, close the sessions, and give every notebook's cells with outputs."""
        try:
            return {name: run.finish() for name, run in self._runs.items()}
        finally:
            self.close()

    def close(self) -> None:
        for run in self._runs.values():
            run.close()
