"""The parts that need no kernel: answers, plain data, frames, notebooks, scores."""

from __future__ import annotations

import json
import os
import struct
import time
from dataclasses import replace

import numpy as np
import pytest

from nbmark import approx, fail, name
from nbmark.checks.plain_data import Opaque, decode, encode, parse
from nbmark.checks.points import misfits, scores
from nbmark.checks.questions import canonical, probed, text_of, tree_of
from nbmark.checks.student import Answer, Student
from nbmark.errors import CheckFailed, NotebookUnreadable, UnreadableAnswer, unknown
from nbmark.intake.restore import restore
from nbmark.models import Check, CheckResult, Graded
from nbmark.notebooks import Cell, read_notebook, write_notebook
from nbmark.records.feedback import as_html, as_text
from nbmark.running.messages import said
from nbmark.sandbox.session import CellRun
from nbmark.sandbox.wire import Wire, WireClosed, WireGarbage, WireTimeout
from nbmark.untrusted.html import clean as clean_html
from nbmark.untrusted.outputs import clean

HONEST = [
    3,
    3.0,
    np.float32(3),
    np.float64(3),
    np.int8(3),
    np.array(3.0),
    np.array([3.0]),
    [3],
    (3.0,),
]
REFUSED = [
    True,
    np.True_,
    "3",
    None,
    3j,
    [True],
    [[3], [3, 3]],
    {"a": 3},
    Opaque("Equal", "3"),
    [],
    np.array(["3"]),
]


@pytest.mark.parametrize("value", HONEST, ids=repr)
def test_every_honest_form_of_a_number_is_a_number(value):
    Answer(value, "x").number().matches(3.0)


@pytest.mark.parametrize("value", REFUSED, ids=repr)
def test_what_is_no_number_fails_in_words(value):
    with pytest.raises(CheckFailed, match="x (should be one number|is None)"):
        Answer(value, "x").number()


def test_a_known_mistake_is_named_and_the_right_number_is_not():
    with pytest.raises(CheckFailed) as failed:
        Answer(1586, "mse_5").number().matches(317.2, mistakes=[(1586.0, "This is the sum.")])
    assert failed.value.says == "This is the sum."
    assert failed.value.own == "1586"


def test_an_array_of_another_shape_is_told_its_shape():
    with pytest.raises(CheckFailed, match=r"should hold 5 numbers, but its shape is \(4,\)"):
        Answer([1, 2, 3, 4], "y").array((5,))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e308, -0.0])
def test_odd_floats_are_wrong_and_nothing_worse(value):
    with pytest.raises(CheckFailed):
        Answer(value, "x").number().matches(3.0)


def test_plain_assertions_work_with_approx():
    assert Answer(np.array([1.0, 2.0]), "f(x)") == approx([1.0, 2.0])
    assert Answer(np.array([3.0]), "a") == approx(3.0)
    assert Answer({"a": 3.0}, "a") == approx({"a": 3.0})
    assert Answer("three", "a") == "three"
    assert Answer([[1], [2, 3]], "a") == [[1], [2, 3]]


@pytest.mark.parametrize(
    "value",
    [np.array([]), [], np.zeros((0, 3)), np.full(7, 3.0), [3.0, 3.0], "3", [[3.0], [3.0, 3.0]]],
    ids=repr,
)
@pytest.mark.parametrize("wanted", [3.0, approx(3.0), np.array([3.0, 3.0, 3.0]), approx([3.0] * 3)])
def test_no_value_of_another_shape_is_equal(value, wanted):
    assert Answer(value, "a") != wanted
    assert Answer(Opaque("Equal", ""), "x") != 3


def test_fail_carries_the_sentence():
    with pytest.raises(CheckFailed, match="Try again"):
        fail("Try again.")


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1,
        -7,
        2**70,
        1.5,
        "text",
        2 + 1j,
        [1, [2.0]],
        (1, "a"),
        {"a": [1]},
        {1: 2},
        np.float32(1.5),
        np.arange(6).reshape(2, 3),
        np.array([], dtype=bool),
        float("inf"),
    ],
)
def test_plain_data_survives_the_way_there_and_back(value):
    there = json.loads(json.dumps(encode(value), allow_nan=False))
    back = decode(there)
    assert type(back) is type(value)
    assert np.all(back == value)


