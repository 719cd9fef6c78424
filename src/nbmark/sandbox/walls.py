"""The kinds of sandbox, and the ways to a session in one: the only place that knows both.

`open_session` starts a process for one submission. `start_fork_server` starts a server whose
workers hand out sessions in children that need no imports. `supply.SessionSource` chooses between
the two.
"""

from __future__ import annotations

import contextlib
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from nbmark.errors import SandboxUnavailable

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence
    from pathlib import Path

    from nbmark.limits import Limits
    from nbmark.sandbox.forkserver import ForkServer, ForkWorker
    from nbmark.sandbox.session import Session

TRY_S = 20.0


class Kind(NamedTuple):
    """A kind of sandbox.

    Parameters
    ----------
    module
        The module with its `driver_command(limits)` and `visible_above(folder)`; where it can fork
        also `server_command(limits)` and `WRITABLE`. The command line lists the kinds, so a module
        is loaded only when a sandbox is built.
    can_fork
        Whether a fork server can run in it.
    """

    module: str
    can_fork: bool

    def load(self) -> Any:
        return import_module(self.module)


KINDS = {
    "bubblewrap": Kind("nbmark.sandbox.bubblewrap", can_fork=True),
    "none": Kind("nbmark.sandbox.bare", can_fork=False),
}
DEFAULT = "bubblewrap"
OPTION_HELP = "The sandbox around students' code: bubblewrap, or none (development only)."


def open_session(kind: str, limits: Limits) -> Session:
    """Return a running kernel in a sandbox, ready for its first cell.

    Raises
    ------
    SandboxUnavailable
        If this machine cannot build the sandbox; the message names the remedy.
    """
    # Here and below: the command line reads `KINDS` at start-up and needs nothing else.
    from nbmark.sandbox.drivers import StartedDriver
    from nbmark.sandbox.session import Session

    return Session(StartedDriver(KINDS[kind].load().driver_command(limits)), limits)


def try_out(kind: str) -> None:
    """Run one cell in a sandbox of this kind.

    Raises
    ------
    SandboxUnavailable
        If this machine cannot build the sandbox, or nothing runs in it.
    """
    from nbmark.limits import Limits

    with contextlib.closing(open_session(kind, Limits())) as session:
        status = session.run_cell("1 + 1", TRY_S).status
    if status != "ok":
        raise SandboxUnavailable(f"a cell in the sandbox did not run: {status}")


def start_fork_server(kind: str, limits: Limits, imports: Sequence[str]) -> ForkServer:
    """Start a fork server, which begins to import at once; its kind must be able to fork.

    Raises
    ------
    SandboxUnavailable
        If this machine cannot build the sandbox.
    """
    from nbmark.sandbox import seccomp
    from nbmark.sandbox.forkserver import ForkServer

    return ForkServer(KINDS[kind].load().server_command(limits), limits, imports, seccomp.program)


def fork_worker(kind: str, limits: Limits, control: socket.socket) -> ForkWorker:
    """Return the worker of a fork server, given its trusted end."""
    from nbmark.sandbox.forkserver import ForkWorker

    return ForkWorker(control, KINDS[kind].load().WRITABLE, limits)


def refuse_exposed(kind: str, folder: Path, remedy: str) -> None:
    """Raise `SandboxUnavailable` if students' code could read what lies in `folder`.

    The message ends with `remedy`. The kind ``none`` hides nothing and refuses nothing.
    """
    visible = visible_above(kind, folder)
    if visible is not None:
        raise SandboxUnavailable(
            f"{folder} lies below {visible}, which students' code can read in the sandbox; {remedy}"
        )


def visible_above(kind: str, folder: Path) -> Path | None:
    """Return the path that the sandbox shows and that holds `folder`, or None."""
    visible: Path | None = KINDS[kind].load().visible_above(folder)
    return visible
