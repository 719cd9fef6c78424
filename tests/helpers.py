"""Small things that several tests use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nbmark.gradebook import Registrar, load_config
from nbmark.notebooks import read_notebook, write_notebook

STAMP = "2026-11-02 10:00:00.000000 UTC"


def dump(course: Path, assignment: str) -> list[dict[str, Any]]:
    """The gradebook of an assignment, comparable."""
    return Registrar.of_course(load_config(course)).dump(assignment)


def hand_in_toy(course: Path, student: str, answer: str, written: str = "Because.") -> Path:
    """A submission of the toy assignment with this code."""
    from dataclasses import replace

    cells = read_notebook((course / "release" / "toy" / "toy.ipynb").read_bytes())
    texts = {"a-answer": answer, "w": written}
    cells = [replace(cell, source=texts.get(cell.grade_id, cell.source)) for cell in cells]
    folder = course / "submitted" / student / "toy"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "toy.ipynb").write_bytes(write_notebook(cells, {}, {}))
    (folder / "timestamp.txt").write_text(STAMP)
    return folder


RIGHT = "a = 3.0\ndef f(x):\n    return 2 * x"
HALF = "a = 4\ndef f(x):\n    return 2 * x"
