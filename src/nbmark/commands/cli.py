"""The command ``nbmark``: each command is a few lines over a function of the same name.

Results go to standard output, the log to standard error. Exit status: 0 all well, 1 something was
not graded or not as expected, 2 the command asked for what does not exist, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from nbmark._version import __version__
from nbmark.errors import AssignmentError, UsageError
from nbmark.jobs import asked_for, graded, hiring, judged, registrar_of
from nbmark.oneline import OneLineErrors, complain
from nbmark.options import ALL, ASSIGNMENT, COURSE, JSON, SANDBOX, STUDENTS, WORKERS, on_a_cluster

if TYPE_CHECKING:
    from nbmark.course import Assignment
    from nbmark.records import Row


def program() -> NoReturn:
    """The program ``nbmark``: `main`, and no time spent on taking the interpreter apart."""
    status = 0
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    with contextlib.suppress(OSError):  # nobody reads any more
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


@click.group(cls=OneLineErrors)
@click.version_option(__version__)
def main() -> None:
    """Grade an nbgrader course with hidden checks behind a wall."""
    gc.set_threshold(50_000)  # what is imported stays: the collector need not look through it


@main.command()
@ASSIGNMENT
@ALL
@STUDENTS
@click.option("--force", is_flag=True, help="Grade anew what is graded already.")
@WORKERS
@SANDBOX
@COURSE
@JSON
@on_a_cluster
def grade(
    assignment: str | None,
    everything: bool,
    students: tuple[str, ...],
    force: bool,
    workers: int | None,
    sandbox: str,
    root: Path,
    as_json: bool,
    **elsewhere: Any,
) -> None:
    """Grade the submissions of ASSIGNMENT, or with --all of the whole course, that are due."""
    hire = hiring(workers, sandbox, **elsewhere)
    if everything:
        registrar_of(root)  # what is wrong with the configuration is said once
    found: list[tuple[Assignment, list[Row]]] = []

    def grade_one(material: Assignment) -> bool:
        rows = graded(material, students, force, hire, sandbox, everything)
        from nbmark import report

        found.append((material, rows))
        if not as_json:
            report.print_rows(material.name, rows)
        return not any(row.outcome == "not graded" for row in rows)

    def print_found() -> None:
        if as_json:
            _print_grades(found, everything)

    well = _one_by_one(asked_for(root, assignment, everything), everything, grade_one, print_found)
    if students and well and not any(rows for _, rows in found):
        raise UsageError(f"no submission by student '{students[0]}' under submitted/")
    print_found()
    sys.exit(0 if well else 1)


@main.command()
@ASSIGNMENT
@ALL
@click.option(
    "--fast", is_flag=True, help="Only as many wrong answers as it takes to fail each check."
)
@WORKERS
@SANDBOX
@COURSE
@JSON
def verify(
    assignment: str | None,
    everything: bool,
    fast: bool,
    workers: int | None,
    sandbox: str,
    root: Path,
    as_json: bool,
) -> None:
    """Try ASSIGNMENT, or with --all every one, on its own answers, right and wrong."""
    from nbmark import report
    from nbmark.trials import quick
    from nbmark.verify import as_json as case_as_json
    from nbmark.verify import verify as run

    found, well = [], True
    for material in asked_for(root, assignment, everything):
        with contextlib.closing(report.Progress(material.name)) as progress:
            cases = run(
                material,
                sandbox,
                workers=workers or 0,
                choose=quick if fast else list,
                on_case=progress.verifying,
            )
        as_expected = all(case.as_expected for case in cases)
        well = well and as_expected
        found.append(
            {
                "assignment": material.name,
                "as_expected": as_expected,
                "cases": [case_as_json(case) for case in cases],
            }
        )
        if not as_json:
            report.print_cases(material.name, cases)
        for case in cases:
            for problem in case.problems:
                click.echo(f"nbmark: {material.name}: {case.name}: {problem}", err=True)
    if as_json:
        _print_json({"as_expected": well, "assignments": found} if everything else found[0])
    sys.exit(0 if well else 1)


@main.command()
@ASSIGNMENT
@ALL
@STUDENTS
@click.option("--apply", "applying", is_flag=True, help="Write the new points.")
@WORKERS
@SANDBOX
@COURSE
@JSON
def regrade(
    assignment: str | None,
    everything: bool,
    students: tuple[str, ...],
    applying: bool,
    workers: int | None,
    sandbox: str,
    root: Path,
    as_json: bool,
) -> None:
    """Judge the graded submissions of ASSIGNMENT, or with --all of every one, by today's checks.

    Shows how everybody's points change and why; writes them with --apply only. The answers on
    record are enough, no student's code runs. Only where a check asks what was never asked, or the
    instructor's cells have changed, notebooks run again; it says how many.
    """
    from nbmark import report

    registrar = registrar_of(root)
    found: list[dict[str, Any]] = []

    def judge_one(material: Assignment) -> bool:
        changes = judged(material, registrar, students, applying, workers, sandbox, everything)
        found.append(report.changes_as_json(material.name, changes, applied=applying))
        if not as_json:
            report.print_changes(material.name, changes, applied=applying)
        return not any(one.trouble for one in changes)

    def print_found() -> None:
        if as_json:
            _print_json({"assignments": found} if everything else found[0])

    well = _one_by_one(asked_for(root, assignment, everything), everything, judge_one, print_found)
    if students and well and not any(one["students"] for one in found):
        raise UsageError(f"no graded submission by student '{students[0]}' under evidence/")
    print_found()
    sys.exit(0 if well else 1)


@main.command()
@COURSE
@JSON
def doctor(root: Path, as_json: bool) -> None:
    """Say what this machine lacks for grading, and how to mend it."""
    from nbmark import report
    from nbmark.doctor import examine

    findings = examine(root)
    if as_json:
        _print_json([vars(one) for one in findings])
    else:
        report.print_findings(findings)
    sys.exit(0 if all(one.well for one in findings) else 1)


def _one_by_one(
    materials: Sequence[Assignment],
    everything: bool,
    do: Callable[[Assignment], bool],
    print_found: Callable[[], None],
) -> bool:
    """Whether all went well; in the whole course a broken assignment keeps no other from its turn.

    Trouble of ours ends it; what was done until then is printed first.
    """
    well = True
    for number, material in enumerate(materials):
        try:
            well = do(material) and well
        except AssignmentError as error:
            if not everything:
                raise
            complain(error)
            well = False
        except BaseException:
            if number:
                print_found()
            raise
    return well


def _print_grades(found: Sequence[tuple[Assignment, list[Row]]], everything: bool) -> None:
    """The grades of one assignment as JSON, or of the whole course; never all in memory."""
    from nbmark import report

    parts = [report.rows_as_json(material, rows) for material, rows in found]
    for piece in report.list_as_json("assignments", parts) if everything else parts[0]:
        click.echo(piece, nl=False)
    click.echo()


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=1))


if __name__ == "__main__":
    program()
