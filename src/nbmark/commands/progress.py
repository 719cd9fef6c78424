"""The progress of a job: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from nbmark.authoring.verify import Case
from nbmark.grading.progress import ProgressListener
from nbmark.records.row import Row
from nbmark.untrusted.names import printable_name
from nbmark.untrusted.text import one_line

REPORT_S = 10.0  # between two lines of a log while no submission has been graded yet


class Progress(ProgressListener):
    """Shows a job's progress on standard error; must be closed.

    Parameters
    ----------
    verb
        The job, as in "12 submissions to grade".
    """

    def __init__(self, assignment: str, verb: str) -> None:
        self._assignment = assignment
        self._verb = verb
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
        self._began = self._reported_at = time.monotonic()

    def close(self) -> None:
        """Remove the bar."""
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
        result = "as expected" if case.as_expected else "NOT as expected"
        self._line(f"{self._count()}: verified {case.name}: {result}")

    def noted(self, line: str) -> None:
        if self._console.is_terminal:
            self._bar.console.print(Text(line))
        else:
            self._line(line)

    def checked(self, number: int, total: int) -> None:
        note = "checking which submissions need grading"
        self._bar.update(self._task, total=total, completed=number, note=note)
        if number == 0:  # verifying may have taken a while before
            self._reported_at = time.monotonic()
        if time.monotonic() - self._reported_at > REPORT_S:
            self._reported_at = time.monotonic()
            self._line(f"checked whether {number} of {total} submissions need grading")

    def begin(self, due: int, up_to_date: int) -> None:
        self._done, self._failed, self._total = 0, 0, due
        self._began = time.monotonic()
        self._bar.reset(self._task, description=self._assignment, total=due, note="")
        self._line(f"{due} submissions to {self._verb}, {up_to_date} up to date")

    def postponed(self, student: str) -> None:
        self._bar.update(self._task, note=f"{student} was stopped by the clock and runs again")
        self._line(f"{student}: stopped by the clock; runs again by itself after all others")

    def finished(self, row: Row) -> None:
        self._done += 1
        self._failed += row.outcome == "not graded"
        self._bar.update(self._task, completed=self._done, note=self._rate())
        outcome = one_line("; ".join((row.trouble or f"{row.earned:g} points", *row.notes)), 500)
        self._line(f"{self._count()}: {printable_name(row.student)}: {outcome}")

    def _count(self) -> str:
        remaining_s = (self._total - self._done) * (time.monotonic() - self._began) / self._done
        return f"{self._done} of {self._total}, {self._rate()}, {remaining_s:.0f} s left"

    def _rate(self) -> str:
        elapsed_s = max(time.monotonic() - self._began, 1e-3)
        return f"{self._failed} failed, {60 * self._done / elapsed_s:.0f} a minute"

    def _line(self, text: str) -> None:
        if not self._console.is_terminal:
            print(f"{self._assignment}: {text}", file=sys.stderr, flush=True)
