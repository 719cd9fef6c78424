"""Text that a check or the reference solution prints changes no grade."""

from __future__ import annotations

import json

import pytest

from conftest import run
from helpers import RIGHT, submit_toy


@pytest.mark.parametrize("blank", ["", " ", "\n\n \n"])
def test_a_reference_that_writes_blank_lines_to_stderr_passes(toy_course, blank):
    source = toy_course / "source" / "toy" / "toy.ipynb"
    # The notebook is JSON: the new code goes in as the inside of a JSON string.
    code = json.dumps(f"import sys; print({blank!r}, file=sys.stderr)\ndef f(x):\n")[1:-1]
    source.write_text(source.read_text().replace("def f(x):\\n", code))
    assert run(toy_course, "nbgrader", "generate_assignment", "toy", "--force").returncode == 0
    completed = run(toy_course, "nbmark", "verify", "toy", "--fast")
    assert completed.returncode == 0, completed.stderr


def test_text_that_a_check_prints_is_not_kept_for_the_next_submission(toy_course):
    checks = toy_course / "graders" / "toy" / "test_toy.py"
    checks.write_text(
        checks.read_text().replace(
            "def test_a(student):\n",
            "def test_a(student, request):\n"
            "    print('looked')\n"
            "    assert not request.node._report_sections, 'kept'\n",
        )
    )
    for student in ("ada", "ben", "cleo"):
        submit_toy(toy_course, student, RIGHT)
    completed = run(toy_course, "nbmark", "grade", "toy", "--workers", "1", "--json")
    assert completed.returncode == 0, completed.stderr
    assert [row["points"] for row in json.loads(completed.stdout)["students"]] == [3, 3, 3]
