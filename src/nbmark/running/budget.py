"""The budget of a submission: the wall time, CPU time and output that it may still use.

All notebooks of the submission and all of their processes share it.
"""

from __future__ import annotations

import time

from nbmark.limits import Limits

# With less than this, the watchdog would stop a new process before it could run a cell.
MIN_S_FOR_A_PROCESS = 1.0


class Budget:
    """The budget of one submission; its clock starts with the first call of `begin`.

    Attributes
    ----------
    output_bytes
        The number of bytes that cells may still print and answers may still have.
    """

    def __init__(self, limits: Limits) -> None:
        self.output_bytes = limits.output_kib << 10
        self._limits = limits
        self._started_at: float | None = None
        self._cpu_s = limits.cpu_s

    def begin(self) -> tuple[float, float] | None:
        """Return wall and CPU time in seconds for a new process, or None if either is too short."""
        if self._started_at is None:
            # Not in `__init__`: with `pytest --submission` pytest collects the checks after that,
            # and their time is not the submission's.
            self._started_at = time.monotonic()
        wall_s = self._started_at + self._limits.submission_timeout_s - time.monotonic()
        enough = wall_s > MIN_S_FOR_A_PROCESS and self._cpu_s > MIN_S_FOR_A_PROCESS
        return (wall_s, self._cpu_s) if enough else None

    def spend_cpu(self, seconds: float) -> None:
        """Subtract the CPU time of a process that has ended."""
        self._cpu_s -= seconds

    def spend_output(self, size_bytes: int) -> None:
        """Subtract the size of a cell's output or of an answer."""
        self.output_bytes = max(0, self.output_bytes - size_bytes)
