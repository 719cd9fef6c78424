"""Is an assignment fit to grade with? Its own answers, right and wrong, go through the pipeline.

The reference solution and every honest form under ``graders/<assignment>/right/`` must earn all
points, the release none, and every wrong answer under ``wrong/`` exactly what it says, with the
sentence it says. That it was so is noted in ``graders/<assignment>/verified.json``, to be committed
like a lock file: it holds until a file of the assignment or a package changes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from nbmark.authoring.trials import Trial, released, trials
from nbmark.checks.points import misfits
from nbmark.course.course import Assignment
from nbmark.errors import AssignmentError
from nbmark.models import Check, CheckResult
from nbmark.untrusted.files import write_atomic
from nbmark.versions import comparable, versions
from nbmark.workers.pool import CheckPool, cores


@dataclass(frozen=True)
class Case:
    """One trial of an assignment; `problems` is empty if all was as expected.

    Parameters
    ----------
    name
        ``checks``, ``leaks``, or that of a `Trial`.
    title
        What the case shows.
    """

    name: str
    title: str
    problems: tuple[str, ...] = ()

    @property
    def as_expected(self) -> bool:
        return not self.problems


OnCase = Callable[[Case, int], None]  # a case that has ended, and how many there are
Choice = Callable[[Sequence[Trial]], Sequence[Trial]]


def verify(
    assignment: Assignment,
    sandbox: str,
    *,
    workers: int = 0,
    choose: Choice = list,
    on_case: OnCase = lambda case, total: None,
) -> list[Case]:
    """Every case of an assignment, in a fixed order; remembered if all is as expected.

    `choose` may leave some trials out (`trials.quick`); then nothing is remembered.
    """
    found = trials(assignment)
    chosen = choose(found)
    total = len(chosen) + 2
    with (
        closing(CheckPool(assignment, sandbox, workers or cores())) as processes,
        processes.threads() as threads,
    ):
        first, checks = _checks_case(assignment, processes, found)
        on_case(first, total)
        if not first.as_expected:
            return [first]
        cases = [first, _release_case(assignment, checks)]
        on_case(cases[1], total)
        for case in threads.map(lambda trial: _try(processes, checks, trial), chosen):
            on_case(case, total)
            cases.append(case)
    if len(chosen) == len(found) and all(case.as_expected for case in cases):
        _remember(assignment, sandbox)
    return cases


def ensure_verified(
    assignment: Assignment, sandbox: str, *, on_case: OnCase = lambda case, total: None
) -> None:
    """Nothing, if the assignment is as it was when it last passed; else `verify` it first.

    Raises
    ------
    AssignmentError
        With one line for each problem: nobody is graded on broken material.
    """
    if _is_remembered(assignment, sandbox):
        return
    problems = [
        f"{case.name}: {problem}"
        for case in verify(assignment, sandbox, on_case=on_case)
        for problem in case.problems
    ]
    if problems:
        raise AssignmentError("\n".join(problems))


def _checks_case(
    assignment: Assignment, processes: CheckPool, found: Sequence[Trial]
) -> tuple[Case, list[Check]]:
    title = "every autograded cell has checks, their points add up, and something fails each"
    try:
        checks = processes.list_checks()
    except AssignmentError as error:
        return Case("checks", title, (str(error),)), []
    folder = f"graders/{assignment.name}"
    lines = misfits(checks, assignment.autograded_cells, folder)
    failed = frozenset[str]().union(*(trial.loses for trial in found))
    lines += [
        f"no wrong answer under {folder}/wrong fails {check.name}"
        for check in checks
        if check.name not in failed
    ]
    return Case("checks", title, tuple(lines)), checks


def _release_case(assignment: Assignment, checks: Sequence[Check]) -> Case:
    """Whether `release/` gives anything away, and is what nbgrader makes of `source/` today."""
    title = "release/ is up to date and names no check and no reference"
    secrets = {check.name for check in checks}
    secrets |= {path.stem for path in assignment.graders.glob("test_*.py")}
    secrets |= {f"import {p.stem}" for p in assignment.course.graders.glob("*.py")}
    problems = []
    for path in sorted(one for one in assignment.release.rglob("*") if one.is_file()):
        text = path.read_bytes().decode("utf-8", "replace")
        problems += [
            f"{path.name} of release/ names '{one}'" for one in sorted(secrets) if one in text
        ]
    for name, cells in assignment.notebooks.items():
        in_release = {one.grade_id: one for one in released(assignment, name)}
        problems += [
            f"release/{assignment.name}/{name}.ipynb is older than its source in cell "
            f"'{cell.grade_id}'; run 'nbgrader generate_assignment {assignment.name} --force'"
            for cell in cells
            if cell.is_locked
            and cell.grade_id
            and (cell.grade_id not in in_release or in_release[cell.grade_id].source != cell.source)
        ]
    problems += [
        f"release/{assignment.name}/{name} is not the file of source/; "
        f"run 'nbgrader generate_assignment {assignment.name} --force'"
        for name, data in assignment.files.items()
        if not (assignment.release / name).is_file()
        or (assignment.release / name).read_bytes() != data
    ]
    return Case("leaks", title, tuple(problems))


def _try(processes: CheckPool, checks: Sequence[Check], trial: Trial) -> Case:
    graded = processes.grade(trial.submission)
    missing = {check.name for check in checks} - {one.check.name for one in graded.results}
    problems = [f"{name} did not run" for name in sorted(missing)]
    problems += [
        f"{one.check.name} raised: {_last_line(one)}"
        for one in graded.results
        if one.outcome == "raised"
    ]
    return Case(trial.name, trial.title, (*problems, *trial.judge(graded, processes.grade)))


def _last_line(result: CheckResult) -> str:
    lines = [line for line in result.trace.splitlines() if line.startswith("E ")]
    return lines[-1][1:].strip() if lines else "no message"


def _state(assignment: Assignment, sandbox: str) -> dict[str, Any]:
    """All that a verification depends on."""
    return {"digest": assignment.digest(), "sandbox": sandbox, "versions": comparable(versions())}


def _is_remembered(assignment: Assignment, sandbox: str) -> bool:
    try:
        return bool(json.loads(assignment.record.read_text()) == _state(assignment, sandbox))
    except (OSError, ValueError):
        return False


def _remember(assignment: Assignment, sandbox: str) -> None:
    text = json.dumps(_state(assignment, sandbox), indent=1) + "\n"
    write_atomic(assignment.record, text.encode())


def case_as_json(case: Case) -> dict[str, Any]:
    """The case as it is printed by ``nbmark verify --json``."""
    return {**asdict(case), "as_expected": case.as_expected}
