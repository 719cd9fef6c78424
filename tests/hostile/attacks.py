"""The attacks in this folder, and the course that they attack."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BIN = Path(sys.executable).parent
STAMP = "2026-11-02 10:00:00.000000 UTC"


def cases() -> list[Case]:
    """Return all cases, family by family."""
    return [
        Case(path.parent.parent.name, path.parent.name, **tomllib.loads(path.read_text()))
        for path in sorted(HERE.glob("*/*/case.toml"))
    ]


@dataclass(frozen=True)
class Case:
    """One attack.

    Parameters
    ----------
    does, good
        What the attack does, and what a good grader must do.
    points, at_least
        The automatic points that it must earn; where chance plays a part, between the two.
    base
        ``release`` (nothing solved) or ``reference`` (everything else right).
    answers
        Grade id of a cell → its new source.
    files
        Name → text of the files beside the notebook.
    copies
        How many students submit it, one after the other.
    folder
        The name of the student's folder, if it is part of the attack.
    outcome
        ``graded``, or ``not graded`` where the submission must be refused by name.
    says
        Sentences that the feedback, or the refusal, must contain.
    look
        Whether a person must look at the submission; where chance plays a part, one may.
    cheat
        Whether it is after points; `bench/cheats.py` tries those on stock nbgrader too.
    """

    family: str
    name: str
    does: str
    good: str
    points: float = 0.0
    at_least: float | None = None
    assignment: str = "target"
    base: str = "release"
    answers: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    copies: int = 1
    folder: str = ""
    outcome: str = "graded"
    says: list[str] = field(default_factory=list)
    look: bool = False
    cheat: bool = False

    def submit(self, folder: Path, material: Path, places: Mapping[str, str]) -> None:
        """Write the attacker's submission.

        `places` maps words such as ``@TCP@`` to ports and paths that exist only during the attack.
        """
        folder.mkdir(parents=True)
        (folder / "timestamp.txt").write_text(STAMP)
        notebook = self.notebook(material, places)
        for name, text in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        maker = HERE / self.family / self.name / "make.py"
        if maker.exists():
            _module(maker).make(folder, notebook)
        else:
            (folder / f"{self.assignment}.ipynb").write_text(json.dumps(notebook))

    def notebook(self, material: Path, places: Mapping[str, str]) -> dict[str, Any]:
        """Return the release, or the solved source, with this case's cells in it."""
        kind = "release" if self.base == "release" else "source"
        path = material / kind / self.assignment / f"{self.assignment}.ipynb"
        notebook: dict[str, Any] = json.loads(path.read_text())
        for cell in notebook["cells"]:
            text = self.answers.get(cell["metadata"].get("nbgrader", {}).get("grade_id", ""))
            for word, place in places.items():
                text = text.replace(word, place) if text else text
            cell["source"] = text if text is not None else cell["source"]
        return notebook


def make_course(course: Path, canary: str, *assignments: str, settings: str = "") -> None:
    """Make a course with released and verified assignments, and a canary among its checks."""
    shutil.copytree(HERE / "course", course)
    shutil.copy(ROOT / "source" / "keras" / "quiet_tensorflow.py", course / "source" / "tensors")
    shutil.copy(ROOT / "nbgrader_config.py", course)
    reference = course / "graders" / "reference.py"
    reference.write_text(reference.read_text() + f'\nCANARY = ["{canary}"]\n')
    for assignment in assignments:
        with (course / "graders" / assignment / "assignment.toml").open("a") as file:
            file.write(settings)
        for program, command in (("nbgrader", "generate_assignment"), ("nbmark", "verify")):
            subprocess.run(
                [BIN / program, command, assignment], cwd=course, check=True, capture_output=True
            )


def _module(path: Path) -> Any:
    """Import a ``make.py``; all have that name, so each gets a module name of its own."""
    spec = importlib.util.spec_from_file_location(f"make_{path.parent.name}", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
