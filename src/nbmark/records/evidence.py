"""What was asked and answered, kept where no student can write.

``evidence/<assignment>/<student>/<sha256>.json`` holds one graded submission; earlier attempts
stay. ``graded.json`` beside it is the mark of completion: it is written last, so a grading that
was killed is taken up again. What cannot be read, or is of another schema, counts as not there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from nbmark.course import Course, make_private
from nbmark.models import SCHEMA, Graded
from nbmark.safefiles import write_atomic


@dataclass(frozen=True)
class Mark:
    """The mark of completion: which submission was graded, with which checks, in what time."""

    digest: str
    checks_digest: str
    sandbox: str
    seconds: float = 0.0


def store(course: Course, graded: Graded) -> Path:
    """Write the evidence of one submission; the path of the file."""
    path = _folder(course, graded.assignment, graded.student) / f"{graded.digest}.json"
    _write(path, graded.to_json())
    return path


def mark_complete(course: Course, graded: Graded, checks_digest: str) -> None:
    """Note that files and gradebook hold this grading in full."""
    folder = _folder(course, graded.assignment, graded.student)
    _write(
        folder / "graded.json",
        vars(Mark(graded.digest, checks_digest, graded.sandbox, graded.seconds)),
    )


def unmark(course: Course, assignment: str, student: str) -> None:
    """Take the mark away: from here until the next mark the grading is incomplete."""
    (course.evidence / assignment / student / "graded.json").unlink(missing_ok=True)


def completed(course: Course, assignment: str, student: str) -> Mark | None:
    """The mark of a student's last complete grading, None if there is none."""
    try:
        return Mark(
            **json.loads((course.evidence / assignment / student / "graded.json").read_text())
        )
    except (OSError, ValueError, TypeError):
        return None


def load(course: Course, assignment: str, student: str) -> Graded | None:
    """The last complete grading of a student, None if there is none that can be read."""
    mark = completed(course, assignment, student)
    if mark is None:
        return None
    path = course.evidence / assignment / student / f"{mark.digest}.json"
    try:
        value = json.loads(path.read_bytes())
        if value["schema"] != SCHEMA:
            return None
        found = Graded.from_json(value)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    whose = (found.assignment, found.student, found.digest)
    return found if whose == (assignment, student, mark.digest) else None


def students(course: Course, assignment: str) -> list[str]:
    """Everybody of whom there is evidence, whether or not the grading is complete; sorted."""
    return sorted({path.parent.name for path in (course.evidence / assignment).glob("*/*.json")})


def _folder(course: Course, assignment: str, student: str) -> Path:
    make_private(course.evidence)
    return make_private(course.evidence / assignment / student)


def _write(path: Path, value: object) -> None:
    write_atomic(path, json.dumps(value).encode() + b"\n", mode=0o600)
