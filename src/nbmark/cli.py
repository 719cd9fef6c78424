"""The command ``nbmark``: each command is a few lines over a function of the same name.

Results go to standard output, the log to standard error. Exit status: 0 all well, 1 something was
not graded or not as expected, 2 the command asked for something that does not exist.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from nbmark._version import __version__
from nbmark.errors import NbmarkError, UsageError

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
SANDBOX = click.option(
    "--sandbox", default="bubblewrap", show_default=True, type=click.Choice(["bubblewrap", "none"]),
    help="The wall around students' code: bubblewrap, or none (development only).",
)  # fmt: skip
COURSE = click.option(
    "--course", "root", default=".", show_default=True, metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The course's folder.",
)  # fmt: skip


class OneLineErrors(click.Group):
    """Says what is wrong in one line each, and never shows a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except NbmarkError as error:
            for line in str(error).splitlines():
                click.echo(f"nbmark: {line}", err=True)
            sys.exit(2 if isinstance(error, UsageError) else 1)
        except KeyboardInterrupt:
            click.echo("nbmark: stopped; what is written is complete, run it again for the rest",
                       err=True)  # fmt: skip
            sys.exit(130)


@click.group(cls=OneLineErrors)
@click.version_option(__version__)
def main() -> None:
    """Grade an nbgrader course with hidden checks behind a wall."""


@main.command()
@click.argument("assignment")
@click.option("--student", "students", multiple=True, metavar="ID", help="Only this student.")
@click.option("--force", is_flag=True, help="Grade anew what is graded already.")
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(1, 64),
              help="Submissions graded at the same time.")  # fmt: skip
@SANDBOX
@COURSE
@JSON
def grade(
    assignment: str, students: tuple[str, ...], force: bool, jobs: int, sandbox: str, root: Path,
    as_json: bool,
) -> None:  # fmt: skip
    """Grade the submissions of ASSIGNMENT that are due."""
    from nbmark.checkprocess import CheckPool
    from nbmark.course import Course

    material = Course(root).assignment(assignment)
    with contextlib.closing(CheckPool(material, sandbox, jobs)) as processes:
        processes.start()  # it gets ready while nbgrader is loaded, which takes two seconds
        from nbmark import report
        from nbmark.gradebook import Registrar, load_config
        from nbmark.grading import Settings
        from nbmark.grading import grade as run

        registrar = Registrar.of_course(load_config(material.course.root))
        with contextlib.closing(report.Progress()) as progress:
            rows = run(
                material, registrar, processes, students or None,
                Settings(sandbox, jobs, force), progress,
            )  # fmt: skip
    _print(as_json, lambda: report.rows_as_json(assignment, rows), lambda: report.print_rows(rows))
    sys.exit(1 if any(row.outcome == "not graded" for row in rows) else 0)


@main.command()
@click.argument("assignment")
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(1, 64),
              help="Cases tried at the same time.")  # fmt: skip
@SANDBOX
@COURSE
@JSON
def verify(assignment: str, jobs: int, sandbox: str, root: Path, as_json: bool) -> None:
    """Try ASSIGNMENT on its own answers: reference, release, and every known wrong one."""
    from nbmark import report
    from nbmark.course import Course
    from nbmark.verify import as_json as case_as_json
    from nbmark.verify import verify as run

    with contextlib.closing(report.Progress()) as progress:
        cases = run(Course(root).assignment(assignment), sandbox, jobs=jobs,
                    on_case=progress.verifying)  # fmt: skip
    well = all(case.as_expected for case in cases)
    found = {"assignment": assignment, "as_expected": well,
             "cases": [case_as_json(case) for case in cases]}  # fmt: skip
    _print(as_json, lambda: found, lambda: report.print_cases(cases))
    if not well:
        for case in cases:
            for problem in case.problems:
                click.echo(f"nbmark: {case.name}: {problem}", err=True)
    sys.exit(0 if well else 1)


@main.command()
@COURSE
@JSON
def doctor(root: Path, as_json: bool) -> None:
    """Say what this machine lacks for grading, and how to mend it."""
    from nbmark import report
    from nbmark.doctor import examine

    findings = examine(root)
    _print(
        as_json, lambda: [vars(one) for one in findings], lambda: report.print_findings(findings)
    )
    sys.exit(0 if all(one.well for one in findings) else 1)


def _print(as_json: bool, data: Callable[[], Any], table: Callable[[], None]) -> None:
    if as_json:
        click.echo(json.dumps(data(), indent=1))
    else:
        table()


if __name__ == "__main__":
    main()
