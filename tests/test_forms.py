"""A value counts in every form that NumPy reads as numbers, and no longer one is too large."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from nbmark.checks.answer import Answer
from nbmark.checks.plain_data import Opaque
from nbmark.checks.student import Student
from nbmark.errors import CheckFailed
from nbmark.limits import Limits
from nbmark.sandbox.session import Session
from nbmark.sandbox.supply import SessionSource

LIMITS = Limits(memory_mib=3000)
CLASSES = """
import collections, decimal, fractions
import numpy as np

class Float:
    def __float__(self):
        return 0.5

class Array:
    def __array__(self, dtype=None, copy=None):
        return np.array([0.5, 2.0], dtype=dtype)

class Slope(float):
    pass

Line = collections.namedtuple("Line", "a b")
half, two = fractions.Fraction(1, 2), decimal.Decimal(2)
"""
TENSORS = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
"""
ONE_NUMBER = [
    "half",
    "decimal.Decimal('0.5')",
    "Float()",
    "Slope(0.5)",
    "np.float16(0.5)",
    "np.longdouble(0.5)",
    "np.complex128(0.5)",
    "np.array(half, dtype=object)",
    "[[half]]",
    "[np.array([[0.5]])]",
    "np.array([[0.5]])",
    "{'a': half}['a']",
]
TWO_NUMBERS = [
    "[half, two]",
    "(half, 2)",
    "[Float(), decimal.Decimal(2)]",
    "Array()",
    "Line(0.5, two)",
    "collections.deque([0.5, 2])",
    "np.array([half, 2], dtype=object)",
    "np.array([[0.5], [2]])",
    "np.array([[0.5, 2]])",
    "np.matrix([0.5, 2])",
    "[[0.5], [2.0]]",
    "[[half, two]]",
    "[np.array(0.5), np.float32(2)]",
    "[np.array([0.5]), np.array([2])]",
    "np.array([0.5 + 0j, 2])",
]
TWO_NUMBERS_OF_TENSORS = [
    "tf.constant([0.5, 2.0])",
    "tf.Variable([0.5, 2.0])",
    "tf.keras.Variable([0.5, 2.0])",
    "tf.cast([0.5, 2.0], tf.bfloat16)",
    "[tf.constant(0.5), tf.Variable(2.0)]",
    "[tf.constant([0.5]), tf.constant([2.0])]",
    "(tf.constant([[0.5]]), 2 * tf.ones([1, 1]))",
    "tf.keras.ops.convert_to_tensor([[0.5], [2.0]])",
]
NO_NUMBERS = [
    "True",
    "'0.5'",
    "np.str_('0.5')",
    "b'0.5'",
    "None",
    "{0.5}",
    "[True, half]",
    "np.array([half, True], dtype=object)",
    "np.array([half, None], dtype=object)",
    "['0.5', '2']",
    "0.5 + 2j",
    "lambda: 0.5",
    "range(10**15)",
]
LONG = [
    "[i / 7 for i in range(200_000)]",
    "[np.float64(i / 7) for i in range(200_000)]",
    "[0] + [i / 7 for i in range(1, 200_000)]",
    "tuple(np.arange(200_000) / 7)",
    "np.arange(200_000) / 7",
]


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with (
        closing(SessionSource("bubblewrap", LIMITS, ["numpy"])) as supply,
        closing(supply.open()) as opened,
    ):
        assert opened.run_cell(CLASSES, 10).status == "ok"
        yield opened


@pytest.fixture(scope="module")
def tensor_session(session: Session) -> Session:
    assert session.run_cell(TENSORS, 60).status == "ok"
    return session


def answer_of(session: Session, expression: str) -> Answer:
    """Return the answer for an expression of the notebook, through the sandbox."""
    assert session.run_cell(f"value = {expression}", 30).status == "ok"
    return Student("ada", lambda question: session.ask(question).text, 1 << 25).value("value")


@pytest.mark.parametrize("expression", ONE_NUMBER)
def test_every_form_of_one_number_counts(session, expression):
    answer = answer_of(session, expression)
    assert answer == 0.5
    answer.matches(0.5)
    answer.number().matches(0.5)
    answer.array(()).matches(0.5)


@pytest.mark.parametrize("expression", TWO_NUMBERS)
def test_every_form_of_two_numbers_counts(session, expression):
    judge_two_numbers(answer_of(session, expression))


@pytest.mark.parametrize("expression", TWO_NUMBERS_OF_TENSORS)
def test_every_form_of_a_tensor_counts(tensor_session, expression):
    judge_two_numbers(answer_of(tensor_session, expression))


def judge_two_numbers(answer: Answer) -> None:
    assert answer == [0.5, 2.0]
    assert answer != [0.5, 2.5]
    answer.matches([0.5, 2.0])
    answer.array().matches([0.5, 2.0])
    assert answer.array((2,)).value.tolist() == [0.5, 2.0]
    with pytest.raises(CheckFailed, match="should be 3 numbers"):
        answer.array((3,))


@pytest.mark.parametrize("expression", NO_NUMBERS)
def test_what_is_no_number_is_still_refused(session, expression):
    answer = answer_of(session, expression)
    for judge in (answer.number, answer.array):
        with pytest.raises(CheckFailed, match="value (should be|is None)"):
            judge()


def test_a_symbolic_tensor_is_no_number_and_breaks_nothing(tensor_session):
    answer = answer_of(tensor_session, "tf.keras.Input((1,))")
    assert isinstance(answer.value, Opaque)


@pytest.mark.parametrize("expression", LONG)
def test_a_long_history_travels(session, expression):
    answer = answer_of(session, expression).array((200_000,))
    np.testing.assert_array_equal(answer.value, np.arange(200_000) / 7)


def test_a_long_path_of_pairs_travels(session):
    answer = answer_of(session, "[(a, 2 * a) for a in range(400_000)]").array((400_000, 2))
    assert answer.value[-1].tolist() == [399_999.0, 799_998.0]


def test_a_long_list_with_truth_values_is_not_taken_for_numbers(session):
    answer = answer_of(session, "[1] * 2000 + [True]")
    assert answer.value[-1] is True


def test_a_column_is_a_vector_but_a_matrix_is_not_transposed():
    column = Answer(np.array([[1.0], [2.0], [3.0]]), "x")
    assert column.array((3,)).value.tolist() == [1, 2, 3]
    assert column.array((1, 3)).value.tolist() == [[1, 2, 3]]
    with pytest.raises(CheckFailed, match=r"should be 3 × 2 numbers, but its shape is \(2, 3\)"):
        Answer(np.ones((2, 3)), "x").array((3, 2))
