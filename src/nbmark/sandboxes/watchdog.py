"""Ends a sandbox whose processes together use too much memory, CPU time or files.

Resource limits count single processes, and shared anonymous memory passes them; this counts the
proportional memory of every process below the wall. Tmpfs has its own size limit (`bubblewrap`),
but none on the number of files, which cost the kernel a kilobyte each.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence

import psutil

from nbmark.limits import Limits

INTERVAL_S = 0.05
Measure = Callable[[psutil.Process], float]


class Watchdog:
    """Watches a process tree from its first request until it is stopped.

    Between two requests a student's threads and processes go on, so it goes on looking.

    Parameters
    ----------
    own_folders
        The writable folders inside the wall that are file systems of their own.

    Attributes
    ----------
    reason
        None, or why the tree was killed: ``memory``, ``cpu``, ``cell cpu`` or ``files``.
    cpu_used_s
        CPU time of all processes that it has seen, in seconds.
    """

    def __init__(self, pid: int, limits: Limits, own_folders: Sequence[str]) -> None:
        self.reason: str | None = None
        self.cpu_used_s = 0.0
        self._limits = limits
        self._own_folders = own_folders
        self._cpu_s = limits.cpu_s
        self._cell_began_s = math.inf
        self._root = psutil.Process(pid)
        self._active = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watchdog-{pid}", daemon=True)
        self._thread.start()

    def start(self) -> None:
        """Watch from now on: a sandbox that waits for its submission needs no look."""
        self._active.set()

    def allow(self, cpu_s: float) -> None:
        """At most so much CPU time in all."""
        self._cpu_s = cpu_s

    @contextlib.contextmanager
    def cell(self) -> Iterator[None]:
        """For the length of the block the limit of one cell holds too."""
        self._cell_began_s = self.cpu_used_s
        try:
            yield
        finally:
            self._cell_began_s = math.inf

    def stop(self) -> None:
        self._stopped.set()
        self._active.set()
        self._thread.join()

    def _run(self) -> None:
        self._active.wait()
        while not self._stopped.wait(INTERVAL_S):
            try:
                self.reason = self._excess()
            except psutil.NoSuchProcess:
                return
            if self.reason:
                with contextlib.suppress(psutil.NoSuchProcess):
                    self._root.kill()
                return

    def _excess(self) -> str | None:
        below = self._root.children(recursive=True)
        tree = [self._root, *below]
        limit_bytes = self._limits.memory_mib << 20
        resident = sum(_of(process, lambda one: float(one.memory_info().rss)) for process in tree)
        # Resident memory counts shared pages once a process, so it is only the cheap first look.
        if (
            resident > limit_bytes
            and sum(_of(process, _proportional) for process in tree) > limit_bytes
        ):
            return "memory"
        # Whatever ended without a parent that waited is no longer counted: the sum never falls.
        self.cpu_used_s = max(self.cpu_used_s, sum(_of(process, _cpu_s) for process in tree))
        if self.cpu_used_s > self._cpu_s:
            return "cpu"
        if self.cpu_used_s - self._cell_began_s > self._limits.cell_cpu_s:
            return "cell cpu"
        return "files" if _files(below, self._own_folders) > self._limits.files else None


def _files(processes: Sequence[psutil.Process], folders: Sequence[str]) -> int:
    """How many files stand in `folders`, as a process inside sees them."""
    for process in processes:
        try:
            found = [os.statvfs(f"/proc/{process.pid}/root{folder}") for folder in folders]
        except OSError:  # it has ended, or does not let itself be looked at
            continue
        return sum(one.f_files - one.f_ffree for one in found)
    return 0


def _of(process: psutil.Process, measure: Measure) -> float:
    try:
        return measure(process)
    except psutil.Error:  # ended meanwhile
        return 0.0


def _proportional(process: psutil.Process) -> float:
    full = process.memory_full_info()
    return float(full.pss + full.swap)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)
