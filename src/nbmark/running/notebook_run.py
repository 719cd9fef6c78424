"""The run of one notebook of a submission, which survives the end of its process.

Points that were earned before a cell ended the process stay earned: a new process goes on without
that cell.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from nbmark.errors import CheckFailed
from nbmark.limits import Limits
from nbmark.models import GradedCell, NotebookContext
from nbmark.notebooks import Cell
from nbmark.running import messages
from nbmark.running.budget import Budget
from nbmark.running.explanations import Explanations
from nbmark.sandbox.replies import CellRun
from nbmark.sandbox.session import Session
from nbmark.untrusted.outputs import clean

OpenSession = Callable[[], Session]

# Each new process runs all earlier cells again, and so uses time that later cells need.
MAX_NEW_PROCESSES = 3
# The reasons of `Session.ended` that a busy machine may have caused.
BY_THE_CLOCK = ("clock", "cell clock", "question clock")


class NotebookRun:
    """One notebook, whose cells run in order and once.

    If a cell ends the process, a new one runs the cells before it again, and then those after it.

    Attributes
    ----------
    stopped_by_clock
        Whether anything was stopped for its idle time alone.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        limits: Limits,
        budget: Budget,
        open_session: OpenSession,
        context: NotebookContext,
        spent_s: dict[str, float],
    ) -> None:
        self.cells = list(cells)
        self.stopped_by_clock = False
        self._spent_s = spent_s
        self._limits = limits
        self._budget = budget
        self._open_session = open_session
        self._context = context
        self._next = 0
        self._runs: dict[int, CellRun] = {}
        self._notes: dict[int, str] = {}  # index of a cell → what happened to it, for the student
        self._skipped: set[int] = set()  # cells that ended their process
        self._stopped_because = ""  # once set, no further cell runs
        self._new_processes = 0
        self._session: Session | None = None
        self._explanations = Explanations(self.cells, self._runs, self._notes, context.files)

    def advance_to(self, grade_id: str) -> None:
        """Run up to and including a grade cell.

        Raises
        ------
        CheckFailed
            If the cell was skipped or not run, took too long, or ended in an error.
        """
        target = self._index_of(grade_id)
        self._run_until(target)
        run = self._runs[target]
        if target in self._skipped or run.status in ("not run", "timeout"):
            raise CheckFailed(self._notes[target])
        if run.status == "error":
            raise CheckFailed(self._explanations.failure_of_test(target))

    def ask(self, question: str) -> str:
        """Return the answer to a question in the state after the last cell, as JSON text.

        Raises
        ------
        CheckFailed
            If the notebook has stopped, the answer took too long, or it ended the process.
        """
        if self._stopped_because or self._session is None:
            raise CheckFailed(self._stopped_because)
        with self._timed("questions"):
            answer = self._session.ask(question, self._budget.output_bytes)
        if self._note_end():
            # The last cell itself did nothing wrong, so it runs again: the state that later
            # questions are about must hold its names.
            place = f"Working out your answer to {self._place(self._next - 1)}"
            self._notes[self._next - 1] = self._replace_session(place, self._next)
            raise CheckFailed(self._notes[self._next - 1])
        if answer.limit:
            self.stopped_by_clock |= answer.limit == "clock"
            reason = f"question {answer.limit}"
            raise CheckFailed(messages.stopped("Working out your answer", reason, self._limits))
        self._budget.spend_output(len(answer.text))
        return answer.text

    def trouble_before(self, grade_id: str) -> str:
        """Return the first thing that went wrong in the cells of a task, empty if nothing did."""
        return self._explanations.trouble_before(self._index_of(grade_id))

    def why_missing(self, name: str) -> str:
        """Return why a name has no value after the last cell, empty if no cell explains it."""
        return self._explanations.why_missing(name, self._next)

    def end(self) -> None:
        """Run the remaining cells and close the session; no question can be asked afterwards."""
        self._run_until(len(self.cells) - 1)
        self.close()

    def finish(self) -> list[GradedCell]:
        """Run the remaining cells and return all cells with their outputs."""
        self.end()
        return [self._graded(index, cell) for index, cell in enumerate(self.cells)]

    def close(self) -> None:
        """End the session if there is one; may be called twice."""
        if self._session is not None:
            self._session.close()
            self._budget.spend_time(self._session.idle_used_s, self._session.cpu_used_s)
            self._session = None

    def _run_until(self, target: int) -> None:
        # The session is opened late, because a submission may only have one at a time.
        if self.cells and self._next == 0 and not self._begin_session():
            self._stopped_because = messages.no_budget(self._limits)
        while self._next <= target:
            if self.cells[self._next].kind == "code":
                self._run_next(self._next)
            self._next += 1

    def _run_next(self, index: int) -> None:
        """Run a cell for the first time, and note what happened to it."""
        self._runs[index] = run = self._run_cell(index, self._budget.output_bytes)
        self._budget.spend_output(run.size_bytes)
        if run.status == "not run":
            self._notes[index] = self._stopped_because
        elif self._note_end():
            self._skip(index)
        elif run.limit:
            place, reason = self._place(index), f"cell {run.limit}"
            self._notes[index] = messages.stopped(place, reason, self._limits)
        elif note := messages.limit_reached(self._place(index), run, self._limits):
            self._notes[index] = note

    def _run_cell(self, index: int, max_bytes: int) -> CellRun:
        if self._stopped_because or self._session is None:
            return CellRun("not run")
        code, timeout_s = self.cells[index].source, self._limits.cell_timeout_s
        with self._timed("cells"):
            run = self._session.run_cell(code, timeout_s, max_bytes)
        self.stopped_by_clock |= run.limit == "clock"
        return run

    def _begin_session(self) -> bool:
        """Open a session if the budget allows one; return whether it is ready."""
        budget = self._budget
        self.stopped_by_clock |= not budget.has_idle_time
        if not (budget.has_idle_time and budget.has_cpu_time):
            return False
        with self._timed("start"):
            self._session = self._open_session()
            self._session.allow(budget.idle_s, budget.cpu_s)
            self._session.furnish(
                self._context.all_files, {"JUPYTERHUB_USER": self._context.student}
            )
        return not self._note_end()

    def _note_end(self) -> bool:
        """Return whether the session has ended, and note it if the clock alone ended it."""
        reason = self._session.ended if self._session else None
        self.stopped_by_clock |= reason in BY_THE_CLOCK
        return reason is not None

    def _skip(self, culprit: int) -> None:
        """Skip a cell that ended the process, now and in later processes."""
        self._skipped.add(culprit)
        self._notes[culprit] = self._replace_session(self._place(culprit), culprit)

    def _replace_session(self, place: str, before: int) -> str:
        """Bring a new process into the state before a cell, if there may be one.

        Returns
        -------
        note
            The sentences about the end of the old process.
        """
        reason = self._session.ended if self._session else None
        self.close()
        self._new_processes += 1
        if self._new_processes > MAX_NEW_PROCESSES or not self._begin_session():
            self._stopped_because = messages.process_ended(
                place, reason, self._limits, resumed=False
            )
            return self._stopped_because
        for index in sorted(self._runs.keys() - self._skipped):
            if index < before and not self._stopped_because:
                self._run_cell(index, 0)  # its outputs are on the student's page already
                if self._note_end():
                    # Code may end its process in the second run only. `_skip` brings another
                    # process to the state before this cell, and the loop goes on from there.
                    self._skip(index)
        return messages.process_ended(
            place, reason, self._limits, resumed=not self._stopped_because
        )

    @contextlib.contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        started_at = time.monotonic()
        try:
            yield
        finally:
            self._spent_s[phase] += time.monotonic() - started_at

    def _index_of(self, grade_id: str) -> int:
        return next(i for i, cell in enumerate(self.cells) if cell.grade_id == grade_id)

    def _place(self, index: int) -> str:
        return messages.place_of(self.cells, index)

    def _graded(self, index: int, cell: Cell) -> GradedCell:
        run = self._runs.get(index)  # None for text
        return as_graded(
            cell,
            status=run.status if run else "",
            outputs=clean(run.outputs, truncated=run.truncated) if run else [],
            execution_count=run.execution_count if run else None,
            note=self._notes.get(index, ""),
        )


def as_graded(cell: Cell, **result: Any) -> GradedCell:
    """Return a cell with the result of running it."""
    return GradedCell(
        kind=cell.kind,
        source=cell.source,
        nbgrader=dict(cell.nbgrader),
        attachments={name: dict(data_by_type) for name, data_by_type in cell.attachments.items()},
        restored=cell.restored,
        doubt=cell.doubt,
        **result,
    )
