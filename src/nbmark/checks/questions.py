"""Questions to a student's notebook: expression trees, written as Python reads.

``name("model").get_weights()[0]`` builds a tree and evaluates nothing; the tree crosses the wall,
is evaluated beside the student's objects, and only its plain value comes back.
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
    """The object that the notebook calls `identifier`."""
    return Expr(["name", identifier], identifier)


class Expr:
    """A question that is being built: attributes, items, calls and operators make a larger one.

    Parameters
    ----------
    tree
        The JSON form, as `inside/agent.py` describes it.
    text
        How a student would write it; long data is abbreviated.
    """

    __hash__ = object.__hash__

    def __init__(self, tree: list[Any], text: str) -> None:
        self._tree = tree
        self._text = text

    def __getattr__(self, attribute: str) -> Expr:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return Expr(["attr", self._tree, attribute], f"{self._text}.{attribute}")

    def __getitem__(self, key: Any) -> Expr:
        part = as_expr(key)
        return Expr(["item", self._tree, tree_of(part)], f"{self._text}[{text_of(part)}]")

    def __call__(self, *arguments: Any, **keywords: Any) -> Expr:
        parts = [as_expr(one) for one in arguments]
        named = {key: as_expr(one) for key, one in keywords.items()}
        shown = [text_of(one) for one in parts] + [f"{k}={text_of(v)}" for k, v in named.items()]
        tree = [
            "call",
            self._tree,
            [tree_of(one) for one in parts],
            {key: tree_of(one) for key, one in named.items()},
        ]
        return Expr(tree, f"{self._text}({', '.join(shown)})")

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
    """`value` itself if it is a question, else a constant: plain data, copied."""
    return value if isinstance(value, Expr) else Expr(["const", encode(value)], _shown(value))


def mapped(function: Expr, values: Any) -> Expr:
    """``[function(x) for x in values]`` as one question."""
    part = as_expr(values)
    return Expr(
        ["map", tree_of(function), tree_of(part)],
        f"[{text_of(function)}(x) for x in {text_of(part)}]",
    )


def probed(function: Callable[..., Any], *arguments: Any) -> Expr:
    """``function(*arguments)`` run beside the student's objects.

    `function` is shipped as source: it imports what it needs in its own body, sees nothing of the
    module it stands in, and must hold no secret. An argument that is a string names an object of
    the notebook; what is no question is passed as a constant.
    """
    source = _source_of(function)
    parts = [name(one) if isinstance(one, str) else as_expr(one) for one in arguments]
    tree = ["probe", function.__name__, source, [tree_of(one) for one in parts]]
    return Expr(tree, ", ".join(text_of(one) for one in parts))


def tree_of(expr: Expr) -> list[Any]:
    """The JSON form of a question."""
    return expr._tree


def text_of(expr: Expr) -> str:
    """The question as a student would write it."""
    return expr._text


def canonical(tree: list[Any]) -> str:
    """The one text of a question, the same for equal questions: what evidence is filed under."""
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), allow_nan=False)


@functools.cache
def _source_of(function: Callable[..., Any]) -> str:
    """The function's source without decorators and comments; its docstring goes along."""
    source = textwrap.dedent(inspect.getsource(function))
    tree = ast.parse(source)
    if not isinstance(tree.body[0], ast.FunctionDef):
        raise TypeError("a probe must be a plain function, written with def")
    tree.body[0].decorator_list = []
    return ast.unparse(tree)


def _operation(operator: str, sign: str, left: Any, right: Any) -> Expr:
    first, second = as_expr(left), as_expr(right)
    return Expr(
        ["op", operator, tree_of(first), tree_of(second)],
        f"({text_of(first)} {sign} {text_of(second)})",
    )


def _shown(value: Any) -> str:
    """Short text of a constant: arrays and long lists are hidden data, named by their size."""
    if isinstance(value, np.ndarray):
        return f"<{value.size} numbers>"
    text = repr(value)
    return text if len(text) <= 40 else "…"
