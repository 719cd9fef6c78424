"""The kernel of one submission: ipykernel's own, with frames in place of ZeroMQ.

It is created before the fork and runs in the child. Cells and questions arrive as frames from the
driver; outputs and replies leave as frames. The agent is a module of this process and not a name in
the notebook, so a student's variables cannot clash with it.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import io
import logging
import os
import random
import signal
import socket
import sys
import threading
import time
import types

from ipykernel.ipkernel import IPythonKernel
from jupyter_client.session import Session
from traitlets.config import Config

from . import agent, frames

# Other messages, such as those of widgets, have no place among a cell's saved outputs.
FORWARDED_KINDS = ("display_data", "execute_result", "error", "clear_output")
# A frame for every `print` would be slow. Text is collected up to this length and this age.
STREAM_CHARS = 16_384
STREAM_WAIT_S = 0.2
PR_SET_DUMPABLE = 4
MAX_DESCRIPTORS = 1 << 16


class Kernel:
    """An IPython kernel that is ready to run a notebook."""

    def __init__(self):
        self._channel = Channel()
        # ipykernel loads a debugger if it can import one. A notebook may still do so later.
        sys.modules["debugpy"] = None
        # With history on, IPython would open a database and start a thread that writes to it, and
        # no thread survives a fork. With a cache, it would keep every displayed object.
        config = Config(
            {"InteractiveShell": {"cache_size": 0}, "HistoryManager": {"enabled": False}}
        )
        self._ipython = IPythonKernel(
            config=config,
            log=logging.getLogger("kernel"),
            session=FrameSession(self._channel),
            iopub_socket=object(),
            shell_channel_thread=types.SimpleNamespace(parent_thread=threading.main_thread()),
        )
        del sys.modules["debugpy"]
        # exit() in a cell stops ipykernel's event loop, which does not exist here. `run` checks
        # `exit_now` instead.
        self._ipython.io_loop = types.SimpleNamespace(call_later=lambda *args: None, stop=None)

    def try_out(self, code):
        """Run a cell of our own before the fork; it leaves no name and no cell number behind."""
        shell = self._ipython.shell
        names = dict(shell.user_ns)
        loop = asyncio.new_event_loop()
        loop.run_until_complete(self._ipython.do_execute(code, silent=False, store_history=False))
        loop.close()
        shell.user_ns.clear()
        shell.user_ns.update(names)

    def run(self, fd):
        """Carry out the driver's requests at `fd` until it closes."""
        self._channel.open(fd)
        self._set_up_process()
        operations = {"cell": self._run_cell, "ask": self._ask, "furnish": self._furnish}
        requests = frames.Reader(fd)
        while (request := requests.read()) is not None:
            number, operation = request.pop("id"), request.pop("op")
            with self._channel.interruptible():
                reply = operations[operation](**request)
            # The driver stops collecting a cell's outputs at the reply, so they go first.
            sys.stdout.flush()
            sys.stderr.flush()
            if self._ipython.shell.exit_now:  # exit() or quit()
                os._exit(0)
            self._channel.send({"id": number, "reply": reply})

    def _set_up_process(self):
        """Give this process streams, an event loop and random states of its own."""
        # Only programs that the notebook starts write to the driver's pipes. Python's own text
        # takes the channel, to stay in order with the other outputs.
        sys.stdout = Stream(self._channel, 1, "stdout")
        sys.stderr = Stream(self._channel, 2, "stderr")
        sys.stdin = open(os.devnull)
        # Children of one server would otherwise all draw the same random numbers.
        random.seed()
        numpy = sys.modules.get("numpy")
        if numpy:
            numpy.random.seed()
        sys.path[0:0] = [""]  # the working directory, as in any notebook
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)

    def _run_cell(self, code):
        try:
            reply = self._loop.run_until_complete(
                self._ipython.do_execute(code, silent=False, store_history=True)
            )
        except (Exception, KeyboardInterrupt) as error:
            # IPython reports a cell's errors itself. One that arrives here comes from a notebook
            # that has changed IPython.
            reply = {"status": "error", "ename": type(error).__name__}
        return {
            "status": str(reply.get("status")),
            "execution_count": reply.get("execution_count"),
            "error_name": str(reply.get("ename", ""))[:200],
            "error_message": str(reply.get("evalue", ""))[:2000],
        }

    def _ask(self, question, max_bytes):
        return {"answer": agent.answer(question, self._ipython.shell.user_ns, max_bytes)}

    def _furnish(self, text):
        agent.furnish(text)
        return {}


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
                frames.write(self._fd, value, default=str)  # students display any object
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


class Stream(io.TextIOBase):
    """A ``sys.stdout`` or ``sys.stderr`` whose text keeps its order among all outputs."""

    encoding, errors = "utf-8", "replace"

    def __init__(self, channel, fd, name):
        self._channel, self._fd, self._name = channel, fd, name
        self._lock = threading.RLock()
        self._parts, self._chars, self._sent_at = [], 0, time.monotonic()

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
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
            content = {"name": self._name, "text": text[start : start + STREAM_CHARS]}
            self._channel.send({"output": "stream", "content": content})

    def fileno(self):
        return self._fd

    def writable(self):
        return True


def fork(kernel):
    """Fork a child that runs `kernel` and has no other descriptor of this process.

    Returns its process id, the socket to it, and the ends of its standard output and error.
    """
    driver_end, kernel_end = socket.socketpair()
    (out, out_end), (err, err_end) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        # A signal to the notebook's own process group must not reach the driver.
        os.setsid()
        _renumber(os.open(os.devnull, os.O_RDONLY), out_end, err_end, kernel_end.fileno())
        # The driver made itself not dumpable and the fork inherits that. The notebook must be able
        # to read its own files under /proc.
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
        try:
            kernel.run(3)
        finally:
            os._exit(1)
    for fd in (kernel_end.detach(), out_end, err_end):
        os.close(fd)
    return pid, driver_end, out, err


def _renumber(*fds):
    """Make these the descriptors 0, 1, 2, … and close all others."""
    # First out of the way: `dup2` to a low number could close one that is still to be moved.
    high_fds = [fcntl.fcntl(fd, fcntl.F_DUPFD, len(fds)) for fd in fds]
    for number, fd in enumerate(high_fds):
        os.dup2(fd, number)
    os.closerange(len(fds), MAX_DESCRIPTORS)
