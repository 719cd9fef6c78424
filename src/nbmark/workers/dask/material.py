"""An assignment's material as bytes, and the shelf of a machine that submissions are sent to.

No file system is shared: what decides a grade travels with the work, is unpacked once into a folder
that nobody else can enter and no sandbox shows, and serves all submissions after that.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import shutil
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nbmark.course.course import Assignment, Course
from nbmark.errors import InfrastructureError
from nbmark.sandbox import walls
from nbmark.workers.pool import CheckPool

ELSEWHERE = "start the worker with another --local-directory"
KEPT = 2  # two graders may share a cluster; more would hold memory for nobody


def packed(assignment: Assignment) -> bytes:
    """The assignment's material as ``tar.gz``: equal material gives equal bytes."""
    root = assignment.course.root
    data = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=data, mode="wb", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in assignment.material:
            content = path.read_bytes()
            entry = tarfile.TarInfo(path.relative_to(root).as_posix())
            entry.size, entry.mode = len(content), 0o600
            archive.addfile(entry, io.BytesIO(content))
    return data.getvalue()


def unpack(data: bytes, folder: Path) -> None:
    """Write the regular files of an archive below `folder`; anything else in it is an error.

    Raises
    ------
    InfrastructureError
        If an entry is no regular file, or would be written elsewhere.
    """
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        for entry in archive:
            name = PurePosixPath(entry.name)
            content = archive.extractfile(entry) if entry.isreg() else None
            if content is None or name.is_absolute() or ".." in name.parts:
                raise InfrastructureError(f"the material has an entry '{entry.name}' of a bad kind")
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                shutil.copyfileobj(content, file)


class MaterialMissing(Exception):
    """The shelf lacks the material and did not get it along."""


@dataclass
class _Material:
    """One assignment unpacked, and the processes that run its checks."""

    folder: Path
    pool: CheckPool
    in_use: int = 0

    def close(self) -> None:
        self.pool.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class MaterialCache:
    """The newest materials of a machine; its threads share them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, _Material] = {}  # the newest last

    @contextlib.contextmanager
    def checks(
        self, key: str, data: bytes, name: str, sandbox: str, home: str, threads: int
    ) -> Iterator[CheckPool]:
        """The check processes of a material, which stays for the block at least.

        Parameters
        ----------
        key
            Names the material; the same key is never used for another.
        data
            The material as `packed`, empty if it should be here already.
        home
            The folder for temporary files, in which the material gets one of its own.
        threads
            How many use it at most: each has a check process, all of them one fork server.

        Raises
        ------
        MaterialMissing
            If it is not here, and `data` is empty.
        SandboxUnavailable
            If students' code could read what lies in `home`.
        """
        with self._lock:
            material = self._kept.pop(key, None)
            if material is None:
                material = _received(data, name, sandbox, home, threads)
            self._kept[key] = material
            material.in_use += 1
            unused = [key for key, one in self._kept.items() if not one.in_use]
            for old in unused[: max(0, len(self._kept) - KEPT)]:
                self._kept.pop(old).close()
        try:
            yield material.pool
        finally:
            with self._lock:
                material.in_use -= 1

    def close(self) -> None:
        """End everything that is not in use, and remove its files."""
        with self._lock:
            for key in [key for key, one in self._kept.items() if not one.in_use]:
                self._kept.pop(key).close()


def _received(data: bytes, name: str, sandbox: str, home: str, threads: int) -> _Material:
    if not data:
        raise MaterialMissing
    walls.refuse_exposed(sandbox, Path(home), ELSEWHERE)
    folder = Path(tempfile.mkdtemp(prefix="nbmark-", dir=home))  # mode 0700
    try:
        unpack(data, folder)
        return _Material(folder, CheckPool(Course(folder).assignment(name), sandbox, threads))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
