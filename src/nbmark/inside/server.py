"""A process that has imported what an assignment imports, and forks a child for each submission.

It stands inside the wall and talks to the trusted side over a Unix socket on standard input, a
message at a time: first what to import, then one message a child, which brings the two descriptors
that the child's driver serves. There is one child at a time, and the next one starts when nothing
is left of it. No student's code runs in here.
"""

import base64
import contextlib
import gc
import importlib
import json
import os
import socket
import sys
import types

from . import driver, isolation
from .kernel import Kernel

MAX_MESSAGE = 1 << 18


def main():
    """Serve until the trusted side closes the socket."""
    control = socket.socket(fileno=0)
    setup = json.loads(control.recv(MAX_MESSAGE))
    server = Server(setup, Kernel())
    missing = _import(setup["imports"])
    _draw_once()
    gc.collect()
    gc.freeze()  # the collector of a child leaves what it shares with this process alone
    threads = len(os.listdir("/proc/self/task")) - 1
    _send(control, {"missing": missing, "threads": threads})
    while True:
        message, fds, _, _ = socket.recv_fds(control, 16, 2)
        if not message:
            return
        _send(control, {"problem": server.fork(*fds)})
        for fd in fds:
            os.close(fd)


class Server:
    """Forks one isolated child after the other."""

    def __init__(self, setup, kernel):
        self._folders, self._size_bytes = setup["folders"], setup["size_bytes"]
        self._seccomp = base64.b64decode(setup["seccomp"])
        self._kernel = kernel
        self._fonts = _files(os.environ["MPLCONFIGDIR"])

    def fork(self, requests, replies):
        """Start a child that serves at these descriptors; what went wrong, empty if nothing did."""
        self._bury()
        heard, said = os.pipe()
        first = os.fork()
        if first == 0:
            os.close(heard)
            self._become_child(requests, replies, said)
        os.close(said)
        with os.fdopen(heard) as lines:
            problem = lines.read()
        os.waitpid(first, 0)
        return problem

    def _bury(self):
        """Wait for the last child: with the first process of its namespace all others end."""
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()

    def _become_child(self, requests, replies, said):
        """Never returns. The driver is a grandchild, the first process of its namespace."""
        try:
            isolation.enter_namespaces()
            if os.fork() == 0:
                _close_all_but(requests, replies, said)
                isolation.close_in(self._folders, self._size_bytes, self._seccomp)
                self._put_fonts()
                os.close(said)
                driver.serve(requests, replies, self._kernel)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.write(said, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(1)

    def _put_fonts(self):
        folder = os.environ["MPLCONFIGDIR"]
        os.makedirs(folder, exist_ok=True)
        for name, data in self._fonts.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(data)


def _import(names):
    """Import modules such as ``numpy`` or ``tensorflow.keras.layers``; those that failed."""
    missing = []
    for name in names:
        try:
            _touch(name.split("."))
        except Exception:
            missing.append(name)
    return missing


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


def _draw_once():
    """Load what every first picture needs: fonts, glyphs, formats; nothing stays of the picture."""
    if "matplotlib.pyplot" not in sys.modules:
        return
    from IPython.core.pylabtools import print_figure
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    axes.plot([1, 10], [1, 10], label="a")
    axes.scatter([1], [2])
    axes.set(title="Aa", xlabel="a", ylabel="$a^2$", yscale="log")
    axes.legend()
    print_figure(figure)
    pyplot.close(figure)


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


def _send(control, message):
    control.send(json.dumps(message).encode())
