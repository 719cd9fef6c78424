"""Regrade: judge graded submissions by today's checks, without running any student's code.

The answers are in the evidence. A notebook runs again only if a check asks a new question, or the
instructor's part of the notebook has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

import msgspec

from nbmark.checks.points import earned_by, scores
from nbmark.errors import EvidenceUnusable, InfrastructureError, NeverAsked, unknown
from nbmark.grading.job import Job
from nbmark.intake.receive import Inbox, seed_of
from nbmark.models import CheckResult, Graded, Submission
from nbmark.records import evidence
from nbmark.records.feedback import diagnosis, summary
from nbmark.records.row import Row
from nbmark.records.store import Records
from nbmark.workers.dispatch import as_completed
from nbmark.workers.pool import CheckPool

CHANGED = "the submission has changed since it was graded; 'nbmark grade' grades what is there now"
REMOVED = "no longer in the gradebook; move evidence/{0}/{1} away to leave it out"
REPEAT = "{1}; run 'nbmark regrade {0} --apply' again"

Rewrite = Callable[[Graded, Graded], str]


@dataclass(frozen=True)
class Change:
    """The effect of judging one submission again.

    Parameters
    ----------
    before, after
        Automatic points; `after` is None if it could not be judged.
    why
        One line for each check with a different result.
    ran_because
        Why the notebook had to run again, empty if the evidence was enough.
    trouble
        Why it could not be judged or written, empty if it could.
    penalty
        How the late penalty changed, empty if it did not or if nothing was written.
    """

    student: str
    before: float
    after: float | None
    why: tuple[str, ...] = ()
    ran_because: str = ""
    trouble: str = ""
    penalty: str = ""

    @property
    def differs(self) -> bool:
        return bool(self.why or self.penalty) or self.after != self.before


def compare(job: Job, pool: CheckPool) -> list[Change]:
    """Return how points would change; nothing is written.

    Raises
    ------
    AssignmentError
        If the material is broken, or a student has no evidence.
    """
    students = _chosen(job)
    with job.begun() as (inbox, records):
        return [each.change for each in _judgements(job, students, inbox, records, pool, _keep)]


def apply(job: Job, pool: CheckPool) -> list[Change]:
    """Judge again as `compare` does, and write the new points; what people gave stays.

    A change that could not be written says so; running this again completes it.
    """
    students = _chosen(job)
    with job.begun() as (inbox, records):
        job.enter_assignment(records)

        def write(judgement: _Judgement) -> _Judgement:
            return _written(judgement, records.rewrite)

        return [each.change for each in _judgements(job, students, inbox, records, pool, write)]


@dataclass(frozen=True)
class _Judgement:
    """A change, and the grading before and after it if there is something to write."""

    change: Change
    old: Graded | None = None
    new: Graded | None = None


def _judgements(
    job: Job,
    students: Sequence[str],
    inbox: Inbox,
    records: Records,
    pool: CheckPool,
    finish: Callable[[_Judgement], _Judgement],
) -> Iterator[_Judgement]:
    """Judge submissions side by side, and `finish` each judgement as it arrives."""
    job.watcher.begin(len(students), 0)
    judge = _Judge(job, inbox, records, pool)
    with pool.threads() as threads:

        def start(student: str) -> Future[_Judgement]:
            return threads.submit(judge.judge, student)

        for _, future in as_completed(students, start, pool, _by_clock, job.watcher.postponed):
            judgement = finish(future.result())
            job.watcher.finished(_as_row(job, judgement))
            yield judgement


def _by_clock(judgement: _Judgement) -> bool:
    """Return whether the notebook has just run, and was stopped by the clock."""
    ran, new = bool(judgement.change.ran_because), judgement.new
    return ran and new is not None and new.stopped_by_clock


def _keep(judgement: _Judgement) -> _Judgement:
    return judgement


def _written(judgement: _Judgement, rewrite: Rewrite) -> _Judgement:
    """Write a judgement; return it, or one that says why it could not be written."""
    if judgement.old is None or judgement.new is None:
        return judgement
    try:
        penalty = rewrite(judgement.old, judgement.new)
    except (InfrastructureError, OSError) as error:
        trouble = REPEAT.format(judgement.new.assignment, error)
        return _Judgement(replace(judgement.change, after=None, why=(), trouble=trouble))
    return replace(judgement, change=replace(judgement.change, penalty=penalty))


class _Judge:
    """Judges one submission, from evidence if that is enough."""

    def __init__(self, job: Job, inbox: Inbox, records: Records, pool: CheckPool) -> None:
        self._assignment = job.assignment
        self._inbox = inbox
        self._pool = pool
        self._records = records
        self._secret = job.assignment.course.secret()

    def judge(self, student: str) -> _Judgement:
        name = self._assignment.name
        try:
            old = evidence.load(self._assignment.course, name, student)
        except EvidenceUnusable as error:
            return _Judgement(Change(student, 0.0, None, trouble=str(error)))
        before = earned_by(old.results)
        if not self._records.has_submission(student):
            return _Judgement(Change(student, before, None, trouble=REMOVED.format(name, student)))
        because = ""
        try:
            try:
                new = self._from_evidence(old)
            except NeverAsked as error:
                because = str(error)
                new = self._pool.grade(self._submission(student, old.digest))
            scores(new, self._assignment.autograded_cells)  # raises if a cell has no result
        except (InfrastructureError, OSError) as error:
            return _Judgement(Change(student, before, None, (), because, str(error)))
        why = tuple(_differences(old.results, new.results))
        change = Change(student, before, earned_by(new.results), why, because)
        return _Judgement(change, old, new)

    def _from_evidence(self, old: Graded) -> Graded:
        seed = seed_of(self._secret, old.assignment, old.digest)
        aliases, classmates = self._inbox.aliases(old.student), self._inbox.class_ids
        results = self._pool.regrade(old.as_evidence, seed, aliases, classmates)
        return msgspec.structs.replace(old, results=results)

    def _submission(self, student: str, digest: str) -> Submission:
        received = self._records.with_gained_cells(self._inbox.receive(student))
        submission = received.submission
        if submission.digest != digest:
            raise InfrastructureError(CHANGED)
        return submission


def _differences(old: Sequence[CheckResult], new: Sequence[CheckResult]) -> Iterator[str]:
    """Yield a line for each check whose points or sentence differ."""
    old_results = {result.check.name: result for result in old}
    for result in new:
        before = old_results.pop(result.check.name, None)
        points = result.earned - (before.earned if before else 0.0)
        sentence = diagnosis(result)
        if before is not None and not points and sentence == diagnosis(before):
            continue
        word = "new check, " if before is None else ""
        yield f"{result.check.title} ({word}{points:+g})" + (f": {sentence}" if sentence else "")
    for removed in old_results.values():
        yield f"{removed.check.title} (no such check any more, {-removed.earned:+g})"


def _as_row(job: Job, judgement: _Judgement) -> Row:
    student, new = judgement.change.student, judgement.new
    if new is None:
        return Row(student, "not graded", trouble=judgement.change.trouble)
    points = scores(new, job.assignment.autograded_cells)
    return Row(student, "graded", points, summary(new))


def _chosen(job: Job) -> list[str]:
    job.gradebook.refuse_unknown_assignment(job.assignment)
    name = job.assignment.name
    recorded = evidence.students(job.assignment.course, name)
    graded_students = set(recorded)
    for student in job.students or ():
        if student not in graded_students:
            raise unknown(
                f"graded submission of '{name}' by student", student, "evidence/", recorded
            )
    return recorded if job.students is None else sorted(set(job.students))
