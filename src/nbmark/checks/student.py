"""A student's notebook as a check sees it: it takes questions and returns answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from nbmark.checks.answer import MISSING_ANSWER, Answer
from nbmark.checks.plain_data import decode, parse
from nbmark.checks.questions import Expr, as_expr, canonical, mapped, name, probed, text_of, tree_of
from nbmark.errors import CheckFailed, UnreadableAnswer
from nbmark.running import exceptions
from nbmark.untrusted.text import one_line

NO_VALUE = "Check that a cell above gives it a value, spelt exactly like that."


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
            hint = f"Did you mean {near}?" if near else NO_VALUE
            own = f"Your notebook has no variable or function called {missing} at this point. "
            raise CheckFailed(self._why_missing(missing) or own + hint)
        if kind == "missing-answer":
            raise CheckFailed(MISSING_ANSWER.format(one_line(str(error.get("name")), 80)))
        if kind == "raised":
            error_name = one_line(str(error.get("type")), 80)
            message = one_line(str(error.get("message")), 2000)
            missing = exceptions.missing_name(error_name, message)
            is_own = error.get("own") is True
            raise CheckFailed(
                (missing and self._why_missing(missing))
                or exceptions.explain(question_text, error_name, message, is_own=is_own)
            )
        if kind == "interrupted":
            raise CheckFailed(f"{question_text} took too long and was stopped.")
        if kind == "too-large":
            raise UnreadableAnswer("the value is too large to be checked")
        raise UnreadableAnswer("the value could not be read")


def _function_expr(function: str | Expr) -> Expr:
    return name(function) if isinstance(function, str) else function
