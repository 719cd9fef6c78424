"""The kernel's connection to the driver: frames in place of ipykernel's ZeroMQ sockets."""

import contextlib
import io
import os
import signal
import threading
import time

from jupyter_client.jsonutil import json_default
from jupyter_client.session import Session

from .. import frames

# Other messages, such as those of widgets, have no place among a cell's saved outputs.
FORWARDED_KINDS = ("display_data", "update_display_data", "execute_result", "error", "clear_output")
# A frame for every `print` would be slow. Text is collected up to this length and this age.
STREAM_CHARS = 16_384
STREAM_WAIT_S = 0.2


class Channel:
    """The connection to the driver; it sends whole frames from any thread, despite interrupts."""

    def __init__(self):
        # Reentrant: `str` of a displayed object may print, which sends a frame within `send`.
        self._lock = threading.RLock()
        self._fd, self.owner = -1, 0
        self._may_interrupt = self._sending = self._interrupted = False

    def open(self, fd):
        self._fd, self.owner = fd, os.getpid()
        signal.signal(signal.SIGINT, self._on_interrupt)

    def send(self, value):
        """Send one frame; a process that the notebook has forked sends nothing."""
        # The fork shares this socket: its frames would mix with the kernel's.
        if os.getpid() != self.owner:
            return
        with self._lock:
            self._sending = True
            try:
                frames.write(self._fd, value, default=_plain)
            finally:
                self._sending = False
        if self._interrupted:
            self._interrupted = False
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def interruptible(self):
        """Turn SIGINT into a KeyboardInterrupt for the length of the block."""
        self._interrupted, self._may_interrupt = False, True
        try:
            yield
        except KeyboardInterrupt:
            # The operations handle interrupts themselves. One that passes them has stopped some
            # other step halfway, so the kernel must not go on.
            raise SystemExit(1) from None
        finally:
            self._may_interrupt = self._interrupted = False

    def _on_interrupt(self, number, frame):
        # Half a frame would make all that follows unreadable, so `send` finishes it first. An
        # interrupt between two requests came too late for its cell and is ignored.
        if self._may_interrupt and self._sending:
            self._interrupted = True
        elif self._may_interrupt:
            raise KeyboardInterrupt


def _plain(value):
    """Return what JSON can hold for a value: pictures in base64, other objects as text."""
    try:
        return json_default(value)
    except TypeError:
        return str(value)  # students display any object


class FrameSession(Session):
    """A session for ipykernel that sends frames instead of ZeroMQ messages."""

    def __init__(self, channel):
        super().__init__()
        self._channel = channel

    def send(self, stream, msg_or_type, content=None, *args, **kwargs):
        if isinstance(msg_or_type, dict):
            kind, content = msg_or_type["header"]["msg_type"], msg_or_type["content"]
        else:
            kind = msg_or_type
        if kind in FORWARDED_KINDS:
            self._channel.send({"output": kind, "content": content})


class OutStream(io.TextIOBase):
    """A ``sys.stdout`` or ``sys.stderr`` whose text keeps its order among all outputs.

    It has the name of ipykernel's class, which libraries look for.
    """

    encoding, errors = "UTF-8", "replace"

    def __init__(self, channel, fd, name):
        self._channel, self._fd, self.name = channel, fd, name
        self._lock = threading.RLock()
        self._parts, self._chars, self._sent_at = [], 0, time.monotonic()

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text)}")
        # A process that the notebook has forked may not use the channel, so it writes to the pipe.
        if os.getpid() != self._channel.owner:
            os.write(self._fd, text.encode("utf-8", "replace"))
            return len(text)
        with self._lock:
            self._parts.append(text)
            self._chars += len(text)
            waited_s = time.monotonic() - self._sent_at
        if self._chars > STREAM_CHARS or waited_s > STREAM_WAIT_S:
            self.flush()
        return len(text)

    def flush(self):
        if os.getpid() != self._channel.owner:
            return
        with self._lock:
            text, self._parts, self._chars = "".join(self._parts), [], 0
            self._sent_at = time.monotonic()
        # In pieces, so that one huge text is cut at the limit and not dropped as a whole.
        for start in range(0, len(text), STREAM_CHARS):
            content = {"name": self.name, "text": text[start : start + STREAM_CHARS]}
            self._channel.send({"output": "stream", "content": content})

    def fileno(self):
        return self._fd

    def writable(self):
        return True
