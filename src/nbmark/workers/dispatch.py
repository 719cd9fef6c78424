"""The one loop that submits work and waits for it, for grading and for regrading."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Protocol, TypeVar

from nbmark.errors import NbmarkError

Result = TypeVar("Result")


class Capacity(Protocol):
    """Anything that says how many jobs may be under way; read again before each job."""

    @property
    def max_under_way(self) -> int: ...


def as_completed(
    students: Iterable[str], start: Callable[[str], Future[Result]], capacity: Capacity
) -> Iterator[tuple[str, Future[Result]]]:
    """Start a job for each student and yield it when it has finished, whichever finishes first.

    The next job starts only when there is room for it, so that memory holds no more submissions
    than are under way. An `NbmarkError` in `start` is the result of that job.
    """
    waiting: dict[Future[Result], str] = {}
    remaining = iter(students)
    while True:
        while len(waiting) < capacity.max_under_way:
            student = next(remaining, None)
            if student is None:
                break
            waiting[_started(start, student)] = student
        if not waiting:
            return
        for future in wait(waiting, return_when=FIRST_COMPLETED).done:
            yield waiting.pop(future), future


def _started(start: Callable[[str], Future[Result]], student: str) -> Future[Result]:
    try:
        return start(student)
    except NbmarkError as error:
        failed: Future[Result] = Future()
        failed.set_exception(error)
        return failed
