"""Runs one notebook of a submission in a session, and goes on where a cell ends its process.

What was earned before a kernel died stays earned, and a fresh one goes on without the cell that
ended it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

from nbmark.errors import CheckFailed
from nbmark.limits import Limits
from nbmark.models import GradedCell, NotebookContext
from nbmark.notebooks import Cell
from nbmark.running import messages
from nbmark.running.budget import Budget
from nbmark.sandbox.session import CellRun, Session
from nbmark.untrusted.outputs import clean

OpenSession = Callable[[], Session]

# A notebook whose process ends is run again without the culprit: at most so often.
MAX_FRESH_PROCESSES = 3


class NotebookRun:
    """One notebook; its cells run in order and once.

    Where a cell ends the process, a fresh one runs the cells before it again, and those after it.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        limits: Limits,
        budget: Budget,
        open_session: OpenSession,
        surroundings: NotebookContext,
        spent_s: dict[str, float],
    ) -> None:
        self.cells = list(cells)
        self._spent_s = spent_s
        self._limits = limits
        self._budget = budget
        self._open_session = open_session
        self._surroundings = surroundings
        self._next = 0
        self._runs: dict[int, CellRun] = {}
        self._notes: dict[int, str] = {}  # what befell a cell
        self._left_out: set[int] = set()  # cells that ended their process
        self._lost = ""  # why nothing runs any more
        self._fresh_processes = 0
        self._session: Session | None = None

    def advance_to(self, grade_id: str) -> None:
        """Run up to and including a grade cell.

        Raises
        ------
        CheckFailed
            If it was left out or not run, took too long, or ended in an error.
        """
        target = next(i for i, cell in enumerate(self.cells) if cell.grade_id == grade_id)
        self._run_until(target)
        run = self._runs[target]
        if target in self._left_out or run.status == "not run":
            raise CheckFailed(self._notes[target])
        if run.status == "timeout":
            raise CheckFailed(messages.too_long(self._place(target), self._limits))
        if run.status == "error":
            said = f"The visible test of this task failed: {messages.said(run)}"
            raise CheckFailed(self._trouble_of_task(target) or said)

    def ask(self, question: str) -> str:
        """The answer to a question in the state after the last cell that has run, as JSON text.

        Raises
        ------
        CheckFailed
            If nothing runs any more, it came too late, or the process ended over it.
        """
        if self._lost or self._session is None:
            raise CheckFailed(self._lost)
        with self._clocked("questions"):
            answer = self._session.ask(question, self._budget.output_bytes)
        if answer is None:
            where = f"Working out your answer to {self._place(self._next - 1)}"
            self._notes[self._next - 1] = self._replace_session(where, self._next)
            raise CheckFailed(self._notes[self._next - 1])
        if not answer:
            limit = self._limits.question_timeout_s
            raise CheckFailed(f"Working out your answer took longer than {limit:g} seconds.")
        self._budget.spend_output(len(answer))
        return answer

    def last_trouble(self) -> str:
        """What went wrong last, empty if nothing did."""
        for index in sorted(self._runs, reverse=True):
            run = self._runs[index]
            if index in self._notes:
                return self._notes[index]
            if run.status == "error":
                return f"{self._place(index)} ended in an error: {messages.said(run)}"
        return ""

    def _trouble_of_task(self, target: int) -> str:
        """What befell a cell between the last grade cell and this one."""
        for index in range(target - 1, -1, -1):
            if index in self._notes or self.cells[index].is_grade:
                return self._notes.get(index, "")
        return ""

    def end(self) -> None:
        """Run what is left; no question can be asked afterwards."""
        self._run_until(len(self.cells) - 1)
        self.close()

    def finish(self) -> list[GradedCell]:
        """Run what is left; every cell with what it showed."""
        self.end()
        return [self._written(index, cell) for index, cell in enumerate(self.cells)]

    def close(self) -> None:
        """End the session if there is one; may be called twice."""
        if self._session is not None:
            self._budget.spend_cpu(self._session.cpu_used_s)
            self._session.close()
            self._session = None

    def _run_until(self, target: int) -> None:
        if self.cells and self._next == 0 and not self._begin_session():
            self._lost = messages.nothing_left(self._limits)
        while self._next <= target:
            cell, index = self.cells[self._next], self._next
            if cell.kind == "code":
                self._runs[index] = run = self._run_cell(index, self._budget.output_bytes)
                self._budget.spend_output(run.size_bytes)
                if run.status == "not run":
                    self._notes[index] = self._lost
                elif self._has_ended():
                    self._leave_out(index)
                elif run.status == "timeout":
                    self._notes[index] = messages.too_long(self._place(index), self._limits)
                elif hit := messages.refused(self._place(index), run, self._limits):
                    self._notes[index] = hit
            self._next += 1

    def _run_cell(self, index: int, max_bytes: int) -> CellRun:
        if self._lost or self._session is None:
            return CellRun("not run")
        code, timeout_s = self.cells[index].source, self._limits.cell_timeout_s
        with self._clocked("cells"):
            return self._session.run_cell(code, timeout_s, max_bytes)

    def _begin_session(self) -> bool:
        """Open a session if what is left of the budget suffices; whether it does."""
        allowed = self._budget.begin()
        if allowed is None:
            return False
        with self._clocked("start"):
            self._session = self._open_session()
            self._session.allow(*allowed)
            self._session.furnish(
                self._surroundings.files, {"JUPYTERHUB_USER": self._surroundings.student}
            )
        return self._session.ended is None

    def _has_ended(self) -> bool:
        return self._session is not None and self._session.ended is not None

    def _leave_out(self, culprit: int) -> None:
        self._left_out.add(culprit)
        self._notes[culprit] = self._replace_session(self._place(culprit), culprit)

    def _replace_session(self, where: str, before: int) -> str:
        """Bring a fresh process into the state before a cell, if there may be one; what to say."""
        reason = self._session.ended if self._session else None
        self.close()
        self._fresh_processes += 1
        if self._fresh_processes > MAX_FRESH_PROCESSES or not self._begin_session():
            self._lost = messages.ended(where, reason, self._limits, went_on=False)
            return self._lost
        for index in sorted(self._runs.keys() - self._left_out):
            if index < before and not self._lost:
                self._run_cell(index, 0)  # it has shown already what it shows
                if self._has_ended():  # this time
                    self._leave_out(index)
        return messages.ended(where, reason, self._limits, went_on=not self._lost)

    @contextlib.contextmanager
    def _clocked(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self._spent_s[what] += time.monotonic() - began

    def _place(self, index: int) -> str:
        return messages.place(self.cells, index)

    def _written(self, index: int, cell: Cell) -> GradedCell:
        run = self._runs.get(index)
        return GradedCell(
            kind=cell.kind,
            source=cell.source,
            nbgrader=dict(cell.nbgrader),
            attachments={name: dict(one) for name, one in cell.attachments.items()},
            restored=cell.restored,
            status=run.status if run else "",
            outputs=clean(run.outputs, truncated=run.truncated) if run else [],
            execution_count=run.execution_count if run else None,
            note=self._notes.get(index, ""),
            doubt=cell.doubt,
        )
