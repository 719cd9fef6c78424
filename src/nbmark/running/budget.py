"""What is left of a submission's time, computing time and room for outputs.

One account for all of its notebooks and all of their processes.
"""

from __future__ import annotations

import time

from nbmark.limits import Limits

TOO_LITTLE_S = 1.0


class Budget:
    """The account of one submission; its clock starts with `begin`.

    Attributes
    ----------
    output_bytes
        How much may still be printed and answered.
    """

    def __init__(self, limits: Limits) -> None:
        self.output_bytes = limits.output_kib << 10
        self._limits = limits
        self._began: float | None = None
        self._cpu_s = limits.cpu_s

    def begin(self) -> tuple[float, float] | None:
        """Wall and CPU time in seconds for a new process, None if too little is left of either."""
        if self._began is None:
            self._began = time.monotonic()
        wall_s = self._began + self._limits.submission_timeout_s - time.monotonic()
        enough = wall_s > TOO_LITTLE_S and self._cpu_s > TOO_LITTLE_S
        return (wall_s, self._cpu_s) if enough else None

    def spend_cpu(self, seconds: float) -> None:
        """A process has ended that used so much computing time."""
        self._cpu_s -= seconds

    def spend_output(self, size_bytes: int) -> None:
        """A cell has shown so much, or a question was answered by so much."""
        self.output_bytes = max(0, self.output_bytes - size_bytes)
