"""The kernel of one submission: ipykernel's own, with frames in place of ZeroMQ.

It is created before the fork and runs in the child. Cells and questions arrive as frames from the
driver; outputs and replies leave as frames. The agent is a module of this process and not a name in
the notebook, so a student's variables cannot clash with it.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import os
import random
import re
import resource
import socket
import sys

from tornado.ioloop import IOLoop

from .. import agent, frames
from . import plots
from .application import IPKernelApp
from .channel import Channel, OutStream

PR_SET_DUMPABLE = 4
MAX_DESCRIPTORS = 1 << 16
# `Out` keeps the result of every cell, as long as this part of the allowed memory is not in use.
OUT_SHARE = 0.5
INSTALLS = re.compile(r"\b(pip3?|conda|mamba|uv)\b.*\b(un)?install\b")
NO_NETWORK = (
    "Nothing can be installed while your work is graded: there is no network. "
    "Only the libraries of the course are there.\n"
)


class Kernel:
    """An IPython kernel that is ready to run a notebook."""

    def __init__(self):
        self._channel = Channel()
        plots.keep_pictures()
        self._application = IPKernelApp.instance(channel=self._channel)
        self._application.initialize([])
        self._ipython = self._application.kernel
        self._ipython.shell.events.register("post_run_cell", _explain_installs)

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
        sys.stdout = OutStream(self._channel, 1, "stdout")
        sys.stderr = OutStream(self._channel, 2, "stderr")
        sys.stdin = open(0, closefd=False)
        # Children of one server would otherwise all draw the same random numbers.
        random.seed()
        numpy = sys.modules.get("numpy")
        if numpy:
            numpy.random.seed()
        self._application.set_up_files()
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._ipython.io_loop = IOLoop.current()
        self._cell = None  # the task that runs a cell

    def _run_cell(self, code):
        try:
            self._announce(code)
            reply = self._loop.run_until_complete(self._execute(code))
            # A cell that keeps every file open that it may open leaves none for this.
            with contextlib.suppress(OSError):
                self._forget_results()
        except (Exception, KeyboardInterrupt, asyncio.CancelledError) as error:
            # IPython reports a cell's errors itself. One that arrives here interrupted an
            # `await`, or comes from a notebook that has changed IPython.
            reply = {"status": "error", "ename": type(error).__name__}
        self._cancel_cell()
        return {
            "status": str(reply.get("status")),
            "execution_count": reply.get("execution_count"),
            "error_name": str(reply.get("ename", ""))[:200],
            "error_message": str(reply.get("evalue", ""))[:2000],
        }

    async def _execute(self, code):
        self._cell = asyncio.current_task()
        return await self._ipython.do_execute(code, silent=False, cell_meta={})

    def _cancel_cell(self):
        """Cancel the task of a cell that was interrupted, or later cells would run it on."""
        if self._cell and not self._cell.done():
            self._cell.cancel()
            with contextlib.suppress(Exception, asyncio.CancelledError):
                self._loop.run_until_complete(self._cell)

    def _announce(self, code):
        """Make the cell the parent of its messages, because widgets and others ask for it."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": False,
        }
        message = self._ipython.session.msg("execute_request", content)
        self._ipython.set_parent([], message, channel="shell")

    def _forget_results(self):
        """Drop all but the last three results of cells if they may use too much memory."""
        allowed_bytes, _ = resource.getrlimit(resource.RLIMIT_DATA)
        if allowed_bytes == resource.RLIM_INFINITY or used_bytes() < allowed_bytes * OUT_SHARE:
            return
        shell = self._ipython.shell
        results = shell.user_ns["_oh"]
        for number in sorted(results)[:-3]:
            del results[number]
            for names in (shell.user_ns, shell.user_ns_hidden):
                names.pop(f"_{number}", None)

    def _ask(self, question, max_bytes):
        return {"answer": agent.answer(question, self._ipython.shell.user_ns, max_bytes)}

    def _furnish(self, text):
        agent.furnish(text)
        return {}


def used_bytes():
    """Return the memory that this process uses."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def _explain_installs(result):
    """Say why a cell could not install a library, where pip names another reason."""
    failed = not result.success or sys.modules["__main__"].__dict__.get("_exit_code")
    if failed and INSTALLS.search(result.info.raw_cell or ""):
        sys.stderr.write(NO_NETWORK)


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
