"""``nbmark grade``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbmark.commands.arguments import (
    assignments_of,
    course_records,
    hiring,
    locked,
    run_each,
    select,
)
from nbmark.commands.options import (
    ALL,
    ASSIGNMENT,
    COURSE,
    JSON,
    SANDBOX,
    STUDENTS,
    WAIT,
    WORKERS,
    on_a_cluster,
)

if TYPE_CHECKING:
    from nbmark.commands.arguments import Hire
    from nbmark.course.course import Assignment
    from nbmark.records.row import Row


@click.command()
@ASSIGNMENT
@ALL
@STUDENTS
@click.option("--force", is_flag=True, help="Grade again what is graded already.")
@WORKERS
@SANDBOX
@WAIT
@COURSE
@JSON
@on_a_cluster
def grade(
    assignment: str | None,
    whole_course: bool,
    students: tuple[str, ...],
    force: bool,
    workers: int | None,
    sandbox: str,
    wait_s: float | None,
    root: Path,
    as_json: bool,
    **cluster: Any,
) -> None:
    """Grade new and changed submissions.

    Takes ASSIGNMENT, or with --all the whole course. Submissions that are graded already are
    skipped.
    """
    hire = hiring(workers, sandbox, **cluster)
    assignments = assignments_of(root, assignment, whole_course)
    if whole_course:
        _, folders = course_records(root)
        selection = select(assignments, students, folders.students, "submission", "submitted/")
    else:
        selection = [(assignments[0], students or None)]
    graded: list[tuple[Assignment, list[Row]]] = []

    def run(assignment: Assignment, students: Sequence[str] | None) -> bool:
        rows: list[Row] = []
        # With nobody to grade, neither a verification nor workers are needed.
        if students is None or students:
            with locked(assignment.course, wait_s):
                rows = _grade(
                    assignment, students, hire, sandbox, force, expect_work=not whole_course
                )
        graded.append((assignment, rows))
        if not as_json:
            from nbmark.commands import tables

            tables.print_rows(assignment.name, rows)
        return not any(row.outcome == "not graded" for row in rows)

    def print_results() -> None:
        if as_json:
            _print_json(graded, whole_course)

    sys.exit(run_each(selection, whole_course, run, print_results))


def _grade(
    assignment: Assignment,
    students: Sequence[str] | None,
    hire: Hire,
    sandbox: str,
    force: bool,
    *,
    expect_work: bool,
) -> list[Row]:
    """Grade one assignment; if work is expected, the workers get ready before it is known."""
    with contextlib.closing(hire(assignment)) as workers:
        if expect_work:
            # Loading nbgrader takes a second, in which another processor starts the fork server.
            workers.prepare()
        from nbmark.commands.progress import Progress
        from nbmark.grading.grade import grade
        from nbmark.grading.job import Job, JobOptions

        if expect_work:
            workers.start()
        gradebook, folders = course_records(assignment.course.root)
        options = JobOptions(sandbox, force)
        with contextlib.closing(Progress(assignment.name, "grade")) as progress:
            return grade(Job(assignment, gradebook, folders, students, options, progress), workers)


def _print_json(graded: Sequence[tuple[Assignment, list[Row]]], whole_course: bool) -> None:
    """Print the grades piece by piece, so that memory never holds them all."""
    from nbmark.commands import json_pieces

    objects = [json_pieces.grades(assignment, rows) for assignment, rows in graded]
    pieces = (
        json_pieces.object_with_list({}, "assignments", objects) if whole_course else objects[0]
    )
    for piece in pieces:
        click.echo(piece, nl=False)
    click.echo()
