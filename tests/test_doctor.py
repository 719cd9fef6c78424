"""What ``nbmark doctor`` says of a machine and a course."""

from __future__ import annotations

import json

from conftest import run


def test_doctor_names_a_library_that_a_notebook_lacks(toy_course):
    source = toy_course / "source" / "toy" / "toy.ipynb"
    source.write_text(source.read_text().replace("def f(x):", "import pandas_of_old\\ndef f(x):"))
    done = run(toy_course, "nbmark", "doctor", "--json")
    found = {one["subject"]: one for one in json.loads(done.stdout)}
    assert done.returncode == 1
    assert found["libraries"]["found"] == "pandas_of_old (toy)"


def test_doctor_finds_this_machine_well(toy_course):
    done = run(toy_course, "nbmark", "doctor", "--json")
    assert done.returncode == 0, done.stdout
    assert {one["subject"] for one in json.loads(done.stdout)} >= {
        "bubblewrap",
        "sandbox",
        "course",
    }


def test_doctor_lists_everything_though_one_assignment_is_broken(toy_course):
    (toy_course / "graders" / "toy" / "assignment.toml").write_text("[limits\n")
    done = run(toy_course, "nbmark", "doctor", "--json")
    found = {one["subject"]: one for one in json.loads(done.stdout)}
    assert done.returncode == 1
    assert found["sandbox"]["well"]
    assert "assignment.toml" in found["limits of toy"]["found"]
