"""Progress reports of a job while it runs."""

from __future__ import annotations

from nbmark.authoring.verify import Case
from nbmark.records.row import Row


class ProgressListener:
    """Receives reports of a job and ignores them; the command line draws a progress bar instead."""

    def verifying(self, case: Case, total: int) -> None:
        """Report the end of one of `total` cases of the verification."""

    def noted(self, line: str) -> None:
        """Report a change that concerns the whole assignment."""

    def checked(self, number: int, total: int) -> None:
        """Report that `number` of `total` submissions were checked for whether they are due."""

    def begin(self, due: int, up_to_date: int) -> None:
        """Report how many submissions are due; those that cannot be graded count as well."""

    def postponed(self, student: str) -> None:
        """Report that the clock stopped a submission, which runs again after all others."""

    def finished(self, row: Row) -> None:
        """Report that one submission was written, or could not be graded."""
