"""Computing time and idle time: the two measures by which code is stopped.

Computing time decides, because other work on the machine does not change it. Code that sleeps or
waits uses none, so idle time is the backstop.
"""

import time

# Other work leaves a process only a share of a processor. Down to a tenth, no second counts as
# idle: this many seconds of wall time belong to each second of computing time.
WALL_S_PER_CPU_S = 10.0
# The driver interrupts code that has reached a limit, and kills it after as much again as this. A
# cell may catch the interrupt to tidy up.
GRACE_CPU_S, GRACE_IDLE_S = 3.0, 10.0


def idle_s(wall_s: float, cpu_s: float) -> float:
    """Return the part of a period in which nothing was computed; computing makes up for it."""
    return wall_s - WALL_S_PER_CPU_S * cpu_s


def longest_s(idle_limit_s: float, cpu_limit_s: float) -> float:
    """Return the wall time after which one of the two limits has been reached for certain."""
    return idle_limit_s + WALL_S_PER_CPU_S * cpu_limit_s


def process_cpu_s(pid):
    """Return the computing time of a process that has not been reaped, all threads together."""
    # Linux's number for the clock of another process, as clock_getcpuclockid(3) makes it. Reading
    # it takes a microsecond, a file in /proc takes ten.
    return time.clock_gettime((~pid << 3) | 2)


class Stopwatch:
    """The time of one process from now on, with a limit on its computing and on its idle time."""

    def __init__(self, pid, cpu_limit_s, idle_limit_s):
        self._pid = pid
        self._cpu_limit_s, self._idle_limit_s = cpu_limit_s, idle_limit_s
        self._began_s, self._cpu_at_begin_s = time.monotonic(), process_cpu_s(pid)

    def limit_reached(self):
        """Return ``cpu`` or ``clock``, the limit that the process has reached, or ""."""
        cpu_s = process_cpu_s(self._pid) - self._cpu_at_begin_s
        if cpu_s > self._cpu_limit_s:
            return "cpu"
        wall_s = time.monotonic() - self._began_s
        return "clock" if idle_s(wall_s, cpu_s) > self._idle_limit_s else ""
