"""Sessions for the submissions of one assignment, each from a fork server where that can be."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence

from nbmark import sandboxes
from nbmark.errors import InfrastructureError, NbmarkError, SandboxUnavailable
from nbmark.limits import Limits
from nbmark.sandboxes.forkserver import ForkServer, NotForkable
from nbmark.sandboxes.session import Session


class Supply:
    """Hands out sessions, one after the other; must be closed.

    Parameters
    ----------
    kind
        The wall, a key of `sandboxes.KINDS`.
    imports
        What a fork server imports; None for a process of its own for each session.

    Attributes
    ----------
    wall
        How the last session was closed in, as it is noted with a grade.
    """

    def __init__(self, kind: str, limits: Limits, imports: Sequence[str] | None) -> None:
        self._kind = kind
        self._limits = limits
        self._imports = imports if sandboxes.can_fork(kind) else None
        self._server: ForkServer | None = None
        self._ahead: Session | None = None
        self.wall = kind

    def prepare(self) -> None:
        """Start now what takes a while; where that fails, whoever needs it will be told."""
        with contextlib.suppress(NbmarkError):
            if self._imports is None:
                self._ahead = self._started()
            else:
                self._server = self._new_server(self._imports)

    def open(self) -> Session:
        """A session that nobody has used; the one before must be closed.

        Raises
        ------
        SandboxUnavailable
            If no wall can be built on this machine.
        """
        if self._imports is not None:
            try:
                session = self._forked(self._imports)
            except NotForkable as reason:
                self._give_up_forking(str(reason))
            else:
                self.wall = f"{self._kind}, forked"
                return session
        session, self._ahead = self._ahead or self._started(), None
        self.wall = self._kind
        return session

    def close(self) -> None:
        """End what was started and not used."""
        if self._server is not None:
            self._server.close()
        if self._ahead is not None:
            self._ahead.close()
        self._server = self._ahead = None

    def _started(self) -> Session:
        return sandboxes.open_session(self._kind, self._limits)

    def _forked(self, imports: Sequence[str]) -> Session:
        """From the server at hand; one that has failed is replaced once."""
        if self._server is not None:
            try:
                return self._server.open()
            except SandboxUnavailable:
                raise
            except InfrastructureError:
                self._server.close()
        self._server = self._new_server(imports)
        return self._server.open()

    def _new_server(self, imports: Sequence[str]) -> ForkServer:
        return sandboxes.start_fork_server(self._kind, self._limits, imports)

    def _give_up_forking(self, reason: str) -> None:
        print(f"nbmark: no fork server: {reason}; every submission starts a process of its own",
              file=sys.stderr, flush=True)  # fmt: skip
        self._imports = None
        if self._server is not None:
            self._server.close()
        self._server = None
