"""The results of the commands as tables, and small ones as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nbmark.authoring.verify import Case
from nbmark.grading.readiness import Finding
from nbmark.grading.regrade import Change
from nbmark.records.row import Row
from nbmark.untrusted.text import one_line

OUTCOMES = ("graded", "up to date", "not graded")


def print_rows(assignment: str, rows: Sequence[Row]) -> None:
    """Print students, points by task, and the first thing to know about each submission."""
    tasks = list(dict.fromkeys(task for row in rows for task in row.scores))
    table = Table(title=assignment, title_justify="left", show_lines=False, pad_edge=False)
    table.add_column("student", no_wrap=True)
    for task in tasks:
        table.add_column(task, justify="right")
    table.add_column("points", justify="right")
    table.add_column("what happened", ratio=1)
    for row in rows:
        points = [f"{row.scores[task].earned:g}" if task in row.scores else "–" for task in tasks]
        total = f"{row.earned:g}" if row.scores else "–"
        table.add_row(
            Text(row.student), *points, total, Text(one_line(row.trouble or row.says, 500))
        )
    _wide_console().print(table)
    counts = {outcome: sum(row.outcome == outcome for row in rows) for outcome in OUTCOMES}
    counted = [f"{number} {outcome}" for outcome, number in counts.items() if number]
    print(", ".join(counted) or "nothing to grade")


def print_changes(assignment: str, changes: Sequence[Change], *, applied: bool) -> None:
    """Print what ``nbmark regrade`` would change or has changed, and a line that counts."""
    table = Table(
        "student",
        "before",
        "after",
        "why",
        title=f"{assignment}, automatic points",
        title_justify="left",
    )
    for change in changes:
        if not change.differs and not change.trouble:
            continue
        after = "–" if change.after is None else f"{change.after:g}"
        why = "; ".join(change.why) or change.trouble or "the points of its cells"
        table.add_row(Text(change.student), f"{change.before:g}", after, Text(one_line(why, 500)))
    if table.row_count:
        _wide_console().print(table)
    counts = _counts(changes)
    print(
        f"{counts['judged']} regraded, {counts['differ']} differ ({counts['in points']} in "
        f"points), {counts['ran again']} had to run again, "
        f"{counts['not judged']} could not be judged"
    )
    for reason in sorted({change.ran_because for change in changes if change.ran_because}):
        print(f"run again: {one_line(reason, 200)}")
    if not applied:
        print("nothing was written; repeat with --apply")
    elif counts["differ"]:
        print(
            f"students still see the old pages: run 'nbgrader generate_feedback {assignment} "
            f"--force', then 'nbgrader release_feedback {assignment}'"
        )


def changes_as_json(assignment: str, changes: Sequence[Change], *, applied: bool) -> dict[str, Any]:
    """Return the object for ``nbmark regrade --json``."""
    return {
        "assignment": assignment,
        "applied": applied,
        **_counts(changes),
        "students": [{**vars(change), "differs": change.differs} for change in changes],
    }


def print_cases(assignment: str, cases: Sequence[Case]) -> None:
    """Print the cases of ``nbmark verify``."""
    table = Table("case", "what it shows", "as expected", title=assignment, title_justify="left")
    for case in cases:
        table.add_row(Text(case.name), Text(case.title), "yes" if case.as_expected else "NO")
    Console().print(table)


def print_findings(findings: Sequence[Finding]) -> None:
    """Print what ``nbmark doctor`` checked, and the fixes."""
    table = Table("check", "OK", "found", "fix")
    for finding in findings:
        table.add_row(
            finding.subject, "yes" if finding.ok else "NO", Text(finding.found), Text(finding.fix)
        )
    Console().print(table)


def print_json(value: Any) -> None:
    """Print a small result as JSON."""
    click.echo(json.dumps(value, indent=1))


def _counts(changes: Sequence[Change]) -> dict[str, int]:
    return {
        "judged": sum(not change.trouble for change in changes),
        "differ": sum(change.differs and not change.trouble for change in changes),
        "in points": sum(change.after not in (None, change.before) for change in changes),
        "ran again": sum(bool(change.ran_because) for change in changes),
        "not judged": sum(bool(change.trouble) for change in changes),
    }


def _wide_console() -> Console:
    """Return a console as wide as the terminal, or 180 columns wide in a log."""
    console = Console()
    return console if console.is_terminal else Console(width=180)
