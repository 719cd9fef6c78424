"""Hand-ins as files, and what grading makes of them; several test files use these."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from conftest import run
from helpers import RIGHT, STAMP, dump_gradebook
from nbmark.course.course import Course
from nbmark.notebooks import Cell, read_notebook, write_notebook
from nbmark.records import evidence
from nbmark.records.feedback import summary

Files = dict[str, bytes]


@dataclass(frozen=True)
class Result:
    """What grading left: points, marks for a look, comments, the row of the table and the page."""

    points: float
    marked: set[str]
    comments: dict[str, str]
    says: str
    page: str


def results_of(course: Path, assignment: str) -> dict[str, Result]:
    """Grade an assignment, and return the results by student."""
    completed = run(course, "nbmark", "grade", assignment, "--json")
    assert completed.returncode == 0, completed.stderr
    rows = {row["student"]: row for row in json.loads(completed.stdout)["students"]}
    results = {}
    for student in dump_gradebook(course, assignment):
        name = student["student"]
        (notebook,) = student["notebooks"].values()
        comments = {cell: comment for cell, (comment, _) in notebook["comments"].items()}
        marked = {cell for cell, grade in notebook["grades"].items() if grade[3]}
        page = course / "autograded" / name / assignment / f"{assignment}.ipynb"
        says = summary(evidence.load(Course(course), assignment, name))
        text = text_of(json.loads(page.read_text()))
        results[name] = Result(rows[name]["points"], marked, comments, says, text)
    return results


def text_of(notebook: dict[str, Any]) -> str:
    """Return what a student reads on the page of a notebook, sources and printed text."""
    parts = []
    for cell in notebook["cells"]:
        parts.append("".join(cell["source"]))
        parts += ["".join(output.get("text", "")) for output in cell.get("outputs", [])]
        parts += [
            str(output.get("data", {}).get("text/plain", "")) for output in cell.get("outputs", [])
        ]
    return "\n".join(parts)


def submit(course: Path, student: str, assignment: str, files: Files) -> Path:
    folder = course / "submitted" / student / assignment
    for name, data in {**files, "timestamp.txt": STAMP.encode()}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


UNTOUCHED: dict[str, str] = {}
DONE = {"a-answer": RIGHT, "w": "Because."}


class Toy:
    """Makes files of the toy assignment from the released notebook."""

    def __init__(self, course: Path) -> None:
        self.released = read_notebook((course / "release" / "toy" / "toy.ipynb").read_bytes())

    def cells(self, answers: dict[str, str]) -> list[Cell]:
        return [
            replace(cell, source=answers.get(cell.grade_id, cell.source)) for cell in self.released
        ]

    def file(self, answers: dict[str, str], encoding: str = "utf-8") -> bytes:
        return as_file(self.cells(answers)).decode().encode(encoding)

    def cell(self, grade_id: str, source: str) -> Cell:
        (cell,) = (cell for cell in self.released if cell.grade_id == grade_id)
        return replace(cell, source=source)


def as_file(cells: Iterable[Cell]) -> bytes:
    return write_notebook(cells, {}, {})
