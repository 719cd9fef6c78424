"""How much of everything one submission may use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of one submission's sandbox; names carry their units.

    Parameters
    ----------
    cell_timeout_s, cell_cpu_s
        Wall time of one cell, and CPU time of all its processes and threads together; the cell is
        stopped and the rest of the notebook still runs.
    question_timeout_s
        Wall time of one question of a check.
    submission_timeout_s, cpu_s
        Wall time and CPU time of the whole submission, after which it is stopped.
    memory_mib
        Memory of all its processes together, shared memory included.
    disk_mib, files
        Size of its work directory, of ``/tmp`` and of ``/dev/shm``, each; number of files in all.
    processes, open_files, sockets
        Processes and threads together; open files of each process; sockets of all together.
    cell_output_kib, answer_kib, output_kib
        What one cell may print, how large one answer may be, and all outputs and answers together.
    """

    cell_timeout_s: float = 30.0
    cell_cpu_s: float = 120.0
    question_timeout_s: float = 10.0
    submission_timeout_s: float = 600.0
    cpu_s: float = 600.0
    memory_mib: int = 2048
    disk_mib: int = 256
    files: int = 20_000
    processes: int = 256
    open_files: int = 512
    sockets: int = 512
    cell_output_kib: int = 1024
    answer_kib: int = 4096
    output_kib: int = 32_768

    def of_each_process(self) -> dict[str, int]:
        """Resource limits (RLIMIT_… names) that the driver sets for itself and the kernel."""
        return {
            "CORE": 1,  # with 0 a program that collects core dumps would still be started
            "NOFILE": self.open_files,
            "NPROC": self.processes,
            "FSIZE": self.disk_mib << 20,
            # Only a first brake: shared memory passes it, so the watchdog counts that.
            "DATA": self.memory_mib << 20,
        }
