"""A process that has imported what an assignment imports, and what it forks.

It stands inside the wall and talks to the trusted side over a Unix socket on standard input: first
comes what to import, then one message for each worker, which brings a socket of the worker's own.
A worker is a fork of this process; each message to it brings the two descriptors of one submission
and makes it fork a child, closed in by `isolation`, whose driver serves there. A worker has one
child at a time, and the next one starts when nothing is left of it. No student's code runs in the
server or in a worker.
"""

import base64
import contextlib
import functools
import gc
import importlib
import json
import os
import signal
import socket
import types

from . import isolation, preload

MAX_MESSAGE = 1 << 18
WELL = "ok"


def main():
    """Serve until the trusted side closes the socket."""
    control = socket.socket(fileno=os.dup(0))
    setup = json.loads(control.recv(MAX_MESSAGE))
    gc.disable()
    opening = preload.begin(setup["imports"])
    from . import driver  # and IPython: it takes a while, libraries are opened meanwhile
    from .rehearsal import rehearse

    kernel = driver.Kernel()
    _import(setup["imports"])
    opening.join()
    rehearse(kernel)
    gc.enable()
    gc.freeze()  # the collector of a child leaves what it shares with this process alone
    state = {"threads": len(os.listdir("/proc/self/task")) - 1}
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # workers that end leave nothing to bury
    while True:
        message, fds, _, _ = socket.recv_fds(control, 16, 1)
        if not message:
            return
        if os.fork() == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            drive = functools.partial(driver.serve, kernel=kernel)
            Worker(setup, drive, socket.socket(fileno=fds[0])).serve(state)
            os._exit(0)
        os.close(fds[0])


class Worker:
    """Forks one isolated child after the other, in which `drive` serves a submission."""

    def __init__(self, setup, drive, control):
        self._folders, self._size_bytes = setup["folders"], setup["size_bytes"]
        self._seccomp = base64.b64decode(setup["seccomp"])
        self._drive = drive
        self._control = control
        self._fonts = _files(os.environ["MPLCONFIGDIR"])
        self._child = None

    def serve(self, state):
        """Say what the server is like, then fork until the trusted side closes the socket."""
        self._say(state)
        while True:
            message, fds, _, _ = socket.recv_fds(self._control, 16, 2)
            self._end_child()
            if not message:
                return
            problem = self._fork(*fds)
            if problem:
                self._say({"problem": problem})
            for fd in fds:
                os.close(fd)

    def _fork(self, requests, replies):
        """Start a child that serves at these descriptors; what went wrong, empty if nothing did."""
        heard, said = os.pipe()
        try:
            self._child = isolation.fork_apart()
        except OSError as error:
            os.close(heard)
            os.close(said)
            return str(error)
        if self._child == 0:
            self._become_child(requests, replies, said)
        os.close(said)
        with os.fdopen(heard) as lines:
            answer = lines.read()
        return "" if answer == WELL else answer or "it could not be started"

    def _end_child(self):
        """With the first process of its namespace all others end."""
        if self._child:
            os.kill(self._child, signal.SIGKILL)
            os.waitpid(self._child, 0)
        self._child = None

    def _become_child(self, requests, replies, said):
        """Be the driver of this submission; never returns."""
        control = self._control.fileno()
        try:
            _close_all_but(requests, replies, said, control)
            isolation.close_in(self._folders, self._size_bytes, self._seccomp)
            self._put_fonts()
            answer = WELL
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        try:
            os.write(said, answer.encode())
            os.close(said)
            if answer == WELL:
                # Said by the driver itself: the kernel tells the other end its process id out
                # there. Who knows it may kill it at once, so this is the last word about it.
                self._say({"problem": ""})
                os.close(control)
                self._drive(requests, replies)
        finally:
            os._exit(1)

    def _put_fonts(self):
        folder = os.environ["MPLCONFIGDIR"]
        os.makedirs(folder, exist_ok=True)
        for name, data in self._fonts.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(data)

    def _say(self, message):
        self._control.send(json.dumps(message).encode())


def _import(names):
    """Import modules such as ``numpy`` or ``tensorflow.keras.layers``.

    What fails here fails again in the notebook, where its author sees it.
    """
    for name in names:
        with contextlib.suppress(Exception, SystemExit):
            _touch(name.split("."))


def _touch(parts):
    """Import a package, and of what lies below it each part that is a module too."""
    found = importlib.import_module(parts[0])
    for end, part in enumerate(parts[1:], start=2):
        below = getattr(found, part, None)  # some packages import a module when it is asked for
        if below is None:
            below = importlib.import_module(".".join(parts[:end]))
        if not isinstance(below, types.ModuleType):
            return
        found = below


def _files(folder):
    """Name → bytes of the files in a folder."""
    return {entry.name: _read(entry.path) for entry in os.scandir(folder) if entry.is_file()}


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def _close_all_but(*kept):
    """Close every other descriptor; standard input, output and error become /dev/null."""
    low = 0
    for fd in sorted(kept):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, 1 << 16)
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
