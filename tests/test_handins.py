"""Work that students hand in under odd names, in odd places and in odd encodings is not lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from conftest import ROOT, new_course, run
from handed_in import DONE, UNTOUCHED, Files, Result, Toy, as_file, results_of, submit
from helpers import HALF, RIGHT, dump_gradebook
from nbmark.notebooks import Cell

TITLE = Cell("markdown", "An own title")

# The reported cases, on the course's first assignment.


REPORTED = "answer-in-own-cell-below copy1-beside ipynb-txt own-files written-copy-at-end".split()


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """Return the results of the hand-ins under ``tests/handins/`` by folder."""
    course = new_course(tmp_path_factory.mktemp("reported"), ROOT, "mse")
    for name in REPORTED:
        folder = ROOT / "tests" / "handins" / name
        submit(course, name, "mse", {path.name: path.read_bytes() for path in folder.iterdir()})
    return results_of(course, "mse")


def test_answers_below_their_tests_are_named_and_a_written_one_stays_for_a_person(reported):
    result = reported["answer-in-own-cell-below"]
    assert (
        "`residual_5`, `squared_residual_5` and `y_hat_5` are defined in cell 12, below the tests"
        in result.page
    )
    assert "`mse` is defined in cell" in result.page
    assert "you wrote into other text cells, so a person will look" in result.page
    assert "Your answer to this task stands in cell 12 and not in its own cell" in result.says
    assert {"table", "written"} <= result.marked
    assert not any(
        result.comments[cell] for cell in ("written", "table-answer", "mse-function-answer")
    )


def test_work_in_a_copy_beside_the_untouched_notebook_is_named_and_marked(reported):
    result = reported["copy1-beside"]
    assert result.points == 0
    for text in (result.says, result.page):
        assert "it is as you received it. Work of yours is in `mse-Copy1.ipynb` beside it" in text
    assert result.marked == {"table", "written"}
    assert not any(result.comments.values())


def test_a_notebook_whose_name_got_txt_added_is_graded_and_marked(reported):
    result = reported["ipynb-txt"]
    assert result.points == 18
    assert "`mse.ipynb.txt` was graded instead" in result.says
    assert "`mse.ipynb.txt` was graded instead" in result.page
    assert result.marked == {"table", "written"}


def test_student_and_instructor_read_that_own_files_are_not_there(reported):
    result = reported["own-files"]
    assert result.points < 18
    for text in (result.says, result.page):
        assert "`line.csv` and `myhelpers.py`" in text
        assert "these files of yours are not there" in text
    assert result.marked == {"written"}


def test_a_blank_copy_does_not_hide_a_written_answer(reported):
    result = reported["written-copy-at-end"]
    assert result.points == 18
    assert "Two women are 41, with 139 and 171 mmHg" in result.page
    assert "YOUR ANSWER HERE" not in result.page
    assert result.marked == {"written"}
    assert not result.comments["written"]


# Every other kind, on the smallest assignment, all graded in one go.


def format_3(cells: Iterable[Cell]) -> bytes:
    """Return a notebook in the format of IPython 2, with its cells in a worksheet."""
    old = []
    for cell in cells:
        metadata = {"nbgrader": dict(cell.nbgrader)}
        if cell.kind == "code":
            parts = {"input": cell.source, "language": "python", "outputs": []}
        else:
            parts = {"source": cell.source}
        old.append({"cell_type": cell.kind, "metadata": metadata, **parts})
    sheets = [{"cells": old, "metadata": {}}]
    return json.dumps(
        {"metadata": {"name": ""}, "nbformat": 3, "nbformat_minor": 0, "worksheets": sheets}
    ).encode()


def with_outputs(data: bytes, size: int) -> bytes:
    """Return a notebook whose first code cell printed `size` characters."""
    notebook = json.loads(data)
    output = {"output_type": "stream", "name": "stdout", "text": "x" * size}
    next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")["outputs"] = [output]
    return json.dumps(notebook).encode()


def without_ids(cells: Iterable[Cell]) -> list[Cell]:
    return [replace(cell, nbgrader={}) for cell in cells]


@dataclass(frozen=True)
class HandIn:
    """Files of a submission, and what must become of them."""

    files: Callable[[Toy], Files]
    points: float
    marked: set[str]
    says: str = ""
    silent: frozenset[str] = frozenset()  # the cells that may say "No response."


LATIN = {"a-answer": f"# \u00e4\n{RIGHT}", "w": "Because."}
HANDINS = {
    "in-order": HandIn(lambda toy: {"toy.ipynb": toy.file(DONE)}, 3, {"w"}),
    "blank": HandIn(
        lambda toy: {"toy.ipynb": toy.file(UNTOUCHED)},
        0,
        set(),
        silent=frozenset({"a-answer", "w"}),
    ),
    "nothing": HandIn(lambda toy: {}, 0, {"a", "w"}, "no notebook called toy.ipynb"),
    # Under another name
    "browser-copy": HandIn(
        lambda toy: {"toy (1).ipynb": toy.file(DONE)},
        3,
        {"a", "w"},
        "`toy (1).ipynb` was graded instead",
    ),
    "json": HandIn(
        lambda toy: {"toy.json": toy.file(DONE)}, 3, {"a", "w"}, "`toy.json` was graded"
    ),
    "other-language": HandIn(
        lambda toy: {"Kopie von toy.ipynb": toy.file(DONE)}, 3, {"a", "w"}, "`Kopie von toy.ipynb`"
    ),
    "nested": HandIn(
        lambda toy: {"toy/toy.ipynb": toy.file(DONE)}, 3, {"a", "w"}, "`toy/toy.ipynb` was graded"
    ),
    "other-case": HandIn(lambda toy: {"TOY.ipynb": toy.file(DONE)}, 3, {"a", "w"}, "`TOY.ipynb`"),
    "empty-and-copy": HandIn(
        lambda toy: {"toy.ipynb": b"", "toy-Copy1.ipynb": toy.file(DONE)},
        3,
        {"a", "w"},
        "This notebook file is empty. `toy-Copy1.ipynb` was graded instead",
    ),
    "folder-for-file": HandIn(
        lambda toy: {"toy.ipynb/toy.ipynb": toy.file(DONE)}, 3, {"a", "w"}, "`toy.ipynb/toy.ipynb`"
    ),
    "no-ids-other-name": HandIn(
        lambda toy: {"final.ipynb": as_file(without_ids(toy.cells(DONE)))},
        3,
        {"a", "w"},
        "`final.ipynb` was graded instead",
    ),
    # Several
    "one-of-two-edited": HandIn(
        lambda toy: {"toy (1).ipynb": toy.file(UNTOUCHED), "toy (2).ipynb": toy.file(DONE)},
        3,
        {"a", "w"},
        "`toy (2).ipynb` was graded instead",
    ),
    "two-equal": HandIn(
        lambda toy: {"toy (1).ipynb": toy.file(DONE), "toy (2).ipynb": toy.file(DONE)},
        3,
        {"a", "w"},
    ),
    "two-differ": HandIn(
        lambda toy: {"b.ipynb": toy.file({"a-answer": HALF}), "c.ipynb": toy.file(DONE)},
        0,
        {"a", "w"},
        "`b.ipynb` and `c.ipynb`. None of them was graded",
    ),
    "copy-with-more": HandIn(
        lambda toy: {"toy.ipynb": toy.file({"a-answer": HALF}), "toy-Copy1.ipynb": toy.file(DONE)},
        2,
        {"a", "w"},
        "Other answers of yours are in `toy-Copy1.ipynb` beside it",
    ),
    "copy-with-less": HandIn(
        lambda toy: {"toy.ipynb": toy.file(DONE), "old.ipynb": toy.file({"a-answer": HALF})},
        3,
        {"w"},
        "and not `old.ipynb` beside it",
    ),
    "equal-copy": HandIn(
        lambda toy: {"toy.ipynb": toy.file(DONE), "toy-Copy1.ipynb": toy.file(DONE)}, 3, {"w"}
    ),
    # Other kinds of file
    "zip": HandIn(
        lambda toy: {"work.zip": b"PK\x03\x04"},
        0,
        {"a", "w"},
        "Your submission also holds `work.zip`",
    ),
    "pdf-beside": HandIn(
        lambda toy: {"toy.ipynb": toy.file(UNTOUCHED), "answers.pdf": b"%PDF"},
        0,
        {"a", "w"},
        "nobody has opened it yet",
    ),
    "not-a-notebook": HandIn(
        lambda toy: {"toy.ipynb.txt": b"a = 3"}, 0, {"a", "w"}, "also holds `toy.ipynb.txt`"
    ),
    "picture": HandIn(
        lambda toy: {"toy.ipynb": toy.file(DONE), "plot.png": b"\x89PNG"}, 3, {"w"}, "`plot.png`"
    ),
    "checkpoint": HandIn(
        lambda toy: {
            "toy.ipynb": toy.file(DONE),
            ".ipynb_checkpoints/toy-checkpoint.ipynb": toy.file(UNTOUCHED),
            "feedback/2026/toy.html": b"",
        },
        3,
        {"w"},
    ),
    "hostile-names": HandIn(
        lambda toy: {"toy.ipynb": toy.file(DONE), "\x1b[31m`<b>\udcff.zip": b"PK"},
        3,
        {"a", "w"},
        r"'<b>\udcff.zip`",
    ),
    # Copies of one cell
    "stub-copy-below": HandIn(
        lambda toy: {"toy.ipynb": as_file([*toy.cells(DONE), *toy.cells(UNTOUCHED)])}, 3, {"w"}
    ),
    "stub-copy-in-place": HandIn(
        lambda toy: {
            "toy.ipynb": as_file([toy.cell("a-answer", RIGHT), *toy.cells({"w": "Because."})])
        },
        3,
        {"w"},
    ),
    "two-edited-copies": HandIn(
        lambda toy: {"toy.ipynb": as_file([toy.cell("a-answer", HALF), *toy.cells(DONE)])},
        3,
        {"a", "w"},
        "several filled-in copies of the answer cell 'a-answer'",
    ),
    "own-cell-above-tests": HandIn(
        lambda toy: {
            "toy.ipynb": as_file([*toy.cells({})[:2], Cell("code", RIGHT), *toy.cells({})[2:]])
        },
        3,
        set(),
        "`a` and `f` are defined in cell 3, and that counts.",
        silent=frozenset({"w"}),
    ),
    "written-into-the-question": HandIn(
        lambda toy: {"toy.ipynb": as_file([*toy.cells({"a-answer": RIGHT}), TITLE])},
        3,
        {"w"},
        "you wrote into other text cells",
    ),
    # Encodings and formats
    "utf-8-mark": HandIn(lambda toy: {"toy.ipynb": toy.file(LATIN, "utf-8-sig")}, 3, {"w"}),
    "utf-16": HandIn(lambda toy: {"toy.ipynb": toy.file(LATIN, "utf-16")}, 3, {"w"}),
    "latin-1": HandIn(lambda toy: {"toy.ipynb": toy.file(LATIN, "latin-1")}, 3, {"w"}),
    "utf-16-other-name": HandIn(
        lambda toy: {"toy.txt": toy.file(LATIN, "utf-16-be")}, 3, {"a", "w"}, "`toy.txt` was graded"
    ),
    "format-3": HandIn(lambda toy: {"toy.ipynb": format_3(toy.cells(DONE))}, 3, {"w"}),
    "outputs-of-60-mb": HandIn(
        lambda toy: {"toy.ipynb": with_outputs(toy.file(DONE), 60_000_000)}, 3, {"w"}
    ),
    "ids-gone": HandIn(lambda toy: {"toy.ipynb": as_file(without_ids(toy.cells(DONE)))}, 3, {"w"}),
}


@pytest.fixture(scope="module")
def handed_in(
    toy_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Result]]:
    course = Path(shutil.copytree(toy_template, tmp_path_factory.mktemp("handins") / "course"))
    toy = Toy(course)
    for student, handin in HANDINS.items():
        submit(course, student, "toy", handin.files(toy))
    return course, results_of(course, "toy")


@pytest.mark.parametrize("student", HANDINS)
def test_each_hand_in_gets_its_points_its_mark_and_its_sentence(handed_in, student):
    handin, result = HANDINS[student], handed_in[1][student]
    assert (result.points, result.marked) == (handin.points, handin.marked)
    assert handin.says in result.page
    assert {cell for cell, comment in result.comments.items() if comment} == handin.silent


def test_regrading_hand_ins_changes_nothing(handed_in):
    course, _ = handed_in
    before = dump_gradebook(course, "toy")
    completed = run(course, "nbmark", "regrade", "toy", "--apply")
    assert f"{len(HANDINS)} regraded, 0 differ" in completed.stdout, completed.stderr
    assert dump_gradebook(course, "toy") == before
