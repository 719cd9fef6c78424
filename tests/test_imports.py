"""What a fork server imports is read from the notebooks."""

from __future__ import annotations

import pytest

from conftest import ROOT, run
from helpers import RIGHT, hand_in_toy
from nbmark.course.course import Course
from nbmark.course.imports import imported_by
from nbmark.errors import AssignmentError


def test_modules_and_what_is_reached_below_them_are_found():
    cells = [
        "import numpy as np\nimport matplotlib.pyplot as plt\nx = np.linalg.norm([1])",
        "from tensorflow import keras\nkeras.layers.Dense(1)",
        "%matplotlib inline\nimport lost",
        "def later():\n    import json\n    return plt.subplots()",
    ]
    found = imported_by(cells, {})
    assert {
        "numpy",
        "numpy.linalg.norm",
        "matplotlib.pyplot",
        "tensorflow.keras",
        "tensorflow.keras.layers.Dense",
        "json",
    } <= set(found)
    assert "lost" not in found  # a cell that is no Python is passed over


def test_what_is_shipped_beside_the_notebook_counts_by_what_it_imports():
    beside = {"quiet": "import tensorflow as tf\nVALUE = 1"}
    found = imported_by(["from quiet import tf, VALUE\ntf.keras.Sequential()"], beside)
    assert "tensorflow.keras.Sequential" in found
    assert not any(one.split(".")[0] == "quiet" for one in found)


@pytest.mark.parametrize(
    ("assignment", "library"),
    [("mse", "matplotlib.pyplot"), ("keras", "tensorflow.keras"), ("autodiff", "autograd.numpy")],
)
def test_the_libraries_of_the_course_are_found(assignment, library):
    assert library in Course(ROOT).assignment(assignment).imports


def test_an_assignment_may_name_more_modules_or_do_without(toy_course):
    path = toy_course / "graders" / "toy" / "assignment.toml"
    path.write_text('[fork_server]\nimports = ["json.tool"]\n')
    assert Course(toy_course).assignment("toy").imports[-1] == "json.tool"
    for text, message in {
        "[fork_server]\nimport = []": "Did you mean 'imports'?",
        "[fork_server]\nimports = 3": "it takes a list of names of modules",
        "[fork_server]\nimports = [3]": "it takes a list of names of modules",
        "[fork_server]\nimports = ['import scipy']": "it takes a list of names of modules",
        "[forkserver]\nuse = false": "Did you mean 'fork_server'?",
        "fork_server = 3": "must be a table",
    }.items():
        path.write_text(text)
        with pytest.raises(AssignmentError, match=message.replace("?", r"\?")):
            _ = Course(toy_course).assignment("toy").imports
    path.write_text("[fork_server]\nuse = false\n")
    hand_in_toy(toy_course, "ada", RIGHT)
    done = run(toy_course, "nbmark", "grade", "toy", "--json")
    assert '"sandbox": "bubblewrap"' in done.stdout
    path.write_text("")
    done = run(toy_course, "nbmark", "grade", "toy", "--force", "--json")
    assert '"sandbox": "bubblewrap, forked"' in done.stdout
