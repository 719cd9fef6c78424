"""Runs the hidden checks of an assignment on submissions, with pytest."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from nbmark.checks.fixtures import Grading, check_of
from nbmark.course.course import Assignment
from nbmark.errors import (
    AssignmentError,
    InfrastructureError,
    NeverAsked,
    NotebookUnreadable,
    SubmissionError,
)
from nbmark.intake.restore import restore
from nbmark.models import Check, CheckResult, Evidence, Graded, NotebookContext, Submission
from nbmark.notebooks import Cell, read_notebook
from nbmark.running.replay import Replay
from nbmark.running.submission_run import Run
from nbmark.sandbox.supply import SessionSource
from nbmark.versions import versions

# What pytest brings along that the checks do not need; some of it costs more than a check.
WITHOUT = (
    "cacheprovider",
    "terminal",
    "unraisableexception",
    "threadexception",
    "warnings",
    "logging",
    "faulthandler",
    "doctest",
    "junitxml",
    "pastebin",
    "stepwise",
    "debugging",
    "setuponly",
    "setupplan",
)


def with_checks(assignment: Assignment, use: Callable[[Checks], None]) -> None:
    """Let pytest collect an assignment's checks once, and call `use` in place of its test loop.

    Raises
    ------
    AssignmentError
        If a file cannot be imported, a test is no check, or there is none.
    InfrastructureError
        If pytest itself failed.
    """
    graders = assignment.course.graders
    arguments = [
        str(assignment.graders),
        "-c",
        os.devnull,
        f"--rootdir={graders}",
        f"--confcutdir={graders}",
        "--import-mode=importlib",
        "--capture=sys",
        *(f"-pno:{one}" for one in WITHOUT),
    ]
    said = io.StringIO()
    loop = _Loop(assignment, use)
    with _import_path(graders), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = pytest.main(arguments, plugins=[loop, loop.plugin])
    if loop.complaints:
        gist = _gist(loop.complaints)
        raise AssignmentError(f"graders/{assignment.name} cannot be collected: {gist}")
    if not loop.ran and code in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise AssignmentError(f"graders/{assignment.name} has no checks: no test_*.py declares one")
    if not loop.ran:
        raise InfrastructureError(
            f"pytest failed on graders/{assignment.name}: {_gist([said.getvalue()])}"
        )


class Checks:
    """The collected checks of one assignment, for one submission after the other."""

    def __init__(
        self, assignment: Assignment, items: Sequence[pytest.Item], plugin: Grading
    ) -> None:
        self._assignment = assignment
        self._items = items
        self._plugin = plugin

    def declared(self) -> list[Check]:
        """What the checks are called and worth, as pytest collected them."""
        return [check_of(item) for item in self._items]

    def grade(self, submission: Submission, supply: SessionSource) -> Graded:
        """Run the notebooks behind the wall, put the checks' questions, and give what came of it.

        Raises
        ------
        InfrastructureError
            If there was trouble that is not the student's.
        """
        began = time.monotonic()
        assignment = self._assignment
        cells, unreadable = _cells(assignment, submission)
        surroundings = NotebookContext(submission.student, assignment.files)
        run = Run(cells, assignment.limits, supply.open, surroundings)
        results: list[CheckResult] = []
        try:
            if submission.asks:
                results = self._results(run, submission.student, submission.seed)
            notebooks = run.finish()
        finally:
            run.close()
        return Graded(
            student=submission.student,
            assignment=assignment.name,
            digest=submission.digest,
            notebooks=notebooks,
            results=results,
            evidence=run.evidence,
            reached=run.reached,
            unreadable=unreadable,
            sandbox=supply.wall,
            versions=versions(),
            source_digest=assignment.source_digest(),
            seconds=time.monotonic() - began,
            spent_s=run.spent_s,
        )

    def regrade(self, evidence: Evidence, seed: bytes) -> list[CheckResult]:
        """A submission judged by today's checks, from what was asked when it ran.

        Raises
        ------
        NeverAsked
            If the checks ask something new, or the instructor's part of the notebook has changed.
        """
        if evidence.source_digest != self._assignment.source_digest():
            raise NeverAsked("the assignment's own cells or files have changed")
        return self._results(Replay(evidence), evidence.student, seed)

    def _results(self, run: Run | Replay, student: str, seed: bytes) -> list[CheckResult]:
        self._plugin.begin(run, student, seed, self._assignment.limits.answer_kib << 10)
        for item in sorted(self._items, key=lambda item: run.position(check_of(item).cell)):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            item._report_sections.clear()  # what it printed: pytest keeps that as long as the item
            if self._plugin.broken:
                raise self._plugin.broken
        return self._plugin.results


def _cells(
    assignment: Assignment, submission: Submission
) -> tuple[dict[str, list[Cell]], dict[str, str]]:
    """Every notebook of the assignment restored; an unreadable one is restored from nothing."""
    cells, unreadable = {}, {}
    for name, source in assignment.notebooks.items():
        data = submission.notebooks.get(name)
        try:
            if data is None:
                raise NotebookUnreadable(submission.refused.get(name, "It was not handed in."))
            cells[name] = restore(read_notebook(data), source)
        except SubmissionError as error:
            unreadable[name] = str(error)  # said once, instead of a doubt at every task
            cells[name] = [replace(cell, doubt="") for cell in restore([], source)]
    return cells, unreadable


class _Loop:
    """pytest's test loop, handed over."""

    def __init__(self, assignment: Assignment, use: Callable[[Checks], None]) -> None:
        self.plugin = Grading()
        self.complaints: list[str] = []
        self.ran = False
        self._assignment = assignment
        self._use = use

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.complaints.append(str(report.longrepr))

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        try:
            for item in session.items:
                check_of(item)
        except pytest.UsageError as error:
            self.complaints.append(str(error))
        if session.items and not self.complaints:
            self.ran = True
            self._use(Checks(self._assignment, session.items, self.plugin))
        return True


def _gist(complaints: Iterable[str]) -> str:
    """The line of what pytest said that tells what is wrong."""
    lines = [line for one in complaints for line in one.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E ", "ERROR"))]
    fatal = [line for line in lines if line.startswith("INTERNALERROR")][-1:]  # after its traceback
    return " ".join((errors or fatal or lines or ["pytest said nothing"])[0].split())[:300]


@contextlib.contextmanager
def _import_path(graders: Path) -> Iterator[None]:
    """`graders/` on the import path, so that a check can say ``import reference``."""
    sys.path.insert(0, str(graders))
    try:
        yield
    finally:
        sys.path.remove(str(graders))
