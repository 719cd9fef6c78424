"""``nbmark doctor`` reports what a machine or a course lacks, and all of it at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from conftest import run


def examine(course: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run ``nbmark doctor``, and return its exit status and its findings by subject."""
    completed = run(course, "nbmark", "doctor", "--json")
    findings = json.loads(completed.stdout)
    return completed.returncode, {finding["subject"]: finding for finding in findings}


def test_doctor_names_a_library_that_a_notebook_lacks(toy_course):
    source = toy_course / "source" / "toy" / "toy.ipynb"
    source.write_text(source.read_text().replace("def f(x):", "import pandas_of_old\\ndef f(x):"))
    exit_status, findings = examine(toy_course)
    assert exit_status == 1
    assert findings["libraries"]["found"] == "pandas_of_old (toy)"


def test_doctor_finds_no_problem_on_this_machine(toy_course):
    exit_status, findings = examine(toy_course)
    assert exit_status == 0, findings
    assert findings.keys() >= {"bubblewrap", "sandbox", "course"}


def test_doctor_examines_everything_even_if_one_assignment_is_broken(toy_course):
    (toy_course / "graders" / "toy" / "assignment.toml").write_text("[limits\n")
    exit_status, findings = examine(toy_course)
    assert exit_status == 1
    assert findings["sandbox"]["ok"]
    assert "assignment.toml" in findings["limits of toy"]["found"]
