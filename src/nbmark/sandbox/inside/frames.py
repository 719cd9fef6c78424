"""Frames: four bytes of length (big endian) and a JSON object, over any descriptor."""

import json
import os
import struct

HEADER = struct.Struct(">I")
MAX_BYTES = 64 << 20


class Garbage(Exception):
    """What came is no frame."""


class Reader:
    """Takes frames out of what arrives piece by piece."""

    def __init__(self, fd):
        self._fd = fd
        self._kept = bytearray()

    def read(self):
        """The next frame, None once the other end has closed; waits for it."""
        while True:
            frame = self.next()
            if frame is not None:
                return frame
            if not self.feed():
                return None

    def feed(self):
        """Keep what has arrived; False once the other end has closed."""
        data = os.read(self._fd, 1 << 20)
        self._kept += data
        return bool(data)

    def next(self):
        """A frame that is complete, else None."""
        if len(self._kept) < HEADER.size:
            return None
        end = HEADER.size + HEADER.unpack_from(self._kept)[0]
        if end > MAX_BYTES:
            raise Garbage
        if len(self._kept) < end:
            return None
        body = bytes(self._kept[HEADER.size : end])
        del self._kept[:end]
        try:
            frame = json.loads(body)
        except (ValueError, RecursionError):
            raise Garbage from None
        if not isinstance(frame, dict):
            raise Garbage
        return frame


def pack(value: object, default: object = None) -> bytes:
    """Return the bytes of one frame; `default` turns what is not JSON into JSON, as in `json`."""
    body = json.dumps(value, default=default).encode()
    return HEADER.pack(len(body)) + body


def write(fd, value, default=None):
    """Write one frame, however often the descriptor takes only a part; `default` as in `pack`."""
    data = memoryview(pack(value, default))
    while data:
        data = data[os.write(fd, data) :]
