"""Read files that an attacker may have prepared, and write files that survive a kill.

No function here follows a link. It opens every part of a path below a folder by descriptor, and
checks the open file before it reads.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nbmark.errors import UnsafeFile
from nbmark.untrusted.names import printable_name

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a named pipe would otherwise wait for a writer.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# Students may nest folders without end, and each level keeps a descriptor open during the walk.
MAX_DEPTH = 8
LONGEST_NAME = 255  # bytes; the limit of every common file system
# The system's errors if a link, a file or a socket lies in place of the file or folder to open.
# Any other error is the machine's fault, not the student's.
WRONG_KIND = (errno.ENOTDIR, errno.ELOOP, errno.ENXIO)


@dataclass(frozen=True)
class FileEntry:
    """A regular file: its path below the folder, and its size in bytes."""

    name: str
    size: int


@dataclass(frozen=True)
class Caps:
    """Limits on the files that are taken from one folder."""

    files: int = 100
    bytes_each: int = 20_000_000
    bytes_total: int = 50_000_000


def read_regular(folder: Path, name: str, *, max_bytes: int, owner: int | None = None) -> bytes:
    """Return the content of a regular file of at most `max_bytes` below `folder`.

    Parameters
    ----------
    name
        Path below `folder`, such as ``sub/data.csv``.
    owner
        The user id that must own the file, None for any.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    UnsafeFile
        If it is a link, not a regular file, too large, or not the owner's.
    OSError
        If the machine cannot read it.
    """
    with _opened(folder, name) as fd:
        _refuse_unless_plain(os.fstat(fd), name, max_bytes, owner)
        data = bytearray()
        while chunk := os.read(fd, 1 << 20):
            data += chunk
            # The student may still be writing to the file, so its size above proves nothing.
            if len(data) > max_bytes:
                raise UnsafeFile(_too_large(name, max_bytes))
        return bytes(data)


def read_start(folder: Path, name: str, max_bytes: int) -> bytes:
    """Return the first bytes of a regular file of any size below `folder`.

    Raises
    ------
    UnsafeFile, OSError
        As `read_regular` does.
    """
    with _opened(folder, name) as fd:
        _refuse_unless_plain(os.fstat(fd), name, sys.maxsize, None)
        return os.read(fd, max_bytes)


def walk_regular(
    folder: Path,
    caps: Caps,
    owner: int | None = None,
    ignored: Callable[[str], bool] = lambda name: False,
) -> tuple[list[FileEntry], list[UnsafeFile]]:
    """Return every regular file below `folder`, and the reasons why other entries were left out.

    Parameters
    ----------
    ignored
        Name of a file or folder → whether it does not count. A folder may hold thousands of files
        of a program's own, and these must not use up the caps.
    """
    files: list[FileEntry] = []
    skipped: list[UnsafeFile] = []
    total = 0
    for name, status in _entries(_open_folder(folder), ignored):
        try:
            if isinstance(status, UnsafeFile):
                raise status
            _refuse_unless_plain(status, name, caps.bytes_each, owner)
            if len(files) >= caps.files:
                raise UnsafeFile(
                    f"{printable_name(name)} is one file too many (at most {caps.files})"
                )
            if total + status.st_size > caps.bytes_total:
                raise UnsafeFile(
                    f"{printable_name(name)} takes the total over {caps.bytes_total} bytes"
                )
        except UnsafeFile as error:
            skipped.append(error)
            # A folder may hold a million bad entries, and each reason becomes a line of the log.
            if len(skipped) > caps.files:
                break
        else:
            total += status.st_size
            files.append(FileEntry(name, status.st_size))
    return files, skipped


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file so that a kill leaves the old content or the new, never a part."""
    # In the same folder, because a rename is atomic only within one file system.
    # Its name does not hold the file's, which may be as long as the file system allows.
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new.")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            # Before the rename: after a power cut the new name must not hold an empty file.
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    # The rename itself is on the disk only when the folder is.
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_synced(path: Path, data: bytes) -> None:
    """Write a file that has no reader yet, and wait until it is on the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder, and put it in the place of `folder` once the block has filled it.

    A half-filled folder never has the name of `folder`. A kill may leave one behind under a name
    that starts with a dot; the next call removes it.
    """
    fresh, old = (folder.with_name(f".{_shortened(folder.name)}.{w}") for w in ("new", "old"))
    for stale in (fresh, old):
        shutil.rmtree(stale, ignore_errors=True)
    fresh.mkdir(parents=True)
    yield fresh
    # A rename cannot replace a folder that has files in it, so the old one moves aside first.
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _opened(folder: Path, name: str) -> Iterator[int]:
    """Give the descriptor of a file, opened folder by folder without following a link."""
    *parents, last = name.split("/")
    if any(part in ("", ".", "..") for part in (*parents, last)):
        raise UnsafeFile(f"{printable_name(name)} is not a plain file name")
    fd = _open_folder(folder)
    try:
        # O_NOFOLLOW covers only the last part of a path, so each part needs an `open` of its own.
        for part, flags in [*((parent, FOLDER) for parent in parents), (last, FILE)]:
            try:
                below = os.open(part, flags, dir_fd=fd)
            except OSError as error:
                if error.errno not in WRONG_KIND:
                    raise
                raise UnsafeFile(
                    f"{printable_name(name)} is a link or cannot be opened ({error.strerror})"
                ) from error
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


