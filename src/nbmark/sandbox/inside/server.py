"""A fork server: a process that imports an assignment's libraries once and forks workers.

It runs in the sandbox and talks to the trusted side over a Unix socket on standard input. The first
message says what to import. Each further message starts a worker and brings a socket for it.

A worker is a fork of the server. Each message to it brings the two descriptors of one submission,
for which it forks a child. The child isolates itself (`isolation`) and runs the submission's
driver. A worker has one child at a time, and ends all of it before it forks the next. Neither
server nor worker ever runs a student's code.
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

MAX_MESSAGE_BYTES = 1 << 18  # the first message holds the seccomp filter and the imports
MAX_DESCRIPTORS = 1 << 16
READY = "ok"


def main():
    """Serve until the trusted side closes the socket."""
    control = socket.socket(fileno=os.dup(0))
    setup = json.loads(control.recv(MAX_MESSAGE_BYTES))
    gc.disable()  # as in `start`
    opening = preload.begin(setup["imports"])
    # Imported here because IPython takes a while, in which the libraries are opened.
    from . import driver
    from .ipython.rehearsal import rehearse

    kernel = driver.Kernel()
    _import(setup["imports"])
    opening.join()
    rehearse(kernel)
    gc.enable()
    # A collection in a child would write to every object that it shares with the server, and the
    # kernel copies each page that is written to. Frozen objects are left out of collections.
    gc.freeze()
    # The trusted side refuses to fork if a library has started threads: a fork loses them.
    state = {"threads": len(os.listdir("/proc/self/task")) - 1}
    # Ended workers then disappear by themselves; otherwise the server would have to wait for them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, fds, _, _ = socket.recv_fds(control, 16, 1)
        if not message:
            return
        if os.fork() == 0:
            control.close()
            # A worker waits for its children, which fails while SIGCHLD is ignored.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            drive = functools.partial(driver.serve, kernel=kernel)
            Worker(setup, drive, socket.socket(fileno=fds[0])).serve(state)
            # At once: taking the interpreter apart would search all modules for garbage again.
            os._exit(0)
        os.close(fds[0])


class Worker:
    """A fork of the server that forks one isolated child after another.

    Parameters
    ----------
    setup
        The first message to the server.
    drive
        A function that serves one submission at two descriptors.
    control
        The socket to the trusted side.
    """

    def __init__(self, setup, drive, control):
        self._folders, self._size_bytes = setup["folders"], setup["size_bytes"]
        self._seccomp = base64.b64decode(setup["seccomp"])
        self._drive = drive
        self._control = control
        # Read now: a child hides this folder under an empty one.
        self._fonts = _files(os.environ["MPLCONFIGDIR"])
        self._child_pid = None

    def serve(self, state):
        """Report the server's state, then fork until the trusted side closes the socket."""
        self._report(state)
        while True:
            message, fds, _, _ = socket.recv_fds(self._control, 16, 2)
            self._end_child()
            if not message:
                return
            problem = self._fork(*fds)
            if problem:
                self._report({"problem": problem})
            for fd in fds:
                os.close(fd)

    def _fork(self, requests, replies):
        """Fork a child that serves at these descriptors; return what went wrong, or ""."""
        # The pipe closes when the child ends, so a child that dies silently is noticed too.
        read_end, write_end = os.pipe()
        try:
            self._child_pid = isolation.fork_into_namespaces()
        except OSError as error:
            os.close(read_end)
            os.close(write_end)
            return str(error)
        if self._child_pid == 0:
            self._become_child(requests, replies, write_end)
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            outcome = pipe.read()
        return "" if outcome == READY else outcome or "the child ended before it was ready"

    def _end_child(self):
        """Kill the last child and wait until it has ended."""
        # It is process 1 of its PID namespace. The kernel ends all others with it, and `waitpid`
        # returns after the last of them.
        if self._child_pid:
            os.kill(self._child_pid, signal.SIGKILL)
            os.waitpid(self._child_pid, 0)
        self._child_pid = None

    def _become_child(self, requests, replies, outcome_pipe):
        """Isolate this process and be the driver of a submission; never return."""
        control = self._control.fileno()
        try:
            _close_all_but(requests, replies, outcome_pipe, control)
            isolation.isolate(self._folders, self._size_bytes, self._seccomp)
            self._write_fonts()
            outcome = READY
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        try:
            os.write(outcome_pipe, outcome.encode())
            os.close(outcome_pipe)
            if outcome == READY:
                # The driver sends this itself, because the kernel then tells the receiver the
                # process id that the driver has outside. The receiver may kill it from then on, so
                # this must be the last message about it.
                self._report({"problem": ""})
                os.close(control)  # out of reach of the student's code
                self._drive(requests, replies)
        finally:
            # Whatever happens, this process must not return into the worker's loop.
            os._exit(1)

    def _write_fonts(self):
        folder = os.environ["MPLCONFIGDIR"]
        os.makedirs(folder, exist_ok=True)
        for name, data in self._fonts.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(data)

    def _report(self, message):
        self._control.send(json.dumps(message).encode())


def _import(names):
    """Import modules such as ``numpy`` or ``tensorflow.keras.layers``."""
    # An error is suppressed here because the same import fails again in the notebook, where its
    # author sees it.
    for name in names:
        with contextlib.suppress(Exception, SystemExit):
            _import_parts(name.split("."))


def _import_parts(parts):
    """Import a package, and then each further part of the name that is a module."""
    module = importlib.import_module(parts[0])
    for end, part in enumerate(parts[1:], start=2):
        # TensorFlow and others load a module when its attribute is first read. Reading it comes
        # first, as it does in a notebook.
        member = getattr(module, part, None)
        if member is None:
            member = importlib.import_module(".".join(parts[:end]))
        if not isinstance(member, types.ModuleType):
            return
        module = member


def _files(folder):
    """Return the contents of the files in a folder by name."""
    return {entry.name: _read(entry.path) for entry in os.scandir(folder) if entry.is_file()}


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def _close_all_but(*fds):
    """Close every other descriptor; standard input, output and error become /dev/null."""
    low = 0
    for fd in sorted(fds):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, MAX_DESCRIPTORS)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