HOSTILE = [
    {"array": {"dtype": "O", "shape": [1], "data": "AAAA"}},
    {"array": {"dtype": "<f8", "shape": [10**12], "data": "AAAA"}},
    {"array": {"dtype": "<f8", "shape": [-1], "data": ""}},
    {"array": {"dtype": "<f8,<f8", "shape": [1], "data": "A" * 24}},
    {"array": {"dtype": "V8", "shape": [1], "data": "AAAAAAAAAAA="}},
    {"array": {"dtype": 7, "shape": 7, "data": 7}},
    {"pickle": "gASVAAAA"},
    {"float": "1"},
    {"list": 3},
    {"dict": [[{"list": []}, 1]]},
    {},
    {"a": 1, "b": 2},
    [1],
]


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_hostile_answers_are_unreadable_and_nothing_worse(value):
    with pytest.raises(UnreadableAnswer):
        decode(value)


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "nul", '{"ok": ' + "9" * 5000 + "}"])
def test_hostile_json_is_unreadable_and_nothing_worse(text):
    with pytest.raises(UnreadableAnswer):
        parse(text, 1 << 20)


def test_deep_answers_are_unreadable():
    value: object = 1
    for _ in range(200):
        value = {"list": [value]}
    with pytest.raises(UnreadableAnswer):
        decode(value)


def test_a_question_reads_as_python_and_has_one_canonical_form():
    question = name("model").get_weights()[0] * 2 + name("f")(1, key="v")
    assert text_of(question) == "((model.get_weights()[0] * 2) + f(1, key='v'))"
    assert canonical(tree_of(question)) == canonical(
        tree_of(name("model").get_weights()[0] * 2 + name("f")(1, key="v"))
    )
    with pytest.raises(TypeError, match="plain data only"):
        name("f")(object())


def test_hidden_arrays_do_not_show_in_a_question():
    assert text_of(name("f")(np.array([1.25, 2.5]))) == "f(<2 numbers>)"


def test_a_probe_is_shipped_as_source_without_its_surroundings():
    def count(thing):
        return len(thing)

    tree = tree_of(probed(count, "values"))
    assert tree[2] == "def count(thing):\n    return len(thing)"


def student(reply: object) -> Student:
    return Student("ada", lambda question: json.dumps(reply), 1000, "Cell 3 ended in an error.")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (
            {"error": {"kind": "missing-name", "name": "x"}},
            "no variable or function called x at this point. Cell 3",
        ),
        (
            {"error": {"kind": "raised", "type": "ValueError", "message": "no"}},
            "x ended in an error: ValueError: no",
        ),
        ({"error": {"kind": "interrupted"}}, "took too long"),
        ({"error": {"kind": "too-large"}}, "too large"),
        ({"error": 7}, "could not be read"),
        ({}, "could not be read"),
        (7, "could not be read"),
        ({"ok": {"evil": 1}}, "could not be read"),
    ],
)
def test_every_trouble_of_a_student_is_said_in_plain_words(reply, said):
    with pytest.raises(CheckFailed, match=said):
        student(reply).value("x")


def wire() -> tuple[Wire, int, int]:
    (read, theirs), (their_read, write) = os.pipe(), os.pipe()
    return Wire(read, write), theirs, their_read


def soon() -> float:
    return time.monotonic() + 0.2


@pytest.mark.parametrize(
    "data",
    [struct.pack(">I", 5) + b"nojsn", struct.pack(">I", 1 << 30), struct.pack(">I", 2) + b"[]"],
)
def test_a_frame_that_is_none_is_garbage(data):
    ours, theirs, _ = wire()
    os.write(theirs, data)
    with pytest.raises(WireGarbage):
        ours.receive(deadline=soon(), max_bytes=1000)


