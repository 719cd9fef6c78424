"""``nbmark verify``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from nbmark.commands.arguments import assignments_of
from nbmark.commands.options import ALL, ASSIGNMENT, COURSE, JSON, SANDBOX, WORKERS


@click.command()
@ASSIGNMENT
@ALL
@click.option(
    "--fast", is_flag=True, help="Run only as many wrong answers as it takes to fail each check."
)
@WORKERS
@SANDBOX
@COURSE
@JSON
def verify(
    assignment: str | None,
    whole_course: bool,
    fast: bool,
    workers: int | None,
    sandbox: str,
    root: Path,
    as_json: bool,
) -> None:
    """Test an assignment on its own right and wrong answers.

    Takes ASSIGNMENT, or with --all the whole course.
    """
    from nbmark.authoring.trials import quick
    from nbmark.authoring.verify import case_as_json
    from nbmark.authoring.verify import verify as verify_assignment
    from nbmark.commands import tables
    from nbmark.commands.progress import Progress

    reports = []
    for material in assignments_of(root, assignment, whole_course):
        with contextlib.closing(Progress(material.name, "verify")) as progress:
            cases = verify_assignment(
                material,
                sandbox,
                workers=workers or 0,
                choose=quick if fast else list,
                on_case=progress.verifying,
            )
        reports.append(
            {
                "assignment": material.name,
                "as_expected": all(case.as_expected for case in cases),
                "cases": [case_as_json(case) for case in cases],
            }
        )
        if not as_json:
            tables.print_cases(material.name, cases)
        for case in cases:
            for problem in case.problems:
                click.echo(f"nbmark: {material.name}: {case.name}: {problem}", err=True)
    as_expected = all(report["as_expected"] for report in reports)
    if as_json:
        course_report = {"as_expected": as_expected, "assignments": reports}
        tables.print_json(course_report if whole_course else reports[0])
    sys.exit(0 if as_expected else 1)
