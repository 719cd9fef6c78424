"""Grades an assignment: decides who is due, runs them side by side, writes one after the other.

`grade` is the one way to a grade: ``nbmark grade`` calls it with several jobs, ``nbgrader
autograde`` and formgrader's button with one. It alone writes grades, under the course lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

from nbmark import evidence
from nbmark.checkprocess import CheckPool
from nbmark.course import Assignment, Course, make_private
from nbmark.errors import InfrastructureError, SandboxUnavailable, unknown
from nbmark.feedback import autograded_notebook
from nbmark.gradebook import Registrar, parse_timestamp
from nbmark.models import Graded
from nbmark.safefiles import replaced_folder, shown, write_atomic
from nbmark.scoring import CellScore, scores
from nbmark.submissions import Received, is_student_id, receive
from nbmark.verify import Case, ensure_verified

EARLIER_CHECKS = "graded with earlier checks; --force grades anew"
STRANGE = "the name of its folder under submitted/ cannot be a student's id; rename or remove it"


@dataclass(frozen=True)
class Row:
    """What became of one student's submission.

    Parameters
    ----------
    outcome
        ``graded``, ``up to date`` or ``not graded``.
    graded, scores
        The grading, None and empty if there is none.
    trouble
        Why it was not graded.
    """

    student: str
    outcome: str
    graded: Graded | None = None
    scores: dict[str, CellScore] = field(default_factory=dict)
    trouble: str = ""

    @property
    def earned(self) -> float:
        return round(sum(one.earned for one in self.scores.values()), 9)


@dataclass(frozen=True)
class Settings:
    """How to grade: `sandbox` kind, number of parallel `jobs`, whether to grade anew (`force`)."""

    sandbox: str = "bubblewrap"
    jobs: int = 1
    force: bool = False
    create_students: bool = True


class Watcher:
    """Is told what happens; the command line draws a progress bar from it. Does nothing itself."""

    def verifying(self, case: Case, total: int) -> None:
        """One of `total` cases of the assignment's own trial has ended."""

    def begin(self, due: int, up_to_date: int) -> None:
        """It is known how many submissions are due."""

    def finished(self, row: Row) -> None:
        """A submission is written, or could not be graded."""


def grade(
    assignment: Assignment, registrar: Registrar, processes: CheckPool,
    students: Sequence[str] | None, settings: Settings, watcher: Watcher,
) -> list[Row]:  # fmt: skip
    """Grade whoever is due; one row for each student asked for, sorted by id.

    Raises
    ------
    AssignmentError
        If the material is broken, or a name does not exist; nothing was written.
    InfrastructureError
        If nobody can be graded on this machine; nothing was written.
    """
    name = assignment.name
    registrar.refuse_strangers(assignment)
    chosen = _chosen(registrar, name, students)
    if not chosen:
        return []
    if not settings.create_students:
        for student in chosen:
            registrar.refuse_unknown_student(student)
    with _lock(assignment.course):
        ensure_verified(assignment, settings.sandbox, jobs=max(2, settings.jobs),
                        on_case=watcher.verifying)  # fmt: skip
        desk = _Desk(assignment, registrar, settings, assignment.digest())
        strange = {student for student in chosen if not is_student_id(student)}
        received = {student: desk.receive(student) for student in chosen if student not in strange}
        due = {who: one for who, one in received.items() if settings.force or desk.is_due(one)}
        watcher.begin(len(due), len(received) - len(due))
        rows = [desk.row_of_record(who) for who in received.keys() - due.keys()]
        rows += desk.grade_all(due, processes, watcher)
        rows += [Row(shown(who), "not graded", trouble=STRANGE) for who in strange]
    return sorted(rows, key=lambda row: row.student)


