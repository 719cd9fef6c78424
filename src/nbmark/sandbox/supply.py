"""Sessions for one assignment's submissions, forked from a server if possible."""

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
    """A source of sessions, one after the other; it must be closed.

    Parameters
    ----------
    kind
        The kind of sandbox, a key of `walls.KINDS`.
    imports
        The modules that a fork server imports; None to start a new process for each session.
    worker
        The trusted end of a worker whose server another process started; None to start a server
        here.

    Attributes
    ----------
    label
        The sandbox of the last session, in the words that are stored with a grade.
    not_forked_because
        The reason why each session needs a process of its own, if a fork server was tried and
        failed; empty otherwise.
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
        self.label = kind
        self.not_forked_because = ""

    def prepare(self) -> None:
        """Start a session or a fork server now, so that the first submission need not wait."""
        # An error is not lost: `open` meets it again and raises it.
        with contextlib.suppress(NbmarkError):
            if self._imports is None:
                self._ahead = self._start_session()
            elif self._worker is None:
                self._worker = self._start_server(self._imports)

    def fork_ahead(self) -> None:
        """Let a running server fork the next child now; the session before must be closed."""
        if self._worker is not None:
            self._worker.fork_ahead()

    def open(self) -> Session:
        """Return an unused session; the one before must be closed.

        Raises
        ------
        SandboxUnavailable
            If this machine cannot build a sandbox.
        """
        if self._imports is not None:
            try:
                session = self._fork_session(self._imports)
            except NotForkable as reason:
                self.close()
                self._imports = None
                # If this fails too, forking was not the problem, so its own error is raised and no
                # reason is stored.
                self._ahead = self._start_session()
                self.not_forked_because = str(reason)
            else:
                self.label = f"{self._kind}, forked"
                return session
        session, self._ahead = self._ahead or self._start_session(), None
        self.label = self._kind
        return session

    def close(self) -> None:
        """End the worker, the server and an unused session, if they exist."""
        for resource in (self._worker, self._server, self._ahead):
            if resource is not None:
                resource.close()
        self._worker = self._server = self._ahead = None

    def _start_session(self) -> Session:
        return walls.open_session(self._kind, self._limits)

    def _fork_session(self, imports: Sequence[str]) -> Session:
        """Return a session from the running server; replace the server once if it has failed."""
        if self._worker is not None:
            try:
                return self._worker.open()
            except InfrastructureError:
                self.close()
        self._worker = self._start_server(imports)
        try:
            return self._worker.open()
        except InfrastructureError as error:
            # A new server failed as well. Starting each submission by itself may still work.
            line = self._server.last_error_line() if self._server else ""
            raise NotForkable(f"{error} ({line})") from error

    def _start_server(self, imports: Sequence[str]) -> ForkWorker:
        self._server = walls.start_fork_server(self._kind, self._limits, imports)
        return walls.fork_worker(self._kind, self._limits, self._server.new_worker())
