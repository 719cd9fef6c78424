"""``pytest graders/mse --submission FILE.ipynb``: run hidden checks on one notebook, by hand.

pytest loads this module as a plugin wherever nbmark is installed.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import pytest

from nbmark.checks.fixtures import Grading, check_of
from nbmark.course.course import Assignment, Course
from nbmark.errors import NbmarkError, NotebookUnreadable, UsageError
from nbmark.intake.restore import restore
from nbmark.limits import Limits
from nbmark.models import NotebookContext
from nbmark.notebooks import read_notebook
from nbmark.running.submission_run import Run
from nbmark.sandbox import walls


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--submission``, ``--student-id`` and ``--sandbox`` to pytest's options."""
    group = parser.getgroup("nbmark", "hidden checks")
    group.addoption("--submission", metavar="FILE.ipynb", help="run the checks on this notebook")
    group.addoption("--student-id", default="nobody", help="the id that personal numbers come from")
    group.addoption(
        "--sandbox", default=walls.DEFAULT, choices=list(walls.KINDS), help=walls.OPTION_HELP
    )


def pytest_configure(config: pytest.Config) -> None:
    """Grade the notebook given on the command line, if there is one."""
    submission = config.getoption("--submission", default=None)
    if submission is None:
        return
    try:
        student = config.getoption("--student-id")
        targets = [Path(target) for target in config.args]
        run, limits = _run_of_file(
            Path(submission), targets, student, config.getoption("--sandbox")
        )
    except NbmarkError as error:
        raise pytest.UsageError(str(error)) from None
    plugin = Grading()
    plugin.begin(run, [student], b"public", limits.answer_kib << 10)
    config.pluginmanager.register(plugin)
    config.pluginmanager.register(_InOrder(run))
    config.add_cleanup(run.close)


class _InOrder:
    """A plugin that runs the checks in the order of their grade cells."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: self._run.position(check_of(item).cell))


def _run_of_file(
    path: Path, targets: Sequence[Path], student: str, sandbox: str
) -> tuple[Run, Limits]:
    """Return the run of a notebook file, for the assignment whose checks pytest was given.

    Raises
    ------
    UsageError
        If the file is missing or not a notebook, or no target lies under ``graders/``.
    SandboxUnavailable
        If students' code could read the course's files.
    """
    assignment = _assignment_of(targets)
    walls.refuse_exposed(sandbox, assignment.course.root, "move the course")
    try:
        submitted = read_notebook(path.read_bytes())
    except (OSError, NotebookUnreadable) as error:
        raise UsageError(
            f"--submission {path}: {getattr(error, 'strerror', None) or error}"
        ) from error
    submitted_ids = {cell.grade_id for cell in submitted}

    def shared_cells(name: str) -> int:
        return len(submitted_ids & {cell.grade_id for cell in assignment.notebooks[name]})

    # The file may have any name, so the notebook with the most grade ids in common is meant.
    notebook = max(sorted(assignment.notebooks), key=shared_cells)
    released = assignment.released.get(notebook, [])
    cells = {notebook: restore(submitted, assignment.notebooks[notebook], released=released)}
    limits = assignment.limits
    open_session = functools.partial(walls.open_session, sandbox, limits)
    return Run(cells, limits, open_session, NotebookContext(student, assignment.files)), limits


def _assignment_of(targets: Sequence[Path]) -> Assignment:
    for target in targets:
        parts = Path(str(target).split("::")[0]).resolve().parts
        if "graders" in parts[:-1]:
            index = len(parts) - 1 - parts[::-1].index("graders")
            return Course(Path(*parts[:index])).assignment(parts[index + 1])
    raise UsageError(
        "--submission needs the checks to run: pytest graders/ASSIGNMENT --submission FILE"
    )
