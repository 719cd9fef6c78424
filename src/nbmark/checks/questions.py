"""Questions to a student's notebook: expression trees that are written like Python.

``name("model").get_weights()[0]`` builds a tree and evaluates nothing. The agent in the sandbox
evaluates the tree beside the student's objects, and only the plain value comes back.
"""

from __future__ import annotations

import ast
import functools
import inspect
import json
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np

from nbmark.checks.plain_data import encode


def name(identifier: str) -> Expr:
    """Return a question for the object that the notebook calls `identifier`."""
    return Expr(["name", identifier], identifier)


class Expr:
    """A question. Attributes, items, calls and operators build larger questions from it.

    Parameters
    ----------
    tree
        The JSON form, as `sandbox/inside/agent.py` describes it.
    text
        The question as a student would write it; long data is abbreviated.
    """

    def __init__(self, tree: list[Any], text: str) -> None:
        self._tree = tree
        self._text = text

    def __getattr__(self, attribute: str) -> Expr:
        # NumPy, `copy` and others look for special methods, and must not be given a question.
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return Expr(["attr", self._tree, attribute], f"{self._text}.{attribute}")

    def __getitem__(self, key: Any) -> Expr:
        key_expr = as_expr(key)
        tree = ["item", self._tree, tree_of(key_expr)]
        return Expr(tree, f"{self._text}[{text_of(key_expr)}]")

    def __call__(self, *arguments: Any, **keywords: Any) -> Expr:
        positional = [as_expr(argument) for argument in arguments]
        named = {key: as_expr(argument) for key, argument in keywords.items()}
        tree = [
            "call",
            self._tree,
            [tree_of(argument) for argument in positional],
            {key: tree_of(argument) for key, argument in named.items()},
        ]
        texts = [text_of(argument) for argument in positional]
        texts += [f"{key}={text_of(argument)}" for key, argument in named.items()]
        return Expr(tree, f"{self._text}({', '.join(texts)})")

    def __add__(self, other: Any) -> Expr:
        return _operation("add", "+", self, other)

    def __radd__(self, other: Any) -> Expr:
        return _operation("add", "+", other, self)

    def __sub__(self, other: Any) -> Expr:
        return _operation("sub", "-", self, other)

    def __rsub__(self, other: Any) -> Expr:
        return _operation("sub", "-", other, self)

    def __mul__(self, other: Any) -> Expr:
        return _operation("mul", "*", self, other)

    def __rmul__(self, other: Any) -> Expr:
        return _operation("mul", "*", other, self)

    def __truediv__(self, other: Any) -> Expr:
        return _operation("truediv", "/", self, other)

    def __pow__(self, other: Any) -> Expr:
        return _operation("pow", "**", self, other)

    def __neg__(self) -> Expr:
        return Expr(["op", "neg", self._tree], f"-{self._text}")


def as_expr(value: Any) -> Expr:
    """Return `value` itself if it is a question, else a constant: a copy of plain data."""
    if isinstance(value, Expr):
        return value
    return Expr(["const", encode(value)], _constant_text(value))


def mapped(function: Expr, values: Any) -> Expr:
    """Return ``[function(x) for x in values]`` as one question."""
    values_expr = as_expr(values)
    return Expr(
        ["map", tree_of(function), tree_of(values_expr)],
        f"[{text_of(function)}(x) for x in {text_of(values_expr)}]",
    )


def probed(function: Callable[..., Any], *arguments: Any) -> Expr:
    """Return a question that runs ``function(*arguments)`` beside the student's objects.

    Parameters
    ----------
    function
        A function that travels as source. It must do its own imports, sees no other name of its
        module, and must hold no secret.
    arguments
        A string names an object of the notebook, and a question is evaluated first. Any other
        value is passed as a constant.
    """
    source = _source_of(function)
    parts = [
        name(argument) if isinstance(argument, str) else as_expr(argument) for argument in arguments
    ]
    tree = ["probe", function.__name__, source, [tree_of(part) for part in parts]]
    # The student never sees the function, so its result goes by the names of the objects.
    return Expr(tree, ", ".join(text_of(part) for part in parts))


# These two are functions, because an attribute of an `Expr` is a question.
def tree_of(expr: Expr) -> list[Any]:
    """Return the JSON form of a question."""
    return expr._tree


def text_of(expr: Expr) -> str:
    """Return the question as a student would write it."""
    return expr._text


def canonical(tree: list[Any]) -> str:
    """Return the text under which evidence files a question; equal questions have equal texts."""
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), allow_nan=False)


@functools.cache  # a check process sends the same probes to every submission
def _source_of(function: Callable[..., Any]) -> str:
    """Return the function's source without decorators and comments, but with its docstring."""
    source = textwrap.dedent(inspect.getsource(function))
    tree = ast.parse(source)
    if not isinstance(tree.body[0], ast.FunctionDef):
        raise TypeError("a probe must be a plain function, written with def")
    # A decorator names objects of the instructor's module, which does not exist in the sandbox.
    tree.body[0].decorator_list = []
    return ast.unparse(tree)


def _operation(operator: str, sign: str, first: Any, second: Any) -> Expr:
    first, second = as_expr(first), as_expr(second)
    return Expr(
        ["op", operator, tree_of(first), tree_of(second)],
        f"({text_of(first)} {sign} {text_of(second)})",
    )


def _constant_text(value: Any) -> str:
    """Return a short text for a constant."""
    if isinstance(value, np.ndarray):  # hidden inputs: the student reads this text
        return f"<{value.size} numbers>"
    text = repr(value)
    return text if len(text) <= 40 else "…"
