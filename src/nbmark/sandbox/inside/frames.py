"""Frames over any descriptor: four bytes of length (big endian), then a JSON object."""

import json
import os
import struct

HEADER = struct.Struct(">I")
# A header may claim 4 GiB. The driver must not collect that much for a kernel that lies.
MAX_BYTES = 64 << 20
READ_BYTES = 1 << 20


class Garbage(Exception):
    """The bytes received are not a frame."""


class Reader:
    """A reader that assembles frames from bytes as they arrive."""

    def __init__(self, fd):
        self._fd = fd
        self._buffer = bytearray()

    def read(self):
        """Wait for the next frame and return it, or None once the other end has closed."""
        while True:
            frame = self.next()
            if frame is not None:
                return frame
            if not self.feed():
                return None

    def feed(self):
        """Buffer the bytes that have arrived; return False once the other end has closed."""
        data = os.read(self._fd, READ_BYTES)
        self._buffer += data
        return bool(data)

    def next(self):
        """Return the next complete frame from the buffer, or None."""
        if len(self._buffer) < HEADER.size:
            return None
        end = HEADER.size + HEADER.unpack_from(self._buffer)[0]
        # Checked before the frame is complete, so that the buffer cannot grow beyond it.
        if end > MAX_BYTES:
            raise Garbage
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[HEADER.size : end])
        del self._buffer[:end]
        try:
            frame = json.loads(body)
        except (ValueError, RecursionError):  # deep nesting exhausts the parser's stack
            raise Garbage from None
        if not isinstance(frame, dict):
            raise Garbage
        return frame


def pack(value: object, default: object = None) -> bytes:
    """Return the bytes of one frame; `default` converts other objects, as in `json`."""
    body = json.dumps(value, default=default).encode()
    return HEADER.pack(len(body)) + body


def write(fd, value, default=None):
    """Write one whole frame, in as many parts as the descriptor takes; `default` as in `pack`."""
    data = memoryview(pack(value, default))
    while data:
        data = data[os.write(fd, data) :]
