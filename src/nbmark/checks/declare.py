"""The declaration of a hidden check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from nbmark.models import Check

Function = TypeVar("Function", bound=Callable[..., Any])
# The declaration is an attribute of the function, so pytest still collects an ordinary test.
ATTRIBUTE = "__nbmark_check__"


def check(grade_cell: str, *, points: float, title: str) -> Callable[[Function], Function]:
    """Declare a pytest function as the hidden check of a grade cell.

    Parameters
    ----------
    grade_cell
        The ``grade_id`` of a grade cell. The check sees the notebook's state right after that cell.
        Several checks may name the same cell; their points add up to the cell's.
    points
        The points of the check, which a submission earns in full or not at all.
    title
        The task's name. The student reads it, so it must not give the answer away.

    Returns
    -------
    declare
        A decorator that returns the function itself.
    """

    def declare(function: Function) -> Function:
        setattr(function, ATTRIBUTE, Check(function.__name__, grade_cell, float(points), title))
        return function

    return declare


def declaration_of(function: object) -> Check | None:
    """Return the declaration of a test function, or None if it has none."""
    return getattr(function, ATTRIBUTE, None)
