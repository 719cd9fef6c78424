"""Answers: plain values from a student's notebook, and how a check judges them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from nbmark.checks.plain_data import Opaque
from nbmark.errors import CheckFailed
from nbmark.untrusted.text import one_line

Mistakes = Iterable[tuple[Any, str]]
MISSING_ANSWER = "{} is None: the answer is still missing."
WRONG_SHAPE = "{} should be {}, but its shape is {}."


class Answer:
    """A plain value from a student's notebook, with methods that judge it.

    Attributes
    ----------
    value
        Python scalar, str, None, list, tuple, dict, ndarray, NumPy scalar, or `Opaque` for an
        object that is not plain data.
    asked
        The question as a student would write it; sentences begin with it.
    """

    __hash__ = object.__hash__  # defining __eq__ would remove it

    def __init__(self, value: Any, asked: str) -> None:
        self.value = value
        self.asked = asked

    def __eq__(self, other: object) -> bool:
        """Return whether the value fits the shape of `other` and equals it everywhere.

        A value fits a shape that differs from its own in axes of length 1 only (see `array`).
        `other` may come from `pytest.approx`.
        """
        # NumPy would stretch a number over an array, and an empty array would equal anything.
        # `pytest.approx` hides its value in `expected`.
        shape, array = _shape(getattr(other, "expected", other)), _as_array(self.value)
        forms = [self.value] if _shape(self.value) == shape else []
        fitted = None if array is None or shape is None else _fitted(array, shape)
        if fitted is not None:  # a tuple of numbers equals a list of them
            forms.append(fitted)
        try:
            return any(bool(np.all(other == form)) for form in forms)
        except ValueError:  # ragged lists that hold arrays
            return False

    def __len__(self) -> int:
        """Return the number of elements; a value without elements fails the check."""
        try:
            return len(self.value)
        except TypeError:
            self._refuse("should hold several values")

    def __getitem__(self, key: Any) -> Answer:
        """Return an element as an answer of its own; a missing one fails the check."""
        try:
            return Answer(self.value[key], f"{self.asked}[{key!r}]")
        except (KeyError, IndexError, TypeError):
            self._refuse(f"has no element {key!r}")

    def __repr__(self) -> str:
        return f"{self.asked} = {display_value(self.value)}"

    def number(self) -> Answer:
        """Return the same answer as a float.

        Any form that holds one real number will do: float32, a fraction, a tensor, a 0-d array, a
        list with one element.

        Raises
        ------
        CheckFailed
            If the value is not one real number.
        """
        array = self._numbers("should be one number")
        if array.size != 1:
            self._refuse_shape("one number", array)
        return Answer(float(array.reshape(())), self.asked)

    def array(self, shape: tuple[int, ...] | None = None) -> Answer:
        """Return the same answer as a float64 array of `shape` (None: as it is).

        Axes of length 1 do not count: a column of five numbers is taken for five numbers, because
        it can be read in one way only.

        Raises
        ------
        CheckFailed
            If the value is not an array of real numbers, or has another shape.
        """
        if shape is None:
            return Answer(self._numbers("should be an array of numbers"), self.asked)
        wanted = " × ".join(map(str, shape)) + " numbers" if shape else "one number"
        array = self._numbers(f"should be {wanted}")
        fitted = _fitted(array, shape)
        if fitted is None:
            self._refuse_shape(wanted, array)
        return Answer(fitted, self.asked)

    def matches(
        self,
        expected: Any,
        *,
        rel: float = 1e-6,
        abs: float = 0.0,
        mistakes: Mistakes = (),
        otherwise: str = "",
    ) -> None:
        """Fail the check unless the value is right, with the sentence of the mistake it fits.

        Parameters
        ----------
        expected
            A number, or an array of the same shape (see `array`), which is compared element by
            element.
        rel, abs
            Tolerances, as in `numpy.isclose`: ``|value - expected| <= abs + rel * |expected|``.
        mistakes
            Pairs of a wrong value and its sentence; the first pair that fits counts.
        otherwise
            The sentence for a value that fits no mistake.

        Raises
        ------
        CheckFailed
            If the value is wrong.
        """
        if close(self.value, expected, rel=rel, abs=abs):
            return
        own = display_value(self.value)
        for wrong, sentence in mistakes:
            if close(self.value, wrong, rel=rel, abs=abs):
                raise CheckFailed(sentence, own)
        raise CheckFailed(otherwise or f"{self.asked} is not right yet.", own)

    def _numbers(self, requirement: str) -> NDArray[np.float64]:
        """Return the value as float64, or fail the check with the requirement."""
        if self.value is None:  # the release assigns None where an answer belongs
            raise CheckFailed(MISSING_ANSWER.format(self.asked))
        array = _as_array(self.value)
        if array is None:
            self._refuse(requirement)
        return array

    def _refuse_shape(self, requirement: str, array: NDArray[np.float64]) -> NoReturn:
        raise CheckFailed(
            WRONG_SHAPE.format(self.asked, requirement, array.shape), display_value(self.value)
        )

    def _refuse(self, problem: str) -> NoReturn:
        raise CheckFailed(f"{self.asked} {problem}.", display_value(self.value))


def fail(says: str, own: str = "") -> NoReturn:
    """Fail the check with a sentence for the student, and their own value as text."""
    raise CheckFailed(says, own)


def display_value(value: Any) -> str:
    """Return a student's own value as short text on one line."""
    if isinstance(value, Opaque):
        return one_line(str(value), 200)
    if isinstance(value, float | np.floating):
        return f"{value:.10g}"
    if isinstance(value, np.ndarray):
        text = np.array2string(value, precision=6, threshold=8, edgeitems=3, separator=", ")
    else:
        text = repr(value)
    return one_line(text, 200)


