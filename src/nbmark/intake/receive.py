"""Reads what a student handed in from ``submitted/``, without trusting a byte or a link of it."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import hmac
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nbmark.course import Assignment
from nbmark.errors import InfrastructureError
from nbmark.models import Submission
from nbmark.safefiles import Caps, UnsafeFile, read_regular, shown, walk_regular

MAX_NOTEBOOK_BYTES = 50_000_000
MAX_NOTE_BYTES = 1000
ABSENT = "The submission has no notebook called {}.ipynb. Was it renamed?{}"
REFUSED = (
    "The file of this notebook was not opened: {}. "
    "Clear large outputs, and hand in the file itself."
)
GONE = "the submission is gone: there is no {} any more; collect it again"
CHANGED = "the submission in {} changed while it was read; run this again when nobody collects"
UNREAD = "the submission in {} cannot be read ({}); mend that and run this again"
STUDENT_ID = re.compile(r"[A-Za-z0-9_@][A-Za-z0-9_.@+-]{0,127}")


@dataclass(frozen=True)
class Received:
    """A submission and what nbgrader keeps beside it.

    Parameters
    ----------
    submitted_at
        UTC without a zone, None if there is no readable ``timestamp.txt``.
    notes
        File name → bytes of the small files that nbgrader's ``release_feedback`` needs.
    """

    submission: Submission
    submitted_at: datetime.datetime | None
    notes: dict[str, bytes]


def receive(
    assignment: Assignment,
    student: str,
    folder: Path,
    secret: bytes,
    parse_timestamp: Callable[[str], datetime.datetime | None],
) -> Received:
    """The submission that lies in `folder`; what is no plain file of bearable size is not read.

    Raises
    ------
    InfrastructureError
        If it is not there any more, changes meanwhile, or the machine cannot read it: that is not
        the student's doing.
    """
    try:
        state = _state(folder)
        notebooks, refused = _notebooks(assignment, folder)
        notes = _notes(folder)
        if _state(folder) != state:
            raise InfrastructureError(CHANGED.format(folder))
    except OSError as error:
        raise InfrastructureError(UNREAD.format(folder, error.strerror or error)) from error
    stamp = notes.get("timestamp.txt", b"").decode("utf-8", "replace")
    digest = _digest(notebooks, stamp)
    return Received(
        Submission(student, notebooks, digest, seed_of(secret, assignment.name, digest), refused),
        parse_timestamp(stamp) if stamp else None,
        notes,
    )


def seed_of(secret: bytes, assignment: str, digest: str) -> bytes:
    """What decides the hidden inputs of a submission."""
    return hmac.digest(secret, f"{assignment}\0{digest}".encode(), "sha256")


def is_student_id(name: str) -> bool:
    """Whether a folder's name can be a student's id: no separators, spaces or look-alikes."""
    return STUDENT_ID.fullmatch(name) is not None


def _state(folder: Path) -> tuple[int, int, int]:
    """Which folder it is, and when a file of it came or went."""
    try:
        found = os.lstat(folder)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InfrastructureError(GONE.format(folder)) from error
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _notebooks(
    assignment: Assignment, folder: Path
) -> tuple[dict[str, bytes | None], dict[str, str]]:
    """The notebooks by name, None for one that was not read; and why it was not."""
    notebooks: dict[str, bytes | None] = {}
    refused: dict[str, str] = {}
    for name in assignment.notebooks:
        try:
            notebooks[name] = read_regular(folder, f"{name}.ipynb", max_bytes=MAX_NOTEBOOK_BYTES)
        except FileNotFoundError:
            notebooks[name], refused[name] = None, ABSENT.format(name, _others(folder))
        except UnsafeFile as error:
            notebooks[name], refused[name] = None, REFUSED.format(error)
    return notebooks, refused


def _others(folder: Path) -> str:
    """The other notebooks that lie there, as a hint."""
    try:
        found, _ = walk_regular(folder, Caps())
    except (UnsafeFile, OSError):
        return ""
    names = [shown(one.name) for one in found if one.name.endswith(".ipynb")]
    return f" (found: {', '.join(names[:5])})" if names else ""


def _notes(folder: Path) -> dict[str, bytes]:
    """The small files that can be had."""
    notes = {}
    for name in ("timestamp.txt", "submission_secret.txt"):
        with contextlib.suppress(FileNotFoundError, UnsafeFile):
            notes[name] = read_regular(folder, name, max_bytes=MAX_NOTE_BYTES)
    return notes


def _digest(notebooks: dict[str, bytes | None], stamp: str) -> str:
    total = hashlib.sha256(stamp.encode())
    for name, data in sorted(notebooks.items()):
        total.update(name.encode() + b"\0")
        total.update(b"absent" if data is None else hashlib.sha256(data).digest())
    return total.hexdigest()
