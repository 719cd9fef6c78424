"""The trusted end of a fork server: it asks for children and holds the wires to them.

The server (`inside/server.py`) stands behind the wall with an assignment's libraries imported. A
child costs milliseconds where a process of its own costs the imports; it is as closed in as that
one, and sees nothing of the server or of the children before and after it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Sequence
from typing import Any

from nbmark.errors import InfrastructureError, SandboxUnavailable
from nbmark.limits import Limits
from nbmark.sandboxes.drivers import Command, Program
from nbmark.sandboxes.processes import Tree
from nbmark.sandboxes.session import Session
from nbmark.wire import Wire

IMPORT_TIMEOUT_S = 180.0
FORK_TIMEOUT_S = 60.0
MAX_MESSAGE = 1 << 16


class NotForkable(Exception):
    """The libraries leave threads behind, which a fork would lose; the message says so."""


class ForkServer:
    """One server; it imports in the background until it is first needed.

    Parameters
    ----------
    imports
        Dotted names of modules, as in ``tensorflow.keras``.
    seccomp
        The compiled filter for the children.

    Raises
    ------
    SandboxUnavailable
        If it cannot be started at all.
    """

    def __init__(
        self, command: Command, limits: Limits, imports: Sequence[str], seccomp: bytes
    ) -> None:
        self._limits = limits
        self._command = command
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._program = Program(command, theirs.fileno(), subprocess.DEVNULL)
        self._tree: Tree | None = None
        self._send({
            "imports": list(imports), "folders": command.own_folders,
            "size_bytes": limits.disk_mib << 20, "seccomp": base64.b64encode(seccomp).decode(),
        })  # fmt: skip

    def open(self) -> Session:
        """A session in a new child; the one before must be closed.

        Raises
        ------
        NotForkable
            If the libraries cannot be shared this way.
        SandboxUnavailable
            If there is no wall on this machine.
        InfrastructureError
            If the server has failed and should be replaced.
        """
        server = self._ready()
        (requests, ours_out), (ours_in, replies) = os.pipe(), os.pipe()
        wire = Wire(ours_in, ours_out)
        try:
            with contextlib.suppress(OSError):  # it is gone, as the missing reply tells
                socket.send_fds(self._control, [b"fork"], [requests, replies])
            problem = self._receive(FORK_TIMEOUT_S)["problem"]
            if problem:
                raise InfrastructureError(f"the fork server failed: {problem}")
            driver = ForkedDriver(wire, Tree.of_only_child(server.pid), self._command)
        except LookupError as error:
            wire.close()
            raise InfrastructureError("the fork server's child ended at once") from error
        except BaseException:
            wire.close()
            raise
        finally:
            os.close(requests)
            os.close(replies)
        return Session(driver, self._limits)

    def close(self) -> None:
        """End the server, and with it the child that is left."""
        self._program.close()
        self._control.close()

    def _ready(self) -> Tree:
        """The server's own process, once it has imported everything."""
        if self._tree is None:
            try:
                reply = self._receive(IMPORT_TIMEOUT_S)
            except InfrastructureError as error:
                said = self._program.last_words() or "it said nothing"
                raise SandboxUnavailable(
                    f"the sandbox did not start ({said}); {self._command.remedy}"
                ) from error
            if reply["threads"]:
                raise NotForkable(f"{reply['threads']} threads are alive after the imports")
            self._tree = Tree.of_only_child(self._program.process.pid)
        return self._tree

    def _send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._control.send(json.dumps(message).encode())

    def _receive(self, timeout_s: float) -> dict[str, Any]:
        self._control.settimeout(timeout_s)
        try:
            data = self._control.recv(MAX_MESSAGE)
        except OSError as error:
            raise InfrastructureError("the fork server does not answer") from error
        if not data:
            raise InfrastructureError("the fork server has ended")
        found: dict[str, Any] = json.loads(data)
        return found


class ForkedDriver:
    """A driver that is the child of a server."""

    def __init__(self, wire: Wire, tree: Tree, command: Command) -> None:
        self.wire, self.tree = wire, tree
        self.own_folders, self.remedy = command.own_folders, command.remedy

    def kill(self) -> None:
        # The first process of its namespace: everything inside ends with it.
        self.tree.kill()

    def close(self) -> None:
        self.kill()
        with contextlib.suppress(OSError):
            self.wire.close()

    def last_words(self) -> str:
        return ""
