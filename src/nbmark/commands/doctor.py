"""``nbmark doctor``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from nbmark.commands.options import COURSE, JSON


@click.command()
@COURSE
@JSON
def doctor(root: Path, as_json: bool) -> None:
    """List what this machine lacks for grading, and how to fix it."""
    from nbmark.commands import tables
    from nbmark.grading.readiness import examine

    findings = examine(root)
    if as_json:
        tables.print_json([vars(finding) for finding in findings])
    else:
        tables.print_findings(findings)
    sys.exit(0 if all(finding.ok for finding in findings) else 1)
