"""The files beside the notebooks of a submission: notebooks under other names, and own files.

Students submit ``mse (1).ipynb``, ``mse.ipynb.txt``, a zip, or a module that their notebook
imports. Here files are read or named. `choose` decides later, in a check process, which of them is
a notebook, because only that process parses what students made.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from nbmark.course.course import Assignment
from nbmark.errors import UnsafeFile
from nbmark.models import Notice
from nbmark.untrusted.files import Caps, read_regular, read_start, walk_regular
from nbmark.untrusted.names import printable_name

# What nbgrader writes into a submission. Its own feedback lands in a folder of this name.
NBGRADERS = ("timestamp.txt", "submission_secret.txt", "feedback")
# What file managers and Python leave behind.
LEFTOVERS = ("__pycache__", "__MACOSX", "Thumbs.db", "desktop.ini")
# How many files are named. Any number may lie there; a name alone may cost nothing.
LISTED = Caps(files=200, bytes_each=sys.maxsize, bytes_total=sys.maxsize)
MAX_CANDIDATES = 5
NBFORMAT = (b"nbformat", "nbformat".encode("utf-16-le"))  # every notebook holds this word
# The files that an assignment lets in. With the assignment's own 32 MiB they fit into one frame to
# the sandbox, which may have 64 MiB in base64.
OWN_FILES = Caps(files=20, bytes_each=8 << 20, bytes_total=8 << 20)
OVERRULED = (
    "Your submission has a file `{}` that differs from the assignment's own. The assignment's own "
    "was used."
)
OVER_CAPS = (
    "Your file `{}` was not there when your notebook was graded: at most {} files with {} MiB in "
    "all may lie beside it."
)


@dataclass
class Beside:
    """The files beside the notebooks; the fields are those of `models.Submission`."""

    candidates: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    @property
    def content(self) -> dict[str, bytes]:
        """Return everything that grading takes into account: path → bytes, or empty for a name."""
        return {**dict.fromkeys(self.names, b""), **self.candidates, **self.files}


def read_beside(assignment: Assignment, folder: Path, max_candidate_bytes: int) -> Beside:
    """Return the files beside the notebooks of a submission.

    Parameters
    ----------
    max_candidate_bytes
        How large the files that may be notebooks can be, all together.

    Raises
    ------
    OSError
        If the machine cannot read the folder.
    """
    beside = Beside()
    for name in _names(assignment, folder):
        is_let_in = _is_let_in(assignment, name)
        if is_let_in:
            _let_in(assignment, folder, name, beside)
        room = max_candidate_bytes - sum(map(len, beside.candidates.values()))
        is_candidate = len(beside.candidates) < MAX_CANDIDATES and _may_be_notebook(folder, name)
        data = _read(folder, name, room) if is_candidate else None
        if data is not None and any(word in data for word in NBFORMAT):
            beside.candidates[name] = data
        elif not is_let_in and name not in assignment.files:
            beside.names.append(name)
    return beside


def _names(assignment: Assignment, folder: Path) -> Iterator[str]:
    """Yield the paths of the student's files below `folder`, except the notebooks themselves."""
    try:
        files, _ = walk_regular(folder, LISTED, ignored=_is_leftover)
    except UnsafeFile:  # a link in place of the folder: the notebooks' own errors say so
        return
    notebooks = {f"{name}.ipynb" for name in assignment.notebooks}
    for file in files:
        if file.name.split("/")[0] not in NBGRADERS and file.name not in notebooks:
            yield file.name


def _is_leftover(name: str) -> bool:
    return name.startswith(".") or name in LEFTOVERS


def _is_let_in(assignment: Assignment, name: str) -> bool:
    # A name that cannot be printed cannot travel to the sandbox as text either.
    matches = any(fnmatchcase(name, pattern) for pattern in assignment.student_files)
    return matches and name.isprintable()


def _let_in(assignment: Assignment, folder: Path, name: str, beside: Beside) -> None:
    """Add a file to `beside.files`, or a notice that says why not."""
    room = OWN_FILES.bytes_total - sum(map(len, beside.files.values()))
    data = _read(folder, name, room) if len(beside.files) < OWN_FILES.files else None
    if _clashes(name, assignment.files):
        if data is None or data != assignment.files.get(name):
            beside.notices.append(Notice(OVERRULED.format(_safe(name))))
    elif data is None:
        limits = OWN_FILES.files, OWN_FILES.bytes_total >> 20
        beside.notices.append(Notice(OVER_CAPS.format(_safe(name), *limits)))
    else:
        beside.files[name] = data


def _clashes(name: str, own_files: Iterable[str]) -> bool:
    """Return whether the instructor has a file of this name, or a folder where this is a file."""
    return any(
        name == own or name.startswith(f"{own}/") or own.startswith(f"{name}/") for own in own_files
    )


def _may_be_notebook(folder: Path, name: str) -> bool:
    """Return whether a file begins as JSON does: with a brace, in any common encoding."""
    try:
        start = read_start(folder, name, 64)
    except (UnsafeFile, FileNotFoundError):
        return False
    return start.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").startswith(b"{")


def _read(folder: Path, name: str, max_bytes: int) -> bytes | None:
    try:
        return read_regular(folder, name, max_bytes=max_bytes)
    except (UnsafeFile, FileNotFoundError):
        return None


def _safe(name: str) -> str:
    return printable_name(name).replace("`", "'")
