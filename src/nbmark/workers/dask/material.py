"""An assignment's material as bytes, and the cache for it on a machine that runs submissions.

No file system is shared. The files that decide a grade travel with the work. A worker unpacks them
once, into a folder that other users cannot enter and no sandbox shows, and uses them for all
submissions.
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

OTHER_FOLDER = "start the worker with another --local-directory"
# Two graders may share a cluster. Keeping a third assignment would only cost memory: each one has
# a fork server with its libraries.
MAX_MATERIALS = 2


def packed(assignment: Assignment) -> bytes:
    """Return the assignment's material as ``tar.gz``; equal material gives equal bytes."""
    root = assignment.course.root
    data = io.BytesIO()
    # The hash of these bytes names the material on the workers, so no time may enter them.
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
    """Write the regular files of an archive below `folder`; any other entry is an error.

    Raises
    ------
    InfrastructureError
        If an entry is not a regular file, or would be written elsewhere.
    """
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        for entry in archive:
            name = PurePosixPath(entry.name)
            content = archive.extractfile(entry) if entry.isreg() else None
            if content is None or name.is_absolute() or ".." in name.parts:
                raise InfrastructureError(
                    f"the material has an entry '{entry.name}' that is not a plain file"
                )
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            # "x" refuses a name that occurs twice.
            with path.open("xb") as file:
                shutil.copyfileobj(content, file)


class MaterialMissing(Exception):
    """The cache lacks an assignment's material, and the request did not bring it along."""


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
    """The assignments unpacked most recently on a machine, shared by its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._materials: dict[str, _Material] = {}  # the most recently used one last

    @contextlib.contextmanager
    def checks(
        self, key: str, data: bytes, name: str, sandbox: str, home: str, threads: int
    ) -> Iterator[CheckPool]:
        """Give the check processes of an unpacked assignment, which stays until the block ends.

        Parameters
        ----------
        key
            Names the material; the same key is never used for another.
        data
            The material as `packed`, empty if it should be here already.
        home
            The folder for temporary files, in which the material gets a folder of its own.
        threads
            How many threads use it at most. Each has a check process; all share a fork server.

        Raises
        ------
        MaterialMissing
            If the material is not here, and `data` is empty.
        SandboxUnavailable
            If students' code could read the files in `home`.
        """
        with self._lock:
            material = self._materials.pop(key, None)
            if material is None:
                material = _received(data, name, sandbox, home, threads)
            self._materials[key] = material
            material.in_use += 1
            surplus = max(0, len(self._materials) - MAX_MATERIALS)
            for unused in self._unused()[:surplus]:
                self._materials.pop(unused).close()
        try:
            yield material.pool
        finally:
            with self._lock:
                material.in_use -= 1

    def close(self) -> None:
        """End everything that is not in use, and remove its files."""
        with self._lock:
            for unused in self._unused():
                self._materials.pop(unused).close()

    def _unused(self) -> list[str]:
        """Return the keys that no thread uses, the oldest first."""
        return [key for key, material in self._materials.items() if not material.in_use]


def _received(data: bytes, name: str, sandbox: str, home: str, threads: int) -> _Material:
    if not data:
        raise MaterialMissing
    # Before anything is written: the archive holds the hidden checks.
    walls.refuse_exposed(sandbox, Path(home), OTHER_FOLDER)
    folder = Path(tempfile.mkdtemp(prefix="nbmark-", dir=home))  # mode 0700
    try:
        unpack(data, folder)
        return _Material(folder, CheckPool(Course(folder).assignment(name), sandbox, threads))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
