"""Reading files that somebody hostile may have prepared, and writing files that survive a kill.

Nothing here follows a link: every part of a path below a folder is opened by descriptor, and what
is opened is looked at before it is read.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nbmark.errors import UnsafeFile
from nbmark.untrusted.text import one_line

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
MAX_DEPTH = 8
# What the system says where a link, a file or a socket lies in place of what was asked for. Any
# other error is the machine's and tells nothing of what was handed in.
OF_ANOTHER_KIND = (errno.ENOTDIR, errno.ELOOP, errno.ENXIO)


@dataclass(frozen=True)
class Found:
    """A regular file: its path below the folder, and its size in bytes."""

    name: str
    size: int


@dataclass(frozen=True)
class Caps:
    """How much may be taken from one folder."""

    files: int = 100
    bytes_each: int = 20_000_000
    bytes_total: int = 50_000_000


def read_regular(folder: Path, name: str, *, max_bytes: int, owner: int | None = None) -> bytes:
    """The content of a regular file of at most `max_bytes` below `folder`.

    Parameters
    ----------
    name
        Path below `folder`, such as ``sub/data.csv``.
    owner
        The user id that must own the file, None for any.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    UnsafeFile
        If it is a link, no regular file, too large, or not the owner's.
    OSError
        If the machine cannot read it.
    """
    with _opened(folder, name) as fd:
        found = os.fstat(fd)
        _refuse_unless_plain(found, name, max_bytes, owner)
        data = b""
        while chunk := os.read(fd, 1 << 20):
            data += chunk
            if len(data) > max_bytes:
                raise UnsafeFile(f"{printable_name(name)} is larger than {max_bytes} bytes")
        return data


def walk_regular(
    folder: Path, caps: Caps, owner: int | None = None
) -> tuple[list[Found], list[UnsafeFile]]:
    """Every regular file below `folder`, and why each other entry was left out."""
    found: list[Found] = []
    skipped: list[UnsafeFile] = []
    total = 0
    for name, status in _entries(folder, ""):
        try:
            if isinstance(status, UnsafeFile):
                raise status
            _refuse_unless_plain(status, name, caps.bytes_each, owner)
            if len(found) >= caps.files:
                raise UnsafeFile(
                    f"{printable_name(name)} is one file too many (at most {caps.files})"
                )
            if total + status.st_size > caps.bytes_total:
                raise UnsafeFile(f"{printable_name(name)} exceeds {caps.bytes_total} bytes in all")
        except UnsafeFile as error:
            skipped.append(error)
            if len(skipped) > caps.files:
                break
        else:
            total += status.st_size
            found.append(Found(name, status.st_size))
    return found, skipped


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file so that a kill leaves the old content or the new, never a part."""
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_synced(path: Path, data: bytes) -> None:
    """Write a file that nobody looks for yet, and see it on the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `folder` once the block has filled it.

    A half-filled one is never seen under the name of `folder`; what a kill leaves behind has a name
    that starts with a dot, and the next call takes it away.
    """
    fresh, old = (folder.with_name(f".{folder.name}.{word}") for word in ("new", "old"))
    for stale in (fresh, old):
        shutil.rmtree(stale, ignore_errors=True)
    fresh.mkdir(parents=True)
    yield fresh
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def printable_name(name: str) -> str:
    """A file name fit for a message: one line, at most 100 characters, quotes and all."""
    return one_line(name.encode("unicode_escape", "replace").decode(), 100)


@contextlib.contextmanager
def _opened(folder: Path, name: str) -> Iterator[int]:
    *parents, last = name.split("/")
    if any(part in ("", ".", "..") for part in (*parents, last)):
        raise UnsafeFile(f"{printable_name(name)} is no plain file name")
    fd = _open_folder(folder)
    try:
        for part, flags in [*((one, FOLDER) for one in parents), (last, FILE)]:
            try:
                below = os.open(part, flags, dir_fd=fd)
            except OSError as error:
                if error.errno not in OF_ANOTHER_KIND:
                    raise
                raise UnsafeFile(
                    f"{printable_name(name)} is a link or cannot be opened ({error.strerror})"
                ) from error
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


def _entries(folder: Path, prefix: str) -> Iterator[tuple[str, os.stat_result | UnsafeFile]]:
    """All that lies below, folders opened without following links; sorted by name."""
    yield from _entries_of(_open_folder(folder), prefix, 0)


def _open_folder(folder: Path) -> int:
    try:
        return os.open(folder, FOLDER)
    except OSError as error:
        if error.errno not in OF_ANOTHER_KIND:
            raise
        raise UnsafeFile(
            f"{printable_name(folder.name)} is no folder but a link or a file"
        ) from error


def _entries_of(
    fd: int, prefix: str, depth: int
) -> Iterator[tuple[str, os.stat_result | UnsafeFile]]:
    try:
        for entry in sorted(os.listdir(fd)):
            name = prefix + entry
            status = os.stat(entry, dir_fd=fd, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                yield name, status
            elif depth >= MAX_DEPTH:
                yield name, UnsafeFile(f"{printable_name(name)} lies too deep")
            else:
                try:
                    below = os.open(entry, FOLDER, dir_fd=fd)
                except OSError as error:
                    yield (
                        name,
                        UnsafeFile(f"{printable_name(name)} cannot be opened ({error.strerror})"),
                    )
                else:
                    yield from _entries_of(below, name + "/", depth + 1)
    finally:
        os.close(fd)


def _refuse_unless_plain(
    found: os.stat_result, name: str, max_bytes: int, owner: int | None
) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise UnsafeFile(f"{printable_name(name)} is a link")
    if not stat.S_ISREG(found.st_mode):
        raise UnsafeFile(f"{printable_name(name)} is no regular file")
    if found.st_nlink > 1:
        raise UnsafeFile(f"{printable_name(name)} has a second name elsewhere (a hard link)")
    if found.st_size > max_bytes:
        raise UnsafeFile(f"{printable_name(name)} is larger than {max_bytes} bytes")
    if owner is not None and found.st_uid != owner:
        raise UnsafeFile(f"{printable_name(name)} belongs to somebody else")


def make_private(folder: Path) -> Path:
    """Make `folder`, if need be, and let nobody else enter it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    return folder
