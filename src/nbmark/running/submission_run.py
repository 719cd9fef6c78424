"""The run of one submission, driven by the checks.

`Run.advance_to` runs a notebook up to a grade cell. `Run.ask` then puts questions to the state
right after that cell.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from nbmark.errors import CheckFailed
from nbmark.limits import Limits
from nbmark.models import AnsweredQuestion, CellState, GradedCell, NotebookContext
from nbmark.notebooks import Cell
from nbmark.running.budget import Budget
from nbmark.running.no_run import NoRun
from nbmark.running.notebook_run import NotebookRun, OpenSession


class Run:
    """The notebooks of one submission, which share a budget.

    Parameters
    ----------
    notebooks
        Notebook name → restored cells.
    open_session
        Called for each notebook's first cell, and whenever a notebook needs a new process. There
        is never more than one session: each notebook runs to its end before the next one begins.
    context
        The student's id and the files beside the notebooks, for each notebook.
    unreadable
        The notebooks that could not be read. They are not run, and no check passes there.

    Attributes
    ----------
    evidence
        The questions so far and their answers, in order.
    reached
        Grade id → state of each cell that a check has used.
    spent_s
        Seconds spent on ``start`` (the sandbox), ``cells`` and ``questions``.
    """

    def __init__(
        self,
        notebooks: Mapping[str, Sequence[Cell]],
        limits: Limits,
        open_session: OpenSession,
        context: NotebookContext,
        unreadable: Collection[str] = (),
    ) -> None:
        self.evidence: list[AnsweredQuestion] = []
        self.reached: dict[str, CellState] = {}
        self.spent_s = {"start": 0.0, "cells": 0.0, "questions": 0.0}
        budget = Budget(limits)
        self._runs: dict[str, NotebookRun | NoRun] = {
            name: NoRun(cells)
            if name in unreadable
            else NotebookRun(cells, limits, budget, open_session, context, self.spent_s)
            for name, cells in notebooks.items()
        }
        self._run_of_cell = {
            cell.grade_id: run for run in self._runs.values() for cell in run.cells if cell.is_grade
        }

    @property
    def stopped_by_clock(self) -> bool:
        """Whether anything was stopped for its idle time alone."""
        return any(run.stopped_by_clock for run in self._runs.values())

    def position(self, grade_id: str) -> tuple[int, int]:
        """Return the numbers of a grade cell's notebook and of the cell in it.

        They sort checks by their grade cells; an unknown cell comes last.
        """
        for notebook_number, run in enumerate(self._runs.values()):
            for cell_number, cell in enumerate(run.cells):
                if cell.grade_id == grade_id:
                    return notebook_number, cell_number
        return len(self._runs), 0

    def advance_to(self, grade_id: str) -> None:
        """Run all cells up to and including a grade cell, earlier notebooks first.

        Raises
        ------
        CheckFailed
            If the cell could not be reached, or its visible test failed, so no check can pass.
        """
        target_run = self._run_of_cell[grade_id]
        for run in self._runs.values():
            if run is target_run:
                break
            run.end()
        failed = ""
        try:
            target_run.advance_to(grade_id)
        except CheckFailed as error:
            failed = error.says
            raise
        finally:
            # A failure is evidence too: replay raises the same sentence.
            # Several checks may share the cell, and each notes the names that it misses.
            state = self.reached.get(grade_id, CellState())
            trouble = target_run.trouble_before(grade_id)
            self.reached[grade_id] = msgspec.structs.replace(state, failed=failed, trouble=trouble)

    def ask(self, question: str, *, cell: str, check: str) -> str:
        """Return the answer to a canonical question in the state after `cell`, as JSON text.

        Raises
        ------
        CheckFailed
            If the answer took too long, or the process ended while it worked one out.
        """
        answer = failed = ""
        try:
            answer = self._run_of_cell[cell].ask(question)
        except CheckFailed as error:
            failed = error.says
            raise
        finally:
            self.evidence.append(AnsweredQuestion(cell, check, question, answer, failed))
        return answer

    def trouble_before(self, grade_id: str) -> str:
        """Return the first thing that went wrong in the cells of a task, empty if nothing did.

        `advance_to` must have reached its grade cell.
        """
        return self.reached[grade_id].trouble

    def why_missing(self, name: str, *, cell: str) -> str:
        """Return why a name has no value in the state after `cell`, empty if no cell explains it.

        `advance_to` must have reached the cell.
        """
        sentence = self._run_of_cell[cell].why_missing(name)
        if sentence:  # evidence too: replay gives the same sentence
            state = self.reached[cell]
            missing = {**state.missing, name: sentence}
            self.reached[cell] = msgspec.structs.replace(state, missing=missing)
        return sentence

    def finish(self) -> dict[str, list[GradedCell]]:
        """Run all remaining cells and return every notebook's cells with their outputs."""
        try:
            return {name: run.finish() for name, run in self._runs.items()}
        finally:
            self.close()

    def close(self) -> None:
        """End the session if there is one; may be called twice."""
        for run in self._runs.values():
            run.close()
