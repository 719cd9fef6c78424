"""Runs the hidden checks of an assignment on one submission, with pytest."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from nbmark import sandboxes
from nbmark.course import Assignment, Course
from nbmark.errors import AssignmentError, InfrastructureError, SubmissionError, UsageError
from nbmark.identity import restore
from nbmark.limits import Limits
from nbmark.models import Check, Graded, Submission, Surroundings
from nbmark.notebooks import Cell, NotebookUnreadable, read_notebook
from nbmark.pytest_plugin import Grading, check_of
from nbmark.runner import Run
from nbmark.sandboxes.supply import Supply
from nbmark.versions import versions


def grade_submission(assignment: Assignment, submission: Submission, supply: Supply) -> Graded:
    """Run the notebooks behind the wall, put the checks' questions, and give what came of it.

    Raises
    ------
    AssignmentError
        If the checks cannot be collected.
    InfrastructureError
        If there was trouble that is not the student's.
    """
    began = time.monotonic()
    cells, unreadable = _cells(assignment, submission)
    limits = assignment.limits
    run = Run(cells, limits, supply.open, Surroundings(submission.student, assignment.files))
    plugin = Grading(run, submission.student, submission.seed, limits.answer_kib << 10)
    try:
        if submission.asks:
            _pytest(assignment, plugin)
            if plugin.broken:
                raise plugin.broken
        notebooks = run.finish()
    finally:
        run.close()
    return Graded(
        student=submission.student, assignment=assignment.name, digest=submission.digest,
        notebooks=notebooks, results=plugin.results, evidence=run.evidence, unreadable=unreadable,
        sandbox=supply.wall, versions=versions(), seconds=time.monotonic() - began,
    )  # fmt: skip


def list_checks(assignment: Assignment) -> list[Check]:
    """The assignment's checks, as pytest collects them.

    Raises
    ------
    AssignmentError
        If a file cannot be imported or a test is no check.
    """
    collector = _Collector()
    _pytest(assignment, collector, "--collect-only")
    return collector.checks


def run_of_file(
    path: Path, targets: Sequence[Path], student: str, sandbox: str
) -> tuple[Run, Limits]:
    """The run of `student`'s notebook file, for the assignment whose checks pytest was given.

    Raises
    ------
    UsageError
        If the file is not there or no notebook, or no target lies under ``graders/``.
    """
    assignment = _assignment_of(targets)
    try:
        submitted = read_notebook(path.read_bytes())
    except (OSError, NotebookUnreadable) as error:
        raise UsageError(
            f"--submission {path}: {getattr(error, 'strerror', None) or error}"
        ) from error
    ids = {cell.grade_id for cell in submitted}
    names = sorted(
        assignment.notebooks,
        key=lambda name: -len(ids & {cell.grade_id for cell in assignment.notebooks[name]}),
    )
    cells = {names[0]: restore(submitted, assignment.notebooks[names[0]])}
    limits = assignment.limits
    open_session = functools.partial(sandboxes.open_session, sandbox, limits)
    return Run(cells, limits, open_session, Surroundings(student, assignment.files)), limits


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


def _pytest(assignment: Assignment, plugin: object, *options: str) -> None:
    graders = assignment.course.graders
    said = io.StringIO()
    arguments = [
        str(assignment.graders), "-c", os.devnull, f"--rootdir={graders}",
        f"--confcutdir={graders}", "--import-mode=importlib", "-p", "no:cacheprovider",
        "--tb=short", "-q", "--no-header", "--color=no",
        *options,
    ]  # fmt: skip
    with _import_path(graders), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = pytest.main(arguments, plugins=[plugin])
    if code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return
    if code == pytest.ExitCode.INTERRUPTED and getattr(plugin, "broken", None):
        return
    if code == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise AssignmentError(f"graders/{assignment.name} has no checks: no test_*.py declares one")
    if code == pytest.ExitCode.INTERNAL_ERROR:
        raise InfrastructureError(f"pytest failed on graders/{assignment.name}: {_gist(said)}")
    raise AssignmentError(f"graders/{assignment.name} cannot be collected: {_gist(said)}")


def _gist(said: io.StringIO) -> str:
    """The line of pytest's output that says what is wrong."""
    lines = [line for line in said.getvalue().splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E ", "ERROR", "INTERNALERROR"))]
    return " ".join((errors or lines or ["pytest said nothing"])[0].split())[:300]


@contextlib.contextmanager
def _import_path(graders: Path) -> Iterator[None]:
    """`graders/` on the import path, so that a check can say ``import reference``."""
    sys.path.insert(0, str(graders))
    try:
        yield
    finally:
        sys.path.remove(str(graders))


class _Collector:
    """Notes what pytest collects."""

    def __init__(self) -> None:
        self.checks: list[Check] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self.checks = [check_of(item) for item in items]


def _assignment_of(targets: Sequence[Path]) -> Assignment:
    for target in targets:
        parts = Path(str(target).split("::")[0]).resolve().parts
        if "graders" in parts[:-1]:
            index = len(parts) - 1 - parts[::-1].index("graders")
            return Course(Path(*parts[:index])).assignment(parts[index + 1])
    raise UsageError(
        "--submission needs the checks to run: pytest graders/ASSIGNMENT --submission FILE"
    )
