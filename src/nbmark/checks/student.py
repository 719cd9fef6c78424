"""A student's work as a check sees it: `Student` takes questions, `Answer` judges values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from nbmark.checks.plain_data import Opaque, decode, parse
from nbmark.checks.questions import Expr, as_expr, canonical, mapped, name, probed, text_of, tree_of
from nbmark.errors import CheckFailed, UnreadableAnswer
from nbmark.running import messages
from nbmark.untrusted.text import one_line

Mistakes = Iterable[tuple[Any, str]]
MISSING_ANSWER = "{} is None: the answer is still missing."
WRONG_SHAPE = "{} should be {}, but its shape is {}."


class Student:
    """The notebook of one student, in the state right after the check's grade cell.

    Parameters
    ----------
    ids
        The id under which the submission was collected, then other ids of the same student.
    ask
        Canonical question → answer as JSON text.
    max_chars
        The length of the longest answer that is read.
    why_missing
        Name → why it has no value, empty if no cell explains it.
    class_ids
        The ids of all students with a submission.
    """

    def __init__(
        self,
        ids: Sequence[str],
        ask: Callable[[str], str],
        max_chars: int,
        why_missing: Callable[[str], str] = lambda name: "",
        class_ids: Sequence[str] = (),
    ) -> None:
        self.ids = tuple(ids)
        self._ask = ask
        self._max_chars = max_chars
        self._why_missing = why_missing
        self._class_ids = class_ids

    @property
    def id(self) -> str:
        """Return the id under which the submission was collected."""
        return self.ids[0]

    @property
    def classmates(self) -> list[str]:
        """Return the ids of the other students with a submission of this assignment."""
        return [student for student in self._class_ids if student not in self.ids]

    def value(self, identifier: str) -> Answer:
        """Return the value of a variable."""
        return self.ask(name(identifier))

    def number(self, identifier: str) -> Answer:
        """Return the value of a variable that should be one real number, as a float."""
        return self.value(identifier).number()

    def array(self, identifier: str, shape: tuple[int, ...] | None = None) -> Answer:
        """Return the value of a variable that should be an array of real numbers, as float64.

        Parameters
        ----------
        shape
            The shape that the array must have; None allows any.
        """
        return self.value(identifier).array(shape)

    def call(self, function: str | Expr, *arguments: Any, **keywords: Any) -> Answer:
        """Return the result of a function of the notebook for copies of plain `arguments`."""
        return self.ask(_function_expr(function)(*arguments, **keywords))

    def map(self, function: str | Expr, values: Any) -> Answer:
        """Return a list: the result of a function of the notebook for each of `values`."""
        return self.ask(mapped(_function_expr(function), values))

    def probe(self, function: Callable[..., Any], *arguments: Any) -> Answer:
        """Return the result of `function`, run beside the student's objects.

        `questions.probed` describes both parameters.
        """
        return self.ask(probed(function, *arguments))

    def ask(self, question: Expr) -> Answer:
        """Return the answer to any question.

        Raises
        ------
        CheckFailed
            If the notebook lacks a name, the code raised an exception, or the answer is not plain
            data. The sentence says so to a beginner.
        """
        question_text = text_of(question)
        try:
            reply = parse(self._ask(canonical(tree_of(as_expr(question)))), self._max_chars)
            if isinstance(reply, dict) and "error" in reply:
                self._raise_explained(reply["error"], question_text)
            # The student's process may send any JSON, so nothing about its form is certain.
            if not isinstance(reply, dict) or "ok" not in reply:
                raise UnreadableAnswer("the value could not be read")
            return Answer(decode(reply["ok"]), question_text)
        except UnreadableAnswer as error:
            raise CheckFailed(f"{question_text}: {error}.") from None

    def _raise_explained(self, error: Any, question_text: str) -> NoReturn:
        """Raise the sentence for an error that the agent in the sandbox reported."""
        kind = error.get("kind") if isinstance(error, dict) else None
        if kind == "missing-name":
            missing, near = (one_line(str(error.get(key) or ""), 80) for key in ("name", "near"))
            hint = f"Did you mean {near}?" if near else "Is it spelt exactly like that?"
            own = f"Your notebook has no variable or function called {missing} at this point. "
            raise CheckFailed(self._why_missing(missing) or own + hint)
        if kind == "missing-answer":
            raise CheckFailed(MISSING_ANSWER.format(one_line(str(error.get("name")), 80)))
        if kind == "raised":
            error_name = one_line(str(error.get("type")), 80)
            message = one_line(str(error.get("message")), 2000)
            missing = messages.missing_name(error_name, message)
            is_own = error.get("own") is True
            raise CheckFailed(
                (missing and self._why_missing(missing))
                or messages.explain(question_text, error_name, message, is_own=is_own)
            )
        if kind == "interrupted":
            raise CheckFailed(f"{question_text} took too long and was stopped.")
        if kind == "too-large":
            raise UnreadableAnswer("the value is too large to be checked")
        raise UnreadableAnswer("the value could not be read")


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


def _function_expr(function: str | Expr) -> Expr:
    return name(function) if isinstance(function, str) else function


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
