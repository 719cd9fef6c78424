"""The wall around a student's code: two kinds, and two ways to a session behind one.

`open_session` starts a process for one submission; `start_fork_server` gives a server that hands
out sessions in children which need no imports. `supply.Supply` chooses between the two.
"""

from __future__ import annotations

from collections.abc import Sequence

from nbmark.limits import Limits
from nbmark.sandboxes import bare, bubblewrap
from nbmark.sandboxes.drivers import StartedDriver
from nbmark.sandboxes.forkserver import ForkServer
from nbmark.sandboxes.session import Session

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


def start_fork_server(kind: str, limits: Limits, imports: Sequence[str]) -> ForkServer:
    """A server behind the wall `kind` that is importing already.

    Raises
    ------
    SandboxUnavailable
        If no wall can be built on this machine.
    """
    if not can_fork(kind):
        raise ValueError(kind)
    command = bubblewrap.server_command(limits)
    return ForkServer(command, limits, imports, bubblewrap.seccomp_program())
