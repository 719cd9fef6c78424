"""A class of students made from the cases under ``tests/submissions/``.

Each folder holds a ``case.toml``: whose work it is, for which assignment, what it starts from (the
reference solution or the untouched release), which cells differ, and what grading it must come to.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CASES = ROOT / "tests" / "submissions"
SUBMITTED_AT = "2026-11-02 10:00:00.000000 UTC"


@dataclass(frozen=True)
class Case:
    """One student's submission.

    Parameters
    ----------
    base
        ``reference``: the source with its solutions; ``release``: the untouched release.
    answers
        Grade id of an answer cell, without ``-answer`` → its source.
    solved
        Grade ids whose answer cells are the reference's, on top of the release.
    mistakes
        Known wrong answers of ``graders/<assignment>/wrong/`` that were made.
    other_cells
        Grade id of any other cell → its source, or ``DELETE``.
    metadata
        Grade id → changes of its nbgrader metadata, or of the cell's type (``cell_type``).
    file
        Name → raw text of a file that is handed in instead of the notebook.
    points, says
        The automatic points it must earn, and sentences its feedback must hold.
    """

    name: str
    title: str
    student: str
    base: str
    points: float
    assignment: str = "mse"
    says: list[str] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    solved: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    other_cells: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict)
    file: dict[str, str] = field(default_factory=dict)

    def files(self) -> dict[str, bytes]:
        """File name → content of what the student hands in."""
        if self.file:
            return {name: text.encode() for name, text in self.file.items()}
        folder = "release" if self.base == "release" else "source"
        notebook = self._notebook(folder)
        changes = {f"{name}-answer": text for name, text in self.answers.items()} | self.other_cells
        for cell in self._notebook("source")["cells"]:
            grade_id = cell["metadata"].get("nbgrader", {}).get("grade_id", "")
            if grade_id.removesuffix("-answer") in self.solved:
                changes[grade_id] = "".join(cell["source"])
        for mistake in self.mistakes:
            path = ROOT / "graders" / self.assignment / "wrong" / f"{mistake}.toml"
            changes |= tomllib.loads(path.read_text())["cells"]
        cells = []
        for cell in notebook["cells"]:
            nbgrader = cell["metadata"].get("nbgrader", {})
            grade_id = nbgrader.get("grade_id", "")
            text = changes.get(grade_id)
            if text == "DELETE":
                continue
            if text is not None:
                cell["source"] = text.strip("\n")
            cell["cell_type"] = self.metadata.get(grade_id, {}).get("cell_type", cell["cell_type"])
            nbgrader.update(self.metadata.get(grade_id, {}))
            cells.append(cell)
        notebook["cells"] = cells
        text = json.dumps(notebook, indent=1, ensure_ascii=False)
        return {f"{self.assignment}.ipynb": text.encode()}

    def _notebook(self, folder: str) -> dict[str, Any]:
        path = ROOT / folder / self.assignment / f"{self.assignment}.ipynb"
        found: dict[str, Any] = json.loads(path.read_text())
        return found


def cases() -> list[Case]:
    """All cases, sorted by student and assignment."""
    found = [
        Case(name=path.parent.name, **tomllib.loads(path.read_text()))
        for path in CASES.glob("*/case.toml")
    ]
    return sorted(found, key=lambda case: (case.student, case.assignment))


def case(name: str) -> Case:
    """The case in the folder `name`."""
    return next(one for one in cases() if one.name == name)


def submit(one: Case, course: Path) -> Path:
    """Put a submission into ``submitted/``, as collecting it would."""
    folder = course / "submitted" / one.student / one.assignment
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in one.files().items():
        (folder / name).write_bytes(data)
    (folder / "timestamp.txt").write_text(SUBMITTED_AT)
    return folder


def hand_in(one: Case, exchange: Path, course_id: str) -> Path:
    """Put a submission into the exchange, in the form in which ``nbgrader submit`` leaves it."""
    secret = f"{one.student}-secret"
    name = f"{one.student}+{one.assignment}+{SUBMITTED_AT}+{secret}"
    entry = exchange / course_id / "inbound" / name
    entry.mkdir(parents=True, exist_ok=True)
    for name, data in one.files().items():
        (entry / name).write_bytes(data)
    (entry / "timestamp.txt").write_text(SUBMITTED_AT)
    (entry / "submission_secret.txt").write_text(secret)
    return entry
