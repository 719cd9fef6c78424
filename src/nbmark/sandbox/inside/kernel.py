"""The kernel of one submission: ipykernel's own, with frames in place of ZeroMQ.

It is made once, before the fork, and runs in the child: cells and questions come in as frames from
the driver, outputs and replies go out. The agent is a module of this process and not a name in the
notebook: a student's variables stay theirs.
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

SHOWN = ("display_data", "execute_result", "error", "clear_output")
# Text is sent on when there is so much of it, or when it has waited so long.
STREAM_CHARS = 16_384
STREAM_WAIT_S = 0.2
PR_SET_DUMPABLE = 4


class Kernel:
    """An IPython kernel that is ready to run a notebook."""

    def __init__(self):
        self._channel = Channel()
        sys.modules["debugpy"] = None  # ipykernel would load a debugger that nobody uses here
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
        self._ipython.io_loop = types.SimpleNamespace(call_later=lambda *args: None, stop=None)

    def try_out(self, code):
        """Run a cell of our own, before the fork: neither a name nor a number stays of it."""
        shell = self._ipython.shell
        names = dict(shell.user_ns)
        loop = asyncio.new_event_loop()
        loop.run_until_complete(self._ipython.do_execute(code, silent=False, store_history=False))
        loop.close()
        shell.user_ns.clear()
        shell.user_ns.update(names)

    def run(self, fd):
        """Obey the driver at `fd` until it is gone; outputs of other programs go to 1 and 2."""
        self._channel.open(fd)
        sys.stdout, sys.stderr = (
            Stream(self._channel, n, name) for n, name in ((1, "stdout"), (2, "stderr"))
        )
        sys.stdin = open(os.devnull)  # for as long as the process lives
        _become_another()
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        operations = {"cell": self._run_cell, "ask": self._ask, "furnish": self._furnish}
        requests = frames.Reader(fd)
        while (request := requests.read()) is not None:
            number, operation = request.pop("id"), request.pop("op")
            with self._channel.interruptible():
                reply = operations[operation](**request)
            sys.stdout.flush()
            sys.stderr.flush()
            if self._ipython.shell.exit_now:  # exit() or quit()
                os._exit(0)
            self._channel.send({"id": number, "reply": reply})

    def _run_cell(self, code):
        try:
            reply = self._loop.run_until_complete(
                self._ipython.do_execute(code, silent=False, store_history=True)
            )
        except (Exception, KeyboardInterrupt) as error:  # a notebook that meddles with IPython
            reply = {"status": "error", "ename": type(error).__name__}
        return {
            "status": str(reply.get("status")),
            "execution_count": reply.get("execution_count"),
            "error_name": str(reply.get("ename", ""))[:200],
            "error_message": str(reply.get("evalue", ""))[:500],
        }

    def _ask(self, question, max_bytes):
        return {"answer": agent.answer(question, self._ipython.shell.user_ns, max_bytes)}

    def _furnish(self, text):
        agent.furnish(text)
        return {}


class Channel:
    """The way out of this process: whole frames, whoever writes and whenever it is interrupted."""

    def __init__(self):
        self._lock = threading.RLock()
        self._fd, self.owner = -1, 0
        self._may_interrupt = self._sending = self._interrupted = False

    def open(self, fd):
        self._fd, self.owner = fd, os.getpid()
        signal.signal(signal.SIGINT, self._on_interrupt)

    def send(self, value):
        """Send one frame; from a process that a student forked, nothing."""
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
        """For the length of the block, SIGINT is a KeyboardInterrupt."""
        self._interrupted, self._may_interrupt = False, True
        try:
            yield
        except KeyboardInterrupt:
            raise SystemExit(1) from None  # nothing of ours lets one pass
        finally:
            self._may_interrupt = self._interrupted = False

    def _on_interrupt(self, number, frame):
        if self._may_interrupt and self._sending:
            self._interrupted = True
        elif self._may_interrupt:
            raise KeyboardInterrupt


class FrameSession(Session):
    """What ipykernel takes for a ZeroMQ session."""

    def __init__(self, channel):
        super().__init__()
        self._channel = channel

    def send(self, stream, msg_or_type, content=None, *args, **kwargs):
        if isinstance(msg_or_type, dict):
            kind, content = msg_or_type["header"]["msg_type"], msg_or_type["content"]
        else:
            kind = msg_or_type
        if kind in SHOWN:
            self._channel.send({"output": kind, "content": content})


class Stream(io.TextIOBase):
    """``sys.stdout`` or ``sys.stderr``: text in the order of all other outputs."""

    encoding, errors = "utf-8", "replace"

    def __init__(self, channel, fd, name):
        self._channel, self._fd, self._name = channel, fd, name
        self._lock = threading.RLock()
        self._parts, self._chars, self._sent_at = [], 0, time.monotonic()

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if os.getpid() != self._channel.owner:  # a process that the notebook forked
            os.write(self._fd, text.encode("utf-8", "replace"))
            return len(text)
        with self._lock:
            self._parts.append(text)
            self._chars += len(text)
            waited = time.monotonic() - self._sent_at
        if self._chars > STREAM_CHARS or waited > STREAM_WAIT_S:
            self.flush()
        return len(text)

    def flush(self):
        if os.getpid() != self._channel.owner:
            return
        with self._lock:
            text, self._parts, self._chars = "".join(self._parts), [], 0
            self._sent_at = time.monotonic()
        for start in range(0, len(text), STREAM_CHARS):
            self._channel.send(
                {
                    "output": "stream",
                    "content": {"name": self._name, "text": text[start : start + STREAM_CHARS]},
                }
            )

    def fileno(self):
        return self._fd

    def writable(self):
        return True


def fork(kernel):
    """A child that runs `kernel`: its process id, the socket to it, its standard output and error.

    The child has nothing else of this process open.
    """
    ours, theirs = socket.socketpair()
    (out, out_end), (err, err_end) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()  # a signal to the notebook's own process group is not for its driver
        _only(os.open(os.devnull, os.O_RDONLY), out_end, err_end, theirs.fileno())
        # Of its driver's: so that its own files under /proc are its own.
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
        try:
            kernel.run(3)
        finally:
            os._exit(1)
    for fd in (theirs.detach(), out_end, err_end):
        os.close(fd)
    return pid, ours, out, err


def _only(*fds):
    """Make these the descriptors 0, 1, 2, … and close all others."""
    above = [fcntl.fcntl(fd, fcntl.F_DUPFD, len(fds)) for fd in fds]
    for number, fd in enumerate(above):
        os.dup2(fd, number)
    os.closerange(len(fds), 1 << 16)


def _become_another():
    """What must not be the same in two children of one process."""
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy:
        numpy.random.seed()
    sys.path[0:0] = [""]  # as in any notebook: the working directory
