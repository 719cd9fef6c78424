"""Grades an assignment: decides who is due, runs them side by side, writes one after the other.

`grade` is the one way to a grade: ``nbmark grade`` calls it with several workers, ``nbgrader
autograde`` and formgrader's button with one. It holds the course lock meanwhile.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from nbmark.course import Assignment, Course, make_private
from nbmark.errors import InfrastructureError, SandboxUnavailable, UsageError, WorkersLost, unknown
from nbmark.gradebook import Registrar, parse_timestamp
from nbmark.models import Graded, Submission
from nbmark.records import Records, Row
from nbmark.safefiles import shown
from nbmark.sandboxes.bubblewrap import refuse_shown
from nbmark.submissions import Received, is_student_id, receive
from nbmark.verify import Case, ensure_verified

STRANGE = "the name of its folder under submitted/ cannot be a student's id; rename or remove it"
STRANGER = "{0}; 'nbgrader db student add {1}' puts {1} there"

Submit = Callable[[Submission], Future[Graded]]


class Workers(Protocol):
    """Who runs submissions.

    Attributes
    ----------
    at_once
        How many submissions should be under way to keep them all busy.
    """

    at_once: int

    def running(self) -> AbstractContextManager[Submit]:
        """Hand out work inside the block; an exception in it ends what is under way."""


@dataclass(frozen=True)
class Settings:
    """How to grade: `sandbox` kind, whether to grade anew (`force`) and to `create_students`."""

    sandbox: str = "bubblewrap"
    force: bool = False
    create_students: bool = True


class Watcher:
    """Is told what happens; the command line draws a progress bar from it. Does nothing itself."""

    def verifying(self, case: Case, total: int) -> None:
        """One of `total` cases of the assignment's own trial has ended."""

    def looked(self, number: int, total: int) -> None:
        """So many submissions have been looked at, whether they are due."""

    def begin(self, due: int, up_to_date: int) -> None:
        """It is known how many submissions are due; those that cannot be graded count as well."""

    def finished(self, row: Row) -> None:
        """A submission is written, or could not be graded."""


def grade(
    assignment: Assignment,
    registrar: Registrar,
    workers: Workers,
    students: Sequence[str] | None,
    settings: Settings,
    watcher: Watcher,
) -> list[Row]:
    """Grade whoever is due; one row for each student asked for, sorted by id.

    Raises
    ------
    AssignmentError
        If the material is broken, or a name does not exist; nothing was written.
    InfrastructureError
        If nobody can be graded on this machine; nothing was written.
    WorkersLost
        If nobody is left to grade; the grades that were written are complete.
    """
    name = assignment.name
    registrar.refuse_strangers(assignment)
    chosen = _chosen(registrar, name, students)
    if not chosen:
        return []
    refuse_exposed(assignment.course, settings.sandbox)
    with course_lock(assignment.course), registrar.kept_open():
        ensure_verified(assignment, settings.sandbox, on_case=watcher.verifying)
        records = Records(assignment, registrar)
        inbox = Inbox(assignment, registrar)
        settled: list[Row] = []  # nothing runs for these
        due: list[str] = []
        for number, student in enumerate(chosen):
            watcher.looked(number, len(chosen))
            trouble = _nobody(student, registrar, settings)
            if trouble:
                settled.append(Row(shown(student), "not graded", trouble=trouble))
            elif settings.force or _is_due(student, inbox, records):
                due.append(student)
            else:
                settled.append(records.row(student))
        refused = [row for row in settled if row.outcome == "not graded"]
        rows = [row for row in settled if row.outcome != "not graded"]
        watcher.begin(len(due) + len(refused), len(rows))
        graded = _graded(_longest_first(due, records), inbox, records, workers)
        for row in itertools.chain(refused, graded):
            rows.append(row)
            watcher.finished(row)
    return sorted(rows, key=lambda row: row.student)


def refuse_exposed(course: Course, sandbox: str) -> None:
    """Raise `SandboxUnavailable` if students' code could read the course's files."""
    if sandbox == "bubblewrap":
        refuse_shown(course.root, "move the course")


@contextlib.contextmanager
def course_lock(course: Course) -> Iterator[None]:
    """One grading of a course at a time; the lock ends with the process that holds it.

    Raises
    ------
    InfrastructureError
        If somebody else holds it.
    """
    make_private(course.state)
    fd = os.open(course.state / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InfrastructureError(
            f"another grading of {course.root} is under way; wait until it has finished"
        ) from None
    else:
        yield
    finally:
        os.close(fd)


class Inbox:
    """What was handed in, read when it is needed: never more than is under way."""

    def __init__(self, assignment: Assignment, registrar: Registrar) -> None:
        self._assignment = assignment
        self._registrar = registrar
        self._secret = assignment.course.secret()

    def receive(self, student: str) -> Received:
        folder = self._registrar.submitted(student, self._assignment.name)
        return receive(self._assignment, student, folder, self._secret, parse_timestamp)


def _nobody(student: str, registrar: Registrar, settings: Settings) -> str:
    """Why no student of the course has this folder under ``submitted/``, empty if one has."""
    if not is_student_id(student):
        return STRANGE
    if not settings.create_students:
        try:
            registrar.refuse_unknown_student(student)
        except UsageError as error:
            return STRANGER.format(error, student)
    return ""


def _is_due(student: str, inbox: Inbox, records: Records) -> bool:
    try:
        received = inbox.receive(student)
    except InfrastructureError:
        return True  # if it still cannot be read when its turn comes, that is said then
    return records.is_due(received)


def _longest_first(due: Sequence[str], records: Records) -> list[str]:
    """By how long each took the last time; who is new is taken for an average one."""
    known = {one: mark.seconds for one in due if (mark := records.mark(one)) and mark.seconds}
    average_s = sum(known.values()) / len(known) if known else 0.0
    return sorted(due, key=lambda one: -known.get(one, average_s))


def _graded(due: Sequence[str], inbox: Inbox, records: Records, workers: Workers) -> Iterator[Row]:
    """Run side by side, write one after the other as they end."""
    waiting: dict[Future[Graded], Received] = {}
    left = iter(due)
    anybody = False  # whether the wall has held once: then trouble with it is this submission's
    with workers.running() as submit:
        while True:
            while len(waiting) < workers.at_once and (student := next(left, None)) is not None:
                try:
                    received = inbox.receive(student)
                except InfrastructureError as error:
                    yield Row(student, "not graded", trouble=str(error))
                else:
                    waiting[submit(received.submission)] = received
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                received = waiting.pop(future)
                student = received.submission.student
                try:
                    row = records.write(future.result(), received)
                    anybody = True
                except SandboxUnavailable as error:
                    if not anybody:
                        raise  # no other submission would fare better
                    row = Row(student, "not graded", trouble=str(error))
                except WorkersLost:
                    raise
                except (InfrastructureError, OSError) as error:
                    row = Row(student, "not graded", trouble=str(error))
                yield row


def _chosen(registrar: Registrar, name: str, students: Sequence[str] | None) -> list[str]:
    present = registrar.students(name)
    for student in students or ():
        if student not in present:
            raise unknown(f"submission of '{name}' by student", student, "submitted/", present)
    return present if students is None else sorted(set(students))
