"""The budget of a submission: the CPU time, idle time and output that it may still use.

All notebooks of the submission and all of their processes share it.
"""

from __future__ import annotations

from nbmark.limits import Limits

# With less than this, the watchdog would stop a new process before it could run a cell.
MIN_S_FOR_A_PROCESS = 1.0


class Budget:
    """The budget of one submission.

    Attributes
    ----------
    idle_s, cpu_s
        The seconds that are left for new processes.
    output_bytes
        The number of bytes that cells may still print and answers may still have.
    """

    def __init__(self, limits: Limits) -> None:
        self.idle_s = limits.submission_timeout_s
        self.cpu_s = limits.cpu_s
        self.output_bytes = limits.output_kib << 10

    @property
    def has_idle_time(self) -> bool:
        return self.idle_s > MIN_S_FOR_A_PROCESS

    @property
    def has_cpu_time(self) -> bool:
        return self.cpu_s > MIN_S_FOR_A_PROCESS

    def spend_time(self, idle_s: float, cpu_s: float) -> None:
        """Subtract the time of a process that has ended."""
        self.idle_s -= idle_s
        self.cpu_s -= cpu_s

    def spend_output(self, size_bytes: int) -> None:
        """Subtract the size of a cell's output or of an answer."""
        self.output_bytes = max(0, self.output_bytes - size_bytes)
