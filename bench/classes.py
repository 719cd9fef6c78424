"""The classes that the benchmarks grade: twenty different submissions of one assignment each.

``numpy`` hands in the course's `local-gradients`, which draws one picture, ``pictures`` its `mse`,
which draws three, and ``keras`` the small assignment of `bench/course/`: a model, an update, a
prediction and a picture, half a second of own work. Everybody writes in a way of their own: the
reference's or an honest form of ``graders/*/right``, other first guesses, other words. In a mixed
class every third submission is wrong: a known mistake of ``graders/*/wrong``, an empty release, or
one that ends its process.
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
STAMP = "2026-11-02 10:00:00.000000 UTC"
STOCK_CONFIG = """
import os, sys
os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
c = get_config()
c.CourseDirectory.course_id = "curve-fitting"
c.NbGrader.logfile = ""
"""
CRASH = "import os\nos._exit(1)"


def make_course(folder: Path, config: str, assignment: str) -> None:
    """A course with one assignment, released."""
    home = ROOT if (ROOT / "source" / assignment).exists() else ROOT / "bench" / "course"
    for part in ("source", "graders"):
        shutil.copytree(home / part / assignment, folder / part / assignment)
    for path in (ROOT / "graders").glob("*.py"):
        shutil.copy(path, folder / "graders")
    if home != ROOT:
        shutil.copy(
            ROOT / "source" / "keras" / "quiet_tensorflow.py", folder / "source" / assignment
        )
    (folder / "nbgrader_config.py").write_text(config)
    command(folder, "nbgrader", "generate_assignment", assignment, "--force")


def our_config() -> str:
    """The configuration of this course."""
    return (ROOT / "nbgrader_config.py").read_text()


def hand_in(folder: Path, assignment: str, students: int, *, mixed: bool) -> None:
    """Everybody's notebook, in the course's ``submitted/``."""
    forms = sorted((folder / "graders" / assignment / "right").glob("*.toml"))
    mistakes = sorted((folder / "graders" / assignment / "wrong").glob("*.toml"))
    for number in range(students):
        changed = [{}, *map(_cells, forms)][number % (len(forms) + 1)]
        kind = "source"
        if mixed and number % 3 == 2:
            changed = _cells(mistakes[number * 7 % len(mistakes)])
        if mixed and number == 8:
            kind, changed = "release", {}
        if mixed and number == 11:
            changed = {next(iter(changed)): CRASH}
        notebook = _notebook(folder / kind / assignment / f"{assignment}.ipynb", number, changed)
        place = folder / "submitted" / f"student-{number:05}" / assignment
        place.mkdir(parents=True)
        (place / f"{assignment}.ipynb").write_text(json.dumps(notebook))
        (place / "timestamp.txt").write_text(STAMP)
        for path in (folder / "release" / assignment).iterdir():
            if path.suffix != ".ipynb":
                shutil.copy(path, place)


def command(folder: Path, program: str, *arguments: str) -> str:
    """What a command prints; ends the benchmark with its complaints if it fails."""
    done = subprocess.run(
        [BIN / program, *arguments], cwd=folder, check=False, text=True, capture_output=True
    )
    if done.returncode:
        sys.exit(f"bench: {program} {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _cells(path: Path) -> dict[str, str]:
    cells: dict[str, str] = tomllib.loads(path.read_text())["cells"]
    return cells


def _notebook(path: Path, number: int, changed: dict[str, str]) -> Any:
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        grader = cell["metadata"].get("nbgrader", {})
        source = changed.get(grader.get("grade_id", ""), "".join(cell["source"]))
        if grader.get("solution"):
            sign = "#" if cell["cell_type"] == "code" else ""
            source = f"{sign} Answer of student {number}.\n{source}".replace(
                "a_manual = 1.1\n", f"a_manual = {1.1 + number / 1e5}\n"
            )
        cell["source"] = source
    return notebook
