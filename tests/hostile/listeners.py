"""Sockets and files on this machine that no code in a sandbox may reach."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import uuid
from pathlib import Path


class Listeners:
    """Sockets of every kind, and files with a canary in ``/tmp`` and ``/dev/shm``.

    A context manager: it listens within the block, and removes everything at its end.

    Attributes
    ----------
    places
        Word in a case's code → the port, name or path of a socket or file.
    hits
        How many connections and datagrams arrived.
    """

    def __init__(self, folder: Path, canary: str) -> None:
        self.hits = 0
        name = f"nbmark-{uuid.uuid4().hex}"
        self._tcp = _bound(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
        self._udp = _bound(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
        abstract = _bound(socket.AF_UNIX, socket.SOCK_STREAM, f"\0{name}")
        named = _bound(socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "socket"))
        self._sockets = [self._tcp, self._udp, abstract, named]
        self._files = [Path("/tmp", name), Path("/dev/shm", name)]
        for path in self._files:
            path.write_text(canary)
        self.places = {
            "@TCP@": str(self._tcp.getsockname()[1]),
            "@UDP@": str(self._udp.getsockname()[1]),
            "@ABSTRACT@": name,
            "@SOCKET@": str(folder / "socket"),
            "@FILE@": name,
        }
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> Listeners:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        os.write(self._stop_write, b"x")
        self._thread.join()
        for listener in self._sockets:
            listener.close()
        for path in self._files:
            path.unlink(missing_ok=True)

    def _listen(self) -> None:
        with selectors.DefaultSelector() as selector:
            for listener in self._sockets:
                selector.register(listener, selectors.EVENT_READ)
            selector.register(self._stop_read, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._stop_read in ready:
                    return
                for listener in ready:
                    self._count_hit(listener)

    def _count_hit(self, listener: object) -> None:
        self.hits += 1
        with contextlib.suppress(OSError):
            if listener is self._udp:
                self._udp.recv(1000)
            elif isinstance(listener, socket.socket):
                listener.accept()[0].close()


def _bound(family: int, kind: int, address: object) -> socket.socket:
    """Return a bound socket, which listens if it is a stream socket."""
    bound = socket.socket(family, kind)
    bound.bind(address)
    if kind == socket.SOCK_STREAM:
        bound.listen()
    return bound