def close(actual: Any, expected: Any, *, rel: float = 1e-6, abs: float = 0.0) -> bool:
    """Return whether two values are numbers of one shape (see `Answer.array`) and close everywhere.

    It takes any two values and never raises. Gaps (nan) and infinities must be in the same places.

    Parameters
    ----------
    rel, abs
        Tolerances, as in `numpy.isclose`: ``|actual - expected| <= abs + rel * |expected|``.
    """
    own, reference = _as_array(actual), _as_array(expected)
    if own is None or reference is None:
        return False
    own = _fitted(own, reference.shape)
    if own is None:
        return False
    # `numpy.isclose` does the same, but takes five times as long for one number. Overflow and
    # inf - inf happen in wrong answers, and must not warn.
    with np.errstate(all="ignore"):
        near = np.abs(own - reference) <= abs + rel * np.abs(reference)
        near &= np.isfinite(reference)
        same = (own == reference) | (np.isnan(own) & np.isnan(reference))
    return bool((near | same).all())


def _fitted(array: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    """Return the array in this shape if the two differ in axes of length 1 only, else None."""
    if [size for size in array.shape if size != 1] != [size for size in shape if size != 1]:
        return None
    return array.reshape(shape)


def _as_array(value: Any) -> NDArray[np.float64] | None:
    """Return real numbers as float64, or None for text, truth values, complex and ragged lists."""
    # NumPy would turn None into nan.
    if isinstance(value, bool | np.bool_ | str | Opaque | dict) or value is None:
        return None
    if type(value) is complex:  # NumPy takes only its own complex numbers for real ones
        return None
    if isinstance(value, Sequence) and not _all_numbers(value):
        return None
    try:
        array = np.asarray(value)
        if array.dtype.kind == "O":  # whole numbers larger than 64 bits
            array = array.astype(np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    # Eigenvalues may come as an array of complex numbers although they are real.
    if array.dtype.kind == "c" and not array.imag.any():
        array = array.real
    return array.astype(np.float64) if array.dtype.kind in "iuf" else None


def _shape(value: Any) -> tuple[int, ...] | None:
    """Return the shape of nested lists, an array or a single value, or None for ragged lists."""
    try:
        return tuple(np.shape(value))
    except ValueError:
        return None


def _all_numbers(values: Sequence[Any]) -> bool:
    """Return whether nested lists hold numbers only."""
    # NumPy would turn [True, 2] into [1, 2].
    return all(
        _all_numbers(element)
        if isinstance(element, list | tuple)
        else element.dtype.kind in "iufc"
        if isinstance(element, np.ndarray | np.generic)
        else isinstance(element, int | float) and not isinstance(element, bool)
        for element in values
    )
