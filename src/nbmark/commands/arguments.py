"""Turn command-line options into assignments, students and workers, and run them in turn.

Heavy modules are imported where they are used, so that the program starts fast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nbmark.commands.one_line_errors import complain
from nbmark.errors import AssignmentError, InfrastructureError, NbmarkError, UsageError, unknown
from nbmark.untrusted.text import error_summary

if TYPE_CHECKING:
    from nbmark.course.course import Assignment, Course
    from nbmark.course.folders import Folders
    from nbmark.gradebook.gradebook import CourseGradebook
    from nbmark.workers.api import Workers

    Hire = Callable[[Assignment], Workers]
    # An assignment and the students to work on: None for all of them, empty for none.
    Selection = tuple[Assignment, Sequence[str] | None]

PATIENCE_S = 60.0  # without any worker


def assignments_of(root: Path, assignment: str | None, whole_course: bool) -> list[Assignment]:
    """Return the assignments that a command names: one, or all of the course."""
    from nbmark.course.course import Course

    course = Course(root)
    if whole_course == (assignment is not None):
        raise UsageError(
            f"name one assignment, or say --all (found: {', '.join(course.assignment_names)})"
        )
    names = [assignment] if assignment is not None else course.assignment_names
    return [course.assignment(name) for name in names]


def select(
    assignments: Sequence[Assignment],
    students: Sequence[str],
    submitters: Callable[[str], list[str]],
    kind: str,
    where: str,
) -> list[Selection]:
    """Return for each assignment of a course the students to work on.

    Parameters
    ----------
    students
        The ids that the command names, empty for all students.
    submitters
        Assignment name → ids of the students with a submission.
    kind, where
        The words for such a submission, and the folder of all of them, for the message.

    Raises
    ------
    UsageError
        If one of `students` has no submission of any assignment.
    """
    present = {assignment.name: submitters(assignment.name) for assignment in assignments}
    everybody = {student for ids in present.values() for student in ids}
    for student in students:
        if student not in everybody:
            raise unknown(f"{kind} by student", student, where, everybody)
    selection: list[Selection] = []
    for assignment in assignments:
        ids = present[assignment.name]
        # None rather than `ids`: more submissions may arrive, or some vanish, before its turn.
        named = [student for student in students if student in ids] if students and ids else None
        selection.append((assignment, named if ids else []))
    return selection


def run_each(
    selection: Sequence[Selection],
    whole_course: bool,
    run: Callable[[Assignment, Sequence[str] | None], bool],
    print_results: Callable[[], None],
) -> int:
    """Run a job for one assignment after the other, print the results, return the exit status.

    In a whole course, a broken assignment is reported and the others still run. Any other error
    ends the loop, after the results so far have been printed.
    """
    status = 0
    for number, (assignment, students) in enumerate(selection):
        try:
            if not run(assignment, students):
                status = 1
        except AssignmentError as error:
            if not whole_course:
                raise
            complain(error)
            status = 1
        except BaseException:
            if number:
                print_results()
            raise
    print_results()
    return status


def locked(course: Course, wait_s: float | None) -> AbstractContextManager[None]:
    """Hold the course lock for a block, and report on standard error if it has to wait."""
    from nbmark.course.lock import WAIT_S, course_lock

    def report(running_s: float) -> None:
        click.echo(
            f"nbmark: another grading of this course has been running for {running_s:.0f} s; "
            "waiting",
            err=True,
        )

    return course_lock(course, WAIT_S if wait_s is None else wait_s, report)


def course_records(root: Path) -> tuple[CourseGradebook, Folders]:
    """Return the gradebook and the folders that the course's configuration names."""
    from nbmark.course.folders import Folders, load_config
    from nbmark.gradebook.gradebook import CourseGradebook

    try:
        config = load_config(root.resolve())
        return CourseGradebook.of_course(config), Folders.of_course(config)
    except NbmarkError:
        raise
    except Exception as error:  # the configuration is a program, so it may fail in any way
        raise AssignmentError(
            f"nbgrader_config.py cannot be used: {error_summary(error)}; fix it in {root.resolve()}"
        ) from error


def hiring(
    workers: int | None,
    sandbox: str,
    scheduler: str | None,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    patience: float | None,
) -> Hire:
    """Return the function that gives an assignment its workers: processes here, or a cluster's."""
    files = [tls_ca, tls_cert, tls_key]
    if scheduler is None:
        if any(files):
            raise UsageError("the --tls options go with --scheduler tls://HOST:PORT")
        if patience is not None:
            raise UsageError("--patience is for the workers of a --scheduler")
        from nbmark.workers.pool import CheckPool, cores

        return lambda assignment: CheckPool(assignment, sandbox, workers or cores())
    if workers is not None:
        raise UsageError("--workers is for this machine; with --scheduler the cluster decides")
    if any(files) and not all(files):
        raise UsageError("give all three of --tls-ca, --tls-cert and --tls-key, or none")
    try:
        from nbmark.workers.dask.cluster import Cluster
        from nbmark.workers.dask.connection import Connection, Tls
    except ModuleNotFoundError as error:
        raise InfrastructureError(
            f"--scheduler needs Dask ({error}); install it with: pip install 'nbmark[cluster]'"
        ) from error
    tls = Tls(*map(Path, filter(None, files))) if tls_ca else None
    connection = Connection(scheduler, tls, PATIENCE_S if patience is None else patience)
    return lambda assignment: Cluster(assignment, sandbox, connection)
