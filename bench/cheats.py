"""The cheats of the hostile suite on stock nbgrader, with hidden tests of its own, and on nbmark.

Each cheat is a wrong notebook that is after points. It succeeds if it earns any. Stock nbgrader
grades the same course with its own configuration; its hidden tests ask for the same numbers. Both
are tried on an honest notebook first, and must give it full marks.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "hostile"))
import attacks  # noqa: E402  # after its folder is known

BIN = Path(sys.executable).parent
CHEATS = [one for one in attacks.cases() if one.cheat]
HONEST = attacks.Case("honest", "honest", "", "", base="reference")
STOCK_CONFIG = """
import os, sys
os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
c = get_config()
c.CourseDirectory.course_id = "curve-fitting"
c.ExecutePreprocessor.timeout = 10
"""
HIDDEN_TESTS = {
    "number": "assert abs(a - 41.5731) < 1e-6",
    "function": "for x in (-3.7, 0.25, 4.1):\n    assert np.isclose(f(x), 3 * x**2 - 2 * x)",
    "array": "np.testing.assert_allclose(v, np.arange(1.0, 6.0) ** 2)",
    "later": "assert b == 12.2946",
}


def stock_course(course: Path) -> None:
    """The target with hidden tests in nbgrader's own way, released."""
    shutil.copytree(attacks.HERE / "course" / "source", course / "source")
    (course / "nbgrader_config.py").write_text(STOCK_CONFIG)
    path = course / "source" / "target" / "target.ipynb"
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        grade_id = cell["metadata"].get("nbgrader", {}).get("grade_id")
        if grade_id in HIDDEN_TESTS:
            visible = "".join(cell["source"])
            cell["source"] = (
                f"{visible}\n### BEGIN HIDDEN TESTS\n{HIDDEN_TESTS[grade_id]}\n### END HIDDEN TESTS"
            )
    path.write_text(json.dumps(notebook))
    _nbgrader(course, "generate_assignment", "target")


def by_stock(course: Path, student: str) -> float | None:
    """The automatic points that stock nbgrader gives, None if it gives none at all."""
    from nbgrader.api import Gradebook, MissingEntry

    _nbgrader(course, "autograde", "target", "--student", student)
    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        try:
            found = gradebook.find_submission("target", student)
        except MissingEntry:
            return None
        grades = [one for note in found.notebooks for one in note.grades if one.name != "words"]
        return float(sum(one.auto_score or 0.0 for one in grades))


def by_nbmark(course: Path) -> dict[str, float]:
    """The automatic points that nbmark gives, by student."""
    done = subprocess.run(
        [BIN / "nbmark", "grade", "target", "--json"],
        cwd=course,
        check=False,
        text=True,
        capture_output=True,
    )
    return {row["student"]: row["points"] for row in json.loads(done.stdout)["students"]}


def _nbgrader(course: Path, *words: str) -> None:
    """Run in a session of its own: some cheats leave processes, and those end with it."""
    process = subprocess.Popen(
        [BIN / "nbgrader", *words],
        cwd=course,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(120)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def main() -> None:
    """Print the table; exit status 1 if a cheat succeeds on nbmark."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER, as in the suite
    with tempfile.TemporaryDirectory(prefix="nbmark-cheats-") as name:
        ours, stock = Path(name, "ours"), Path(name, "stock")
        attacks.make_course(ours, "none", "target")
        stock.mkdir()
        stock_course(stock)
        for case in [HONEST, *CHEATS]:
            case.submit(ours / "submitted" / case.name / "target", ours, {})
            case.submit(stock / "submitted" / case.name / "target", ours, {})
        points = by_nbmark(ours)
        rows: list[tuple[attacks.Case, Any, Any]] = [
            (case, by_stock(stock, case.name), points.get(case.name)) for case in [HONEST, *CHEATS]
        ]
    honest, *cheats = rows
    if honest[1:] != (5.0, 5.0):
        sys.exit(f"an honest notebook should earn 5 points, not {honest[1:]}")
    table = Table(
        "cheat",
        "what it does",
        "stock nbgrader",
        "nbmark",
        title="Points of 5 for a notebook that is wrong everywhere",
    )
    for case, theirs, own in cheats:
        shown = "no grade" if theirs is None else f"{theirs:g}"
        table.add_row(case.name, case.does, shown, f"{own:g}")
    Console(width=120).print(table)
    succeeded = [sum(bool(row[column]) for row in cheats) for column in (1, 2)]
    print(
        f"stock nbgrader: {succeeded[0]} of {len(cheats)} cheats succeed, "
        f"nbmark: {succeeded[1]} of {len(cheats)}"
    )
    sys.exit(1 if succeeded[1] else 0)


if __name__ == "__main__":
    main()
