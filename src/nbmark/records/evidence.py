"""Evidence: the questions and answers of each graded submission, kept where no student can write.

``evidence/<assignment>/<student>/<sha256>.json`` holds one graded submission; earlier attempts
stay. ``graded.json`` beside it is the mark of completion. It is written last, so a grading that was
killed has none and is done again. ``not-graded.txt`` says why the last try failed, if it did.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import msgspec

from nbmark.course.course import Course
from nbmark.errors import EvidenceUnusable
from nbmark.models import SCHEMA, Graded, Model
from nbmark.untrusted.files import make_private, write_atomic

INCOMPLETE = "has no complete grading; run: {}"
UNUSABLE = "its evidence, {}, {}; run: {}"
FAILURE = "not-graded.txt"


class Mark(Model, frozen=True):
    """The mark of completion: which submission was graded, with which checks, in what time."""

    digest: str
    checks_digest: str
    sandbox: str
    seconds: float = 0.0


def store(course: Course, graded: Graded) -> Path:
    """Write the evidence of one submission and return the path of the file."""
    path = _folder(course, graded.assignment, graded.student) / f"{graded.digest}.json"
    _write(path, {**msgspec.to_builtins(graded), "schema": SCHEMA})
    return path


def mark_complete(course: Course, graded: Graded, checks_digest: str) -> None:
    """Note that files and gradebook hold this grading in full."""
    mark = Mark(graded.digest, checks_digest, graded.sandbox, graded.seconds)
    folder = _folder(course, graded.assignment, graded.student)
    _write(folder / "graded.json", msgspec.to_builtins(mark))
    (folder / FAILURE).unlink(missing_ok=True)


def unmark(course: Course, assignment: str, student: str) -> None:
    """Remove the mark: the grading is incomplete until the next one is written."""
    (course.evidence / assignment / student / "graded.json").unlink(missing_ok=True)


def completed(course: Course, assignment: str, student: str) -> Mark | None:
    """Return the mark of a student's last complete grading, or None.

    A mark that cannot be read counts as none, because grading again repairs it.
    """
    path = course.evidence / assignment / student / "graded.json"
    try:
        return msgspec.convert(json.loads(path.read_bytes()), Mark)
    except (OSError, ValueError, RecursionError):  # msgspec.ValidationError is a ValueError
        return None


def note_failure(course: Course, assignment: str, student: str, reason: str) -> None:
    """Note why a submission could not be graded, until a grading of it is complete."""
    path = _folder(course, assignment, student) / FAILURE
    write_atomic(path, reason.encode(errors="backslashreplace"), mode=0o600)


def failure(course: Course, assignment: str, student: str) -> str:
    """Return why the last try to grade a submission failed, empty if it did not."""
    try:
        return (course.evidence / assignment / student / FAILURE).read_text(errors="replace")
    except OSError:
        return ""


def load(course: Course, assignment: str, student: str) -> Graded:
    """Return the last complete grading of a student.

    Raises
    ------
    EvidenceUnusable
        If there is none, or its file is missing, damaged, of another version or of another
        submission; the message says which, and what to run.
    """
    mark = completed(course, assignment, student)
    if mark is None:
        raise EvidenceUnusable(INCOMPLETE.format(grade_command(assignment, student)))
    path = course.evidence / assignment / student / f"{mark.digest}.json"
    try:
        graded = _read(path)
        if (graded.assignment, graded.student, graded.digest) != (assignment, student, mark.digest):
            raise ValueError("it belongs to another submission")
    except FileNotFoundError:
        reason = "is missing"
    except (OSError, ValueError, RecursionError) as error:
        reason = f"is damaged ({error})"
    except _OtherVersion as error:
        reason = f"is of version {error}, and this nbmark reads version {SCHEMA}"
    else:
        return graded
    where = path.relative_to(course.root)
    raise EvidenceUnusable(UNUSABLE.format(where, reason, grade_command(assignment, student)))


def students(course: Course, assignment: str) -> list[str]:
    """Return the ids of students with evidence, complete or not, sorted."""
    return sorted({path.parent.name for path in (course.evidence / assignment).glob("*/*.json")})


def grade_command(assignment: str, student: str) -> str:
    """Return the command that grades one student, quoted for a shell."""
    return shlex.join(["nbmark", "grade", assignment, "--student", student])


class _OtherVersion(Exception):
    """The evidence has another schema number."""


def _read(path: Path) -> Graded:
    # json rather than msgspec.json, because a student's text may hold lone surrogates.
    fields = json.loads(path.read_bytes())
    if not isinstance(fields, dict) or "schema" not in fields:
        raise ValueError("it has no schema number")
    schema = fields.pop("schema")
    if schema != SCHEMA:
        raise _OtherVersion(schema)
    return msgspec.convert(fields, Graded)


def _folder(course: Course, assignment: str, student: str) -> Path:
    make_private(course.evidence)
    return make_private(course.evidence / assignment / student)


def _write(path: Path, value: object) -> None:
    write_atomic(path, json.dumps(value).encode() + b"\n", mode=0o600)
