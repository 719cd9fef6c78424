"""The classes that the benchmarks grade: twenty different submissions of one assignment each.

``numpy`` submits the course's `local-gradients`, which draws one picture. ``pictures`` submits its
`mse`, which draws three. ``keras`` submits the small assignment of `bench/course/`: a model, an
update, a prediction and a picture, with half a second of its own compute. Every student writes
something different: the reference or an honest form of ``graders/*/right``, other first guesses,
other words. In a mixed class every third submission is wrong: a known mistake of
``graders/*/wrong``, an empty release, or a notebook that ends its process.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
ASSIGNMENTS = {"numpy": "local-gradients", "pictures": "mse", "keras": "keras-line"}
SUBMITTED_AT = "2026-11-02 10:00:00.000000 UTC"
# nbgrader starts `python` from the search path. Without this line it may find another one, which
# lacks the packages of this environment.
STOCK_CONFIG = """
import os, sys
os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
c = get_config()
c.CourseDirectory.course_id = "curve-fitting"
c.NbGrader.logfile = ""
"""
CRASH = "import os\nos._exit(1)"
# Two students of a mixed class. Both belong to the wrong third, and a class of twelve has both.
EMPTY, CRASHING = 8, 11


def make_course(folder: Path, config: str, assignment: str) -> None:
    """Make a course with one assignment, and release it."""
    home = ROOT if (ROOT / "source" / assignment).exists() else ROOT / "bench" / "course"
    for part in ("source", "graders"):
        shutil.copytree(home / part / assignment, folder / part / assignment)
    for path in (ROOT / "graders").glob("*.py"):
        shutil.copy(path, folder / "graders")
    if home != ROOT:
        # The assignment of `bench/course/` imports a module that the course keeps with another.
        shutil.copy(
            ROOT / "source" / "keras" / "quiet_tensorflow.py", folder / "source" / assignment
        )
    (folder / "nbgrader_config.py").write_text(config)
    command(folder, "nbgrader", "generate_assignment", assignment, "--force")


def our_config() -> str:
    """Return the configuration of this course."""
    return (ROOT / "nbgrader_config.py").read_text()


def submit_class(folder: Path, assignment: str, students: int, *, mixed: bool) -> None:
    """Put every student's notebook into the course's ``submitted/``."""
    forms = sorted((folder / "graders" / assignment / "right").glob("*.toml"))
    mistakes = sorted((folder / "graders" / assignment / "wrong").glob("*.toml"))
    for number in range(students):
        changes = [{}, *map(_cells, forms)][number % (len(forms) + 1)]
        base = "source"
        if mixed and number % 3 == 2:
            # 7 has no factor in common with the number of mistakes, so it visits many of them.
            changes = _cells(mistakes[number * 7 % len(mistakes)])
        if mixed and number == EMPTY:
            base, changes = "release", {}
        if mixed and number == CRASHING:
            changes = {next(iter(changes)): CRASH}
        notebook = _notebook(folder / base / assignment / f"{assignment}.ipynb", number, changes)
        submission = folder / "submitted" / f"student-{number:05}" / assignment
        submission.mkdir(parents=True)
        (submission / f"{assignment}.ipynb").write_text(json.dumps(notebook))
        (submission / "timestamp.txt").write_text(SUBMITTED_AT)
        for path in (folder / "release" / assignment).iterdir():
            if path.suffix != ".ipynb":
                shutil.copy(path, submission)


def command(folder: Path, program: str, *arguments: str) -> str:
    """Return the output of a command; if it fails, end the benchmark with its messages."""
    finished = subprocess.run(
        [BIN / program, *arguments], cwd=folder, check=False, text=True, capture_output=True
    )
    if finished.returncode:
        sys.exit(
            f"bench: {program} {' '.join(arguments)} failed:\n{finished.stdout}{finished.stderr}"
        )
    return finished.stdout


def _cells(path: Path) -> dict[str, str]:
    """Return the changed cells in a file of ``right/`` or ``wrong/``: grade id → source."""
    cells: dict[str, str] = tomllib.loads(path.read_text())["cells"]
    return cells


def _notebook(path: Path, number: int, changes: dict[str, str]) -> Any:
    """Return a notebook with changed cells, which no other student has in the same words."""
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        nbgrader = cell["metadata"].get("nbgrader", {})
        source = changes.get(nbgrader.get("grade_id", ""), "".join(cell["source"]))
        if nbgrader.get("solution"):
            sign = "#" if cell["cell_type"] == "code" else ""
            source = f"{sign} Answer of student {number}.\n{source}".replace(
                "a_manual = 1.1\n", f"a_manual = {1.1 + number / 1e5}\n"
            )
        cell["source"] = source
    return notebook
