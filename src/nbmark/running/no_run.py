"""A notebook that could not be read: no cell runs, and no check passes there."""

from __future__ import annotations

from collections.abc import Sequence

from nbmark.errors import CheckFailed
from nbmark.models import GradedCell
from nbmark.notebooks import Cell
from nbmark.running.notebook_run import as_graded

NOT_GRADED = "The notebook of this task could not be graded; the top of its page says why."


class NoRun:
    """The cells of an unreadable notebook, with the interface of a `NotebookRun`."""

    stopped_by_clock = False

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.cells = list(cells)

    def advance_to(self, grade_id: str) -> None:
        """Raise `CheckFailed`: one sentence for all tasks, because the page says why only once."""
        raise CheckFailed(NOT_GRADED)

    def ask(self, question: str) -> str:
        """Raise `CheckFailed`, as `advance_to` does."""
        raise CheckFailed(NOT_GRADED)

    def trouble_before(self, grade_id: str) -> str:
        """Return an empty text: nothing ran, so nothing went wrong."""
        return ""

    def why_missing(self, name: str) -> str:
        """Return an empty text: no cell explains a missing name."""
        return ""

    def end(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def finish(self) -> list[GradedCell]:
        """Return all cells as they are."""
        return [as_graded(cell) for cell in self.cells]
