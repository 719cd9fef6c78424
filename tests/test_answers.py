"""An answer is judged by its value: every honest form counts, and a wrong one gets a sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nbmark import approx, fail
from nbmark.checks.answer import Answer
from nbmark.checks.plain_data import Opaque
from nbmark.checks.student import Student
from nbmark.errors import CheckFailed

SCALARS = [3, 3.0, np.float32(3), np.float64(3), np.int8(3)]
HOLDERS_OF_ONE = [np.array(3.0), np.array([3.0]), [3], (3.0,)]
NOT_A_NUMBER = [True, np.True_, "3", None, 3j, {"a": 3}, Opaque("Equal", "3")]
NOT_ONE_NUMBER = [[], [True], [[3], [3, 3]], np.array(["3"])]
# NumPy would stretch 3 over an array, and an empty array would equal anything.
ARRAYS = [np.array([]), np.zeros((0, 3)), np.full(7, 3.0)]
LISTS_AND_TEXT = [[], [3.0, 3.0], [[3.0], [3.0, 3.0]], "3"]


@pytest.mark.parametrize("value", [*SCALARS, *HOLDERS_OF_ONE], ids=repr)
def test_every_honest_form_of_a_number_is_a_number(value):
    Answer(value, "x").number().matches(3.0)


@pytest.mark.parametrize("value", [*NOT_A_NUMBER, *NOT_ONE_NUMBER], ids=repr)
def test_a_value_that_is_not_a_number_fails_with_a_sentence(value):
    with pytest.raises(CheckFailed, match="x (should be one number|is None)"):
        Answer(value, "x").number()


def test_a_known_mistake_gets_its_sentence_and_the_right_number_stays_secret():
    with pytest.raises(CheckFailed) as failed:
        Answer(1586, "mse_5").number().matches(317.2, mistakes=[(1586.0, "This is the sum.")])
    assert failed.value.says == "This is the sum."
    assert failed.value.own == "1586"


def test_an_array_of_the_wrong_shape_fails_with_its_shape():
    with pytest.raises(CheckFailed, match=r"should be 5 numbers, but its shape is \(4,\)"):
        Answer([1, 2, 3, 4], "y").array((5,))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e308, -0.0])
def test_odd_floats_fail_the_check_and_raise_no_other_error(value):
    with pytest.raises(CheckFailed):
        Answer(value, "x").number().matches(3.0)


def test_plain_assertions_work_with_approx():
    assert Answer(np.array([1.0, 2.0]), "f(x)") == approx([1.0, 2.0])
    assert Answer(np.array([3.0]), "a") == approx(3.0)
    assert Answer({"a": 3.0}, "a") == approx({"a": 3.0})
    assert Answer("three", "a") == "three"
    assert Answer(None, "a") == None  # noqa: E711
    assert Answer((1, 2.0), "a") == [1, 2]
    assert Answer([[1], [2, 3]], "a") == [[1], [2, 3]]


@pytest.mark.parametrize("value", [*ARRAYS, *LISTS_AND_TEXT], ids=repr)
@pytest.mark.parametrize("expected", [3.0, approx(3.0), np.array([3.0] * 3), approx([3.0] * 3)])
def test_a_value_of_another_shape_is_never_equal(value, expected):
    assert Answer(value, "a") != expected
    assert Answer(Opaque("Equal", ""), "x") != 3


def test_fail_carries_the_sentence():
    with pytest.raises(CheckFailed, match="Try again"):
        fail("Try again.")


CAUSES = {"x": "", "y": "Cell 3 ended in an error. So y does not exist."}


def student_with(reply: object) -> Student:
    """Return a student whose process replies to every question in the same way."""
    return Student(["ada"], lambda question: json.dumps(reply), 1000, CAUSES.__getitem__)


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (
            {"error": {"kind": "missing-name", "name": "x"}},
            "no variable or function called x at this point. Check that a cell above gives it a value, spelt exactly like that.",
        ),
        ({"error": {"kind": "missing-name", "name": "y"}}, "Cell 3 ended .* So y does not exist."),
        ({"error": {"kind": "missing-name", "name": "x", "near": "xs"}}, r"Did you mean xs\?"),
        (
            {"error": {"kind": "missing-answer", "name": "x"}},
            "x is None: the answer is still missing",
        ),
        (
            {
                "error": {
                    "kind": "raised",
                    "type": "ModuleNotFoundError",
                    "message": "No module named 'a'",
                }
            },
            "x imports a. This library is not there",
        ),
        (
            {
                "error": {
                    "kind": "raised",
                    "type": "NotImplementedError",
                    "message": "",
                    "own": True,
                }
            },
            "put your own code",
        ),
        (
            {"error": {"kind": "raised", "type": "NotImplementedError", "message": ""}},
            "x ended in an error: NotImplementedError",
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
def test_every_error_in_a_students_process_is_explained_in_plain_words(reply, sentence):
    with pytest.raises(CheckFailed, match=sentence):
        student_with(reply).value("x")
