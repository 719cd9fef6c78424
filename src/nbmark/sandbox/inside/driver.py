"""Runs one submission's kernel inside the wall and obeys the trusted side, frame by frame.

Requests carry an `id`; every reply repeats it. ``start`` sets the limits and starts the kernel,
``furnish`` puts files beside the notebook, ``cell`` runs one cell, ``ask`` puts one question to the
agent. The driver is the first process of its namespace: nothing inside can kill, stop or open it.
"""

import ctypes
import itertools
import os
import resource
import select
import signal
import time

from . import agent, frames
from .kernel import PR_SET_DUMPABLE, Kernel, fork
from .outputs import Outputs

INTERRUPT_GRACE_S = 3.0


def main():
    """Serve on standard input and output, with a kernel made here."""
    requests, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    serve(requests, replies, Kernel())


def serve(requests, replies, kernel):
    """Obey the trusted side until it is gone."""
    # The first process of a namespace hears no signal from inside but those that it has asked for.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The notebook runs under the same user id: it must not open this process's descriptors.
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    driver = Driver(kernel)
    operations = {
        "start": driver.start,
        "furnish": driver.furnish,
        "cell": driver.run_cell,
        "ask": driver.ask,
    }
    reader = frames.Reader(requests)
    while (request := reader.read()) is not None:
        reply = operations[request["op"]](**request["args"])
        frames.write(replies, {"id": request["id"], **reply})
    driver.stop()


class Driver:
    """One kernel process and what comes out of it."""

    def __init__(self, kernel):
        self._kernel = kernel
        self._numbers = itertools.count()
        self._pid = None

    def start(self, limits):
        set_limits(limits)
        self._pid, self._socket, *streams = fork(self._kernel)
        self._frames = frames.Reader(self._socket.fileno())
        self._streams = dict(zip(streams, ("stdout", "stderr"), strict=True))
        self._death = os.pidfd_open(self._pid)
        self._poll = select.poll()
        for fd in (self._socket.fileno(), self._death, *streams):
            self._poll.register(fd, select.POLLIN)
        return {"status": "ok"}

    def furnish(self, text, timeout_s):
        status, _ = self._request({"op": "furnish", "text": text}, timeout_s, Outputs(0))
        return {"status": status}

    def run_cell(self, code, timeout_s, max_output_bytes):
        outputs = Outputs(max_output_bytes)
        status, reply = self._request({"op": "cell", "code": code}, timeout_s, outputs)
        if status == "ok" and reply.get("status") != "ok":
            status = "error"
        count = reply.get("execution_count")
        return {  # the kernel may have sent anything: what leaves here has a type and a size
            "status": status,
            "outputs": outputs.items,
            "truncated": outputs.truncated,
            "execution_count": count if type(count) is int else None,
            "error_name": _text(reply.get("error_name"), 200),
            "error_message": _text(reply.get("error_message"), 500),
        }

    def ask(self, question, timeout_s, max_bytes):
        request = {"op": "ask", "question": question, "max_bytes": max_bytes}
        status, reply = self._request(request, timeout_s, Outputs(0))
        answer = reply.get("answer")
        if isinstance(answer, str) and len(answer) > max_bytes:
            answer = agent.TOO_LARGE
        return {"status": status, "answer": answer if isinstance(answer, str) else ""}

    def stop(self):
        if self._pid is not None and not self._has_ended():
            os.kill(self._pid, signal.SIGKILL)

    def _request(self, request, timeout_s, outputs):
        """How it ended, and the kernel's reply.

        ``ok``, ``timeout`` (interrupted in time), ``stuck`` (it would not be interrupted and was
        killed), ``garbage`` (it sent what is no frame) or ``died``.
        """
        number, deadline = next(self._numbers), time.monotonic() + timeout_s
        interrupted = False
        try:
            self._receive(0, None, Outputs(0))  # what came between two requests is nobody's
            self._socket.settimeout(timeout_s)
            self._socket.sendall(frames.pack({"id": number, **request}))
            while not self._has_ended():
                reply = self._receive(deadline - time.monotonic(), number, outputs)
                if reply is not None:
                    return ("timeout" if interrupted else "ok"), reply
                if time.monotonic() > deadline:
                    if interrupted:
                        return self._kill("stuck")
                    interrupted = True
                    os.kill(self._pid, signal.SIGINT)
                    deadline = time.monotonic() + INTERRUPT_GRACE_S
        except frames.Garbage:
            return self._kill("garbage")
        except TimeoutError:
            return self._kill("stuck")
        except OSError:  # the socket was closed
            return self._kill("died")
        return ("stuck" if interrupted else "died"), {}

    def _receive(self, timeout_s, number, outputs):
        """Wait for something; the reply to request `number` if it has come, else None."""
        ready = {fd for fd, _ in self._poll.poll(max(0.0, timeout_s) * 1000)}
        for fd in ready & self._streams.keys():  # what other programs wrote
            self._take(fd, outputs)
        if self._socket.fileno() in ready and not self._frames.feed():
            raise ConnectionResetError
        reply = None
        while (frame := self._frames.next()) is not None:
            if "output" in frame:
                outputs.add(frame["output"], frame.get("content"))
            elif frame.get("id") == number and isinstance(frame.get("reply"), dict):
                reply = frame["reply"]
        if reply is not None:
            for fd, _ in self._poll.poll(0):
                if fd in self._streams:
                    self._take(fd, outputs)
        return reply

    def _take(self, fd, outputs):
        data = os.read(fd, 1 << 16)
        if data:
            text = data.decode("utf-8", "replace")
            outputs.add("stream", {"name": self._streams[fd], "text": text})
        else:
            self._poll.unregister(fd)
            del self._streams[fd]

    def _kill(self, status):
        if not self._has_ended():
            os.kill(self._pid, signal.SIGKILL)
        return status, {}

    def _has_ended(self):
        """Whether the kernel has; buries other processes, whose CPU time then counts for this one."""
        while True:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None or found.si_pid == self._pid:
                return found is not None
            os.waitpid(found.si_pid, 0)


def _text(value, length):
    return value[:length] if isinstance(value, str) else ""


def set_limits(limits):
    """Limits of each process; the kernel inherits them and cannot raise them again."""
    for name, amount in limits.items():
        which = getattr(resource, "RLIMIT_" + name)
        _, hard = resource.getrlimit(which)
        amount = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(which, (amount, amount))
