"""The one loop that submits work and waits for it, for grading, regrading and verifying."""

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


class _OneAtATime:
    max_under_way = 1


def as_completed(
    names: Iterable[str],
    start: Callable[[str], Future[Result]],
    capacity: Capacity,
    blames_the_clock: Callable[[Result], bool],
    postpone: Callable[[str], None] = lambda name: None,
) -> Iterator[tuple[str, Future[Result]]]:
    """Start a job for each name and yield it when it has finished, whichever finishes first.

    The next job starts only when there is room for it, so that memory holds no more submissions
    than are under way. An `NbmarkError` in `start` is the result of that job.

    Parameters
    ----------
    blames_the_clock
        Returns whether other work on the machine may have changed a result. Such a result is
        dropped, and its job starts again when all others have finished. By itself it has the
        machine, so its second result counts.
    postpone
        Called with the name of such a job.
    """
    again: list[str] = []
    for name, future in _side_by_side(names, start, capacity):
        if future.exception() is None and blames_the_clock(future.result()):
            again.append(name)
            postpone(name)
        else:
            yield name, future
    yield from _side_by_side(again, start, _OneAtATime())


def _side_by_side(
    names: Iterable[str], start: Callable[[str], Future[Result]], capacity: Capacity
) -> Iterator[tuple[str, Future[Result]]]:
    waiting: dict[Future[Result], str] = {}
    remaining = iter(names)
    while True:
        while len(waiting) < capacity.max_under_way:
            name = next(remaining, None)
            if name is None:
                break
            waiting[_started(start, name)] = name
        if not waiting:
            return
        for future in wait(waiting, return_when=FIRST_COMPLETED).done:
            yield waiting.pop(future), future


def _started(start: Callable[[str], Future[Result]], name: str) -> Future[Result]:
    try:
        return start(name)
    except NbmarkError as error:
        failed: Future[Result] = Future()
        failed.set_exception(error)
        return failed
