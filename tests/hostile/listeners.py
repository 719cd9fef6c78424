"""Ears on this machine that nothing inside the wall may reach, and things it may not find."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import uuid
from pathlib import Path


class Listeners:
    """Sockets of every kind, files with a canary in `/tmp` and `/dev/shm`; gone on exit.

    Attributes
    ----------
    places
        Word in a case's code → where to knock.
    hits
        How many connections and datagrams came.
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
        for one in self._sockets:
            one.close()
        for path in self._files:
            path.unlink(missing_ok=True)

    def _listen(self) -> None:
        with selectors.DefaultSelector() as selector:
            for one in self._sockets:
                selector.register(one, selectors.EVENT_READ)
            selector.register(self._stop_read, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._stop_read in ready:
                    return
                for one in ready:
                    self._answer(one)

    def _answer(self, one: object) -> None:
        self.hits += 1
        with contextlib.suppress(OSError):
            if one is self._udp:
                self._udp.recv(1000)
            elif isinstance(one, socket.socket):
                one.accept()[0].close()


def _bound(family: int, kind: int, address: object) -> socket.socket:
    found = socket.socket(family, kind)
    found.bind(address)
    if kind == socket.SOCK_STREAM:
        found.listen()
    return found
