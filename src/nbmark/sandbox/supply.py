"""Sessions for the submissions of one assignment, each from a fork server where that can be."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence

from nbmark.errors import InfrastructureError, NbmarkError
from nbmark.limits import Limits
from nbmark.sandbox import walls
from nbmark.sandbox.forkserver import ForkServer, ForkWorker, NotForkable
from nbmark.sandbox.session import Session


class SessionSource:
    """Hands out sessions, one after the other; must be closed.

    Parameters
    ----------
    kind
        The wall, a key of `walls.KINDS`.
    imports
        What a fork server imports; None for a process of its own for each session.
    worker
        The trusted end of a worker of a server that somebody else started, None for a server of
        its own.

    Attributes
    ----------
    wall
        How the last session was closed in, as it is noted with a grade.
    not_forked_because
        Why each session needs a process of its own, empty unless a server was tried in vain.
    """

    def __init__(
        self,
        kind: str,
        limits: Limits,
        imports: Sequence[str] | None,
        worker: socket.socket | None = None,
    ) -> None:
        self._kind = kind
        self._limits = limits
        self._imports = imports if walls.KINDS[kind].can_fork else None
        self._server: ForkServer | None = None
        self._worker = walls.fork_worker(kind, limits, worker) if worker else None
        self._ahead: Session | None = None
        self.wall = kind
        self.not_forked_because = ""

    def prepare(self) -> None:
        """Start now what takes a while; where that fails, whoever needs it will be told."""
        with contextlib.suppress(NbmarkError):
            if self._imports is None:
                self._ahead = self._started()
            elif self._worker is None:
                self._worker = self._own_worker(self._imports)

    def ask_ahead(self) -> None:
        """Let a server at hand fork the next child already; the session before must be closed."""
        if self._worker is not None:
            self._worker.ask_ahead()

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
                self.close()
                self._imports = None
                self._ahead = self._started()  # if there is no wall either, that is the trouble
                self.not_forked_because = str(reason)
            else:
                self.wall = f"{self._kind}, forked"
                return session
        session, self._ahead = self._ahead or self._started(), None
        self.wall = self._kind
        return session

    def close(self) -> None:
        """End what was started and not used."""
        for one in (self._worker, self._server, self._ahead):
            if one is not None:
                one.close()
        self._worker = self._server = self._ahead = None

    def _started(self) -> Session:
        return walls.open_session(self._kind, self._limits)

    def _forked(self, imports: Sequence[str]) -> Session:
        """From the server at hand; one that has failed is replaced once."""
        if self._worker is not None:
            try:
                return self._worker.open()
            except InfrastructureError:
                self.close()
        self._worker = self._own_worker(imports)
        try:
            return self._worker.open()
        except InfrastructureError as error:
            said = self._server.last_words() if self._server else ""
            raise NotForkable(f"{error} ({said})") from error

    def _own_worker(self, imports: Sequence[str]) -> ForkWorker:
        self._server = walls.start_fork_server(self._kind, self._limits, imports)
        return walls.fork_worker(self._kind, self._limits, self._server.new_worker())
