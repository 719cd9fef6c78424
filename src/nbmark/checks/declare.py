"""How a hidden check is declared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from nbmark.models import Check

Function = TypeVar("Function", bound=Callable[..., Any])
ATTRIBUTE = "__nbmark_check__"


def check(grade_cell: str, *, points: float, title: str) -> Callable[[Function], Function]:
    """Declare a pytest function as the hidden check of a grade cell.

    Parameters
    ----------
    grade_cell
        The ``grade_id`` of the cell after which the student's state is looked at. Several checks
        may stand at one cell; their points add up to the cell's.
    points
        What the check is worth: all of it or nothing.
    title
        What the student reads: the task's name, never the answer.
    """

    def declare(function: Function) -> Function:
        setattr(function, ATTRIBUTE, Check(function.__name__, grade_cell, float(points), title))
        return function

    return declare


def declared(function: Callable[..., Any]) -> Check | None:
    """The declaration of a test function, None if it has none."""
    return getattr(function, ATTRIBUTE, None)
