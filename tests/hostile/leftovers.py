"""What a grading leaves on a machine: processes, files, mounts, shared memory."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

import psutil


def traces() -> dict[str, set[str]]:
    """What a sandbox could leave on this machine."""
    shared = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return {
        "mounts": {
            line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()
        },
        "shared memory": {*os.listdir("/dev/shm"), *(line.split()[1] for line in shared)},
    }


def leftovers(course: Path, private: Path, before: Mapping[str, set[str]]) -> list[str]:
    """Processes, files, mounts and shared memory that are there after the grading."""
    deadline = time.monotonic() + 5
    while (alive := _alive()) and time.monotonic() < deadline:
        time.sleep(0.1)
    found = [f"process {one.pid} {one.name()}" for one in alive]
    found += [f"{kind} {one}" for kind, now in traces().items() for one in now - before[kind]]
    found += [f"file {path}" for path in private.iterdir()]
    for student in sorted(os.listdir(course / "autograded")):
        for path in (course / "autograded" / student).rglob("*"):
            expected = path.suffix == ".ipynb" or path.name == "timestamp.txt"
            if path.name.startswith(".") or (path.is_file() and not expected):
                found.append(f"file {path}")
    return found


def _alive() -> list[psutil.Process]:
    """The processes below this one, once those that have ended are buried."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return psutil.Process().children(recursive=True)
