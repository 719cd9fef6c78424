"""The wall around a student's code: two kinds, and two ways to a session behind one.

`open_session` starts a process for one submission; `start_fork_server` gives a server whose workers
hand out sessions in children that need no imports. `supply.Supply` chooses between the two.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence

from nbmark.errors import SandboxUnavailable
from nbmark.limits import Limits
from nbmark.sandboxes import bare, bubblewrap, seccomp
from nbmark.sandboxes.drivers import StartedDriver
from nbmark.sandboxes.forkserver import ForkServer, ForkWorker
from nbmark.sandboxes.session import Session

__all__ = ["can_fork", "fork_worker", "open_session", "start_fork_server", "try_out"]
TRY_S = 20.0
KINDS = {"bubblewrap": bubblewrap.driver_command, "none": bare.driver_command}


def open_session(kind: str, limits: Limits) -> Session:
    """A running kernel behind the wall `kind`, ready for the first cell.

    Raises
    ------
    SandboxUnavailable
        If no wall can be built on this machine; the message names the remedy.
    """
    return Session(StartedDriver(KINDS[kind](limits)), limits)


def try_out(kind: str) -> None:
    """Let a kernel behind the wall `kind` run a cell.

    Raises
    ------
    SandboxUnavailable
        If there is no wall on this machine, or nothing runs behind it.
    """
    with contextlib.closing(open_session(kind, Limits())) as session:
        status = session.run_cell("1 + 1", TRY_S).status
    if status != "ok":
        raise SandboxUnavailable(f"a cell behind the wall did not run: {status}")


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
