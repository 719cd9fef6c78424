"""Read what a student submitted from ``submitted/``, without trusting a byte or a link of it."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from nbmark.course.course import Assignment
from nbmark.course.folders import Folders
from nbmark.course.times import TimestampReader
from nbmark.errors import InfrastructureError, UnreadableTime, UnsafeFile
from nbmark.intake.beside import Beside, read_beside
from nbmark.intake.identity import aliases_of
from nbmark.models import Submission
from nbmark.untrusted.files import read_regular
from nbmark.untrusted.names import unfit_as_id

# All notebooks of a submission together, and the files that may be notebooks under other names. In
# base64 they fit into one frame to a check process. Saved outputs are dropped there, not before.
MAX_NOTEBOOK_BYTES = 100_000_000
MAX_NOTE_BYTES = 1000
STAMP, SECRET = "timestamp.txt", "submission_secret.txt"
STAMP_FORMAT = "%Y-%m-%d %H:%M:%S.%f UTC"  # nbgrader's own
ABSENT = "The submission has no notebook called {}.ipynb."
REFUSED = (
    "The file of this notebook was not opened: {}. Clear large outputs (all notebooks of a "
    f"submission together may have {MAX_NOTEBOOK_BYTES // 1_000_000} MB), and submit an ordinary "
    "file, not a link."
)
GONE = "the submission is gone: {} does not exist any more; collect it again"
CHANGED = (
    "the submission in {} changed while it was read; run this again when no collection is running"
)
TIME_UNREAD = "its timestamp.txt cannot be read, so it is not counted as late: {}"
UNREAD = "the submission in {} cannot be read ({}); fix that and run this again"


@dataclass(frozen=True)
class Received:
    """A submission and what nbgrader keeps beside it.

    Parameters
    ----------
    submitted_at
        UTC without a zone, None if there is no readable ``timestamp.txt``.
    time_unread
        Why the ``timestamp.txt`` was not read, empty if it was or if there is none.
    notes
        File name → text of the small files that nbgrader's ``release_feedback`` needs.
    """

    submission: Submission
    submitted_at: datetime.datetime | None
    notes: dict[str, str]
    time_unread: str = ""


class Inbox:
    """The submissions of one assignment, each read only when it is its turn.

    So memory never holds more submissions than are under way.

    Parameters
    ----------
    lms_user_ids
        Student id → the id in the learning management system, for students who have one.

    Attributes
    ----------
    class_ids
        The ids of all students with a submission, without folders that are no student's.
    """

    def __init__(
        self, assignment: Assignment, folders: Folders, lms_user_ids: Mapping[str, str]
    ) -> None:
        # Checks calculate with these ids, so a folder with a hostile name may not be among them.
        names = folders.students(assignment.name)
        self.class_ids = tuple(name for name in names if not unfit_as_id(name))
        self._assignment = assignment
        self._folders = folders
        self._lms_user_ids = lms_user_ids
        self._secret = assignment.course.secret()

    def receive(self, student: str) -> Received:
        """Return the student's submission; see `receive`."""
        folder = self._folders.submitted(student, self._assignment.name)
        received = receive(
            self._assignment, student, folder, self._secret, self._folders.timestamps
        )
        submission = msgspec.structs.replace(
            received.submission, aliases=self.aliases(student), classmates=self.class_ids
        )
        return replace(received, submission=submission)

    def aliases(self, student: str) -> tuple[str, ...]:
        """Return other ids of the student, except those that another student uses."""
        aliases = aliases_of(student, self._lms_user_ids.get(student))
        return tuple(alias for alias in aliases if alias not in self.class_ids)


def receive(
    assignment: Assignment, student: str, folder: Path, secret: bytes, timestamps: TimestampReader
) -> Received:
    """Return the submission in `folder`; a link or an overlong file in it is not read.

    Raises
    ------
    InfrastructureError
        If the submission has disappeared, changes meanwhile, or the machine cannot read it: that is
        not the student's fault.
    """
    try:
        state = _state(folder)
        notebooks, refused = _notebooks(assignment, folder)
        room = MAX_NOTEBOOK_BYTES - sum(len(data) for data in notebooks.values() if data)
        beside = read_beside(assignment, folder, room)
        notes = _notes(folder)
        if _state(folder) != state:
            raise InfrastructureError(CHANGED.format(folder))
    except OSError as error:
        raise InfrastructureError(UNREAD.format(folder, error.strerror or error)) from error
    stamp = notes.get(STAMP, b"").decode("utf-8", "replace")
    digest = _digest(notebooks, stamp, beside)
    submission = Submission(
        student,
        notebooks,
        digest,
        seed_of(secret, assignment.name, digest),
        refused,
        candidates=beside.candidates,
        files=beside.files,
        beside=beside.names,
        notices=beside.notices,
    )
    submitted_at, time_unread = None, ""
    try:
        # nbgrader takes an empty file for none.
        submitted_at = timestamps.read(stamp) if stamp.strip() else None
    except UnreadableTime as error:
        time_unread = TIME_UNREAD.format(error)
    # nbgrader stops releasing feedback to the whole class if either file is missing or not text.
    # It names a student's page after the secret; this name nobody can guess.
    unseen = seed_of(secret, "feedback", f"{student}\0{digest}").hex()
    usable = {
        STAMP: submitted_at.strftime(STAMP_FORMAT) if submitted_at else "",
        SECRET: _text(notes.get(SECRET, b"")) or unseen,
    }
    return Received(submission, submitted_at, usable, time_unread)


def seed_of(secret: bytes, assignment: str, digest: str) -> bytes:
    """Return the seed that decides the hidden inputs of a submission."""
    return hmac.digest(secret, f"{assignment}\0{digest}".encode(), "sha256")


def _state(folder: Path) -> tuple[int, int, int]:
    """Return what shows a replaced folder, or a file added or removed: its id and times."""
    try:
        status = os.lstat(folder)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InfrastructureError(GONE.format(folder)) from error
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _notebooks(
    assignment: Assignment, folder: Path
) -> tuple[dict[str, bytes | None], dict[str, str]]:
    """Return the notebooks by name, None for one that was not read, and why it was not."""
    notebooks: dict[str, bytes | None] = {}
    refused: dict[str, str] = {}
    room = MAX_NOTEBOOK_BYTES
    for name in assignment.notebooks:
        notebooks[name] = None
        try:
            data = read_regular(folder, f"{name}.ipynb", max_bytes=room)
        except FileNotFoundError:
            refused[name] = ABSENT.format(name)
        except UnsafeFile as error:
            refused[name] = REFUSED.format(error)
        else:
            notebooks[name], room = data, room - len(data)
    return notebooks, refused


def _notes(folder: Path) -> dict[str, bytes]:
    notes = {}
    for name in (STAMP, SECRET):
        with contextlib.suppress(FileNotFoundError, UnsafeFile):
            notes[name] = read_regular(folder, name, max_bytes=MAX_NOTE_BYTES)
    return notes


def _text(data: bytes) -> str:
    """Return a text file's content, empty if nbgrader could not read it."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return ""


def _digest(notebooks: dict[str, bytes | None], stamp: str, beside: Beside) -> str:
    total = hashlib.sha256(stamp.encode())
    for name, data in sorted(notebooks.items()):
        total.update(name.encode() + b"\0")
        total.update(b"absent" if data is None else hashlib.sha256(data).digest())
    # Nothing is added for a submission without other files, so its earlier evidence stays valid.
    for name, data in sorted(beside.content.items()):
        total.update(b"beside\0" + os.fsencode(name) + b"\0" + hashlib.sha256(data).digest())
    return total.hexdigest()
