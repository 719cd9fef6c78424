"""Ends a sandbox whose processes together use too much memory or CPU time.

Resource limits count single processes, and shared anonymous memory passes them; this counts the
proportional memory of every process below the wall. Tmpfs has its own size limit (`bubblewrap`).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import psutil

from nbmark.limits import Limits

INTERVAL_S = 0.05
Measure = Callable[[psutil.Process], float]


class Watchdog:
    """Watches a process tree while a request is under way.

    Attributes
    ----------
    reason
        None, or why the tree was killed: ``memory`` or ``cpu``.
    """

    def __init__(self, pid: int, limits: Limits) -> None:
        self.reason: str | None = None
        self._limits = limits
        self._root = psutil.Process(pid)
        self._active = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watchdog-{pid}", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch for the length of the block: an idle kernel needs no look."""
        self._active.set()
        try:
            yield
        finally:
            self._active.clear()

    def stop(self) -> None:
        self._stopped.set()
        self._active.set()
        self._thread.join()

    def _run(self) -> None:
        while self._active.wait() and not self._stopped.wait(INTERVAL_S):
            try:
                self.reason = self._excess()
            except psutil.NoSuchProcess:
                return
            if self.reason:
                with contextlib.suppress(psutil.NoSuchProcess):
                    self._root.kill()
                return

    def _excess(self) -> str | None:
        tree = [self._root, *self._root.children(recursive=True)]
        limit_bytes = self._limits.memory_mib << 20
        resident = sum(_of(process, lambda one: float(one.memory_info().rss)) for process in tree)
        # Resident memory counts shared pages once a process, so it is only the cheap first look.
        if (
            resident > limit_bytes
            and sum(_of(process, _proportional) for process in tree) > limit_bytes
        ):
            return "memory"
        return "cpu" if sum(_of(process, _cpu_s) for process in tree) > self._limits.cpu_s else None


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
