"""A student's work as a check sees it: questions that are asked, answers that are judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

import numpy as np

from nbmark.checks.plain_data import Opaque, decode, parse
from nbmark.checks.questions import Expr, as_expr, canonical, mapped, name, probed, text_of, tree_of
from nbmark.errors import CheckFailed, UnreadableAnswer
from nbmark.untrusted.text import one_line

Mistakes = Iterable[tuple[Any, str]]
WRONG_SHAPE = "{} should hold {}, but its shape is {}."


class Student:
    """The notebook of one student, in the state right after the check's grade cell.

    Parameters
    ----------
    id
        The id under which the submission was collected.
    ask
        Canonical question → answer as JSON text.
    max_chars
        The longest answer that is looked at.
    trouble
        What went wrong last in the notebook, for whoever misses a name; empty if nothing did.
    """

    def __init__(
        self, id: str, ask: Callable[[str], str], max_chars: int, trouble: str = ""
    ) -> None:
        self.id = id
        self._ask = ask
        self._max_chars = max_chars
        self._trouble = trouble

    def value(self, identifier: str) -> Answer:
        """The value of a variable."""
        return self.ask(name(identifier))

    def number(self, identifier: str) -> Answer:
        """The value of a variable that should be one real number, as a float."""
        return self.value(identifier).number()

    def array(self, identifier: str, shape: tuple[int, ...] | None = None) -> Answer:
        """The value of a variable that should be an array of real numbers, as float64."""
        return self.value(identifier).array(shape)

    def call(self, function: str | Expr, *arguments: Any, **keywords: Any) -> Answer:
        """What a function of the notebook returns for copies of plain `arguments`."""
        called = name(function) if isinstance(function, str) else function
        return self.ask(called(*arguments, **keywords))

    def map(self, function: str | Expr, values: Any) -> Answer:
        """What a function of the notebook returns for each of `values`: a list."""
        return self.ask(mapped(name(function) if isinstance(function, str) else function, values))

    def probe(self, function: Callable[..., Any], *arguments: Any) -> Answer:
        """What `function` finds out beside the student's objects (see `questions.probed`)."""
        return self.ask(probed(function, *arguments))

    def ask(self, question: Expr) -> Answer:
        """The answer to any question.

        Raises
        ------
        CheckFailed
            If the notebook has no such name, the code raised, or the answer is no plain data; the
            sentence says so to a beginner.
        """
        asked = text_of(question)
        try:
            reply = parse(self._ask(canonical(tree_of(as_expr(question)))), self._max_chars)
            if isinstance(reply, dict) and "error" in reply:
                _explain(reply["error"], asked, self._trouble)
            if not isinstance(reply, dict) or "ok" not in reply:
                raise UnreadableAnswer("the value could not be read")
            return Answer(decode(reply["ok"]), asked)
        except UnreadableAnswer as error:
            raise CheckFailed(f"{asked}: {error}.") from None


