"""Replies: the data that a session returns for a cell or a question."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class CellRun:
    """The result of running one cell.

    Parameters
    ----------
    status
        ``ok``, ``error`` (the cell raised), ``timeout``, ``died`` or ``not run``.
    outputs
        The outputs as the kernel sent them: untrusted.
    size_bytes
        The size of the reply that held them.
    limit
        The limit at which it was stopped: ``cpu``, ``clock`` (its idle time), or "".
    """

    status: str
    outputs: list[Any] = field(default_factory=list)
    truncated: bool = False
    execution_count: int | None = None
    error_name: str = ""
    error_message: str = ""
    size_bytes: int = 0
    limit: str = ""


@dataclass(frozen=True)
class Answer:
    """The agent's answer to one question.

    Parameters
    ----------
    text
        JSON text, empty if there is none.
    limit
        As in `CellRun`.
    """

    text: str
    limit: str = ""
