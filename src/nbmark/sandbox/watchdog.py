"""A watchdog over the memory, time, files and sockets of all processes in a sandbox.

Resource limits count each process by itself, and shared anonymous memory escapes them. The watchdog
adds up the proportional memory of all processes instead. Each tmpfs has a size limit (`bubblewrap`)
but no limit on the number of files, and a file costs the kernel a kilobyte. A socket may cost
hundreds.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from nbmark.limits import Limits
from nbmark.sandbox.inside.clocks import GRACE_CPU_S, idle_s
from nbmark.sandbox.processes import Processes, Tree, cpu_s, files_in, memory_exceeds, sockets_of

# A submission may exceed a limit for this long: docs/threats.md, "Short bursts".
INTERVAL_S = 0.05
# The driver knows the kernel's own time only, and interrupts it at the limit. The watchdog counts
# every process and kills, so it leaves the driver the time for that.
KILL_MARGIN_CPU_S = 2 * GRACE_CPU_S


@dataclass(frozen=True)
class _Request:
    """A request under way, and the CPU time of all processes when it began."""

    op: str
    cpu_limit_s: float
    cpu_at_begin_s: float
    began_at_s: float = field(default_factory=time.monotonic)


class Watchdog:
    """A thread that watches a process tree and kills it if it exceeds a limit.

    A student's threads and processes keep running between two requests, so it keeps watching.

    Parameters
    ----------
    own_folders
        The writable folders in the sandbox that are file systems of its own.

    Attributes
    ----------
    reason
        None, or why the tree was killed: ``memory``, ``cpu``, ``clock``, ``cell cpu``,
        ``question cpu``, ``files`` or ``sockets``.
    cpu_used_s
        CPU time of all processes since `start`, in seconds.
    """

    def __init__(self, tree: Tree, limits: Limits, own_folders: Sequence[str]) -> None:
        self.reason: str | None = None
        self.cpu_used_s = 0.0
        self._limits = limits
        self._own_folders = own_folders
        self._idle_limit_s, self._cpu_limit_s = limits.submission_timeout_s, limits.cpu_s
        self._request: _Request | None = None
        self._wall_s = 0.0  # of the requests that have ended
        self._tree = tree
        self._active = threading.Event()
        self._stopped = threading.Event()
        # A daemon: it must not keep a check process alive that ends without closing its sessions.
        self._thread = threading.Thread(target=self._run, name=f"watchdog-{tree.pid}", daemon=True)
        self._thread.start()

    def start(self) -> None:
        """Start watching; a sandbox that still waits for its submission is not worth the time."""
        self._active.set()

    def allow(self, idle_s: float, cpu_s: float) -> None:
        """Limit the idle time and the CPU time of the whole session."""
        self._idle_limit_s, self._cpu_limit_s = idle_s, cpu_s

    @property
    def idle_used_s(self) -> float:
        """Idle time so far; only requests count, because between them the checks compute."""
        request = self._request
        wall_s = time.monotonic() - request.began_at_s if request else 0.0
        return idle_s(self._wall_s + wall_s, self.cpu_used_s)

    @contextlib.contextmanager
    def request(self, op: str, cpu_limit_s: float) -> Iterator[None]:
        """Apply the limit of one request for the length of the block."""
        self._request = request = _Request(op, cpu_limit_s, self.cpu_used_s)
        try:
            yield
        finally:
            self._request = None
            self._wall_s += time.monotonic() - request.began_at_s

    def stop(self) -> None:
        """Stop watching and wait for the thread; may be called twice."""
        self._stopped.set()
        # Before `start` the thread waits for this event, not for the other.
        self._active.set()
        self._thread.join()

    def _run(self) -> None:
        self._active.wait()
        # Start-up is our time, not the submission's; a forked child has none.
        cpu_at_start_s = cpu_s(self._tree.processes())
        while not self._stopped.wait(INTERVAL_S):
            processes = self._tree.processes()
            if not processes:
                return
            # The CPU time of a process that ended without a parent waiting for it disappears from
            # the sum. Keeping the maximum means that ending processes never buys new time.
            self.cpu_used_s = max(self.cpu_used_s, cpu_s(processes) - cpu_at_start_s)
            self.reason = self._exceeded(processes)
            if self.reason:
                self._tree.kill()
                return

    def _exceeded(self, processes: Processes) -> str | None:
        """Return which limit the processes exceed, or None."""
        limits, request = self._limits, self._request
        if self.cpu_used_s > self._cpu_limit_s:
            return "cpu"
        if request and self._exceeds(request):
            return f"{request.op} cpu"
        if self.idle_used_s > self._idle_limit_s:
            return "clock"
        # With --sandbox none a submission shares the machine's files and sockets, so their number
        # says nothing about it. The root process is left out because bubblewrap's own process
        # stays outside the namespaces that it creates.
        if self._own_folders:
            if files_in(self._own_folders, processes[1:]) > limits.files:
                return "files"
            if sockets_of(processes[1:]) > limits.sockets:
                return "sockets"
        if memory_exceeds(processes, limits.memory_mib << 20):
            return "memory"
        return None

    def _exceeds(self, request: _Request) -> bool:
        used_s = self.cpu_used_s - request.cpu_at_begin_s
        return used_s > request.cpu_limit_s + KILL_MARGIN_CPU_S
