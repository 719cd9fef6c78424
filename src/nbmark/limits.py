"""The limits of one submission."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec

# `description` is the wording of the error about a value of another kind. The upper bound only
# keeps out infinity, which TOML can write.
Amount = Annotated[float, msgspec.Meta(gt=0, lt=1e12, description="a number above 0")]
Count = Annotated[int, msgspec.Meta(gt=0, description="a whole number above 0")]


@dataclass(frozen=True)
class Limits:
    """Limits of one submission's sandbox; names carry their units.

    Parameters
    ----------
    cell_cpu_s, question_cpu_s
        CPU time of one cell, and of one question of a check, in all processes and threads; it is
        stopped and the rest of the notebook still runs.
    cpu_s
        CPU time of the whole submission, after which it is stopped.
    cell_timeout_s, question_timeout_s, submission_timeout_s
        Idle time of the same: wall time without computing (see `inside/clocks.py`). A submission
        that reaches one of these runs again, by itself.
    memory_mib
        Memory of all its processes together, shared memory included.
    disk_mib, files
        Size of its work directory, of ``/tmp`` and of ``/dev/shm``, each; number of files in all.
    processes, open_files, sockets
        Processes and threads together; open files of each process; sockets of all together.
    cell_output_kib, answer_kib, output_kib
        Output of one cell, size of one answer, and all outputs and answers together.
    """

    cell_cpu_s: Amount = 30.0
    question_cpu_s: Amount = 10.0
    cpu_s: Amount = 600.0
    cell_timeout_s: Amount = 60.0
    question_timeout_s: Amount = 30.0
    submission_timeout_s: Amount = 600.0
    memory_mib: Count = 2048
    disk_mib: Count = 256
    files: Count = 20_000
    processes: Count = 256
    open_files: Count = 512
    sockets: Count = 512
    cell_output_kib: Count = 1024
    answer_kib: Count = 24_576
    output_kib: Count = 65_536

    def of_each_process(self) -> dict[str, int]:
        """Return the resource limits (RLIMIT_… names) that the driver sets for each process."""
        return {
            "CORE": 1,  # 1 byte: with 0 the kernel would still start a piped core_pattern handler
            "NOFILE": self.open_files,
            "NPROC": self.processes,
            "FSIZE": self.disk_mib << 20,
            # A first limit only: RLIMIT_DATA does not count shared memory, so the watchdog does.
            "DATA": self.memory_mib << 20,
        }
