"""The wall around a student's code: two kinds, and two ways to a session behind one.

`open_session` starts a process for one submission; `start_fork_server` gives a server whose workers
hand out sessions in children that need no imports. `supply.Supply` chooses between the two.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from nbmark.limits import Limits
from nbmark.sandboxes import bare, bubblewrap, seccomp
from nbmark.sandboxes.bubblewrap import REMEDY
from nbmark.sandboxes.drivers import StartedDriver
from nbmark.sandboxes.forkserver import ForkServer, ForkWorker
from nbmark.sandboxes.session import Session

__all__ = ["REMEDY", "can_fork", "fork_worker", "open_session", "start_fork_server"]
KINDS = {"bubblewrap": bubblewrap.driver_command, "none": bare.driver_command}


def open_session(kind: str, limits: Limits) -> Session:
    """A running kernel behind the wall `kind`, ready for the first cell.

    Raises
    ------
    SandboxUnavailable
        If no wall can be built on this machine; the message names the remedy.
    """
    return Session(StartedDriver(KINDS[kind](limits)), limits)


def can_fork(kind: str) -> bool:
    """Whether there is a fork server for the wall `kind`."""
    return kind == "bubblewrap"


def start_fork_server(limits: Limits, imports: Sequence[str]) -> ForkServer:
    """A server behind the wall that is importing already; `can_fork` says whether there is one.

    Raises
    ------
    SandboxUnavailable
        If no wall can be built on this machine.
    """
    command = bubblewrap.server_command(limits)
    return ForkServer(command, limits, imports, seccomp.program)


def fork_worker(limits: Limits, control: socket.socket) -> ForkWorker:
    """The worker of a fork server, by its trusted end."""
    return ForkWorker(control, bubblewrap.WRITABLE, limits)
