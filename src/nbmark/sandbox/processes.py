"""Resource use of all processes in a sandbox together, measured from outside."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence

import psutil

# psutil raises IndexError when it parses the status of a process that ends at that moment.
PROCESS_ERRORS = (psutil.Error, IndexError)
Processes = Sequence[psutil.Process]
Measure = Callable[[psutil.Process], float]
# /proc/…/children needs CONFIG_PROC_CHILDREN. Without it psutil scans every process of the machine,
# which takes 2 ms for a hundred.
LISTS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")


class Tree:
    """A process and its descendants; `pid` is its process id outside the sandbox.

    Raises
    ------
    LookupError
        If there is no such process.
    """

    def __init__(self, pid: int) -> None:
        try:
            self._root = psutil.Process(pid)
        except PROCESS_ERRORS as error:
            raise LookupError(f"no process {pid}") from error

    @property
    def pid(self) -> int:
        return int(self._root.pid)

    def processes(self) -> list[psutil.Process]:
        """Return the processes, the root first; empty once the root has ended.

        Where /proc is restricted, the list holds the root alone. So a missing permission never
        looks like the end of the sandbox.
        """
        if not self._is_running():
            return []
        descendants: list[psutil.Process] = []
        with contextlib.suppress(*PROCESS_ERRORS):
            descendants = (
                _descendants(self._root.pid)
                if LISTS_CHILDREN
                else self._root.children(recursive=True)
            )
        return [self._root, *descendants]

    def _is_running(self) -> bool:
        try:
            return bool(self._root.is_running())
        except PROCESS_ERRORS:
            return bool(psutil.pid_exists(self._root.pid))

    def kill(self) -> None:
        """Kill the root, and with it every process that dies with the root."""
        with contextlib.suppress(*PROCESS_ERRORS):
            self._root.kill()


def memory_exceeds(processes: Processes, limit_bytes: int) -> bool:
    """Return whether the processes together use more proportional memory than the limit."""
    # Resident memory counts a shared page once for each process, so it is never too small. It is
    # also cheap to read: most of the time the proportional memory need not be computed.
    resident = sum(_status_bytes(process, ("VmRSS:", "VmPTE:")) for process in processes)
    return resident > limit_bytes and proportional_bytes(processes) > limit_bytes


def proportional_bytes(processes: Processes) -> float:
    """Return their memory and page tables, each shared page divided by its number of users."""
    # A process can fill memory with page tables alone, which no other figure contains.
    page_tables = sum(_status_bytes(process, ("VmPTE:",)) for process in processes)
    return page_tables + sum(_measured(process, _proportional) for process in processes)


def cpu_s(processes: Processes) -> float:
    """Return their CPU time in seconds, including children that a parent has waited for."""
    return sum(_measured(process, _cpu_s) for process in processes)


def files_in(folders: Sequence[str], processes: Processes) -> int:
    """Return the number of files in folders that are file systems of the sandbox's own.

    Parameters
    ----------
    processes
        Processes in the sandbox. The folders are read through the first one that permits it.
    """
    for process in processes:
        try:
            systems = [os.statvfs(f"/proc/{process.pid}/root{folder}") for folder in folders]
        except OSError:  # the process has ended, or /proc does not let us read it
            continue
        return sum(system.f_files - system.f_ffree for system in systems)
    return 0


def sockets_of(processes: Processes) -> int:
    """Return the number of sockets in the network namespace that these processes share."""
    for process in processes:
        with (
            contextlib.suppress(OSError, IndexError),
            open(f"/proc/{process.pid}/net/sockstat") as lines,
        ):
            return int(lines.readline().split()[-1])  # the line is "sockets: used N"
    return 0


def _descendants(pid: int) -> list[psutil.Process]:
    """Return the descendants of a process; those that start or end just now may be missing."""
    descendants, pending = [], [pid]
    while pending:
        for child_pid in _children(pending.pop()):
            pending.append(child_pid)
            with contextlib.suppress(*PROCESS_ERRORS):
                descendants.append(psutil.Process(child_pid))
    return descendants


def _children(pid: int) -> Iterator[int]:
    """Yield the process ids of a process's children."""
    # The kernel lists children by the thread that started them. A thread that ends meanwhile must
    # not hide the children of the others, so each is read by itself.
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children") as file:
                yield from map(int, file.read().split())


def _status_bytes(process: psutil.Process, fields: tuple[str, ...]) -> int:
    """Return the sum of some fields in a process's status, 0 if it has ended."""
    total = 0
    with contextlib.suppress(OSError), open(f"/proc/{process.pid}/status") as lines:
        for line in lines:
            if line.startswith(fields):
                total += int(line.split()[1]) << 10
    return total


def _measured(process: psutil.Process, measure: Measure) -> float:
    """Return a measurement of a process, 0 if it has ended."""
    try:
        return measure(process)
    except PROCESS_ERRORS:
        return 0.0


def _proportional(process: psutil.Process) -> float:
    memory = process.memory_full_info()
    return float(memory.pss + memory.swap)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)
