"""Grading of one submission after another by an assignment's hidden checks, under pytest."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from nbmark.checks.fixtures import Grading, check_of
from nbmark.course.course import Assignment
from nbmark.errors import AssignmentError, InfrastructureError, NeverAsked
from nbmark.intake.choose import choose
from nbmark.models import Check, CheckResult, Evidence, Graded, NotebookContext, Submission
from nbmark.running.replay import Replay
from nbmark.running.submission_run import Run
from nbmark.sandbox.supply import SessionSource
from nbmark.versions import versions

# pytest's own plugins that hidden checks do not use. Some of them take longer than a check.
DISABLED_PLUGINS = (
    "cacheprovider terminal unraisableexception threadexception warnings logging faulthandler "
    "doctest junitxml pastebin stepwise debugging setuponly setupplan"
).split()


def with_checks(assignment: Assignment, use: Callable[[Checks], None]) -> None:
    """Let pytest collect an assignment's checks once, and call `use` in place of its test loop.

    Raises
    ------
    AssignmentError
        If a file cannot be imported, a test is not a check, or there are no checks.
    InfrastructureError
        If pytest itself failed.
    """
    folder = f"graders/{assignment.name}"
    output = io.StringIO()
    loop = _Loop(assignment, use)
    with (
        _import_path(assignment.course.graders),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
    ):
        exit_code = pytest.main(_pytest_arguments(assignment), plugins=[loop, loop.plugin])
    if loop.complaints:
        raise AssignmentError(f"{folder} cannot be collected: {_error_line(loop.complaints)}")
    if loop.has_run:
        return
    if exit_code in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise AssignmentError(f"{folder} has no checks: no test_*.py declares one")
    raise InfrastructureError(f"pytest failed on {folder}: {_error_line([output.getvalue()])}")


def _pytest_arguments(assignment: Assignment) -> list[str]:
    graders = assignment.course.graders
    return [
        str(assignment.graders),
        # Only files below graders/ may change how checks run: no pytest.ini or conftest.py above.
        "-c",
        os.devnull,
        f"--rootdir={graders}",
        f"--confcutdir={graders}",
        # With this mode pytest leaves sys.path alone, so only `_import_path` adds to it.
        "--import-mode=importlib",
        "--capture=sys",
        *(f"-pno:{plugin}" for plugin in DISABLED_PLUGINS),
    ]


class Checks:
    """The collected checks of one assignment, for one submission after another."""

    def __init__(
        self, assignment: Assignment, items: Sequence[pytest.Item], plugin: Grading
    ) -> None:
        self._assignment = assignment
        self._items = items
        self._plugin = plugin

    def declared(self) -> list[Check]:
        """Return the declarations of the checks, in the order of collection."""
        return [check_of(item) for item in self._items]

    def grade(self, submission: Submission, sessions: SessionSource) -> Graded:
        """Run a submission's notebooks in the sandbox and let the checks judge them.

        Raises
        ------
        InfrastructureError
            If anything failed that is not the student's fault.
        """
        started_at = time.monotonic()
        assignment = self._assignment
        chosen = choose(assignment, submission)
        context = NotebookContext(submission.student, assignment.files, submission.files)
        run = Run(chosen.cells, assignment.limits, sessions.open, context, chosen.unreadable)
        results: list[CheckResult] = []
        try:
            if submission.asks:
                ids = (submission.student, *submission.aliases)
                results = self._results(
                    run, ids, submission.classmates, submission.seed, chosen.added_later
                )
            notebooks = run.finish()
        finally:
            run.close()  # the next sandbox can only be opened once this one has ended
        return Graded(
            student=submission.student,
            assignment=assignment.name,
            digest=submission.digest,
            notebooks=notebooks,
            results=results,
            evidence=run.evidence,
            reached=run.reached,
            unreadable=chosen.unreadable,
            notices={name: notices for name, notices in chosen.notices.items() if notices},
            # With nothing to run there was no sandbox.
            sandbox=sessions.label if chosen.cells.keys() - chosen.unreadable else "",
            versions=versions(),
            source_digest=assignment.source_digest(),
            seconds=time.monotonic() - started_at,
            spent_s=run.spent_s,
            added_later=sorted(chosen.added_later),
            stopped_by_clock=run.stopped_by_clock,
        )

    def regrade(
        self, evidence: Evidence, seed: bytes, aliases: Sequence[str], classmates: Sequence[str]
    ) -> list[CheckResult]:
        """Judge a submission by today's checks, from the answers that it gave when it ran.

        `Submission` describes `aliases` and `classmates`.

        Raises
        ------
        NeverAsked
            If the checks ask something new, or the instructor's part of the notebook has changed.
        """
        # The recorded answers come from a run of the old cells, and may differ with the new ones.
        if evidence.source_digest != self._assignment.source_digest():
            raise NeverAsked("the assignment's own cells or files have changed")
        ids = (evidence.student, *aliases)
        return self._results(Replay(evidence), ids, classmates, seed, evidence.added_later)

    def _results(
        self,
        run: Run | Replay,
        ids: Sequence[str],
        classmates: Sequence[str],
        seed: bytes,
        added_later: Collection[str],
    ) -> list[CheckResult]:
        plugin = self._plugin
        plugin.begin(run, ids, seed, self._assignment.limits.answer_kib << 10, classmates)
        items = [item for item in self._items if check_of(item).cell not in added_later]
        # A notebook only runs forwards, so the checks follow the order of their grade cells.
        for item in sorted(items, key=lambda item: run.position(check_of(item).cell)):
            # Without a next item pytest tears every fixture down, so none of them carries anything
            # over to the next submission.
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            # pytest keeps a check's prints as long as its item, which serves the whole class.
            # They would pile up in memory and appear in the next submission's reports.
            item._report_sections.clear()
            if plugin.engine_error:
                raise plugin.engine_error
        return plugin.results


class _Loop:
    """A pytest plugin that replaces pytest's test loop by a function of ours."""

    def __init__(self, assignment: Assignment, use: Callable[[Checks], None]) -> None:
        self.plugin = Grading()
        self.complaints: list[str] = []
        self.has_run = False
        self._assignment = assignment
        self._use = use

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a file that cannot be collected."""
        if report.failed:
            self.complaints.append(str(report.longrepr))

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Hand the collected checks over, unless the instructor must fix something first."""
        try:
            for item in session.items:
                check_of(item)
        except pytest.UsageError as error:
            self.complaints.append(str(error))
        if session.items and not self.complaints:
            self.has_run = True
            self._use(Checks(self._assignment, session.items, self.plugin))
        return True  # so that pytest does not start its own loop


def _error_line(complaints: Iterable[str]) -> str:
    """Return the line of pytest's output that names the error."""
    lines = [line for text in complaints for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E ", "ERROR"))]
    # pytest prints an error of its own below the traceback, so the last line names it.
    fatal = [line for line in lines if line.startswith("INTERNALERROR")][-1:]
    return " ".join((errors or fatal or lines or ["pytest printed nothing"])[0].split())[:300]


@contextlib.contextmanager
def _import_path(graders: Path) -> Iterator[None]:
    """Put `graders/` on the import path, so that a check can ``import reference``."""
    sys.path.insert(0, str(graders))
    try:
        yield
    finally:
        sys.path.remove(str(graders))
