"""Length-prefixed JSON frames over two pipes, each with a size limit and a deadline.

The other end may be hostile. The length of a frame is checked before any of it is read, and a peer
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

READ_BYTES = 1 << 20


class WireClosed(Exception):
    """The other end has closed."""


class WireTimeout(Exception):
    """The deadline has passed."""


class WireGarbage(Exception):
    """The bytes received are not a valid frame: too long, not JSON, or not an object."""


class Wire:
    """A connection that sends and receives frames; it owns both descriptors.

    Attributes
    ----------
    last_bytes
        The length of the last frame received.
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd, self._write_fd = read_fd, write_fd
        self.last_bytes = 0
        # Polling tells that a pipe can take something, not how much. A blocking write of a large
        # frame would wait for the peer beyond any deadline.
        for fd in (read_fd, write_fd):
            os.set_blocking(fd, False)

    @classmethod
    def to_process(cls, process: subprocess.Popen[bytes]) -> Wire:
        """Return the wire to a process started with pipes on both ends, and take them over."""
        if process.stdin is None or process.stdout is None:
            raise ValueError("the process needs pipes for standard input and output")
        # Duplicates, because `Popen` closes its own file objects when they are collected.
        with process.stdin, process.stdout:
            return cls(os.dup(process.stdout.fileno()), os.dup(process.stdin.fileno()))

    def send(self, value: dict[str, Any], *, deadline: float) -> None:
        """Write one frame; `deadline` is a `time.monotonic` instant, or infinity.

        Raises
        ------
        WireClosed, WireTimeout
            If the other end has closed, or did not read in time.
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
            If the other end has closed, sent no whole frame before `deadline`, or sent something
            that is not a frame.
        """
        (length,) = HEADER.unpack(self._read_exactly(HEADER.size, deadline))
        if length > max_bytes:
            raise WireGarbage(f"a frame of {length} bytes; at most {max_bytes} are allowed")
        self.last_bytes = length
        try:
            value = json.loads(self._read_exactly(length, deadline))
        except (ValueError, RecursionError):  # deep nesting exhausts the parser's stack
            raise WireGarbage("a frame that is not JSON") from None
        if not isinstance(value, dict):
            raise WireGarbage("a frame that is not a JSON object")
        return value

    def close(self) -> None:
        """Close both descriptors; may be called twice."""
        # The numbers are forgotten first: after closing, they may belong to other files, which a
        # second call must not close.
        fds, self._read_fd, self._write_fd = (self._read_fd, self._write_fd), -1, -1
        for fd in fds:
            if fd >= 0:
                os.close(fd)

    def _read_exactly(self, amount: int, deadline: float) -> bytes:
        parts: list[bytes] = []
        while amount:
            _wait(self._read_fd, select.POLLIN, deadline)
            try:
                part = os.read(self._read_fd, min(amount, READ_BYTES))
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
