"""Find the processes, files, mounts and shared memory that a grading leaves on a machine."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

NBGRADERS = ("timestamp.txt", "submission_secret.txt")  # for its release_feedback


def traces() -> dict[str, set[str]]:
    """Return the mounts and the shared memory of this machine."""
    segments = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return {
        "mounts": {
            line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()
        },
        "shared memory": {*os.listdir("/dev/shm"), *(line.split()[1] for line in segments)},
    }


def leftovers(course: Path, private: Path, before: Mapping[str, set[str]]) -> list[str]:
    """Return a line for each thing that a grading left.

    Parameters
    ----------
    private
        The folder that was the grader's TMPDIR; it must be empty now.
    before
        The `traces` before the grading.
    """
    deadline = time.monotonic() + 5
    while (alive := _alive()) and time.monotonic() < deadline:
        time.sleep(0.1)
    lines = [f"process {process.pid} {process.name()}" for process in alive]
    lines += [f"{kind} {trace}" for kind, now in traces().items() for trace in now - before[kind]]
    lines += [f"file {path}" for path in private.iterdir()]
    for student in sorted(os.listdir(course / "autograded")):
        for path in (course / "autograded" / student).rglob("*"):
            expected = path.suffix == ".ipynb" or path.name in NBGRADERS
            if path.name.startswith(".") or (path.is_file() and not expected):
                lines.append(f"file {path}")
    return lines


def _alive() -> list[psutil.Process]:
    """Reap the children that have ended, and return the processes that still run below this one."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return psutil.Process().children(recursive=True)
