"""The results of the commands as tables, and small ones as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from nbmark.authoring.verify import Case
from nbmark.commands.layout import Line, Sheet, show
from nbmark.grading.readiness import Finding
from nbmark.grading.regrade import Change
from nbmark.grading.shared import shared_sentences
from nbmark.records.row import Row
from nbmark.untrusted.text import one_line

# A class that has not begun reads the same at every check. Five lines tell that as well as fifty.
MAX_SHARED = 5
OUTCOMES = ("graded", "up to date", "not graded")


def print_rows(assignment: str, rows: Sequence[Row]) -> None:
    """Print students, points by task, and the first thing to know about each submission."""
    tasks = list(dict.fromkeys(task for row in rows for task in row.scores))
    lines = [
        Line(
            name=row.student,
            shorts=[f"{row.earned:g}" if row.scores else "–"],
            texts=[row.line],
            details=[
                f"{row.scores[task].earned:g}" if task in row.scores else "–" for task in tasks
            ],
            brief=_lost(row),
        )
        for row in rows
    ]
    show(Sheet("student", ["points"], ["what happened"], lines, tasks, title=assignment))
    counts = {outcome: sum(row.outcome == outcome for row in rows) for outcome in OUTCOMES}
    counted = [f"{number} {outcome}" for outcome, number in counts.items() if number]
    print(", ".join(counted) or "nothing to grade")
    for shared in shared_sentences(rows)[:MAX_SHARED]:
        print(shared)


def print_changes(assignment: str, changes: Sequence[Change], *, applied: bool) -> None:
    """Print what ``nbmark regrade`` would change or has changed, and a line that counts."""
    lines = [
        Line(
            name=change.student,
            shorts=[f"{change.before:g}", "–" if change.after is None else f"{change.after:g}"],
            texts=[
                "; ".join(filter(None, (*change.why, change.trouble, change.penalty)))
                or "the points of its cells"
            ],
        )
        for change in changes
        if change.differs or change.trouble
    ]
    if lines:
        title = f"{assignment}, automatic points"
        show(Sheet("student", ["before", "after"], ["why"], lines, title=title))
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
    lines = [Line(case.name, ["yes" if case.as_expected else "NO"], [case.title]) for case in cases]
    show(Sheet("case", ["as expected"], ["what it shows"], lines, title=assignment))


def print_findings(findings: Sequence[Finding]) -> None:
    """Print what ``nbmark doctor`` checked, and the fixes."""
    lines = [
        Line(finding.subject, ["yes" if finding.ok else "NO"], [finding.found, finding.fix])
        for finding in findings
    ]
    show(Sheet("check", ["OK"], ["found", "fix"], lines))


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


def _lost(row: Row) -> str:
    """Return the points of the tasks that have not earned all of theirs."""
    return ", ".join(
        f"{task} {score.earned:g}/{score.possible:g}"
        for task, score in row.scores.items()
        if score.earned < score.possible
    )