def test_a_silent_or_vanished_peer_is_noticed():
    ours, theirs, _ = wire()
    os.write(theirs, b"\0\0")
    with pytest.raises(WireTimeout):
        ours.receive(deadline=soon(), max_bytes=1000)
    os.close(theirs)
    with pytest.raises(WireClosed):
        ours.receive(deadline=soon(), max_bytes=1000)


def test_a_peer_that_reads_nothing_runs_into_the_deadline():
    ours, _, _ = wire()
    with pytest.raises(WireTimeout):
        ours.send({"text": "x" * (1 << 20)}, deadline=soon())


SOURCE = [
    Cell("code", "data = 1", {"grade_id": "data", "locked": True}),
    Cell("code", "x = 1", {"grade_id": "x-answer", "solution": True}),
    Cell("code", "assert x", {"grade_id": "x", "grade": True, "locked": True, "points": 1}),
]


def test_locked_cells_come_back_as_the_instructor_wrote_them():
    mine = [
        Cell("markdown", "hi"),
        Cell("markdown", "print('passed')", {"grade_id": "x", "points": 99}),
        Cell("code", "x = 2", {"grade_id": "x-answer"}),
    ]
    found = restore(mine, SOURCE)
    assert [cell.source for cell in found] == ["data = 1", "hi", "x = 2", "assert x"]
    assert found[3] == SOURCE[2]
    assert found[0].restored


def test_of_two_cells_with_one_grade_id_the_last_counts():
    mine = [
        Cell("code", "x = 1", {"grade_id": "x-answer"}),
        Cell("code", "x = 2", {"grade_id": "x-answer"}),
    ]
    found = [cell for cell in restore(mine, SOURCE) if cell.grade_id == "x-answer"]
    assert [cell.source for cell in found] == ["x = 2"]


TASKS = [
    *SOURCE,
    Cell("code", "y = 1", {"grade_id": "y-answer", "solution": True}),
    Cell("code", "assert y", {"grade_id": "y", "grade": True, "locked": True, "points": 1}),
    Cell("markdown", "why", {"grade_id": "w", "grade": True, "solution": True, "points": 1}),
]


def test_cells_that_lost_their_ids_are_known_by_text_and_place():
    mine = [replace(cell, nbgrader={}, source=cell.source.replace("= 1", "= 2")) for cell in TASKS]
    mine[2] = replace(mine[2], source="assert x  # ok")
    found = restore(mine, TASKS)
    assert [cell.grade_id for cell in found] == [cell.grade_id for cell in TASKS]
    assert [cell.source for cell in found if cell.is_solution] == ["x = 2", "y = 2", "why"]
    assert not any(cell.doubt or cell.restored for cell in found)


@pytest.mark.parametrize(
    "order",
    [
        [2, 0, 1, 3, 4, 5],
        [0, 2, 1, 3, 4, 5],
        [5, 4, 3, 2, 1, 0],
        [0, 1, 3, 2, 4, 5],
        [4, 2, 0, 1, 3, 5],
    ],
)
def test_tests_stand_below_their_answers_wherever_a_student_put_them(order):
    found = [cell.grade_id for cell in restore([TASKS[one] for one in order], TASKS)]
    assert sorted(found) == sorted(cell.grade_id for cell in TASKS)
    for task in ("x", "y"):
        assert found.index(f"{task}-answer") < found.index(task)


def test_an_answer_that_is_moved_up_stays_there():
    found = restore([TASKS[one] for one in (0, 3, 1, 2, 4, 5)], TASKS)
    assert [cell.grade_id for cell in found] == ["data", "y-answer", "x-answer", "x", "y", "w"]


def test_an_answer_that_cannot_be_found_puts_its_task_in_doubt_and_no_other():
    found = restore([TASKS[one] for one in (0, 1, 2, 4)], TASKS)
    doubts = {cell.grade_id: cell.doubt for cell in found if cell.doubt}
    assert doubts.keys() == {"y", "w"}
    assert "'y-answer'" in doubts["y"]


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"{}", b'{"cells": 3}', b"\xff\xfe", b"[" * 100_000, b'{"worksheets": []}'],
)
def test_what_is_no_notebook_is_said_to_be_none(data):
    with pytest.raises(NotebookUnreadable):
        read_notebook(data)


