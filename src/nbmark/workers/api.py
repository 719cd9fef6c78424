"""The interface of workers, whether they are processes here or a cluster.

Grading knows nothing else about them.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Protocol

from nbmark.models import Graded, Submission

Submit = Callable[[Submission], Future[Graded]]


class Workers(Protocol):
    """The workers that run submissions.

    Attributes
    ----------
    max_under_way
        How many submissions should be under way to keep all workers busy; it may change meanwhile.
    """

    max_under_way: int

    def prepare(self) -> None:
        """Begin to get ready, in the background."""

    def start(self) -> None:
        """Start whatever is not running yet."""

    def running(self) -> AbstractContextManager[Submit]:
        """Give the function that submits work; an exception in the block ends its work."""

    def close(self) -> None:
        """End all workers."""
