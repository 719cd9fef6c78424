"""What checks and the reference solution may write without harm to anybody."""

from __future__ import annotations

import json

import pytest

from conftest import run
from helpers import RIGHT, hand_in_toy


@pytest.mark.parametrize("blank", ["", " ", "\n\n \n"])
def test_a_reference_that_writes_blank_lines_to_stderr_is_well(toy_course, blank):
    source = toy_course / "source" / "toy" / "toy.ipynb"
    new = json.dumps(f"import sys; print({blank!r}, file=sys.stderr)\ndef f(x):\n")[1:-1]
    source.write_text(source.read_text().replace("def f(x):\\n", new))
    assert run(toy_course, "nbgrader", "generate_assignment", "toy", "--force").returncode == 0
    done = run(toy_course, "nbmark", "verify", "toy", "--fast")
    assert done.returncode == 0, done.stderr


def test_what_a_check_prints_is_not_kept_for_the_next_submission(toy_course):
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
        hand_in_toy(toy_course, student, RIGHT)
    done = run(toy_course, "nbmark", "grade", "toy", "--workers", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert [row["points"] for row in json.loads(done.stdout)["students"]] == [3, 3, 3]
