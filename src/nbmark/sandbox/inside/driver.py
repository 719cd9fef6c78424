"""A driver: it runs one submission's kernel in the sandbox and obeys the trusted side.

Each request has an ``id``, which the reply repeats. ``start`` sets the limits and starts the
kernel, ``furnish`` puts files beside the notebook, ``cell`` runs one cell, ``question`` puts one
question to the agent. The driver is process 1 of its PID namespace, so nothing inside can kill,
stop or open it.
"""

import ctypes
import itertools
import os
import resource
import select
import signal

from . import agent, frames
from .clocks import GRACE_CPU_S, GRACE_IDLE_S, Stopwatch
from .ipython.kernel import PR_SET_DUMPABLE, Kernel, fork
from .outputs import Outputs

# The limits of a request are checked this often. Most requests have ended before the first time.
STEP_S = 0.1
READ_BYTES = 1 << 16


def main():
    """Serve on standard input and output, with a kernel made here."""
    # The kernel is forked from this process. Nothing in it may write into the frames.
    requests, replies = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    serve(requests, replies, Kernel())


def serve(requests, replies, kernel):
    """Carry out requests until the trusted side closes the wire."""
    # From inside its namespace, process 1 gets only those signals for which it has a handler, and
    # Python installs one for SIGINT.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The notebook has the same user id. A process that is not dumpable keeps its descriptors and
    # memory under /proc from it.
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    driver = Driver(kernel)
    operations = {
        "start": driver.start,
        "furnish": driver.furnish,
        "cell": driver.run_cell,
        "question": driver.ask,
    }
    reader = frames.Reader(requests)
    while (request := reader.read()) is not None:
        reply = operations[request["op"]](**request["args"])
        frames.write(replies, {"id": request["id"], **reply})
    driver.stop()


