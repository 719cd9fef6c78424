"""What the command line shows: progress, tables, and the same as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from nbmark import evidence
from nbmark.course import Assignment
from nbmark.doctor import Finding
from nbmark.feedback import diagnosis
from nbmark.grading import Watcher
from nbmark.records import Row
from nbmark.regrading import Change
from nbmark.safetext import one_line
from nbmark.verify import Case

LOOK_S = 10.0  # between two lines of a log while nobody is graded yet


class Progress(Watcher):
    """A bar on a terminal, plain lines in a log; both on standard error.

    Parameters
    ----------
    what_to_do
        What becomes of the submissions.
    """

    def __init__(self, assignment: str, what_to_do: str = "grade") -> None:
        self._assignment = assignment
        self._what_to_do = what_to_do
        self._console = Console(stderr=True)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task(assignment, total=None, note="")
        self._bar.start()
        self._done = self._failed = self._total = 0
        self._began = self._last_look = time.monotonic()

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()

    def verifying(self, case: Case, total: int) -> None:
        self._done += 1
        self._failed += not case.as_expected
        self._total = total
        self._bar.update(
            self._task,
            description=f"verifying {self._assignment}",
            total=total,
            completed=self._done,
            note=case.name,
        )
        well = "as expected" if case.as_expected else "NOT as expected"
        self._line(f"{self._count()}: verified {case.name}: {well}")

    def looked(self, number: int, total: int) -> None:
        self._bar.update(self._task, total=total, completed=number, note="looking who is due")
        if number == 0:  # the trial of the assignment may have come before
            self._last_look = time.monotonic()
        if time.monotonic() - self._last_look > LOOK_S:
            self._last_look = time.monotonic()
            self._line(f"looked at {number} of {total} submissions, whether they are due")

    def begin(self, due: int, up_to_date: int) -> None:
        self._done, self._failed, self._total = 0, 0, due
        self._began = time.monotonic()
        self._bar.reset(self._task, description=self._assignment, total=due, note="")
        self._line(f"{due} submissions to {self._what_to_do}, {up_to_date} up to date")

    def finished(self, row: Row) -> None:
        self._done += 1
        self._failed += row.outcome == "not graded"
        self._bar.update(self._task, completed=self._done, note=self._rate())
        what = one_line(row.trouble, 500) or f"{row.earned:g} points"
        self._line(f"{self._count()}: {row.student}: {what}")

    def _count(self) -> str:
        left_s = (self._total - self._done) * (time.monotonic() - self._began) / self._done
        return f"{self._done} of {self._total}, {self._rate()}, {left_s:.0f} s left"

    def _rate(self) -> str:
        elapsed_s = max(time.monotonic() - self._began, 1e-3)
        return f"{self._failed} failed, {60 * self._done / elapsed_s:.0f} a minute"

    def _line(self, text: str) -> None:
        if not self._console.is_terminal:
            print(f"{self._assignment}: {text}", file=sys.stderr, flush=True)


def print_rows(assignment: str, rows: Sequence[Row]) -> None:
    """A table of students, points by task, and what they were told."""
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
    counts = {
        word: sum(row.outcome == word for row in rows)
        for word in ("graded", "up to date", "not graded")
    }
    print(
        ", ".join(f"{number} {word}" for word, number in counts.items() if number)
        or "nothing to grade"
    )


def rows_as_json(assignment: Assignment, rows: Iterable[Row]) -> Iterator[str]:
    """The rows for ``nbmark grade --json``, with every check from the evidence, in pieces."""
    each = ([json.dumps(_row_as_json(assignment, row))] for row in rows)
    return list_as_json("students", each, assignment=assignment.name)


def list_as_json(name: str, values: Iterable[Iterable[str]], **before: str) -> Iterator[str]:
    """A JSON object with a list called `name`, of whose values each comes in pieces."""
    yield json.dumps({**before, name: []})[: -len("]}")]
    for number, pieces in enumerate(values):
        yield ",\n" if number else "\n"
        yield from pieces
    yield "\n]}"


def print_changes(assignment: str, changes: Sequence[Change], *, applied: bool) -> None:
    """A table of what ``nbmark regrade`` would change or has changed, and a line that counts."""
    table = Table(
        "student",
        "before",
        "after",
        "why",
        title=f"{assignment}, automatic points",
        title_justify="left",
    )
    for one in changes:
        if not one.differs and not one.trouble:
            continue
        after = "–" if one.after is None else f"{one.after:g}"
        why = "; ".join(one.why) or one.trouble or "the points of its cells"
        table.add_row(Text(one.student), f"{one.before:g}", after, Text(one_line(why, 500)))
    if table.row_count:
        _wide_console().print(table)
    counts = _counts(changes)
    print(
        f"{counts['judged']} judged anew, {counts['differ']} differ ({counts['in points']} in "
        f"points), {counts['ran again']} had to run again, "
        f"{counts['not judged']} could not be judged"
    )
    for reason in sorted({one.ran_because for one in changes if one.ran_because}):
        print(f"run again: {one_line(reason, 200)}")
    if not applied:
        print("nothing was written; repeat with --apply")
    elif counts["differ"]:
        print(
            f"students still see the pages of before: 'nbgrader generate_feedback {assignment} "
            f"--force' and 'nbgrader release_feedback {assignment}' renew them"
        )


def changes_as_json(assignment: str, changes: Sequence[Change], *, applied: bool) -> dict[str, Any]:
    """The same for ``nbmark regrade --json``."""
    return {
        "assignment": assignment,
        "applied": applied,
        **_counts(changes),
        "students": [{**vars(one), "differs": one.differs} for one in changes],
    }


def _counts(changes: Sequence[Change]) -> dict[str, int]:
    return {
        "judged": sum(not one.trouble for one in changes),
        "differ": sum(one.differs and not one.trouble for one in changes),
        "in points": sum(one.after not in (None, one.before) for one in changes),
        "ran again": sum(bool(one.ran_because) for one in changes),
        "not judged": sum(bool(one.trouble) for one in changes),
    }


def print_cases(assignment: str, cases: Sequence[Case]) -> None:
    """A table of the cases of ``nbmark verify``."""
    table = Table("case", "what it shows", "as expected", title=assignment, title_justify="left")
    for case in cases:
        table.add_row(Text(case.name), Text(case.title), "yes" if case.as_expected else "NO")
    Console().print(table)


def print_findings(findings: Sequence[Finding]) -> None:
    """A table of what ``nbmark doctor`` looked at, and the remedies."""
    table = Table("looked at", "well", "found", "what to do")
    for one in findings:
        table.add_row(one.subject, "yes" if one.well else "NO", Text(one.found), Text(one.remedy))
    Console().print(table)


def _wide_console() -> Console:
    """The terminal as wide as it is, a log as wide as a table needs."""
    console = Console()
    return console if console.is_terminal else Console(width=180)


def _row_as_json(assignment: Assignment, row: Row) -> dict[str, Any]:
    graded = evidence.load(assignment.course, assignment.name, row.student) if row.scores else None
    return {
        "student": row.student,
        "outcome": row.outcome,
        "points": row.earned if row.scores else None,
        "trouble": row.trouble,
        "sandbox": graded.sandbox if graded else None,
        "seconds": round(graded.seconds, 3) if graded else None,
        "spent_s": {what: round(one, 4) for what, one in graded.spent_s.items()} if graded else {},
        "unreadable": graded.unreadable if graded else {},
        "cells": {name: vars(score) for name, score in row.scores.items()},
        "checks": [
            {
                "name": one.check.name,
                "cell": one.check.cell,
                "title": one.check.title,
                "outcome": one.outcome,
                "points": one.earned,
                "says": diagnosis(one),
                "own": one.own,
                "trace": one.trace,
            }
            for one in (graded.results if graded else [])
        ],
    }
