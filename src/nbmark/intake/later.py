"""The cells that an assignment gained after a student handed in; they do not count there.

Runs in a check process, because the notebooks themselves show which version a student had.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Sequence

from nbmark.course.course import Assignment
from nbmark.models import GainedCells
from nbmark.notebooks import Cell


def later_cells(
    assignment: Assignment, gained: GainedCells | None, files: Collection[Sequence[Cell]]
) -> frozenset[str]:
    """Return the grade ids of the cells that came after the version that a student had.

    Parameters
    ----------
    files
        The cells of each notebook that the student handed in.
    """
    if gained is None:
        return frozenset()
    submitted = [cell for cells in files for cell in cells]
    ids = {cell.grade_id for cell in submitted} | set(gained.graded or ())
    # A notebook may have lost its ids, but the text of a locked cell is the same for everybody.
    texts = {cell.source.strip() for cell in submitted if not cell.grade_id}
    version = datetime.datetime.min
    for cells in assignment.notebooks.values():
        for cell in cells:
            time = gained.since.get(cell.grade_id)
            has_cell = cell.grade_id in ids or (cell.is_locked and cell.source.strip() in texts)
            if time is not None and has_cell:
                version = max(version, time)
    handed_in = gained.handed_in or datetime.datetime.max
    return frozenset(
        grade_id
        for grade_id, time in gained.since.items()
        if time > version and (gained.graded is not None or handed_in < time)
    )


def is_later_notebook(cells: Sequence[Cell], later: Collection[str]) -> bool:
    """Return whether all tasks of a notebook came later, so that its absence is no fault."""
    tasks = {cell.grade_id for cell in cells if belongs_to_task(cell)}
    return bool(tasks) and tasks <= set(later)


def belongs_to_task(cell: Cell) -> bool:
    """Return whether a cell belongs to a task; the instructor's other cells are always put back."""
    return bool(cell.grade_id) and (cell.has_points or cell.is_solution)
