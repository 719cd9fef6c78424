"""Notebooks as lists of cells: reading a hostile one, and writing one.

Of a submitted notebook only cell types, sources, grade ids and attached pictures are kept; saved
outputs and all other metadata are the student's word and are dropped.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbmark.errors import NotebookUnreadable

CELL_TYPES = ("code", "markdown", "raw")
PICTURES = ("image/png", "image/jpeg")
MAX_CELLS = 2000
MAX_SOURCE_CHARS = 1_000_000


@dataclass(frozen=True)
class Cell:
    """One cell.

    Parameters
    ----------
    nbgrader
        nbgrader's metadata, empty for an ordinary cell.
    attachments
        File name → MIME type → base64 text; pictures in markdown cells.
    restored
        True if the cell was missing from the submission.
    doubt
        Why a person must look at what this grade cell came to, empty if nobody must.
    """

    kind: str
    source: str
    nbgrader: Mapping[str, Any] = field(default_factory=dict)
    attachments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    restored: bool = False
    doubt: str = ""

    @property
    def grade_id(self) -> str:
        """nbgrader's name of the cell, empty if it has none."""
        return str(self.nbgrader.get("grade_id", ""))

    @property
    def is_grade(self) -> bool:
        return bool(self.nbgrader.get("grade"))

    @property
    def is_solution(self) -> bool:
        return bool(self.nbgrader.get("solution"))

    @property
    def is_locked(self) -> bool:
        """Whether the student may not change it."""
        return not self.is_solution and bool(self.nbgrader.get("locked") or self.is_grade)

    @property
    def is_autograded(self) -> bool:
        """Whether hidden checks give its points: a grade cell with code that is no answer."""
        return self.is_grade and not self.is_solution and self.kind == "code"


def read_notebook(data: bytes) -> list[Cell]:
    """The cells of a notebook file, in order.

    Raises
    ------
    NotebookUnreadable
        If the bytes are no notebook of format 4.
    """
    if not data.strip():
        raise NotebookUnreadable("The file of this notebook is empty.")
    try:
        found = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise NotebookUnreadable(
            "This file is not a notebook: it is no valid JSON. Perhaps the upload was cut off, or "
            "the file was edited outside Jupyter."
        ) from None
    cells = found.get("cells") if isinstance(found, dict) else None
    if not isinstance(cells, list):
        raise NotebookUnreadable(
            "This file is JSON but not a notebook of today's format: it has no list of cells."
        )
    if len(cells) > MAX_CELLS:
        raise NotebookUnreadable(f"This notebook has more than {MAX_CELLS} cells.")
    return [_cell(one) for one in cells if isinstance(one, dict)]


def write_notebook(
    cells: Iterable[Cell], outputs: Mapping[int, Sequence[Any]], counts: Mapping[int, int | None]
) -> bytes:
    """The bytes of a notebook in format 4.5; `outputs` and `counts` are by cell index."""
    written = []
    for index, cell in enumerate(cells):
        one: dict[str, Any] = {
            "cell_type": cell.kind,
            "id": f"cell-{index}",
            "source": cell.source,
            "metadata": {"nbgrader": dict(cell.nbgrader)} if cell.nbgrader else {},
        }
        if cell.kind == "code":
            one |= {"outputs": list(outputs.get(index, ())), "execution_count": counts.get(index)}
        elif cell.attachments:
            one["attachments"] = cell.attachments
        written.append(one)
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    notebook = {"cells": written, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _cell(value: Mapping[str, Any]) -> Cell:
    kind, source = value.get("cell_type"), value.get("source", "")
    if isinstance(source, list):
        source = "".join(one for one in source if isinstance(one, str))
    metadata = value.get("metadata")
    nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    return Cell(
        kind=kind if kind in CELL_TYPES else "raw",
        source=source[:MAX_SOURCE_CHARS] if isinstance(source, str) else "",
        nbgrader=nbgrader if isinstance(nbgrader, dict) else {},
        attachments=_pictures(value.get("attachments")),
    )


def _pictures(value: Any) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for file_name, by_type in value.items() if isinstance(value, dict) else ():
        for mime, data in by_type.items() if isinstance(by_type, dict) else ():
            if mime in PICTURES and is_base64(data):
                found.setdefault(str(file_name)[:100], {})[mime] = data
    return found


def is_base64(data: Any) -> bool:
    """Whether `data` is base64 text: all that may stand in a picture."""
    try:
        return isinstance(data, str) and bool(
            base64.b64decode(data.replace("\n", ""), validate=True)
        )
    except (ValueError, binascii.Error):
        return False
