"""A student and the table read the cause of a failure first, and its consequence after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from conftest import ROOT
from helpers import submission_of
from nbmark.course.course import Course
from nbmark.models import Graded
from nbmark.notebooks import Cell, read_notebook
from nbmark.records.feedback import summary
from nbmark.running.causes import Causes, assigned_names
from nbmark.workers.pool import CheckPool

MSE = Course(ROOT).assignment("mse")
HANDINS = ROOT / "tests" / "handins"


@pytest.fixture(scope="module")
def pool() -> Iterator[CheckPool]:
    with closing(CheckPool(MSE, "bubblewrap", 1)) as processes:
        yield processes


def grade(pool: CheckPool, cells: list[Cell]) -> Graded:
    """Grade a notebook, and judge its evidence again: every sentence must be the same."""
    submission = submission_of(cells, "mse")
    graded = pool.grade(submission)
    ids = (submission.aliases, submission.classmates)
    assert pool.regrade(graded.as_evidence, submission.seed, *ids) == graded.results
    return graded


def graded_with(pool: CheckPool, **answers: str) -> Graded:
    """Grade the reference solution with other code in the answer cells of these tasks."""
    sources = {f"{task.replace('_', '-')}-answer": code for task, code in answers.items()}
    cells = MSE.notebooks["mse"]
    return grade(
        pool, [replace(cell, source=sources.get(cell.grade_id, cell.source)) for cell in cells]
    )


def lost(graded: Graded) -> dict[str, set[str]]:
    """Return the sentences about each task that lost points."""
    tasks: dict[str, set[str]] = {}
    for result in graded.results:
        if result.earned < result.check.points:
            assert result.outcome == "failed", result.trace
            tasks.setdefault(result.check.cell, set()).add(result.says)
    return tasks


def test_an_input_costs_its_own_task_alone_and_is_named(pool):
    graded = grade(pool, read_notebook((HANDINS / "input-cell" / "mse.ipynb").read_bytes()))
    tasks = lost(graded)
    assert tasks.keys() == {"search"}
    for sentence in tasks["search"]:
        assert "nobody types while your work is graded" in sentence
        assert sentence.endswith("does not exist.")
    assert "nobody types" in summary(graded)


def test_a_missing_library_is_named_before_the_picture_that_it_prevented(pool):
    graded = grade(pool, read_notebook((HANDINS / "library-missing" / "mse.ipynb").read_bytes()))
    tasks = lost(graded)
    assert tasks.keys() == {"plot"}
    (sentence,) = tasks["plot"]
    assert "imports seaborn. This library is not there when your work is graded" in sentence
    assert "use NumPy and Matplotlib." in sentence
    assert sentence.endswith("So ax_fit does not exist.")
    assert "seaborn" in summary(graded)


def test_an_error_in_an_earlier_task_is_the_cause_in_every_later_one(pool):
    graded = graded_with(
        pool, mse_function="def mse(a, b:\n    return 0", best_line="mse_min = mse(1, 2)"
    )
    tasks = lost(graded)
    for task in ("mse-function", "first-line", "best-line"):
        for sentence in tasks[task]:
            assert "Task 3 (cell 16 of the notebook) is not valid Python" in sentence, task
    assert summary(graded).startswith("Task 3 (cell 16 of the notebook) is not valid Python")


def test_a_chain_of_missing_names_leads_to_the_first_error(pool):
    graded = graded_with(
        pool,
        closed_form="rows = open('rows.csv')\ndef closed_form(x, y):\n    return 1, 2",
        best_line="a_hat, b_hat = closed_form(age, sbp)\nmse_min = 1.0",
        plot="fig, ax_fit = plt.subplots()\nax_fit.plot(age, a_hat * age)",
    )
    tasks = lost(graded)
    for task in ("closed-form", "best-line", "plot"):
        for sentence in tasks[task]:
            assert "needs the file 'rows.csv', which is not there" in sentence, (task, sentence)


def test_an_error_in_a_tasks_own_cell_stands_before_its_consequence(pool):
    graded = graded_with(pool, best_line="a_hat = b_hat = mse_min = None\na_hat = 1 / 0")
    assert any(
        sentence.endswith("division by zero. a_hat is None: the answer is still missing.")
        for sentence in lost(graded)["best-line"]
    )


def test_a_name_that_a_later_cell_gives_a_value_is_found_there(pool):
    graded = graded_with(
        pool, five="mse_5 = 317.2\nrmse_5 = 17.81", mse_function="rss_5 = 1586\ndef mse(a, b): pass"
    )
    assert any(
        sentence.startswith("rss_5 gets its value only further down, in Task 3 (cell 16")
        for sentence in lost(graded)["five"]
    )


def test_a_misspelt_name_is_answered_with_the_nearest_one(pool):
    graded = graded_with(pool, five="RSS_5 = rss5 = 1586\nmse_5 = 317.2\nrmse_5 = 17.81")
    assert any("Did you mean rss5?" in sentence for sentence in lost(graded)["five"])


def test_a_function_that_misses_a_name_later_still_names_the_cause(pool):
    graded = graded_with(
        pool,
        mse_function="import seaborn as sb\n",
        closed_form="def closed_form(x, y):\n    return sb.fit(x, y)",
    )
    for sentence in lost(graded)["closed-form"]:
        assert "imports seaborn" in sentence
        assert sentence.endswith("So sb does not exist.")


def test_untouched_tasks_are_still_missing_and_not_in_error(pool):
    release = read_notebook((MSE.release / "mse.ipynb").read_bytes())
    sentences = {says for task in lost(grade(pool, release)).values() for says in task}
    assert "rss_5 is None: the answer is still missing." in sentences
    assert any("put your own code in place of" in says for says in sentences)
    assert not any("ended in an error" in says for says in sentences)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("a = b, c = 1, 2\nfor d in range(3):\n    e: int = d", set("abcde")),
        ("def f(x):\n    y = 1\nclass K:\n    z = 2\ng = lambda: (h := 1)", {"f", "K", "g"}),
        ("import os.path, numpy as np\nfrom a import b as c, d", {"os", "np", "c", "d"}),
        ("%matplotlib inline\nif True:\n    !ls\nx = 1", {"x"}),
        ("from helpers import *", {"*"}),
        ("a, b = f(\nimport seaborn as sns\ndef g(x:", {"a", "b", "sns", "g"}),
        ("-" * 200_000 + "1", set()),
        ("a" + ".b" * 200_000, set()),
        ("a" + " " * 90_000 + "b(", set()),
    ],
)
def test_the_names_that_a_cell_gives_a_value_are_found_in_its_source(source, names):
    assert assigned_names(source) == names


def test_a_thousand_cells_that_miss_each_other_have_one_cause():
    cells = [Cell("code", f"x{number} = x{number - 1}") for number in range(2000)]
    causes = Causes(cells, lambda index: True, lambda index: f"x{index - 1}" if index else "")
    assert causes.of_missing("x1999", 2000) == 0