class _Desk:
    """One run of grading: what every step of it needs."""

    def __init__(
        self, assignment: Assignment, registrar: Registrar, settings: Settings, checks_digest: str
    ) -> None:
        self._assignment = assignment
        self._course = assignment.course
        self._registrar = registrar
        self._settings = settings
        self._checks_digest = checks_digest
        self._cells = assignment.autograded_cells
        self._secret = self._course.secret()

    def receive(self, student: str) -> Received:
        folder = self._registrar.submitted(student, self._assignment.name)
        return receive(self._assignment, student, folder, self._secret, parse_timestamp)

    def is_due(self, received: Received) -> bool:
        """Whether this very submission has no complete grading in files and gradebook."""
        student, name = received.submission.student, self._assignment.name
        mark = evidence.completed(self._course, name, student)
        folder = self._registrar.autograded(student, name)
        return (
            mark is None
            or mark.digest != received.submission.digest
            or not all((folder / f"{one}.ipynb").is_file() for one in self._assignment.notebooks)
            or not self._registrar.holds(name, student)
        )

    def row_of_record(self, student: str) -> Row:
        """What is on record; with other checks than today's, it says so and is left as it is."""
        name = self._assignment.name
        mark = evidence.completed(self._course, name, student)
        graded = evidence.load(self._course, name, student)
        if graded is None or mark is None:
            return Row(student, "up to date")
        if mark.checks_digest != self._checks_digest:
            return Row(student, "up to date", graded, trouble=EARLIER_CHECKS)
        return Row(student, "up to date", graded, scores(graded, self._cells))

    def grade_all(
        self, due: dict[str, Received], processes: CheckPool, watcher: Watcher
    ) -> list[Row]:
        """Run side by side, write one after the other as they end."""
        rows: list[Row] = []
        with processes.threads() as threads:
            waiting: dict[Future[Graded], Received] = {
                threads.submit(processes.grade, one.submission): one for one in due.values()
            }
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    received = waiting.pop(future)
                    try:
                        row = self._conclude(future, received)
                    except SandboxUnavailable as error:
                        if not any(one.outcome == "graded" for one in rows):
                            raise  # no other submission would fare better
                        row = Row(received.submission.student, "not graded", trouble=str(error))
                    rows.append(row)
                    watcher.finished(row)
        return rows

    def _conclude(self, future: Future[Graded], received: Received) -> Row:
        student = received.submission.student
        try:
            graded = future.result()
            points = scores(graded, self._cells)
            self._write(graded, points, received)
        except SandboxUnavailable:
            raise  # perhaps nobody can be graded here
        except (InfrastructureError, OSError) as error:
            return Row(student, "not graded", trouble=str(error))
        return Row(student, "graded", graded, points)

    def _write(self, graded: Graded, points: dict[str, CellScore], received: Received) -> None:
        """Evidence, files, gradebook, mark: a kill between any two of them leaves it due."""
        evidence.unmark(self._course, graded.assignment, graded.student)
        evidence.store(self._course, graded)
        folder = self._registrar.autograded(graded.student, graded.assignment)
        notebooks = {
            f"{name}.ipynb": autograded_notebook(graded, name) for name in graded.notebooks
        }
        with replaced_folder(folder) as fresh:
            for name, data in {**notebooks, **received.notes}.items():
                write_atomic(fresh / name, data)
        self._registrar.record(graded, points, received.submitted_at)
        evidence.mark_complete(self._course, graded, self._checks_digest)


def _chosen(registrar: Registrar, name: str, students: Sequence[str] | None) -> list[str]:
    present = registrar.students(name)
    for student in students or ():
        if student not in present:
            raise unknown(f"submission of '{name}' by student", student, "submitted/", present)
    return present if students is None else sorted(set(students))


@contextlib.contextmanager
def _lock(course: Course) -> Iterator[None]:
    """One grading of a course at a time; the lock ends with the process that holds it."""
    make_private(course.state)
    fd = os.open(course.state / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InfrastructureError(
            "another grading of this course is under way; wait until it has finished"
        ) from None
    else:
        yield
    finally:
        os.close(fd)
