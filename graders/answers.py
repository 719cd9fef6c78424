"""Answers that may be missing or of a wrong form, so that they cost no other answer its points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nbmark import Answer, CheckFailed


def value_or_none(read: Callable[..., Answer], *question: Any) -> Any:
    """Return the value that ``read(*question)`` finds, or None if there is none of that form."""
    try:
        return read(*question).value
    except CheckFailed:
        return None


def entries_for(rate: float, table: Mapping[Any, Any]) -> list[Any]:
    """Return the entries of a student's table whose key is this rate, as a number or as text."""
    entries = []
    for key, entry in table.items():
        # A computed rate may differ in its last digits, and float32 keeps only seven of them.
        try:
            is_rate = abs(float(key) - rate) < 1e-4 * rate
        except (TypeError, ValueError, OverflowError):
            continue
        if is_rate:
            entries.append(entry)
    return entries
