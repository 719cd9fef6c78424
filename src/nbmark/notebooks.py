"""Notebooks as lists of cells, read from files that may be hostile, and written.

Reading keeps the cells' types, sources, nbgrader metadata and attached pictures. A student can
write anything into saved outputs and other metadata, so reading drops them.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbmark.errors import NotebookUnreadable

CELL_TYPES = ("code", "markdown", "raw")
PICTURES = ("image/png", "image/jpeg")  # not SVG, which may hold scripts
# Far above any real notebook: they bound the time and memory that a hostile one takes.
MAX_CELLS = 2000
MAX_SOURCE_CHARS = 1_000_000
# A value of two bytes in a file takes about 60 bytes of memory. Saved outputs of 100 MB have half
# as many values, because nearly all of their bytes are text or pictures.
MAX_VALUES = 20_000_000
CUT_OFF = (
    "This file is not a notebook: it is not valid JSON. Perhaps the upload was cut off, or the "
    "file was edited outside Jupyter."
)
OLD_FORMAT = (
    "This notebook has an old format, and it could not be converted. Open it in Jupyter, save it, "
    "and hand it in again."
)
TOO_MANY_CELLS = f"This notebook has more than {MAX_CELLS} cells."
NO_CELLS = "This file is JSON, but not a notebook: it has no list of cells."


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
        The reason why a person must look at this grade cell, or why the student's answer may not
        stand in this answer cell; empty without one. The student reads it.
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
        If the bytes are not a notebook, or one with too many cells or values.
    """
    if not data.strip():
        raise NotebookUnreadable("This notebook file is empty.")
    notebook = _upgraded(_parsed(data))
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise NotebookUnreadable(NO_CELLS)
    if len(cells) > MAX_CELLS:
        raise NotebookUnreadable(TOO_MANY_CELLS)
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


def _parsed(data: bytes) -> Any:
    """Return the JSON value in a file of any common encoding, without saved outputs."""
    if sum(map(data.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise NotebookUnreadable(f"This file holds more than {MAX_VALUES:,} values.")
    try:
        # Each cell loses its outputs as soon as it is parsed, so memory never holds all of them.
        return json.loads(_text(data), object_hook=_without_outputs)
    except (ValueError, RecursionError):  # deep nesting exhausts the stack
        raise NotebookUnreadable(CUT_OFF) from None


def _text(data: bytes) -> str:
    """Return a file's text; editors save UTF-16 and Windows-1252 too."""
    # Knows UTF-8, UTF-16 and UTF-32, each with and without a byte order mark.
    encoding = json.detect_encoding(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        # Every byte is a character of Latin-1; five bytes are none of Windows-1252.
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode("cp1252")
        return data.decode("latin-1")


def _without_outputs(value: dict[str, Any]) -> dict[str, Any]:
    value.pop("outputs", None)
    return value


def _upgraded(notebook: Any) -> Any:
    """Return a notebook of the older formats 2 and 3 in format 4, any other value as it is."""
    if not isinstance(notebook, dict) or "cells" in notebook:
        return notebook
    sheets = notebook.get("worksheets")
    if not isinstance(sheets, list):
        return notebook
    # Imported here, because hardly any notebook is that old.
    import nbformat

    cells = [
        # A program may have written a cell's text under the name that format 4 has for it.
        {"input": cell.get("source", ""), **cell, "outputs": []}
        for sheet in sheets
        if isinstance(sheet, dict) and isinstance(sheet.get("cells"), list)
        for cell in sheet["cells"]
        if isinstance(cell, dict)
    ]
    if not cells:
        return notebook
    if len(cells) > MAX_CELLS:
        raise NotebookUnreadable(TOO_MANY_CELLS)
    sheet = {"cells": cells, "metadata": {}}
    old = {"metadata": {}, "nbformat": 3, "nbformat_minor": 0, "worksheets": [sheet]}
    try:
        return nbformat.convert(nbformat.from_dict(old), 4)
    except Exception:  # nbformat trusts the parts of a cell to have the right types
        raise NotebookUnreadable(OLD_FORMAT) from None


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
