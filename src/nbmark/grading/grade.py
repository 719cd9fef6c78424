"""Grade an assignment: decide which submissions are due, run them side by side, write each result.

`grade` is the one way to a grade: ``nbmark grade`` calls it with several workers, ``nbgrader
autograde`` and formgrader's button with one.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

from nbmark.errors import InfrastructureError, SandboxUnavailable, UsageError, WorkersLost, unknown
from nbmark.grading.job import Job
from nbmark.grading.progress import ProgressListener
from nbmark.intake.receive import Inbox, Received
from nbmark.models import Graded
from nbmark.records.row import Row
from nbmark.records.store import Records
from nbmark.untrusted.names import unfit_as_id
from nbmark.workers.api import Workers
from nbmark.workers.dispatch import as_completed

INVALID_ID = (
    "the name of its folder under submitted/ cannot be a student's id: {}; rename or remove it"
)
UNKNOWN_STUDENT = "{}; to add them, run: {}"


def grade(job: Job, workers: Workers) -> list[Row]:
    """Grade the submissions that are due; return one row for each student asked for, sorted by id.

    Raises
    ------
    AssignmentError
        If the material is broken, or a name does not exist; nothing was written.
    InfrastructureError
        If nobody can be graded on this machine; nothing was written.
    WorkersLost
        If no worker is left; the grades that were written are complete.
    """
    students = _chosen(job)
    if not students:
        return []
    with job.begun() as (inbox, records):
        job.enter_assignment(records)
        settled, due = _sorted_out(job, students, inbox, records)
        refused = [row for row in settled if row.outcome == "not graded"]
        rows = [row for row in settled if row.outcome != "not graded"]
        job.watcher.begin(len(due) + len(refused), len(rows))
        graded = _graded(job.watcher, _longest_first(due, records), inbox, records, workers)
        for row in itertools.chain(refused, graded):
            rows.append(row)
            job.watcher.finished(row)
    return sorted(rows, key=lambda row: row.student)


def _chosen(job: Job) -> list[str]:
    job.gradebook.refuse_unknown_assignment(job.assignment)
    name = job.assignment.name
    present = job.folders.students(name)
    submitters = set(present)
    for student in job.students or ():
        if student not in submitters:
            raise unknown(f"submission of '{name}' by student", student, "submitted/", present)
    return present if job.students is None else sorted(set(job.students))


def _sorted_out(
    job: Job, students: Sequence[str], inbox: Inbox, records: Records
) -> tuple[list[Row], list[str]]:
    """Return the rows of submissions that need no run, and the students whose submission is due."""
    settled: list[Row] = []
    due: list[str] = []
    for number, student in enumerate(students):
        job.watcher.checked(number, len(students))
        trouble = _not_a_student(student, job)
        if trouble:
            settled.append(Row(student, "not graded", trouble=trouble))
            continue
        received = None if job.options.force else _received(student, inbox)
        # One that cannot be read gets another chance in its turn, and then its row says why.
        if received is None or records.is_due(received):
            due.append(student)
        else:
            settled.append(records.row(received))
    return settled, due


def _not_a_student(student: str, job: Job) -> str:
    """Return why a folder under ``submitted/`` belongs to no student of the course, or ``""``."""
    unfit = unfit_as_id(student)
    if unfit:
        return INVALID_ID.format(unfit)
    if not job.options.create_students:
        try:
            job.gradebook.refuse_unknown_student(student)
        except UsageError as error:
            # An id may begin with a dash, and the two dashes before it end the options.
            command = shlex.join(["nbgrader", "db", "student", "add", "--", student])
            return UNKNOWN_STUDENT.format(error, command)
    return ""


def _received(student: str, inbox: Inbox) -> Received | None:
    """Return the student's submission, None if it cannot be read."""
    try:
        return inbox.receive(student)
    except InfrastructureError:
        return None


def _longest_first(due: Sequence[str], records: Records) -> list[str]:
    """Order students by how long their last grading took; a new one counts as average.

    A long submission that starts last would keep one worker busy while the others have ended.
    """
    marks = {student: records.mark(student) for student in due}
    seconds = {student: mark.seconds for student, mark in marks.items() if mark and mark.seconds}
    average_s = sum(seconds.values()) / len(seconds) if seconds else 0.0
    return sorted(due, key=lambda student: -seconds.get(student, average_s))


def _graded(
    watcher: ProgressListener, due: Sequence[str], inbox: Inbox, records: Records, workers: Workers
) -> Iterator[Row]:
    """Run submissions side by side, and write each result as it arrives.

    A submission that the clock stopped runs again by itself when the others are written.
    """
    under_way: dict[str, Received] = {}
    sandbox_worked = False  # once True, a failure of the sandbox concerns one submission only
    with workers.running() as submit:

        def start(student: str) -> Future[Graded]:
            under_way[student] = records.with_gained_cells(inbox.receive(student))
            return submit(under_way[student].submission)

        def postpone(student: str) -> None:
            del under_way[student]
            watcher.postponed(student)

        for student, future in as_completed(due, start, workers, _by_clock, postpone):
            try:
                row = records.write(future.result(), under_way[student])
                sandbox_worked = True
            except SandboxUnavailable as error:
                if not sandbox_worked:
                    raise  # every other submission would fail as well
                row = Row(student, "not graded", trouble=str(error))
            except WorkersLost:
                raise
            except (InfrastructureError, OSError) as error:
                row = Row(student, "not graded", trouble=str(error))
            finally:
                under_way.pop(student, None)
            if row.outcome == "not graded":
                records.note_failure(row)
            yield row


def _by_clock(graded: Graded) -> bool:
    return graded.stopped_by_clock
