"""Reads what a student handed in from ``submitted/``, without trusting a byte or a link of it."""

from __future__ import annotations

import datetime
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nbmark.course import Assignment
from nbmark.models import Submission
from nbmark.safefiles import UnsafeFile, read_regular

MAX_NOTEBOOK_BYTES = 50_000_000
MAX_NOTE_BYTES = 1000


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
    assignment: Assignment, student: str, folder: Path, secret: bytes,
    parse_timestamp: Callable[[str], datetime.datetime | None],
) -> Received:  # fmt: skip
    """The submission that lies in `folder`; one that is no plain file counts as absent."""
    notebooks = {
        name: _read(folder, f"{name}.ipynb", MAX_NOTEBOOK_BYTES) for name in assignment.notebooks
    }
    notes = {
        name: data
        for name in ("timestamp.txt", "submission_secret.txt")
        if (data := _read(folder, name, MAX_NOTE_BYTES)) is not None
    }
    stamp = notes.get("timestamp.txt", b"").decode("utf-8", "replace")
    digest = _digest(notebooks, stamp)
    seed = hmac.digest(secret, f"{assignment.name}\0{digest}".encode(), "sha256")
    return Received(
        Submission(student, notebooks, digest, seed),
        parse_timestamp(stamp) if stamp else None,
        notes,
    )


def _read(folder: Path, name: str, max_bytes: int) -> bytes | None:
    try:
        return read_regular(folder, name, max_bytes=max_bytes)
    except (FileNotFoundError, UnsafeFile):
        return None


def _digest(notebooks: dict[str, bytes | None], stamp: str) -> str:
    total = hashlib.sha256(stamp.encode())
    for name, data in sorted(notebooks.items()):
        total.update(name.encode() + b"\0")
        total.update(b"absent" if data is None else hashlib.sha256(data).digest())
    return total.hexdigest()