def _open_folder(folder: Path) -> int:
    try:
        return os.open(folder, FOLDER)
    except OSError as error:
        if error.errno not in WRONG_KIND:
            raise
        raise UnsafeFile(
            f"{printable_name(folder.name)} is a link or a file, not a folder"
        ) from error


def _entries(
    fd: int, ignored: Callable[[str], bool], prefix: str = "", depth: int = 0
) -> Iterator[tuple[str, os.stat_result | UnsafeFile]]:
    """Yield the entries below an open folder that are not folders, sorted by name; close `fd`.

    A folder that cannot be entered is yielded with the reason.
    """
    try:
        for entry in sorted(entry for entry in os.listdir(fd) if not ignored(entry)):
            name = prefix + entry
            status = os.stat(entry, dir_fd=fd, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                yield name, status
            elif depth >= MAX_DEPTH:
                yield name, UnsafeFile(f"{printable_name(name)} is nested too deep")
            else:
                try:
                    below = os.open(entry, FOLDER, dir_fd=fd)
                except OSError as error:
                    reason = f"{printable_name(name)} cannot be opened ({error.strerror})"
                    yield name, UnsafeFile(reason)
                else:
                    yield from _entries(below, ignored, name + "/", depth + 1)
    finally:
        os.close(fd)


def _refuse_unless_plain(
    status: os.stat_result, name: str, max_bytes: int, owner: int | None
) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise UnsafeFile(f"{printable_name(name)} is a link")
    if not stat.S_ISREG(status.st_mode):
        raise UnsafeFile(f"{printable_name(name)} is not a regular file")
    # A student can give a file of another student a second name in their own folder.
    if status.st_nlink > 1:
        raise UnsafeFile(f"{printable_name(name)} has a second name elsewhere (a hard link)")
    if status.st_size > max_bytes:
        raise UnsafeFile(_too_large(name, max_bytes))
    if owner is not None and status.st_uid != owner:
        raise UnsafeFile(f"{printable_name(name)} belongs to another user")


def _too_large(name: str, max_bytes: int) -> str:
    return f"{printable_name(name)} is larger than {max_bytes} bytes"


def _shortened(name: str) -> str:
    """Return the name of a folder, or its hash if nothing could be added to such a long name."""
    data = os.fsencode(name)
    return name if len(data) <= LONGEST_NAME - 5 else hashlib.sha256(data).hexdigest()


def make_private(folder: Path) -> Path:
    """Make `folder` if it is not there, and close it to all other users; return it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)  # an older folder may be open to others, and mkdir leaves it as it is
    return folder