class Driver:
    """A controller of one kernel process, which collects all that comes out of it."""

    def __init__(self, kernel):
        self._kernel = kernel
        self._numbers = itertools.count()
        self._pid = None

    def start(self, limits):
        """Set the limits and start the kernel's process."""
        set_limits(limits)
        self._pid, self._socket, *streams = fork(self._kernel)
        self._frames = frames.Reader(self._socket.fileno())
        self._streams = dict(zip(streams, ("stdout", "stderr"), strict=True))
        # The socket alone would not show the kernel's end: a process that the notebook has forked
        # may still hold it open.
        self._death = os.pidfd_open(self._pid)
        self._poll = select.poll()
        for fd in (self._socket.fileno(), self._death, *streams):
            self._poll.register(fd, select.POLLIN)
        return {"status": "ok"}

    def furnish(self, text, limits):
        """Put the assignment's files beside the notebook and set environment variables."""
        status, _, _ = self._request({"op": "furnish", "text": text}, limits, Outputs(0))
        return {"status": status}

    def run_cell(self, code, limits, max_output_bytes):
        """Run one cell and return its status and outputs."""
        outputs = Outputs(max_output_bytes)
        status, limit, reply = self._request({"op": "cell", "code": code}, limits, outputs)
        if status == "ok" and reply.get("status") != "ok":
            status = "error"
        # The student's code can make the kernel send anything, so each field that goes out gets a
        # fixed type and size.
        count = reply.get("execution_count")
        return {
            "status": status,
            "limit": limit,
            "outputs": outputs.items,
            "truncated": outputs.truncated,
            "execution_count": count if type(count) is int else None,
            "error_name": _text(reply.get("error_name"), 200),
            "error_message": _text(reply.get("error_message"), 500),
        }

    def ask(self, question, limits, max_bytes):
        """Return the agent's answer to one question."""
        request = {"op": "ask", "question": question, "max_bytes": max_bytes}
        status, limit, reply = self._request(request, limits, Outputs(0))
        answer = reply.get("answer")
        if isinstance(answer, str) and len(answer) > max_bytes:
            answer = agent.TOO_LARGE
        text = answer if isinstance(answer, str) else ""
        return {"status": status, "limit": limit, "answer": text}

    def stop(self):
        """Kill the kernel if it is still running."""
        if self._pid is not None and not self._has_ended():
            os.kill(self._pid, signal.SIGKILL)

    def _request(self, request, limits, outputs):
        """Return the status of a request, the limit that it reached, and the kernel's reply.

        The status is ``ok``, ``timeout`` (interrupted at a limit), ``stuck`` (ignored the
        interrupt and was killed), ``garbage`` (sent something that is not a frame) or ``died``.
        `limits` are the arguments of a `Stopwatch`, and it names the limit.
        """
        number = next(self._numbers)
        limit = ""
        try:
            # Outputs that arrived between two requests belong to neither, so they are dropped.
            self._receive(0, None, Outputs(0))
            stopwatch = Stopwatch(self._pid, **limits)
            # A kernel that no longer reads must not block the driver.
            self._socket.settimeout(limits["idle_limit_s"])
            self._socket.sendall(frames.pack({"id": number, **request}))
            while not self._has_ended():
                reply = self._receive(STEP_S, number, outputs)
                if reply is not None:
                    return ("timeout" if limit else "ok"), limit, reply
                reached = stopwatch.limit_reached()
                if reached and limit:
                    return self._kill("stuck", limit)
                if reached:
                    limit = reached
                    os.kill(self._pid, signal.SIGINT)
                    stopwatch = Stopwatch(self._pid, GRACE_CPU_S, GRACE_IDLE_S)
        except frames.Garbage:
            return self._kill("garbage", limit)
        except TimeoutError:
            return self._kill("stuck", "clock")
        except OSError:  # the kernel closed the socket
            return self._kill("stuck" if limit else "died", limit)
        return ("stuck" if limit else "died"), limit, {}

    def _receive(self, timeout_s, number, outputs):
        """Wait for outputs or a reply; return the reply to request `number`, or None."""
        ready = {fd for fd, _ in self._poll.poll(max(0.0, timeout_s) * 1000)}
        for fd in ready & self._streams.keys():
            self._read_stream(fd, outputs)
        if self._socket.fileno() in ready and not self._frames.feed():
            raise ConnectionResetError
        reply = None
        while (frame := self._frames.next()) is not None:
            if "output" in frame:
                outputs.add(frame["output"], frame.get("content"))
            elif frame.get("id") == number and isinstance(frame.get("reply"), dict):
                reply = frame["reply"]
        if reply is not None:
            # Programs that the cell ran may have written just before its reply was sent.
            for fd, _ in self._poll.poll(0):
                if fd in self._streams:
                    self._read_stream(fd, outputs)
        return reply

    def _read_stream(self, fd, outputs):
        """Read what programs other than the kernel have written to standard output or error."""
        data = os.read(fd, READ_BYTES)
        if data:
            text = data.decode("utf-8", "replace")
            outputs.add("stream", {"name": self._streams[fd], "text": text})
        else:
            # A closed pipe is always ready, so polling it would never wait again.
            self._poll.unregister(fd)
            del self._streams[fd]

    def _kill(self, status, limit):
        if not self._has_ended():
            os.kill(self._pid, signal.SIGKILL)
        return status, limit, {}

    def _has_ended(self):
        """Return whether the kernel has ended, and reap the other processes that have."""
        # Process 1 becomes the parent of all orphans. Reaping one also adds its CPU time to the
        # driver's, where the watchdog counts it. WNOWAIT leaves the kernel itself unreaped, so its
        # process id cannot pass to another process that a signal would then hit.
        while True:
            child = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if child is None or child.si_pid == self._pid:
                return child is not None
            os.waitpid(child.si_pid, 0)


def _text(value, length):
    return value[:length] if isinstance(value, str) else ""


def set_limits(limits):
    """Set resource limits of each process; the kernel inherits them and cannot raise them."""
    for name, amount in limits.items():
        limit = getattr(resource, "RLIMIT_" + name)
        # The machine may allow less than we do. Raising a hard limit is an error here.
        _, hard = resource.getrlimit(limit)
        amount = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(limit, (amount, amount))
