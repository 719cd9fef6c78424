"""Runs one submission's notebooks, a cell at a time, only as far as somebody asks.

Checks pull: `Run.advance_to` runs a notebook up to a grade cell, then `Run.ask` puts questions to
the state as it is right after that cell. What was earned before a kernel died stays earned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from nbmark.errors import CheckFailed
from nbmark.limits import Limits
from nbmark.models import Asked, RunCell, Surroundings
from nbmark.notebooks import Cell
from nbmark.outputs import clean
from nbmark.sandboxes.session import CellRun, Session

OpenSession = Callable[[], Session]

ENDED = {
    "memory": "The notebook used more memory than is allowed and was stopped",
    "cpu": "The notebook used more computing time than is allowed and was stopped",
    "time": "The notebook took longer than is allowed and was stopped",
    "died": "The kernel stopped: something ended the whole Python process",
    "garbage": "The notebook's process stopped answering sensibly and was ended",
}


class Run:
    """All notebooks of one submission.

    Parameters
    ----------
    notebooks
        Notebook name → restored cells.
    open_session
        Makes a session; called once a notebook. Its kernel starts in the background.
    surroundings
        What each notebook finds around it.
    """

    def __init__(
        self, notebooks: Mapping[str, Sequence[Cell]], limits: Limits, open_session: OpenSession,
        surroundings: Surroundings,
    ) -> None:  # fmt: skip
        self.evidence: list[Asked] = []
        self._runs = {
            name: NotebookRun(cells, limits, open_session, surroundings)
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
        self._of_cell[grade_id].advance_to(grade_id)

    def ask(self, question: str, *, cell: str, check: str) -> str:
        """The answer to a canonical question in the state after `cell`, as JSON text.

        Raises
        ------
        CheckFailed
            If the answer came too late, or the kernel died over it.
        """
        answer = self._of_cell[cell].ask(question)
        self.evidence.append(Asked(cell, check, question, answer))
        return answer

    def trouble_before(self, grade_id: str) -> str:
        """What went wrong last in the cells before a grade cell, empty if nothing did."""
        return self._of_cell[grade_id].last_trouble()

    def finish(self) -> dict[str, list[RunCell]]:
        """Run what is left, close the sessions, and give every notebook's cells with outputs."""
        try:
            return {name: run.finish() for name, run in self._runs.items()}
        finally:
            self.close()

    def close(self) -> None:
        for run in self._runs.values():
            run.close()


class NotebookRun:
    """One notebook and its session; cells run in order and once."""

    def __init__(
        self, cells: Sequence[Cell], limits: Limits, open_session: OpenSession,
        surroundings: Surroundings,
    ) -> None:  # fmt: skip
        self.cells = list(cells)
        self._limits = limits
        self._surroundings: Surroundings | None = surroundings
        self._next = 0
        self._runs: dict[int, CellRun] = {}
        self._stopped_in: int | None = None
        self._session = open_session()

    def advance_to(self, grade_id: str) -> None:
        target = next(i for i, cell in enumerate(self.cells) if cell.grade_id == grade_id)
        self._run_until(target)
        run = self._runs[target]
        if run.status in ("not run", "died"):
            raise CheckFailed(self._why_stopped())
        if run.status == "timeout":
            raise CheckFailed(self._too_long(target))
        if run.status == "error":
            raise CheckFailed(f"The visible test of this task failed: {_said(run)}")

    def ask(self, question: str) -> str:
        answer = self._session.ask(question)
        if answer is None:
            self._stopped_in = self._stopped_in or self._next
            raise CheckFailed(self._why_stopped())
        if not answer:
            limit = self._limits.question_timeout_s
            raise CheckFailed(f"Working out your answer took longer than {limit:g} seconds.")
        return answer

    def last_trouble(self) -> str:
        for index in sorted(self._runs, reverse=True):
            run = self._runs[index]
            if run.status == "timeout":
                return self._too_long(index)
            if run.status == "error":
                return f"Cell {index + 1} of the notebook ended in an error: {_said(run)}"
        return ""

    def finish(self) -> list[RunCell]:
        self._run_until(len(self.cells) - 1)
        return [self._written(index, cell) for index, cell in enumerate(self.cells)]

    def close(self) -> None:
        self._session.close()

    def _run_until(self, target: int) -> None:
        if self._surroundings:
            self._session.furnish(
                self._surroundings.files, {"JUPYTERHUB_USER": self._surroundings.student}
            )
            self._surroundings = None
        while self._next <= target:
            cell, index = self.cells[self._next], self._next
            if cell.kind == "code":
                self._runs[index] = self._session.run_cell(cell.source, self._limits.cell_timeout_s)
                if self._session.ended and self._stopped_in is None:
                    self._stopped_in = index
            self._next += 1

    def _why_stopped(self) -> str:
        where = f"cell {(self._stopped_in or 0) + 1} of the notebook"
        reason = ENDED.get(self._session.ended or "", ENDED["died"])
        return f"{reason}, in {where}. Tasks after that could not be looked at."

    def _too_long(self, index: int) -> str:
        limit = self._limits.cell_timeout_s
        return (
            f"Cell {index + 1} of the notebook ran longer than {limit:g} seconds and was stopped."
        )

    def _written(self, index: int, cell: Cell) -> RunCell:
        run = self._runs.get(index)
        note = ""
        if run and run.status == "timeout":
            note = self._too_long(index)
        elif run and run.status in ("died", "not run"):
            note = self._why_stopped()
        return RunCell(
            kind=cell.kind, source=cell.source, nbgrader=dict(cell.nbgrader),
            attachments={name: dict(one) for name, one in cell.attachments.items()},
            restored=cell.restored, status=run.status if run else "",
            outputs=clean(run.outputs, truncated=run.truncated) if run else [],
            execution_count=run.execution_count if run else None, note=note,
        )  # fmt: skip


def _said(run: CellRun) -> str:
    """What an exception said: an assertion's message is written for students, so it goes first."""
    if run.error_name == "AssertionError" and run.error_message:
        return run.error_message
    if run.error_name == "NotImplementedError":  # what nbgrader leaves where a solution stood
        return "put your own code in place of 'raise NotImplementedError()'."
    return f"{run.error_name}: {run.error_message}".rstrip(": ")
