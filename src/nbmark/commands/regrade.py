"""``nbmark regrade``."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbmark.commands.arguments import assignments_of, course_records, locked, run_each, select
from nbmark.commands.options import ALL, ASSIGNMENT, COURSE, JSON, SANDBOX, STUDENTS, WAIT, WORKERS

if TYPE_CHECKING:
    from nbmark.course.course import Assignment
    from nbmark.grading.regrade import Change


@click.command()
@ASSIGNMENT
@ALL
@STUDENTS
@click.option("--apply", "apply_changes", is_flag=True, help="Write the new points.")
@WORKERS
@SANDBOX
@WAIT
@COURSE
@JSON
def regrade(
    assignment: str | None,
    whole_course: bool,
    students: tuple[str, ...],
    apply_changes: bool,
    workers: int | None,
    sandbox: str,
    wait_s: float | None,
    root: Path,
    as_json: bool,
) -> None:
    """Judge graded submissions by today's checks.

    Takes ASSIGNMENT, or with --all the whole course. Shows how points change and why; --apply
    writes them. No student's code runs while the recorded answers are enough. Notebooks run again
    if a check asks a new question or the instructor's cells have changed; the summary says how
    many.
    """
    from nbmark.commands import tables
    from nbmark.course.course import Course
    from nbmark.records import evidence

    course_records(root)  # a broken configuration is reported before anything runs
    assignments = assignments_of(root, assignment, whole_course)
    if whole_course:
        graded = functools.partial(evidence.students, Course(root))
        selection = select(assignments, students, graded, "graded submission", "evidence/")
    else:
        selection = [(assignments[0], students or None)]
    reports: list[dict[str, Any]] = []

    def run(assignment: Assignment, students: Sequence[str] | None) -> bool:
        changes: list[Change] = []
        if students is None or students:
            with locked(assignment.course, wait_s):
                changes = _regrade(assignment, students, apply_changes, workers, sandbox)
        reports.append(tables.changes_as_json(assignment.name, changes, applied=apply_changes))
        if not as_json:
            tables.print_changes(assignment.name, changes, applied=apply_changes)
        return not any(change.trouble for change in changes)

    def print_results() -> None:
        if as_json:
            tables.print_json({"assignments": reports} if whole_course else reports[0])

    sys.exit(run_each(selection, whole_course, run, print_results))


def _regrade(
    assignment: Assignment,
    students: Sequence[str] | None,
    apply_changes: bool,
    workers: int | None,
    sandbox: str,
) -> list[Change]:
    from nbmark.commands.progress import Progress
    from nbmark.grading.job import Job, JobOptions
    from nbmark.grading.regrade import apply, compare
    from nbmark.workers.pool import CheckPool, cores

    gradebook, folders = course_records(assignment.course.root)
    options = JobOptions(sandbox)
    with (
        contextlib.closing(CheckPool(assignment, sandbox, workers or cores())) as pool,
        contextlib.closing(Progress(assignment.name, "regrade")) as progress,
    ):
        job = Job(assignment, gradebook, folders, students, options, progress)
        return apply(job, pool) if apply_changes else compare(job, pool)
