"""Length-prefixed JSON frames over two pipes, with a size cap and a deadline for each.

The other end may be hostile: a frame's length is checked before a byte of it is kept, and a peer
that stops reading or writing runs into the deadline instead of blocking this process.
"""

from __future__ import annotations

import json
import math
import os
import select
import subprocess
import time
from typing import Any

from nbmark.sandbox.inside.frames import HEADER, pack


class WireClosed(Exception):
    """The other end is gone."""


class WireTimeout(Exception):
    """The deadline passed."""


class WireGarbage(Exception):
    """What came is no frame of ours: too long, no JSON, or not an object."""


class Wire:
    """Both directions of a conversation; owns the two descriptors.

    Attributes
    ----------
    last_bytes
        The length of the last frame that came.
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd, self._write_fd = read_fd, write_fd
        self.last_bytes = 0
        for fd in (read_fd, write_fd):
            os.set_blocking(fd, False)

    @classmethod
    def to_process(cls, process: subprocess.Popen[bytes]) -> Wire:
        """The wire to a process that was started with pipes on both ends; takes them over."""
        if process.stdin is None or process.stdout is None:
            raise ValueError("the process needs pipes for standard input and output")
        with process.stdin, process.stdout:
            return cls(os.dup(process.stdout.fileno()), os.dup(process.stdin.fileno()))

    def send(self, value: dict[str, Any], *, deadline: float) -> None:
        """Write one frame; `deadline` is a `time.monotonic` instant, or infinity.

        Raises
        ------
        WireClosed, WireTimeout
            If the other end is gone, or did not read in time.
        """
        data = memoryview(pack(value))
        while data:
            _wait(self._write_fd, select.POLLOUT, deadline)
            try:
                data = data[os.write(self._write_fd, data) :]
            except BlockingIOError:
                continue
            except OSError:
                raise WireClosed from None

    def receive(self, *, deadline: float, max_bytes: int) -> dict[str, Any]:
        """Read one frame of at most `max_bytes`.

        Raises
        ------
        WireClosed, WireTimeout, WireGarbage
            If the other end is gone, was silent until `deadline`, or sent what is no frame.
        """
        (length,) = HEADER.unpack(self._read_exactly(HEADER.size, deadline))
        if length > max_bytes:
            raise WireGarbage(f"a frame of {length} bytes; at most {max_bytes} are allowed")
        self.last_bytes = length
        try:
            value = json.loads(self._read_exactly(length, deadline))
        except (ValueError, RecursionError):
            raise WireGarbage("a frame that is no JSON") from None
        if not isinstance(value, dict):
            raise WireGarbage("a frame that is no object")
        return value

    def close(self) -> None:
        """Give the descriptors back; may be called twice, though their numbers get new owners."""
        fds, self._read_fd, self._write_fd = (self._read_fd, self._write_fd), -1, -1
        for fd in fds:
            if fd >= 0:
                os.close(fd)

    def _read_exactly(self, amount: int, deadline: float) -> bytes:
        parts: list[bytes] = []
        while amount:
            _wait(self._read_fd, select.POLLIN, deadline)
            try:
                part = os.read(self._read_fd, min(amount, 1 << 20))
            except BlockingIOError:
                continue
            if not part:
                raise WireClosed
            parts.append(part)
            amount -= len(part)
        return b"".join(parts)


def _wait(fd: int, event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(fd, event)
    remaining_ms = max(0.0, deadline - time.monotonic()) * 1000
    if not poll.poll(None if math.isinf(deadline) else remaining_ms):
        raise WireTimeout
