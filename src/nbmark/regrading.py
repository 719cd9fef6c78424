"""Judges graded submissions anew with today's checks, without running any student's code.

The answers are in the evidence. Only where a check asks what was never asked, or the instructor's
part of the notebook has changed, the notebook runs again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace

from nbmark import evidence
from nbmark.checkprocess import CheckPool
from nbmark.course import Assignment
from nbmark.errors import InfrastructureError, unknown
from nbmark.feedback import diagnosis, gist
from nbmark.gradebook import Registrar
from nbmark.grading import Inbox, Watcher, course_lock
from nbmark.models import CheckResult, Graded, Submission
from nbmark.records import Records, Row
from nbmark.replay import NeverAsked
from nbmark.scoring import earned_by, scores
from nbmark.submissions import seed_of
from nbmark.verify import ensure_verified

GONE = "the submission has changed since it was graded; 'nbmark grade' grades what is there now"


@dataclass(frozen=True)
class Change:
    """What judging one submission anew comes to.

    Parameters
    ----------
    before, after
        Automatic points; `after` is None if it could not be judged.
    why
        One line for each check that came out differently.
    ran_because
        Why the notebook had to run again, empty if the evidence was enough.
    trouble
        Why it could not be judged, empty if it was.
    """

    student: str
    before: float
    after: float | None
    why: tuple[str, ...] = ()
    ran_because: str = ""
    trouble: str = ""

    @property
    def differs(self) -> bool:
        return bool(self.why) or self.after != self.before


def compare(
    assignment: Assignment, registrar: Registrar, pool: CheckPool,
    students: Sequence[str] | None, sandbox: str, watcher: Watcher,
) -> list[Change]:  # fmt: skip
    """How everybody's points would change; nothing is written.

    Raises
    ------
    AssignmentError
        If the material is broken, or a student has no complete grading.
    """
    with course_lock(assignment.course), registrar.kept_open():
        return [
            change for change, _ in _judged(assignment, registrar, pool, students, sandbox, watcher)
        ]


def apply(
    assignment: Assignment, registrar: Registrar, pool: CheckPool,
    students: Sequence[str] | None, sandbox: str, watcher: Watcher,
) -> list[Change]:  # fmt: skip
    """The same, and put it on record; marks given by hand, comments and penalties stay."""
    changes = []
    with course_lock(assignment.course), registrar.kept_open():
        records = Records(assignment, registrar)
        for change, new in _judged(assignment, registrar, pool, students, sandbox, watcher):
            if new is not None:
                records.rewrite(new)
            changes.append(change)
    return changes


def _judged(
    assignment: Assignment, registrar: Registrar, pool: CheckPool,
    students: Sequence[str] | None, sandbox: str, watcher: Watcher,
) -> Iterator[tuple[Change, Graded | None]]:  # fmt: skip
    """Every submission with its new grading, None if there is none; never many at a time."""
    registrar.refuse_strangers(assignment)
    ensure_verified(assignment, sandbox, on_case=watcher.verifying)
    chosen = _chosen(assignment, students)
    watcher.begin(len(chosen), 0)
    judge = _Judge(assignment, Inbox(assignment, registrar), pool)
    left, waiting = iter(chosen), set[Future[tuple[Change, Graded | None]]]()
    with pool.threads() as threads:
        while True:
            while len(waiting) < pool.at_once and (student := next(left, None)) is not None:
                waiting.add(threads.submit(judge.judge, student))
            if not waiting:
                return
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                change, new = future.result()
                watcher.finished(_as_row(assignment, change, new))
                yield change, new


class _Judge:
    """Judges one submission, from evidence if that is enough."""

    def __init__(self, assignment: Assignment, inbox: Inbox, pool: CheckPool) -> None:
        self._assignment = assignment
        self._inbox = inbox
        self._pool = pool
        self._secret = assignment.course.secret()

    def judge(self, student: str) -> tuple[Change, Graded | None]:
        name = self._assignment.name
        old = evidence.load(self._assignment.course, name, student)
        if old is None:
            return Change(student, 0.0, None, trouble="its evidence is gone"), None
        before = earned_by(old.results)
        because = ""
        try:
            try:
                results = self._pool.regrade(old.heard, seed_of(self._secret, name, old.digest))
                new = replace(old, results=results)
            except NeverAsked as error:
                because = str(error)
                new = self._pool.grade(self._submission(student, old.digest))
            scores(new, self._assignment.autograded_cells)  # complains where there is no result
        except InfrastructureError as error:
            return Change(student, before, None, (), because, str(error)), None
        why = tuple(_differences(old.results, new.results))
        return Change(student, before, earned_by(new.results), why, because), new

    def _submission(self, student: str, digest: str) -> Submission:
        submission = self._inbox.receive(student).submission
        if submission.digest != digest:
            raise InfrastructureError(GONE)
        return submission


def _differences(old: Sequence[CheckResult], new: Sequence[CheckResult]) -> Iterator[str]:
    """What a check says now, where that is not what it said before."""
    was = {one.check.name: one for one in old}
    for one in new:
        before = was.pop(one.check.name, None)
        points = one.earned - (before.earned if before else 0.0)
        said = diagnosis(one)
        if before is not None and not points and said == diagnosis(before):
            continue
        word = "new check, " if before is None else ""
        told = f": {said}" if said else ""
        yield f"{one.check.title} ({word}{points:+g}){told}"
    for gone in was.values():
        yield f"{gone.check.title} (no such check any more, {-gone.earned:+g})"


def _as_row(assignment: Assignment, change: Change, new: Graded | None) -> Row:
    if new is None:
        return Row(change.student, "not graded", trouble=change.trouble)
    return Row(change.student, "graded", scores(new, assignment.autograded_cells), gist(new))


def _chosen(assignment: Assignment, students: Sequence[str] | None) -> list[str]:
    graded = evidence.students(assignment.course, assignment.name)
    for student in students or ():
        if student not in graded:
            raise unknown(f"graded submission of '{assignment.name}' by student", student,
                          "evidence/", graded)  # fmt: skip
    return graded if students is None else sorted(set(students))
