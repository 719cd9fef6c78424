"""No answer breaks a check: whatever a notebook holds, a check passes or fails it, and never raises."""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from conftest import ASSIGNMENTS, ROOT
from nbmark.course.course import Assignment, Course
from nbmark.models import Submission
from nbmark.workers.pool import CheckPool

# What stands where an answer belongs. Each also stands as the result of a function.
LAZY = [
    *("0", "[]", "None", "float('nan')", "-float('inf')", "'text'", "[[1], [2, 3]]", "True", "{}"),
    *(
        "object()",
        "[None, None]",
        "(1.5, 2.5)",
        "3j",
        "[0, 0]",
        "np.zeros((2, 3, 4))",
        "np.ones(33)",
    ),
    *("lambda *values: None", "{1: 2}", "[print, 'a']", "np.eye(2)", "10**400", "b'bytes'"),
]
ROUNDS = 3  # of all values, each time at other names; more rounds rarely find more


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the course without its visible tests, which would stop most of these answers."""
    course = tmp_path_factory.mktemp("lazy") / "course"
    for folder in ("graders", "source", "release"):
        shutil.copytree(ROOT / folder, course / folder)
    shutil.copy(ROOT / "nbgrader_config.py", course)
    for path in (course / "source").glob("*/*.ipynb"):
        notebook = json.loads(path.read_text())
        for cell in notebook["cells"]:
            if cell["metadata"].get("nbgrader", {}).get("grade") and cell["cell_type"] == "code":
                cell["source"] = "pass"
        path.write_text(json.dumps(notebook))
    return course


def lazy_cell(source: str, shift: int) -> str:
    """Return a cell that gives every name of an answer cell a lazy value."""
    lines = ["import numpy as np"]
    for place, name in enumerate(names_defined_in(source)):
        value = LAZY[(place * 5 + shift) % len(LAZY)]
        is_function = f"def {name}(" in source
        # Every third function takes no arguments.
        arguments = "" if (place + shift) % 3 == 0 else "*values, **options"
        lines.append(
            f"def {name}({arguments}): return {value}" if is_function else f"{name} = {value}"
        )
    return "\n".join(lines)


def names_defined_in(source: str) -> Iterator[str]:
    """Yield the names that a cell defines at its top level, once each."""
    seen = set()
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        names = [
            part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)
        ]
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        for name in names:
            if name not in seen:
                seen.add(name)
                yield name


def submission(assignment: Assignment, shift: int) -> Submission:
    """Return the assignment's notebook with lazy answers, as a submission."""
    path = assignment.source / f"{assignment.name}.ipynb"
    notebook = json.loads(path.read_text())
    for number, cell in enumerate(notebook["cells"]):
        is_answer = cell["metadata"].get("nbgrader", {}).get("solution")
        if is_answer and cell["cell_type"] == "code":
            cell["source"] = lazy_cell("".join(cell["source"]), shift + 7 * number)
    data = json.dumps(notebook).encode()
    return Submission(
        "lazy", {assignment.name: data}, "0" * 64, b"seed", classmates=("lazy", "ada")
    )


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_no_lazy_answer_breaks_a_check(course, name):
    assignment = Course(course).assignment(name)
    with closing(CheckPool(assignment, "bubblewrap", 1)) as checks:
        for shift in range(0, len(LAZY), len(LAZY) // ROUNDS):
            graded = checks.grade(submission(assignment, shift))
            broken = {r.check.name: r.trace[-400:] for r in graded.results if r.outcome == "raised"}
            assert not broken