def test_odd_cells_are_read_without_harm():
    data = json.dumps(
        {
            "cells": [
                7,
                {},
                {"cell_type": [], "source": {}, "metadata": 3},
                {"cell_type": "code", "source": ["a", 1, "b"], "metadata": {"nbgrader": []}},
            ]
        }
    )
    cells = read_notebook(data.encode())
    assert [cell.source for cell in cells] == ["", "", "ab"]
    assert json.loads(write_notebook(cells, {}, {}))["nbformat"] == 4


def test_outputs_that_would_run_in_a_browser_are_left_out():
    data = {
        "text/html": "<script>",
        "application/javascript": "x",
        "image/svg+xml": "<svg>",
        "text/plain": "ok",
        "image/png": "<script>",
    }
    assert clean([{"output_type": "display_data", "data": data}]) == [
        {"output_type": "display_data", "metadata": {}, "data": {"text/plain": "ok"}}
    ]
    assert clean([7, {"output_type": "evil"}, {"output_type": "stream", "text": 3}]) == [
        {"output_type": "stream", "name": "stdout", "text": ""}
    ]


@pytest.mark.parametrize(
    "html",
    [
        "<script>x</script>",
        "<img src=x onerror=x>",
        '<a href="javascript:x">',
        '<a href="data:text/html,x">',
        "<iframe src=x>",
        '<p style="position:fixed">',
    ],
)
def test_html_of_a_student_cannot_run(html):
    found = clean_html(html)
    for bad in ("<script", "onerror", "href", "<iframe", "position"):
        assert bad not in found


CHECKS = [Check("test_a", "a", 1, "A"), Check("test_b", "a", 2, "<b>")]


def results(*outcomes: str) -> list[CheckResult]:
    return [
        CheckResult(check, outcome, "<i>wrong</i>", "<u>7</u>")
        for check, outcome in zip(CHECKS, outcomes, strict=True)
    ]


def graded(found: list[CheckResult], **more: dict) -> Graded:
    return Graded("ada", "toy", "0", {}, found, **more)


def test_points_are_those_of_the_checks_that_passed():
    assert scores(graded(results("passed", "failed")), {"a": 3})["a"].earned == 1
    assert scores(graded(results("passed", "raised")), {"a": 3})["a"].needs_look
    assert scores(graded(results("failed", "failed"), unreadable={"toy": "x"}), {"a": 3})[
        "a"
    ].needs_look


def test_silence_is_an_error_of_ours():
    from nbmark.errors import InfrastructureError

    with pytest.raises(InfrastructureError, match="no check of cell 'a' ran"):
        scores(graded([]), {"a": 3})


def test_misfits_are_listed_one_a_line():
    assert misfits(CHECKS, {"a": 3}, "here") == []
    assert (
        len(misfits([*CHECKS, CHECKS[0], Check("test_c", "zzz", 0, "")], {"a": 3, "b": 1}, "here"))
        == 5
    )


def test_feedback_is_worded_and_escaped():
    found = results("passed", "failed")
    assert "✗ <b>: not passed (0 of 2)" in as_text(found)
    assert "1 of 3 points" in as_text(found)
    html = as_html(found)
    assert "&lt;i&gt;wrong&lt;/i&gt;" in html
    assert "&lt;u&gt;7" in html
    assert "<u>" not in html


def test_a_check_that_raised_shows_the_student_no_traceback():
    found = CheckResult(CHECKS[0], "raised", trace="Traceback: secret 317.2")
    assert "317.2" not in as_text([found]) + as_html([found])


def test_a_graded_submission_survives_json():
    one = graded(results("passed", "failed"), unreadable={"toy": "why"})
    assert Graded.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_an_unknown_name_is_answered_with_the_nearest():
    error = unknown("assignment", "ms", "source/", ["keras", "mse"])
    assert str(error) == "no assignment 'ms' under source/ (found: keras, mse). Did you mean 'mse'?"


def test_a_task_that_is_not_begun_is_said_in_words():
    run = CellRun("error", error_name="NotImplementedError")
    assert "put your own code" in said(run)
