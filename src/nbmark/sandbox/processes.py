"""What the processes of a sandbox use together, read from outside."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence

import psutil

# psutil stumbles over the status of a process that ends in this moment.
GONE = (psutil.Error, IndexError)
Measure = Callable[[psutil.Process], float]
# The kernel says which processes a thread has started, if it is built so; psutil looks at all
# processes of the machine instead, 2 ms for a hundred.
LISTS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")


class Tree:
    """A process and all below it, by the process id that this machine knows it under.

    Raises
    ------
    LookupError
        If there is no such process.
    """

    def __init__(self, pid: int) -> None:
        try:
            self._root = psutil.Process(pid)
        except GONE as error:
            raise LookupError(f"no process {pid}") from error

    @property
    def pid(self) -> int:
        return int(self._root.pid)

    def processes(self) -> list[psutil.Process]:
        """All of them, the root first; empty once it has ended.

        Where this machine does not let itself be looked at, the root stands for all: it is never
        taken for ended while it runs.
        """
        if not self._is_running():
            return []
        below: list[psutil.Process] = []
        with contextlib.suppress(*GONE):
            below = (
                _below(self._root.pid) if LISTS_CHILDREN else self._root.children(recursive=True)
            )
        return [self._root, *below]

    def _is_running(self) -> bool:
        try:
            return bool(self._root.is_running())
        except GONE:
            return bool(psutil.pid_exists(self._root.pid))

    def kill(self) -> None:
        """End the root, and with it what dies with the root."""
        with contextlib.suppress(*GONE):
            self._root.kill()


def memory_exceeds(processes: Sequence[psutil.Process], limit_bytes: int) -> bool:
    """Whether the proportional memory of the processes together is more than that."""
    # Resident memory counts shared pages once a process, so it is only the cheap first look.
    resident = sum(_status_bytes(process, ("VmRSS:", "VmPTE:")) for process in processes)
    return resident > limit_bytes and proportional_bytes(processes) > limit_bytes


def proportional_bytes(processes: Sequence[psutil.Process]) -> float:
    """Their memory with its page tables, each shared page divided by the number of its users."""
    tables = sum(_status_bytes(process, ("VmPTE:",)) for process in processes)
    return tables + sum(_of(process, _proportional) for process in processes)


def cpu_s(processes: Sequence[psutil.Process]) -> float:
    """CPU time in seconds, with that of children whose parent has waited for them."""
    return sum(_of(process, _cpu_s) for process in processes)


def files_in(folders: Sequence[str], processes: Sequence[psutil.Process]) -> int:
    """How many files stand in folders that are file systems of their own, seen from inside."""
    for process in processes:
        try:
            found = [os.statvfs(f"/proc/{process.pid}/root{folder}") for folder in folders]
        except OSError:  # it has ended, or does not let itself be looked at
            continue
        return sum(one.f_files - one.f_ffree for one in found)
    return 0


def sockets_of(processes: Sequence[psutil.Process]) -> int:
    """How many sockets there are on the network of these processes, which is theirs alone."""
    for process in processes:
        with (
            contextlib.suppress(OSError, IndexError),
            open(f"/proc/{process.pid}/net/sockstat") as lines,
        ):
            return int(lines.readline().split()[-1])  # sockets: used N
    return 0


def _below(pid: int) -> list[psutil.Process]:
    """The processes below one; what starts or ends in this moment may be missing this time."""
    found, to_look_at = [], [pid]
    while to_look_at:
        for child in _children(to_look_at.pop()):
            to_look_at.append(child)
            with contextlib.suppress(*GONE):
                found.append(psutil.Process(child))
    return found


def _children(pid: int) -> Iterator[int]:
    """Of all threads of a process, whichever of them ends meanwhile."""
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children") as file:
                yield from map(int, file.read().split())


def _status_bytes(process: psutil.Process, fields: tuple[str, ...]) -> int:
    """The sum of some lines of a process' status, 0 if it has ended."""
    total = 0
    with contextlib.suppress(OSError), open(f"/proc/{process.pid}/status") as lines:
        for line in lines:
            if line.startswith(fields):
                total += int(line.split()[1]) << 10
    return total


def _of(process: psutil.Process, measure: Measure) -> float:
    try:
        return measure(process)
    except GONE:
        return 0.0


def _proportional(process: psutil.Process) -> float:
    full = process.memory_full_info()
    return float(full.pss + full.swap)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)
