"""Notebooks as lists of cells, read from files that may be hostile, and written.

Reading keeps the cells' types, sources, nbgrader metadata and attached pictures. A student can
write anything into saved outputs and other metadata, so reading drops them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbmark.errors import NotebookUnreadable

CELL_TYPES = ("code", "markdown", "raw")
PICTURES = ("image/png", "image/jpeg")  # not SVG, which may hold scripts
# Far above any real notebook: they bound the time that a hostile one takes.
MAX_CELLS = 2000
MAX_SOURCE_CHARS = 1_000_000


@dataclass(frozen=True)
class Cell:
    """A cell of a notebook.

    Parameters
    ----------
    kind
        ``code``, ``markdown`` or ``raw``.
    nbgrader
        nbgrader's metadata, empty for an ordinary cell.
    attachments
        File name → MIME type → base64 text; pictures in markdown cells.
    restored
        True if the cell was missing from the submission.
    doubt
        The reason why a person must look at this grade cell, empty without one. The student reads
        it.
    """

    kind: str
    source: str
    nbgrader: Mapping[str, Any] = field(default_factory=dict)
    attachments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    restored: bool = False
    doubt: str = ""

    @property
    def grade_id(self) -> str:
        """Return nbgrader's name of the cell, empty if it has none."""
        return str(self.nbgrader.get("grade_id", ""))

    @property
    def is_grade(self) -> bool:
        """Return whether the cell has points, from checks or from a person."""
        return bool(self.nbgrader.get("grade"))

    @property
    def is_task(self) -> bool:
        """Return whether it is one of nbgrader's tasks, for whose answer students add cells."""
        return bool(self.nbgrader.get("task"))

    @property
    def has_points(self) -> bool:
        """Return whether the gradebook keeps points for the cell."""
        return self.is_grade or self.is_task

    @property
    def is_solution(self) -> bool:
        """Return whether the student writes an answer into the cell."""
        return bool(self.nbgrader.get("solution"))

    @property
    def is_locked(self) -> bool:
        """Return whether the student must not change the cell."""
        return not self.is_solution and bool(self.nbgrader.get("locked") or self.is_grade)

    @property
    def is_autograded(self) -> bool:
        """Return whether hidden checks give the cell's points.

        Such a cell is a grade cell with code that is not an answer.
        """
        return self.is_grade and not self.is_solution and self.kind == "code"


def read_notebook(data: bytes) -> list[Cell]:
    """Return the cells of a notebook file, in order.

    Raises
    ------
    NotebookUnreadable
        If the bytes are not a notebook of format 4, or one with too many cells.
    """
    if not data.strip():
        raise NotebookUnreadable("This notebook file is empty.")
    try:
        # The file may begin with a byte order mark, which `json` refuses.
        notebook = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):  # deep nesting exhausts the stack
        raise NotebookUnreadable(
            "This file is not a notebook: it is not valid JSON. Perhaps the upload was cut off, or "
            "the file was edited outside Jupyter."
        ) from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise NotebookUnreadable(
            "This file is JSON, but not a notebook in the current format: it has no list of cells."
        )
    if len(cells) > MAX_CELLS:
        raise NotebookUnreadable(f"This notebook has more than {MAX_CELLS} cells.")
    return [_cell(cell) for cell in cells if isinstance(cell, dict)]


def write_notebook(
    cells: Iterable[Cell], outputs: Mapping[int, Sequence[Any]], counts: Mapping[int, int | None]
) -> bytes:
    """Return the bytes of a notebook in format 4.5.

    Parameters
    ----------
    outputs, counts
        Cell index → outputs and execution count of a code cell; cells without an entry have none.
    """
    cell_values = []
    for index, cell in enumerate(cells):
        value: dict[str, Any] = {
            "cell_type": cell.kind,
            "id": f"cell-{index}",
            "source": cell.source,
            "metadata": {"nbgrader": dict(cell.nbgrader)} if cell.nbgrader else {},
        }
        if cell.kind == "code":
            value |= {"outputs": list(outputs.get(index, ())), "execution_count": counts.get(index)}
        elif cell.attachments:
            value["attachments"] = cell.attachments
        cell_values.append(value)
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    notebook = {"cells": cell_values, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    # A student's text may hold lone surrogates, which UTF-8 cannot express.
    return (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _cell(value: Mapping[str, Any]) -> Cell:
    """Return a cell from JSON; a part with an unexpected type becomes empty."""
    kind, source = value.get("cell_type"), value.get("source", "")
    if isinstance(source, list):  # the format allows a list of lines
        source = "".join(line for line in source if isinstance(line, str))
    metadata = value.get("metadata")
    nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    return Cell(
        kind=kind if kind in CELL_TYPES else "raw",
        source=source[:MAX_SOURCE_CHARS] if isinstance(source, str) else "",
        nbgrader=nbgrader if isinstance(nbgrader, dict) else {},
        attachments=_pictures(value.get("attachments")),
    )


def _pictures(value: Any) -> dict[str, dict[str, str]]:
    """Return the pictures among a cell's attachments, and nothing else that they may hold."""
    pictures: dict[str, dict[str, str]] = {}
    for file_name, data_by_type in value.items() if isinstance(value, dict) else ():
        for mime, data in data_by_type.items() if isinstance(data_by_type, dict) else ():
            if mime in PICTURES and is_base64(data):
                pictures.setdefault(str(file_name)[:100], {})[mime] = data
    return pictures


def is_base64(data: Any) -> bool:
    """Return whether `data` is base64 text, the only form that a picture may have."""
    try:
        return isinstance(data, str) and bool(
            base64.b64decode(data.replace("\n", ""), validate=True)
        )
    except ValueError:
        return False
