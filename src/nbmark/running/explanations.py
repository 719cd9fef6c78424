"""Explanations: why cells of a notebook went wrong, in sentences for its student."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from nbmark.course.imports import imported_by
from nbmark.notebooks import Cell
from nbmark.running import exceptions, messages
from nbmark.running.causes import Causes
from nbmark.sandbox.replies import CellRun


class Explanations:
    """The reasons why cells of one notebook went wrong, each with its cause first.

    Parameters
    ----------
    runs
        Cell index → the result of running it. `NotebookRun` adds to it, and to `notes`.
    notes
        Cell index → what happened to it, for the student; it takes the place of the cell's error.
    files
        The assignment's own files beside the notebook.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        runs: Mapping[int, CellRun],
        notes: Mapping[int, str],
        files: Mapping[str, bytes],
    ) -> None:
        self._cells = cells
        self._runs = runs
        self._notes = notes
        self._files = files
        self._causes = Causes(cells, self._has_trouble, self._name_missed_by)

    def trouble_before(self, target: int) -> str:
        """Return the first thing that went wrong in a grade cell's task, empty if nothing did."""
        start = target
        while start > 0 and not self._cells[start - 1].is_grade:
            start -= 1
        # nbgrader's own line in place of an answer is no trouble: the answer is still missing.
        first = next((i for i in range(start, target) if self._has_trouble(i, stubs=False)), None)
        return "" if first is None else self._trouble_at(first)

    def failure_of_test(self, target: int) -> str:
        """Return the sentences for a visible test that ended in an error, the cause first."""
        run = self._runs[target]
        name = exceptions.missing_name(run.error_name, run.error_message)
        cause = self.why_missing(name, target) if name else ""
        if cause:
            return cause
        place = "The visible test of this task"
        failure = exceptions.error(run, place, self._libraries, ended="failed")
        return f"{self.trouble_before(target)} {failure}".strip()

    def why_missing(self, name: str, before: int) -> str:
        """Return why a name has no value before a cell, empty if no cell explains it."""
        cause = self._causes.of_missing(name, before)
        if cause is not None:
            return messages.missing(name, self._sentence(cause))
        later = self._causes.later(name, before)
        return "" if later is None else messages.later(name, messages.place_of(self._cells, later))

    def _trouble_at(self, index: int) -> str:
        """Return what went wrong in a cell, the cause first."""
        name = self._name_missed_by(index)
        return (name and self.why_missing(name, index)) or self._sentence(index)

    def _sentence(self, index: int) -> str:
        if index in self._notes:
            return self._notes[index]
        place = messages.place_of(self._cells, index)
        return exceptions.error(self._runs[index], place, self._libraries)

    def _has_trouble(self, index: int, *, stubs: bool = True) -> bool:
        run = self._runs.get(index)
        if index in self._notes:
            return True
        return run is not None and run.status == "error" and (stubs or not exceptions.is_stub(run))

    def _name_missed_by(self, index: int) -> str:
        run = self._runs.get(index)
        if index in self._notes or run is None:
            return ""
        return exceptions.missing_name(run.error_name, run.error_message)

    @functools.cached_property
    def _libraries(self) -> str:
        """Return the libraries that the assignment's own cells and files import, for a sentence."""
        own = [cell.source for cell in self._cells if cell.is_locked]
        beside = {
            name.removesuffix(".py"): data.decode("utf-8", "replace")
            for name, data in self._files.items()
            if name.endswith(".py")
        }
        return exceptions.library_names(imported_by(own, beside))
