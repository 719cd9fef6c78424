"""Judges graded submissions anew with today's checks, without running any student's code.

The answers are in the evidence. Only where a check asks what was never asked, or the instructor's
part of the notebook has changed, the notebook runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace

from nbmark import evidence
from nbmark.checkpool import CheckPool
from nbmark.course import Assignment
from nbmark.errors import InfrastructureError, unknown
from nbmark.feedback import diagnosis, gist
from nbmark.gradebook import Registrar
from nbmark.grading import Inbox, Watcher, course_lock
from nbmark.models import CheckResult, Graded, Submission
from nbmark.records import NO_EVIDENCE, Records, Row
from nbmark.replay import NeverAsked
from nbmark.scoring import earned_by, scores
from nbmark.submissions import seed_of
from nbmark.verify import ensure_verified

GONE = "the submission has changed since it was graded; 'nbmark grade' grades what is there now"
INCOMPLETE = "has no complete grading; run 'nbmark grade {0} --student {1}'"
REMOVED = "no longer in the gradebook; move evidence/{0}/{1} away to leave it out"
REPEAT = "{1}; run 'nbmark regrade {0} --apply' again"

Rewrite = Callable[[Graded, Graded], None]


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
        Why it could not be judged or written, empty if all is well.
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
    assignment: Assignment,
    registrar: Registrar,
    pool: CheckPool,
    students: Sequence[str] | None,
    sandbox: str,
    watcher: Watcher,
) -> list[Change]:
    """How everybody's points would change; nothing is written.

    Raises
    ------
    AssignmentError
        If the material is broken, or there is no evidence of a student.
    """
    with course_lock(assignment.course), registrar.kept_open():
        return list(_changes(assignment, registrar, pool, students, sandbox, watcher, None))


def apply(
    assignment: Assignment,
    registrar: Registrar,
    pool: CheckPool,
    students: Sequence[str] | None,
    sandbox: str,
    watcher: Watcher,
) -> list[Change]:
    """The same, and put it on record; marks given by hand, comments and penalties stay.

    What cannot be written is told in that student's `Change`; doing it again takes it up.
    """
    with course_lock(assignment.course), registrar.kept_open():
        rewrite = Records(assignment, registrar).rewrite
        return list(_changes(assignment, registrar, pool, students, sandbox, watcher, rewrite))


def _changes(
    assignment: Assignment,
    registrar: Registrar,
    pool: CheckPool,
    students: Sequence[str] | None,
    sandbox: str,
    watcher: Watcher,
    rewrite: Rewrite | None,
) -> Iterator[Change]:
    """Every submission's change, written if there is a `rewrite`; never many at a time."""
    registrar.refuse_strangers(assignment)
    ensure_verified(assignment, sandbox, on_case=watcher.verifying)
    chosen = _chosen(assignment, students)
    watcher.begin(len(chosen), 0)
    judge = _Judge(assignment, registrar, pool)
    left, waiting = iter(chosen), set[Future[_Judgement]]()
    with pool.threads() as threads:
        while True:
            while len(waiting) < pool.at_once and (student := next(left, None)) is not None:
                waiting.add(threads.submit(judge.judge, student))
            if not waiting:
                return
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                one = future.result()
                if rewrite is not None:
                    one = _written(one, rewrite)
                watcher.finished(_as_row(assignment, one))
                yield one.change


@dataclass(frozen=True)
class _Judgement:
    """A change, and the grading before and after it if there is something to write."""

    change: Change
    old: Graded | None = None
    new: Graded | None = None


def _written(one: _Judgement, rewrite: Rewrite) -> _Judgement:
    """The judgement once it is on record, or what kept it from getting there."""
    if one.old is None or one.new is None:
        return one
    try:
        rewrite(one.old, one.new)
    except (InfrastructureError, OSError) as error:
        trouble = REPEAT.format(one.new.assignment, error)
        return _Judgement(replace(one.change, after=None, why=(), trouble=trouble))
    return one


class _Judge:
    """Judges one submission, from evidence if that is enough."""

    def __init__(self, assignment: Assignment, registrar: Registrar, pool: CheckPool) -> None:
        self._assignment = assignment
        self._inbox = Inbox(assignment, registrar)
        self._in_gradebook = registrar.handed_in(assignment.name)
        self._pool = pool
        self._secret = assignment.course.secret()

    def judge(self, student: str) -> _Judgement:
        name = self._assignment.name
        old = evidence.load(self._assignment.course, name, student)
        before = earned_by(old.results) if old else 0.0
        trouble = self._hindrance(student, old).format(name, student)
        if old is None or trouble:
            return _Judgement(Change(student, before, None, trouble=trouble))
        because = ""
        try:
            try:
                results = self._pool.regrade(old.heard, seed_of(self._secret, name, old.digest))
                new = replace(old, results=results)
            except NeverAsked as error:
                because = str(error)
                new = self._pool.grade(self._submission(student, old.digest))
            scores(new, self._assignment.autograded_cells)  # complains where there is no result
        except (InfrastructureError, OSError) as error:
            return _Judgement(Change(student, before, None, (), because, str(error)))
        why = tuple(_differences(old.results, new.results))
        change = Change(student, before, earned_by(new.results), why, because)
        return _Judgement(change, old, new)

    def _hindrance(self, student: str, old: Graded | None) -> str:
        """Why there is nothing to judge or nowhere to write, empty if there is."""
        course, name = self._assignment.course, self._assignment.name
        if evidence.completed(course, name, student) is None:
            return INCOMPLETE
        if student not in self._in_gradebook:
            return REMOVED
        return NO_EVIDENCE if old is None else ""

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


def _as_row(assignment: Assignment, one: _Judgement) -> Row:
    student, new = one.change.student, one.new
    if new is None:
        return Row(student, "not graded", trouble=one.change.trouble)
    return Row(student, "graded", scores(new, assignment.autograded_cells), gist(new))


def _chosen(assignment: Assignment, students: Sequence[str] | None) -> list[str]:
    known = evidence.students(assignment.course, assignment.name)
    for student in students or ():
        if student not in known:
            raise unknown(
                f"graded submission of '{assignment.name}' by student", student, "evidence/", known
            )
    return known if students is None else sorted(set(students))
