"""The trusted end of a fork server and of its workers.

The server (`inside/server.py`) stands behind the wall with an assignment's libraries imported,
once for all workers of a machine. A child of a worker costs milliseconds where a process of its own
costs the imports; it is as closed in as that one, and sees nothing of the server, of the other
workers or of the children before and after it.
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

IMPORT_TIMEOUT_S = 180.0
FORK_TIMEOUT_S = 60.0
END_TOGETHER_S = 5.0  # all of a server's processes end within so much, on a busy machine too
MAX_MESSAGE = 1 << 16
CREDENTIALS = struct.Struct("3i")  # process, user and group id of whoever sent a message


class NotForkable(Exception):
    """Sessions cannot be forked here; the message says why."""


class ForkServer:
    """One server; it imports in the background until its first worker is needed.

    Parameters
    ----------
    imports
        Dotted names of modules, as in ``tensorflow.keras``.
    seccomp
        Gives the compiled filter for the children; called when the server has been started.

    Raises
    ------
    SandboxUnavailable
        If it cannot be started at all.
    """

    def __init__(
        self, command: Command, limits: Limits, imports: Sequence[str], seccomp: Callable[[], bytes]
    ) -> None:
        self._control, theirs = _pair()
        with theirs:
            self._program = Program(command, theirs.fileno(), subprocess.DEVNULL)
        with contextlib.suppress(OSError):  # it is gone already, as its workers will find
            self._control.send(
                json.dumps(
                    {
                        "imports": list(imports),
                        "folders": command.own_folders,
                        "size_bytes": limits.disk_mib << 20,
                        "seccomp": base64.b64encode(seccomp()).decode(),
                    }
                ).encode()
            )

    def new_worker(self) -> socket.socket:
        """The trusted end of a new worker, for a `ForkWorker` in this process or another."""
        ours, theirs = _pair()
        with theirs, contextlib.suppress(OSError):
            socket.send_fds(self._control, [b"worker"], [theirs.fileno()])
        return ours

    def close(self) -> None:
        """End the server, its workers and their children."""
        self._program.close()
        self._control.close()

    def last_words(self) -> str:
        """What it said before it failed, one line."""
        return self._program.last_words() or "it said nothing"


class ForkWorker:
    """One worker of a server, and the sessions in its children."""

    def __init__(
        self, control: socket.socket, own_folders: tuple[str, ...], limits: Limits
    ) -> None:
        control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._control = control
        self._own_folders = own_folders
        self._limits = limits
        self._is_ready = self._has_forked = False
        self._wire: Wire | None = None  # to a child that was asked for ahead

    def open(self) -> Session:
        """A session in a new child; the one before must be closed.

        Raises
        ------
        NotForkable
            If the libraries cannot be shared this way, or this machine does not allow it.
        InfrastructureError
            If the server has failed and should be replaced.
        """
        self._wait_until_ready()
        wire = self._wire or self._asked()
        self._wire = None
        try:
            reply, pid = self._receive(FORK_TIMEOUT_S)
            if reply["problem"]:
                # What has worked before is a matter of this moment: too many processes, no memory.
                trouble = InfrastructureError if self._has_forked else NotForkable
                raise trouble(reply["problem"])
            self._has_forked = True
            driver = ForkedDriver(wire, Tree(pid), self._own_folders, self._control)
        except LookupError as error:
            wire.close()
            raise InfrastructureError("a fork ended at once") from error
        except BaseException:
            wire.close()
            raise
        return Session(driver, self._limits)

    def ask_ahead(self) -> None:
        """Let the next child be forked while nobody waits for it; the one before must be closed."""
        if self._is_ready and self._wire is None:
            self._wire = self._asked()

    def close(self) -> None:
        """End the worker, and with it the child that is left."""
        self._control.close()
        if self._wire is not None:
            self._wire.close()

    def _asked(self) -> Wire:
        """The wire to a child that has been asked for; the reply comes when it is there."""
        (requests, ours_out), (ours_in, replies) = os.pipe(), os.pipe()
        with contextlib.suppress(OSError):  # it is gone, as the missing reply tells
            socket.send_fds(self._control, [b"fork"], [requests, replies])
        os.close(requests)
        os.close(replies)
        return Wire(ours_in, ours_out)

    def _wait_until_ready(self) -> None:
        if self._is_ready:
            return
        state, _ = self._receive(IMPORT_TIMEOUT_S)
        if state["threads"]:
            raise NotForkable(f"threads that are alive after the imports: {state['threads']}")
        self._is_ready = True

    def _receive(self, timeout_s: float) -> tuple[dict[str, Any], int]:
        """A message, and the process id of its sender as it is known out here."""
        self._control.settimeout(timeout_s)
        try:
            data, about, _, _ = self._control.recvmsg(
                MAX_MESSAGE, socket.CMSG_SPACE(CREDENTIALS.size)
            )
        except OSError as error:
            raise InfrastructureError("the fork server does not answer") from error
        if not data or not about:
            raise InfrastructureError("the fork server has ended")
        pid, _, _ = CREDENTIALS.unpack(about[0][2])
        found: dict[str, Any] = json.loads(data)
        return found, pid


class ForkedDriver:
    """A driver that is the child of a worker; `worker` is the trusted end of that."""

    remedy = "its fork server may have failed: run the command again"

    def __init__(
        self, wire: Wire, tree: Tree, own_folders: tuple[str, ...], worker: socket.socket
    ) -> None:
        self.wire, self.tree, self.own_folders = wire, tree, own_folders
        self._worker = worker

    def kill(self) -> None:
        # The first process of its namespace: everything inside ends with it.
        self.tree.kill()

    def close(self) -> None:
        self.kill()
        self.wire.close()

    def has_lost_its_server(self) -> bool:
        poll = select.poll()
        poll.register(self._worker, 0)  # tells when the other end is gone
        return bool(poll.poll(END_TOGETHER_S * 1000))

    def last_words(self) -> str:
        return ""


def _pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
