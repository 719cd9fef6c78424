"""Grade what students really hand in with stock nbgrader and with nbmark.

The hand-ins are those of `tests/test_handins.py`, on its smallest assignment of 5 points. Stock
nbgrader grades the same course with its own configuration and with hidden tests that check the
same numbers. The table shows what a right answer earns, and whether a person is asked to look.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from cheats import STOCK_CONFIG  # noqa: E402

import conftest  # noqa: E402  # in the folder that the line above adds
import helpers  # noqa: E402
import test_handins  # noqa: E402

HIDDEN_TESTS = """
### BEGIN HIDDEN TESTS
assert a == 3.0 and f(2.5) == 5.0
### END HIDDEN TESTS"""


def make_stock_course(course: Path) -> None:
    """Make the toy course with hidden tests as nbgrader has them, and release it."""
    shutil.copytree(ROOT / "tests" / "toy" / "source", course / "source")
    (course / "nbgrader_config.py").write_text(STOCK_CONFIG)
    path = course / "source" / "toy" / "toy.ipynb"
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        if cell["metadata"]["nbgrader"]["grade_id"] == "a":
            cell["source"] = "".join(cell["source"]) + HIDDEN_TESTS
    path.write_text(json.dumps(notebook))
    conftest.run(course, "nbgrader", "generate_assignment", "toy")


def grades(course: Path) -> dict[str, str]:
    """Return points and the cells marked for a look by student."""
    rows = {}
    for row in helpers.dump_gradebook(course, "toy"):
        cells = row["notebooks"]["toy"]["grades"]
        points = sum(auto or 0.0 for auto, *_ in cells.values())
        marked = " ".join(name for name, cell in cells.items() if cell[3])
        rows[row["student"]] = f"{points:g} (look: {marked or 'none'})"
    return rows


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="nbmark-handins-") as name:
        stock, ours = Path(name, "stock"), Path(name, "ours")
        stock.mkdir()
        make_stock_course(stock)
        conftest.new_course(ours, ROOT / "tests" / "toy", "toy")
        for student, handin in test_handins.HANDINS.items():
            for course in (stock, ours):
                test_handins.submit(course, student, "toy", handin.files(test_handins.Toy(ours)))
        conftest.run(stock, "nbgrader", "autograde", "toy")
        # A submission that stops this run must not cost the students after it their grades.
        for student in test_handins.HANDINS.keys() - grades(stock).keys():
            conftest.run(stock, "nbgrader", "autograde", "toy", "--student", student)
        subprocess.run([conftest.BIN / "nbmark", "grade", "toy"], cwd=ours, check=False)
        by_stock, by_nbmark = grades(stock), grades(ours)
    table = Table("hand-in", "stock nbgrader", "nbmark", title="Automatic points of 3")
    for student in test_handins.HANDINS:
        table.add_row(
            student, by_stock.get(student, "no grade"), by_nbmark.get(student, "no grade")
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
