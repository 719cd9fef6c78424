"""The course lock: one grading of a course at a time.

Two gradings would write the same evidence, folders and gradebook rows. Whoever takes the lock reads
the course's material only afterwards, because it may have changed during the wait.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from nbmark.course.course import Course
from nbmark.errors import InfrastructureError
from nbmark.untrusted.files import make_private

WAIT_S = 30.0  # unless the command says otherwise
POLL_S = 0.2


@contextlib.contextmanager
def course_lock(course: Course, wait_s: float, on_wait: Callable[[float], None]) -> Iterator[None]:
    """Hold the lock for the block; the operating system frees it when the process ends.

    Parameters
    ----------
    wait_s
        How long to wait for another grading; 0 refuses at once.
    on_wait
        Called once if there is something to wait for, with the seconds that the other grading has
        been running.

    Raises
    ------
    InfrastructureError
        If another process still holds the lock after `wait_s`.
    """
    make_private(course.state)
    lock = FileLock(course.state / "lock", mode=0o600, preserve_lock_file=True)
    since = course.state / "lock-since"
    try:
        _acquire(lock, wait_s, lambda: on_wait(_age_s(since)))
    except Timeout:
        raise InfrastructureError(
            f"another grading of {course.root} has been running for {_age_s(since):.0f} s; run "
            "this again when it has finished ('nbmark grade --wait SECONDS' waits longer)"
        ) from None
    try:
        # Its modification time shows others how long this has run. A grading that was killed may
        # have left a file of another user, which can be removed but not written.
        since.unlink(missing_ok=True)
        since.touch(mode=0o600)
        yield
    finally:
        try:
            since.unlink(missing_ok=True)
        finally:
            lock.release()


def _acquire(lock: FileLock, wait_s: float, on_wait: Callable[[], None]) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait_s:
            raise
        on_wait()
        lock.acquire(timeout=wait_s, poll_interval=POLL_S)


def _age_s(since: Path) -> float:
    """Return how long ago the file was written; 0 if it is not there yet."""
    try:
        return max(0.0, time.time() - since.stat().st_mtime)
    except FileNotFoundError:  # the other process has just taken the lock for the first time
        return 0.0