class Answer:
    """A plain value that came from a student's notebook, and how it is judged.

    Attributes
    ----------
    value
        Python scalar, str, None, list, tuple, dict, ndarray, NumPy scalar, or `Opaque` for an
        object that is no plain data and equals nothing.
    """

    __hash__ = object.__hash__

    def __init__(self, value: Any, asked: str) -> None:
        self.value = value
        self.asked = asked

    def __eq__(self, other: object) -> bool:
        """Of the same shape and equal everywhere; `other` may be what `pytest.approx` gives.

        One number equals an array that holds it alone.
        """
        wanted, own = _shape(getattr(other, "expected", other)), _shape(self.value)
        if own != wanted and (wanted != () or not own or any(side != 1 for side in own)):
            return False
        try:
            return bool(np.all(other == self.value))
        except ValueError:  # ragged lists with arrays in them
            return False

    def __len__(self) -> int:
        try:
            return len(self.value)
        except TypeError:
            self._refuse("should hold several values")

    def __getitem__(self, key: Any) -> Answer:
        try:
            return Answer(self.value[key], f"{self.asked}[{key!r}]")
        except (KeyError, IndexError, TypeError):
            self._refuse(f"has no element {key!r}")

    def __repr__(self) -> str:
        return f"{self.asked} = {shown(self.value)}"

    def number(self) -> Answer:
        """The same answer as a float: one real number in any honest form."""
        array = self._numbers("should be one number")
        if array.size != 1:
            self._refuse("should be one number")
        return Answer(float(array.reshape(())), self.asked)

    def array(self, shape: tuple[int, ...] | None = None) -> Answer:
        """The same answer as a float64 array of `shape` (None: any)."""
        array = self._numbers("should be an array of numbers")
        if shape is not None and array.shape != shape:
            wanted = " × ".join(map(str, shape)) + " numbers" if shape else "one number"
            raise CheckFailed(
                WRONG_SHAPE.format(self.asked, wanted, array.shape), shown(self.value)
            )
        return Answer(array, self.asked)

    def matches(
        self,
        expected: Any,
        *,
        rel: float = 1e-6,
        abs: float = 0.0,
        mistakes: Mistakes = (),
        otherwise: str = "",
    ) -> None:
        """Pass if the value is right, else fail with the sentence of the mistake it fits.

        Parameters
        ----------
        expected
            A number or an array of the same shape; arrays are compared element by element.
        rel, abs
            Tolerances, as in `numpy.isclose`: ``|value - expected| <= abs + rel * |expected|``.
        mistakes
            Pairs of a wrong value and its sentence; the first that fits is said.
        otherwise
            The sentence for a value that fits no mistake.
        """
        if _close(self.value, expected, rel, abs):
            return
        for wrong, sentence in mistakes:
            if _close(self.value, wrong, rel, abs):
                raise CheckFailed(sentence, shown(self.value))
        raise CheckFailed(otherwise or f"{self.asked} is not right yet.", shown(self.value))

    def _numbers(self, wanted: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        if self.value is None:
            raise CheckFailed(f"{self.asked} is None: the answer is still missing.")
        array = _as_array(self.value)
        if array is None:
            self._refuse(wanted)
        return array

    def _refuse(self, why: str) -> NoReturn:
        raise CheckFailed(f"{self.asked} {why}.", shown(self.value))


def fail(says: str, own: str = "") -> NoReturn:
    """Fail the check with a sentence for the student, and their own value as text."""
    raise CheckFailed(says, own)


def shown(value: Any) -> str:
    """A student's own value as short text."""
    if isinstance(value, Opaque):
        return one_line(str(value), 200)
    if isinstance(value, float | np.floating):
        return f"{value:.10g}"
    if isinstance(value, np.ndarray):
        text = np.array2string(value, precision=6, threshold=8, edgeitems=3, separator=", ")
    else:
        text = repr(value)
    return one_line(text, 200)


def _explain(error: Any, asked: str, trouble: str) -> NoReturn:
    kind = error.get("kind") if isinstance(error, dict) else None
    if kind == "missing-name":
        hint = trouble or "Is it spelt exactly like that?"
        raise CheckFailed(
            "Your notebook has no variable or function called "
            f"{one_line(str(error.get('name')), 80)} at this point. {hint}"
        )
    if kind == "raised":
        said = one_line(f"{error.get('type')}: {error.get('message')}".rstrip(": "), 300)
        raise CheckFailed(f"{asked} ended in an error: {said}")
    if kind == "interrupted":
        raise CheckFailed(f"{asked} took too long and was stopped.")
    if kind == "too-large":
        raise UnreadableAnswer("the value is too large to be looked at")
    raise UnreadableAnswer("the value could not be read")


def _as_array(value: Any) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """Real numbers as float64, or None: text, truth values, complex and ragged lists are none."""
    if isinstance(value, bool | np.bool_ | str | Opaque | dict) or value is None:
        return None
    if isinstance(value, Sequence) and not _all_numbers(value):
        return None
    try:
        array = np.asarray(value)
        if array.dtype.kind == "O":  # whole numbers larger than 64 bits
            array = array.astype(np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    return array.astype(np.float64) if array.dtype.kind in "iuf" else None


def _shape(value: Any) -> tuple[int, ...] | None:
    """The shape of nested lists, of an array or of a single value; None if they are ragged."""
    try:
        return tuple(np.shape(value))
    except ValueError:
        return None


def _all_numbers(values: Sequence[Any]) -> bool:
    """Whether nested lists hold nothing but numbers (NumPy would take True for 1)."""
    return all(
        _all_numbers(one)
        if isinstance(one, list | tuple)
        else isinstance(one, int | float | np.ndarray | np.generic)
        and not isinstance(one, bool | np.bool_)
        for one in values
    )


def _close(value: Any, expected: Any, rel: float, abs: float) -> bool:
    left, right = _as_array(value), np.asarray(expected, dtype=np.float64)
    if left is None or left.shape != right.shape:
        return False
    with np.errstate(all="ignore"):  # `numpy.isclose`, in a fifth of its time for one number
        near = (np.abs(left - right) <= abs + rel * np.abs(right)) & np.isfinite(right)
        same = (left == right) | (np.isnan(left) & np.isnan(right))
    return bool((near | same).all())
