"""Restoring a submission puts every locked cell back, and finds answers that were moved."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nbmark.intake.answers import edited_answers
from nbmark.intake.restore import ADDED_LATER, restore
from nbmark.notebooks import Cell

SOURCE = [
    Cell("code", "data = 1", {"grade_id": "data", "locked": True}),
    Cell("code", "x = 1", {"grade_id": "x-answer", "solution": True}),
    Cell("code", "assert x", {"grade_id": "x", "grade": True, "locked": True, "points": 1}),
]
TASKS = [
    *SOURCE,
    Cell("code", "y = 1", {"grade_id": "y-answer", "solution": True}),
    Cell("code", "assert y", {"grade_id": "y", "grade": True, "locked": True, "points": 1}),
    Cell("markdown", "why", {"grade_id": "w", "grade": True, "solution": True, "points": 1}),
]


def tasks(order: str) -> list[Cell]:
    """Return the cells of `TASKS` in another order, given as a digit for each cell."""
    return [TASKS[int(digit)] for digit in order]


def test_locked_cells_come_back_as_the_instructor_wrote_them():
    submitted = [
        Cell("markdown", "hi"),
        Cell("markdown", "print('passed')", {"grade_id": "x", "points": 99}),
        Cell("code", "x = 2", {"grade_id": "x-answer"}),
    ]
    restored = restore(submitted, SOURCE)
    assert [cell.source for cell in restored] == ["data = 1", "hi", "x = 2", "assert x"]
    assert restored[3] == SOURCE[2]
    assert restored[0].restored


def test_the_last_of_two_cells_with_one_grade_id_counts():
    submitted = [
        Cell("code", "x = 1", {"grade_id": "x-answer"}),
        Cell("code", "x = 2", {"grade_id": "x-answer"}),
    ]
    answers = [cell for cell in restore(submitted, SOURCE) if cell.grade_id == "x-answer"]
    assert [cell.source for cell in answers] == ["x = 2"]


RELEASED = [replace(cell, source="YOUR ANSWER HERE") for cell in TASKS]


@pytest.mark.parametrize("blank", ["", "  \n", "YOUR ANSWER HERE", "YOUR ANSWER HERE  \n"])
def test_an_edited_copy_beats_an_untouched_one_wherever_it_stands(blank):
    answer = Cell("code", "x = 2", {"grade_id": "x-answer"})
    untouched = replace(answer, source=blank)
    for submitted in ([answer, untouched], [untouched, answer]):
        restored = restore(submitted, SOURCE, released=RELEASED)
        assert [cell.source for cell in restored] == ["data = 1", "x = 2", "assert x"]
        assert not any(cell.doubt for cell in restored)


def test_several_edited_copies_cast_doubt_on_their_task_only_if_they_differ():
    first, second = (Cell("code", f"x = {n}", {"grade_id": "x-answer"}) for n in (1, 2))
    for submitted, doubtful in (([first, second], {"x"}), ([first, first], set())):
        restored = restore([*submitted, *TASKS[3:]], TASKS, released=RELEASED)
        assert {cell.grade_id for cell in restored if cell.doubt} == doubtful


def test_a_docstring_that_the_instructor_reworded_is_no_answer():
    source = [Cell("code", "def f():\n    return 1", {"grade_id": "f", "solution": True})]
    stub = 'def f():\n    """{}"""\n    raise NotImplementedError()'
    released = [replace(source[0], source=stub.format("Return one."))]
    old = replace(source[0], source=stub.format("One, it returns."))
    assert (
        edited_answers(restore([old], source, released=released), {"f": released[0].source})
        == set()
    )


def test_a_name_that_is_defined_below_its_tests_is_named_with_its_cell():
    tasks = [replace(cell, source="") if cell.is_solution else cell for cell in TASKS[:5]]
    own = [Cell("code", "y, other = 1, 2\nx: int = 3"), Cell("code", "def x(): pass")]
    doubts = {c.grade_id: c.doubt for c in restore([*tasks, *own], TASKS[:5], released=RELEASED)}
    assert "`x` is defined in cell 6, below the tests of this task" in doubts["x-answer"]
    assert "`y` is defined in cell 6, below the tests of this task" in doubts["y-answer"]
    assert "Your answer to this task stands in cell 6" in doubts["x"]
    assert "a person will look" in doubts["y"]
    doubts = {c.grade_id: c.doubt for c in restore([own[0], *tasks], TASKS[:5], released=RELEASED)}
    assert "`x` is defined in cell 1, which runs before this cell" in doubts["x-answer"]


@pytest.mark.parametrize(
    "line", ["a" + ", a" * 99_999, "a" + " " * 300_000, "a\n\n" * 99_999, "a:" + "x" * 300_000]
)
def test_long_lines_are_searched_for_names_and_end(line):
    cells = [replace(TASKS[1], source=""), Cell("code", line)]
    assert not any(
        cell.doubt.startswith("This cell") for cell in restore(cells, TASKS, released=RELEASED)
    )


def test_cells_that_lost_their_ids_are_matched_by_text_and_place():
    submitted = [
        replace(cell, nbgrader={}, source=cell.source.replace("= 1", "= 2")) for cell in TASKS
    ]
    submitted[2] = replace(submitted[2], source="assert x  # ok")
    restored = restore(submitted, TASKS)
    assert [cell.grade_id for cell in restored] == [cell.grade_id for cell in TASKS]
    assert [cell.source for cell in restored if cell.is_solution] == ["x = 2", "y = 2", "why"]
    assert not any(cell.doubt or cell.restored for cell in restored)


@pytest.mark.parametrize("order", ["201345", "021345", "543210", "013245", "420135"])
def test_tests_stand_below_their_answers_wherever_a_student_put_them(order):
    grade_ids = [cell.grade_id for cell in restore(tasks(order), TASKS)]
    assert sorted(grade_ids) == sorted(cell.grade_id for cell in TASKS)
    for task in ("x", "y"):
        assert grade_ids.index(f"{task}-answer") < grade_ids.index(task)


def test_an_answer_that_was_moved_up_stays_there():
    restored = restore(tasks("031245"), TASKS)
    assert [cell.grade_id for cell in restored] == ["data", "y-answer", "x-answer", "x", "y", "w"]


def test_a_missing_answer_casts_doubt_on_its_own_task_only():
    restored = restore(tasks("0124"), TASKS)
    doubts = {cell.grade_id: cell.doubt for cell in restored if cell.doubt}
    assert doubts.keys() == {"y", "w"}
    assert "'y-answer'" in doubts["y"]


def test_a_sentence_stands_in_place_of_each_later_task_in_its_order():
    locked = Cell("markdown", "Two new tasks", {"grade_id": "text", "locked": True})
    source = [*TASKS[:3], locked, *TASKS[3:]]
    mine = [*TASKS[:3], Cell("code", "print('mine')")]
    restored = restore(mine, source, added_later=["y-answer", "y", "w"])
    assert [cell.source for cell in restored] == [
        "data = 1", "x = 1", "assert x", "Two new tasks", ADDED_LATER, ADDED_LATER, "print('mine')",
    ]  # fmt: skip
    assert not any(cell.nbgrader or cell.doubt for cell in restored[4:])
