"""A fork server imports what the notebooks import, and what ``assignment.toml`` adds."""

from __future__ import annotations

import pytest

from conftest import ROOT, run
from helpers import RIGHT, submit_toy
from nbmark.course.course import Course
from nbmark.course.imports import imported_by
from nbmark.errors import AssignmentError


def test_imported_modules_and_the_names_used_below_them_are_listed():
    cells = [
        "import numpy as np\nimport matplotlib.pyplot as plt\nx = np.linalg.norm([1])",
        "from tensorflow import keras\nkeras.layers.Dense(1)",
        "%matplotlib inline\nimport lost",
        "def later():\n    import json\n    return plt.subplots()",
    ]
    names = imported_by(cells, {})
    assert {
        "numpy",
        "numpy.linalg.norm",
        "matplotlib.pyplot",
        "tensorflow.keras",
        "tensorflow.keras.layers.Dense",
        "json",
    } <= set(names)
    assert "lost" not in names  # a cell with a magic cannot be parsed, so it is skipped


def test_a_module_beside_the_notebook_adds_its_imports_but_not_itself():
    modules_beside = {"quiet": "import tensorflow as tf\nVALUE = 1"}
    cells = ["from quiet import tf, VALUE\ntf.keras.Sequential()"]
    names = imported_by(cells, modules_beside)
    assert "tensorflow.keras.Sequential" in names
    assert not any(name.split(".")[0] == "quiet" for name in names)


@pytest.mark.parametrize(
    ("assignment", "library"),
    [("mse", "matplotlib.pyplot"), ("keras", "tensorflow.keras"), ("autodiff", "autograd.numpy")],
)
def test_the_libraries_of_this_course_are_listed(assignment, library):
    assert library in Course(ROOT).assignment(assignment).imports


def test_an_assignment_may_add_modules_or_do_without_a_fork_server(toy_course):
    path = toy_course / "graders" / "toy" / "assignment.toml"
    path.write_text('[fork_server]\nimports = ["json.tool"]\n')
    assert Course(toy_course).assignment("toy").imports[-1] == "json.tool"
    for text, message in {
        "[fork_server]\nimport = []": "Did you mean 'imports'?",
        "[fork_server]\nimports = 3": "this setting takes a list of module names",
        "[fork_server]\nimports = [3]": "this setting takes a list of module names",
        "[fork_server]\nimports = ['import scipy']": "this setting takes a list of module names",
        "[forkserver]\nuse = false": "Did you mean 'fork_server'?",
        "fork_server = 3": "must be a table",
    }.items():
        path.write_text(text)
        with pytest.raises(AssignmentError, match=message.replace("?", r"\?")):
            _ = Course(toy_course).assignment("toy").imports
    path.write_text("[fork_server]\nuse = false\n")
    submit_toy(toy_course, "ada", RIGHT)
    completed = run(toy_course, "nbmark", "grade", "toy", "--json")
    assert '"sandbox": "bubblewrap"' in completed.stdout
    path.write_text("")
    completed = run(toy_course, "nbmark", "grade", "toy", "--force", "--json")
    assert '"sandbox": "bubblewrap, forked"' in completed.stdout
