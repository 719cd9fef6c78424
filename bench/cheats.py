"""Try the cheats of the hostile suite on stock nbgrader and on nbmark.

Each cheat is a wrong notebook that tries to earn points, and succeeds if it earns any. Stock
nbgrader grades the same course with its own configuration and with hidden tests of its own, which
check the same numbers. An honest notebook must first earn full marks from both.
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

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "hostile"))
import attacks  # noqa: E402  # in the folder that the line above adds

BIN = Path(sys.executable).parent
CHEATS = [case for case in attacks.cases() if case.cheat]
HONEST = attacks.Case("honest", "honest", "", "", base="reference")
# nbgrader starts `python` from the search path. Without this line it may find another one, which
# lacks the packages of this environment.
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
PR_SET_CHILD_SUBREAPER = 36

Points = dict[str, float | None]  # by student, whose id is the name of the case


def make_stock_course(course: Path) -> None:
    """Make the suite's course with hidden tests as nbgrader has them, and release it."""
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


def points_by_stock(course: Path, student: str) -> float | None:
    """Return the automatic points that stock nbgrader gives, None if it gives no grade at all."""
    # Imported here, because nbgrader takes seconds to load and only this function needs it.
    from nbgrader.api import Gradebook, MissingEntry

    _nbgrader(course, "autograde", "target", "--student", student)
    with Gradebook(f"sqlite:///{course}/gradebook.db") as gradebook:
        try:
            submission = gradebook.find_submission("target", student)
        except MissingEntry:
            return None
        grades = [grade for notebook in submission.notebooks for grade in notebook.grades]
        # A person grades `words`, which has no hidden test.
        return float(sum(grade.auto_score or 0.0 for grade in grades if grade.name != "words"))


def points_by_nbmark(course: Path) -> Points:
    """Return the automatic points that nbmark gives."""
    # A cheat that gets no grade makes the exit status 1, which is a result like any other here.
    finished = subprocess.run(
        [BIN / "nbmark", "grade", "target", "--json"],
        cwd=course,
        check=False,
        text=True,
        capture_output=True,
    )
    return {row["student"]: row["points"] for row in json.loads(finished.stdout)["students"]}


def _nbgrader(course: Path, *words: str) -> None:
    """Run a command in a session of its own, and end every process that a cheat leaves in it."""
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


def grade_all() -> tuple[Points, Points]:
    """Return the points that stock nbgrader and nbmark give to every case."""
    cases = [HONEST, *CHEATS]
    with tempfile.TemporaryDirectory(prefix="nbmark-cheats-") as name:
        ours, stock = Path(name, "ours"), Path(name, "stock")
        attacks.make_course(ours, "none", "target")
        stock.mkdir()
        make_stock_course(stock)
        for case in cases:
            for course in (ours, stock):
                case.submit(course / "submitted" / case.name / "target", ours, {})
        by_nbmark = points_by_nbmark(ours)
        by_stock = {case.name: points_by_stock(stock, case.name) for case in cases}
    return by_stock, by_nbmark


def main() -> None:
    """Print the table; exit with status 1 if a cheat succeeds on nbmark."""
    # Processes that a cheat detaches become children of this one, as in the suite.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    by_stock, by_nbmark = grade_all()
    honest = (by_stock[HONEST.name], by_nbmark.get(HONEST.name))
    # If a correct answer earned less, the failure of a wrong one would prove nothing.
    if honest != (5.0, 5.0):
        sys.exit(f"an honest notebook should earn 5 points, not {honest}")
    table = Table(
        *("cheat", "description", "stock nbgrader", "nbmark"),
        title="Points of 5 for a notebook that is wrong everywhere",
    )
    for case in CHEATS:
        points = (by_stock[case.name], by_nbmark.get(case.name))
        table.add_row(
            case.name, case.does, *("no grade" if p is None else f"{p:g}" for p in points)
        )
    Console(width=120).print(table)
    succeeded = [
        sum(bool(points.get(case.name)) for case in CHEATS) for points in (by_stock, by_nbmark)
    ]
    print(
        f"stock nbgrader: {succeeded[0]} of {len(CHEATS)} cheats succeed, "
        f"nbmark: {succeeded[1]} of {len(CHEATS)}"
    )
    sys.exit(1 if succeeded[1] else 0)


if __name__ == "__main__":
    main()
