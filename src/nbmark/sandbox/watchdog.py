"""Ends a sandbox whose processes together use too much memory, CPU time or files.

Resource limits count single processes, and shared anonymous memory passes them; this counts the
proportional memory of every process below the wall. Tmpfs has its own size limit (`bubblewrap`),
but none on the number of files, which cost the kernel a kilobyte each; a socket may hold hundreds.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator, Sequence

from nbmark.limits import Limits
from nbmark.sandbox.processes import Tree, cpu_s, files_in, memory_exceeds, sockets_of

INTERVAL_S = 0.05


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
        None, or why the tree was killed: ``memory``, ``cpu``, ``cell cpu``, ``files`` or
        ``sockets``.
    cpu_used_s
        CPU time of all processes that it has seen, in seconds.
    """

    def __init__(self, tree: Tree, limits: Limits, own_folders: Sequence[str]) -> None:
        self.reason: str | None = None
        self.cpu_used_s = 0.0
        self._limits = limits
        self._own_folders = own_folders
        self._cpu_s = limits.cpu_s
        self._cell_began_s = math.inf
        self._tree = tree
        self._active = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watchdog-{tree.pid}", daemon=True)
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
            processes = self._tree.processes()
            if not processes:
                return
            limits = self._limits
            if memory_exceeds(processes, limits.memory_mib << 20):
                self.reason = "memory"
            # Whatever ended without a parent that waited is not counted: the sum never falls.
            self.cpu_used_s = max(self.cpu_used_s, cpu_s(processes))
            if self.cpu_used_s > self._cpu_s:
                self.reason = "cpu"
            elif self.cpu_used_s - self._cell_began_s > limits.cell_cpu_s:
                self.reason = "cell cpu"
            elif self._own_folders:  # a wall: the network and these folders are theirs alone
                if files_in(self._own_folders, processes[1:]) > limits.files:
                    self.reason = "files"
                elif sockets_of(processes[1:]) > limits.sockets:
                    self.reason = "sockets"
            if self.reason:
                self._tree.kill()
                return
