"""What a job reports while it runs."""

from __future__ import annotations

from nbmark.authoring.verify import Case
from nbmark.records.row import Row


class Watcher:
    """Receives reports of a job and ignores them; the command line draws a progress bar instead."""

    def waiting(self, running_s: float) -> None:
        """Another grading of the course has been running for so many seconds."""

    def verifying(self, case: Case, total: int) -> None:
        """One of `total` cases of the assignment's own trial has ended."""

    def looked(self, number: int, total: int) -> None:
        """`number` of `total` submissions have been checked for whether they need grading."""

    def begin(self, due: int, up_to_date: int) -> None:
        """The number of submissions due is known; those that cannot be graded count as well."""

    def finished(self, row: Row) -> None:
        """One submission has been written, or could not be graded."""
