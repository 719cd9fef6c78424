"""A class of students, made from the cases under ``tests/submissions/``.

Each folder there holds a ``case.toml``: the student and the assignment, the notebook that the work
starts from (the reference solution or the untouched release), the cells that differ, and the result
that grading must have.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CASES = ROOT / "tests" / "submissions"
# Fixed, because another time would make each one a new submission, which a second run would grade.
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
        Known wrong answers in ``graders/<assignment>/wrong/`` that the student made.
    other_cells
        Grade id of any other cell → its source, or ``DELETE``.
    metadata
        Grade id → changes of its nbgrader metadata, or of the cell's type (``cell_type``).
    file_name
        The name under which the notebook is submitted; empty for its own.
    file
        Name → raw text of a file that is submitted instead of the notebook.
    points, says
        The automatic points it must earn, and sentences that its feedback must hold.
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
    file_name: str = ""
    file: dict[str, str] = field(default_factory=dict)

    def files(self) -> dict[str, bytes]:
        """Return the files that the student submits: name → content."""
        if self.file:
            return {name: text.encode() for name, text in self.file.items()}
        notebook = self._notebook("release" if self.base == "release" else "source")
        changes = self._changes()
        cells = []
        for cell in notebook["cells"]:
            nbgrader = cell["metadata"].get("nbgrader", {})
            grade_id = nbgrader.get("grade_id", "")
            source = changes.get(grade_id)
            if source == "DELETE":
                continue
            if source is not None:
                cell["source"] = source.strip("\n")
            metadata = self.metadata.get(grade_id, {})
            cell["cell_type"] = metadata.get("cell_type", cell["cell_type"])
            nbgrader.update(metadata)
            cells.append(cell)
        notebook["cells"] = cells
        # Not escaped, as Jupyter saves it.
        text = json.dumps(notebook, indent=1, ensure_ascii=False)
        return {self.file_name or f"{self.assignment}.ipynb": text.encode()}

    def _changes(self) -> dict[str, str]:
        """Return the cells that differ from the base: grade id → source."""
        changes = {f"{name}-answer": text for name, text in self.answers.items()} | self.other_cells
        for cell in self._notebook("source")["cells"]:
            grade_id = cell["metadata"].get("nbgrader", {}).get("grade_id", "")
            if grade_id.removesuffix("-answer") in self.solved:
                changes[grade_id] = "".join(cell["source"])
        # The checks' own files, so that a mistake is written down only once in the course.
        for mistake in self.mistakes:
            path = ROOT / "graders" / self.assignment / "wrong" / f"{mistake}.toml"
            changes |= tomllib.loads(path.read_text())["cells"]
        return changes

    def _notebook(self, folder: str) -> dict[str, Any]:
        path = ROOT / folder / self.assignment / f"{self.assignment}.ipynb"
        notebook: dict[str, Any] = json.loads(path.read_text())
        return notebook


def cases() -> list[Case]:
    """Return all cases, sorted by student and assignment."""
    unsorted = [
        Case(name=path.parent.name, **tomllib.loads(path.read_text()))
        for path in CASES.glob("*/case.toml")
    ]
    return sorted(unsorted, key=lambda case: (case.student, case.assignment))


def case(name: str) -> Case:
    """Return the case in the folder `name`."""
    return next(case for case in cases() if case.name == name)


def submit(case: Case, course: Path) -> Path:
    """Put a submission into ``submitted/``, as collecting does; return its folder."""
    folder = course / "submitted" / case.student / case.assignment
    _write_files(case, folder)
    return folder


def submit_to_exchange(case: Case, exchange: Path, course_id: str) -> Path:
    """Put a submission into the exchange, as ``nbgrader submit`` does; return its folder."""
    # nbgrader draws the secret at random. It only has to differ from one student to the next.
    secret = f"{case.student}-secret"
    name = f"{case.student}+{case.assignment}+{SUBMITTED_AT}+{secret}"
    entry = exchange / course_id / "inbound" / name
    _write_files(case, entry)
    (entry / "submission_secret.txt").write_text(secret)
    return entry


def _write_files(case: Case, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in case.files().items():
        (folder / name).write_bytes(data)
    (folder / "timestamp.txt").write_text(SUBMITTED_AT)
