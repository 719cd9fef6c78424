"""Fork servers and their workers, as the trusted side sees them.

A fork server (`inside/server.py`) runs in a sandbox and imports an assignment's libraries once for
all workers of a machine. A child of a worker starts in milliseconds; a process of its own would
need as long as the imports. The child is isolated just as well: it sees nothing of the
server, of other workers, or of the children before and after it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import socket
import struct
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

from nbmark.errors import InfrastructureError
from nbmark.limits import Limits
from nbmark.sandbox.drivers import Command, Program
from nbmark.sandbox.processes import Tree
from nbmark.sandbox.session import Session
from nbmark.sandbox.wire import Wire

# Importing TensorFlow takes up to ten seconds of computing time, which may last minutes on a busy
# machine.
IMPORT_TIMEOUT_S = 600.0
FORK_TIMEOUT_S = 300.0
# When a server ends, its workers and their children end within this time. On a busy machine 0.2 s
# was too short. Only a driver that died without a reason waits for it.
END_TOGETHER_S = 30.0
MAX_MESSAGE_BYTES = 1 << 16
CREDENTIALS = struct.Struct("3i")  # the sender's process id, user id and group id


class NotForkable(Exception):
    """Sessions cannot be forked here; the message says why."""


class ForkServer:
    """A fork server, which imports in the background until its first worker is needed.

    Parameters
    ----------
    imports
        Dotted names of modules, such as ``tensorflow.keras``.
    seccomp
        Returns the compiled filter for the children; called after the server has been started.

    Raises
    ------
    SandboxUnavailable
        If it cannot be started at all.
    """

    def __init__(
        self, command: Command, limits: Limits, imports: Sequence[str], seccomp: Callable[[], bytes]
    ) -> None:
        self._control, server_end = _socket_pair()
        with server_end:
            self._program = Program(command, server_end.fileno(), subprocess.DEVNULL)
        # If the server has ended already, the first worker gets no reply and reports it.
        with contextlib.suppress(OSError):
            setup = {
                "imports": list(imports),
                "folders": command.own_folders,
                "size_bytes": limits.disk_mib << 20,
                # The server's interpreter starts while this process compiles the filter.
                "seccomp": base64.b64encode(seccomp()).decode(),
            }
            self._control.send(json.dumps(setup).encode())

    def new_worker(self) -> socket.socket:
        """Return the trusted end of a new worker, for a `ForkWorker` in any process."""
        trusted_end, worker_end = _socket_pair()
        with worker_end, contextlib.suppress(OSError):  # as above
            socket.send_fds(self._control, [b"worker"], [worker_end.fileno()])
        return trusted_end

    def close(self) -> None:
        """Kill the server, its workers and their children."""
        self._program.close()
        self._control.close()

    def last_error_line(self) -> str:
        """Return the last line that the server wrote to standard error."""
        return self._program.last_error_line() or "no error message"


class ForkWorker:
    """A worker of a fork server, which opens one session after another.

    Parameters
    ----------
    control
        The worker's trusted end, from `ForkServer.new_worker`.
    """

    def __init__(
        self, control: socket.socket, own_folders: tuple[str, ...], limits: Limits
    ) -> None:
        # Each message then carries its sender's process id. The kernel writes it in, so a sandbox
        # cannot lie about it, and it is the id that this side of the PID namespace uses.
        control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._control = control
        self._own_folders = own_folders
        self._limits = limits
        self._is_ready = self._has_forked = False
        self._wire_ahead: Wire | None = None  # to a child requested by `fork_ahead`

    def open(self) -> Session:
        """Return a session in a new child; the session before must be closed.

        Raises
        ------
        NotForkable
            If the libraries cannot be shared by forking, or this machine does not allow it.
        InfrastructureError
            If the server has failed and should be replaced.
        """
        self._wait_until_ready()
        wire, self._wire_ahead = self._wire_ahead or self._request_child(), None
        try:
            reply, pid = self._receive(FORK_TIMEOUT_S)
            if reply["problem"]:
                # If a fork has worked before, the machine allows forks and the problem is a
                # passing one, such as too many processes or too little memory.
                error_class = InfrastructureError if self._has_forked else NotForkable
                raise error_class(reply["problem"])
            self._has_forked = True
            driver = ForkedDriver(wire, Tree(pid), self._own_folders, self._control)
        except LookupError as error:
            wire.close()
            raise InfrastructureError("a forked child ended at once") from error
        except BaseException:
            wire.close()
            raise
        return Session(driver, self._limits)

    def fork_ahead(self) -> None:
        """Request the next child before it is needed; the session before must be closed."""
        if self._is_ready and self._wire_ahead is None:
            self._wire_ahead = self._request_child()

    def close(self) -> None:
        """Make the worker end, and its last child with it."""
        self._control.close()
        if self._wire_ahead is not None:
            self._wire_ahead.close()

    def _request_child(self) -> Wire:
        """Request a child and return the wire to it; the worker replies when it is ready."""
        (requests, ours_out), (ours_in, replies) = os.pipe(), os.pipe()
        # If the worker has ended, the missing reply shows it.
        with contextlib.suppress(OSError):
            socket.send_fds(self._control, [b"fork"], [requests, replies])
        # Our copies of the child's ends must be closed, or its end would never be seen.
        os.close(requests)
        os.close(replies)
        return Wire(ours_in, ours_out)

    def _wait_until_ready(self) -> None:
        if self._is_ready:
            return
        state, _ = self._receive(IMPORT_TIMEOUT_S)
        # A fork copies only the thread that calls it. A library whose other threads are missing in
        # the child may wait for them for ever.
        if state["threads"]:
            raise NotForkable(f"threads still running after the imports: {state['threads']}")
        self._is_ready = True

    def _receive(self, timeout_s: float) -> tuple[dict[str, Any], int]:
        """Return a message, and the process id of its sender outside the sandbox."""
        self._control.settimeout(timeout_s)
        try:
            data, ancillary, _, _ = self._control.recvmsg(
                MAX_MESSAGE_BYTES, socket.CMSG_SPACE(CREDENTIALS.size)
            )
        except OSError as error:
            raise InfrastructureError(f"the fork server does not answer: {error}") from error
        if not data or not ancillary:
            raise InfrastructureError("the fork server has ended")
        pid, _, _ = CREDENTIALS.unpack(ancillary[0][2])
        message: dict[str, Any] = json.loads(data)
        return message, pid


class ForkedDriver:
    """A driver in a child of a worker.

    Parameters
    ----------
    worker
        The worker's trusted end.
    """

    remedy = "its fork server may have failed: run the command again"

    def __init__(
        self, wire: Wire, tree: Tree, own_folders: tuple[str, ...], worker: socket.socket
    ) -> None:
        self.wire, self.tree, self.own_folders = wire, tree, own_folders
        self._worker = worker

    def kill(self) -> None:
        # The driver is process 1 of its PID namespace, so the kernel ends all others with it.
        self.tree.kill()

    def close(self) -> None:
        self.kill()
        self.wire.close()

    def has_lost_its_server(self) -> bool:
        poll = select.poll()
        poll.register(self._worker, 0)  # no event is requested: a hang-up is always reported
        return bool(poll.poll(END_TOGETHER_S * 1000))

    def last_error_line(self) -> str:
        return ""  # a child's standard error is /dev/null


def _socket_pair() -> tuple[socket.socket, socket.socket]:
    # SEQPACKET keeps the borders between messages, and descriptors stay with their message.
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
