"""The cells of an assignment in nbgrader's gradebook, brought up to date with ``source/``.

nbgrader refuses new cells once somebody has submitted, and its command then removes the folder in
``release/``. Here new cells are entered and changed ones updated by nbgrader's own code. A cell
that the source no longer has leaves the gradebook unless somebody has points or a comment there.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping

from traitlets.config import Config
from traitlets.utils.importstring import import_item

from nbmark.course.course import Assignment
from nbmark.course.slim_nbgrader import slim
from nbmark.errors import AssignmentError
from nbmark.notebooks import Cell

with slim():
    from nbgrader.api import Assignment as AssignmentRow
    from nbgrader.api import (
        BaseCell,
        Comment,
        Grade,
        Gradebook,
        MissingEntry,
        SourceCell,
        SubmittedNotebook,
    )
    from nbgrader.coursedir import CourseDirectory

# Notebook, kind of row, grade id → the points, None for a row without any.
CellRows = Mapping[tuple[str, str, str], float | None]


def rows_in_gradebook(assignment: AssignmentRow) -> CellRows:
    """Return the rows of an assignment's cells as they are in the gradebook."""
    return {
        (notebook.name, kind, cell.name): points
        for notebook in assignment.notebooks
        for cell, kind, points in (
            *((cell, cell.type, getattr(cell, "max_score", None)) for cell in notebook._base_cells),
            *((cell, SourceCell.__name__, None) for cell in notebook.source_cells),
        )
    }


def rows_in_source(assignment: Assignment) -> CellRows:
    """Return the rows that the source notebooks need, as nbgrader decides it."""
    return {
        (notebook, kind, cell.grade_id): points
        for notebook, cells in assignment.notebooks.items()
        for cell in cells
        if cell.grade_id
        for kind, points in _rows_of(cell)
    }


def enter_source(assignment: Assignment, coursedir: CourseDirectory, config: Config) -> None:
    """Add the assignment's cells to the gradebook, and update those that it has.

    Raises
    ------
    AssignmentError
        If nbgrader cannot read the notebooks.
    """
    # These modules load nbconvert, which takes half a second.
    import nbformat
    from nbgrader.converters.generate_assignment import GenerateAssignment
    from nbgrader.preprocessors import SaveCells

    class AddCells(SaveCells):  # type: ignore[misc]  # nbgrader has no type hints
        """nbgrader's own, which updates rows but neither refuses nor removes any."""

        def _create_notebook(self, notebook: nbformat.NotebookNode) -> None:
            place = (self.notebook_id, self.assignment_id)
            try:
                self.gradebook.find_notebook(*place)
            except MissingEntry:
                kernel = json.dumps(notebook.metadata.get("kernelspec", {}))
                self.gradebook.add_notebook(*place, kernelspec=kernel)
            for cells, save in (
                (self.new_grade_cells, self.gradebook.update_or_create_grade_cell),
                (self.new_solution_cells, self.gradebook.update_or_create_solution_cell),
                (self.new_task_cells, self.gradebook.update_or_create_task_cell),
                (self.new_source_cells, self.gradebook.update_or_create_source_cell),
            ):
                for name, fields in cells.items():
                    save(name, *place, **fields)

    converter = GenerateAssignment(coursedir=coursedir, config=config)
    steps = [
        import_item(step) if isinstance(step, str) else step for step in converter.preprocessors
    ]
    if SaveCells not in steps:  # the configuration leaves the gradebook alone
        return
    # nbgrader saves cells in the middle: without solutions, but with hidden tests.
    steps = [*steps[: steps.index(SaveCells)], AddCells]
    # A header or a template of tests is named by its path below the course's folder.
    with contextlib.chdir(coursedir.root):
        for name in assignment.notebooks:
            path = assignment.source / f"{name}.ipynb"
            resources = {
                "metadata": {"name": name, "path": str(assignment.source)},
                "nbgrader": {
                    "student": ".",
                    "assignment": assignment.name,
                    "notebook": name,
                    "db_url": coursedir.db_url,
                },
            }
            try:
                notebook = nbformat.reads(path.read_text("utf-8-sig"), as_version=4)
                for step in steps:
                    notebook, resources = step(parent=converter)(notebook, resources)
            except Exception as error:  # the steps are the course's own choice
                raise AssignmentError(
                    f"source/{assignment.name}/{name}.ipynb cannot be entered into the gradebook: "
                    f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                ) from error


def changes(present: CellRows, wanted: CellRows) -> Iterator[str]:
    """Yield a line for each cell with points that the gradebook lacked or had with other points."""
    for (notebook, kind, name), points in wanted.items():
        if points is None:
            continue
        if (notebook, kind, name) not in present:
            yield f"'{name}' ({points:g} points) is new in the gradebook"
        elif present[notebook, kind, name] != points:
            old = present[notebook, kind, name]
            yield f"'{name}' has {points:g} points for everybody now, before {old:g}"


def remove_unused(gradebook: Gradebook, row: AssignmentRow, wanted: CellRows) -> Iterator[str]:
    """Remove rows that the source has no more; yield a line for each cell that stays.

    Nothing that a grading or a person has written is removed.
    """
    for notebook in row.notebooks:
        for cell in notebook.source_cells:
            if (notebook.name, SourceCell.__name__, cell.name) not in wanted:
                gradebook.db.delete(cell)
        for cell in notebook._base_cells:
            if (notebook.name, cell.type, cell.name) not in wanted:
                students = _release_cell(gradebook, cell)
                if students:
                    yield (
                        f"'{cell.name}' is no longer in source/{row.name}: {students} students "
                        "keep what they have there, and nobody else gets it"
                    )
        gradebook.db.flush()
        gradebook.db.expire(notebook)
        if notebook.name not in {name for name, _, _ in wanted} and not notebook._base_cells:
            for submitted in gradebook.db.query(SubmittedNotebook).filter_by(notebook=notebook):
                gradebook.db.delete(submitted)
            gradebook.db.delete(notebook)


def _rows_of(cell: Cell) -> Iterator[tuple[str, float | None]]:
    """Yield kind and points of each row of a cell."""
    if cell.is_grade:
        yield "GradeCell", float(cell.nbgrader["points"])
    if cell.is_solution:
        yield "SolutionCell", None
    if cell.is_task:
        yield "TaskCell", float(cell.nbgrader["points"])
    if cell.is_grade or cell.is_solution or cell.is_task or cell.is_locked:
        yield SourceCell.__name__, None


def _release_cell(gradebook: Gradebook, cell: BaseCell) -> int:
    """Remove a cell and its empty rows; return how many students have something there."""
    empty = {
        Grade: (Grade.auto_score, Grade.manual_score, Grade.extra_credit),
        Comment: (Comment.manual_comment,),
    }
    kept = 0
    for kind, contents in empty.items():
        rows = gradebook.db.query(kind).filter(kind.cell_id == cell.id)
        rows.filter(*(content.is_(None) for content in contents)).delete(synchronize_session=False)
        kept = max(kept, rows.count())
        if kind is Grade:
            # The cell is on no page any more, so nobody could ever take it off the list.
            rows.update({Grade.needs_manual_grade: False}, synchronize_session=False)
    if not kept:
        gradebook.db.delete(cell)
    return kept
