"""Verification of an assignment: its own answers, right and wrong, go through the whole pipeline.

The reference solution and every honest form under ``graders/<assignment>/right/`` must earn all
points, and the release none. Every wrong answer under ``wrong/`` must lose exactly the points that
its file lists, with the sentences in it. ``graders/<assignment>/verified.json`` records a success,
and is committed like a lock file. The record holds until a file of the assignment or the version of
a package changes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from nbmark.authoring.trials import Trial, released, trials
from nbmark.checks.points import misfits
from nbmark.course.course import Assignment
from nbmark.errors import AssignmentError
from nbmark.models import Check, CheckResult, Graded, Submission
from nbmark.notebooks import Cell
from nbmark.untrusted.files import write_atomic
from nbmark.versions import comparable, versions
from nbmark.workers.dispatch import as_completed
from nbmark.workers.pool import CheckPool, cores


@dataclass(frozen=True)
class Case:
    """The outcome of a rule or a trial; `problems` is empty if it is as expected.

    Parameters
    ----------
    name
        ``checks``, ``leaks``, or the name of a `Trial`.
    title
        The rule or the answer that the case shows.
    problems
        A line for each difference from the expected outcome.
    """

    name: str
    title: str
    problems: tuple[str, ...] = ()

    @property
    def as_expected(self) -> bool:
        """Return whether there are no problems."""
        return not self.problems


OnCase = Callable[[Case, int], None]  # called with each finished case and the number of all cases
Choice = Callable[[Sequence[Trial]], Sequence[Trial]]


def verify(
    assignment: Assignment,
    sandbox: str,
    *,
    workers: int = 0,
    choose: Choice = list,
    on_case: OnCase = lambda case, total: None,
) -> list[Case]:
    """Run every case of an assignment, and record the verification if all are as expected.

    Parameters
    ----------
    sandbox
        The kind of sandbox, a key of `walls.KINDS`.
    workers
        The number of processes; 0 takes one for each core.
    choose
        Selects the trials to run. If it leaves some out (`trials.quick`), nothing is recorded.

    Returns
    -------
    cases
        In a fixed order. If the checks do not fit the cells or ``release/`` is not up to date, no
        trial runs, and the list holds only the cases that say so.
    """
    all_trials = trials(assignment)
    chosen = choose(all_trials)
    with closing(CheckPool(assignment, sandbox, workers or cores())) as processes:
        cases = _run_cases(assignment, processes, all_trials, chosen, on_case)
    if len(chosen) == len(all_trials) and all(case.as_expected for case in cases):
        _record_success(assignment, sandbox)
    return cases


def ensure_verified(
    assignment: Assignment, sandbox: str, *, on_case: OnCase = lambda case, total: None
) -> None:
    """Verify the assignment unless nothing changed since it last passed.

    Raises
    ------
    AssignmentError
        With a line for each problem, because an assignment with problems must not grade anybody.
    """
    if _is_recorded(assignment, sandbox):
        return
    problems = [
        f"{case.name}: {problem}"
        for case in verify(assignment, sandbox, on_case=on_case)
        for problem in case.problems
    ]
    if problems:
        raise AssignmentError("\n".join(problems))


def case_as_json(case: Case) -> dict[str, Any]:
    """Return the case as ``nbmark verify --json`` prints it."""
    return {**asdict(case), "as_expected": case.as_expected}


def _run_cases(
    assignment: Assignment,
    processes: CheckPool,
    all_trials: Sequence[Trial],
    chosen: Sequence[Trial],
    on_case: OnCase,
) -> list[Case]:
    total = len(chosen) + 2  # the checks themselves, and the release
    with processes.threads() as threads:
        checks_case, checks = _checks_case(assignment, processes, all_trials)
        cases = [checks_case, _release_case(assignment, checks)]
        for case in cases:
            on_case(case, total)
        # The trials take minutes, and these problems are known after a second.
        if not all(case.as_expected for case in cases):
            return cases
        trial_of = {trial.name: trial for trial in chosen}
        case_of: dict[str, Case] = {}

        def start(name: str) -> Future[_Outcome]:
            return threads.submit(_run_trial, processes, checks, trial_of[name])

        for name, future in as_completed(trial_of, start, processes, _by_clock):
            case_of[name] = future.result().case
            on_case(case_of[name], total)
    return cases + [case_of[name] for name in trial_of]


def _checks_case(
    assignment: Assignment, processes: CheckPool, all_trials: Sequence[Trial]
) -> tuple[Case, list[Check]]:
    """Return the case of the checks themselves, and the checks."""
    title = (
        "every autograded cell has checks, their points add up, and a wrong answer fails each check"
    )
    try:
        checks = processes.list_checks()
    except AssignmentError as error:
        return Case("checks", title, (str(error),)), []
    folder = f"graders/{assignment.name}"
    problems = misfits(checks, assignment.autograded_cells, folder)
    failed_checks = frozenset[str]().union(*(trial.loses for trial in all_trials))
    # A check that no wrong answer fails may pass everything.
    problems += [
        f"no wrong answer under {folder}/wrong fails {check.name}"
        for check in checks
        if check.name not in failed_checks
    ]
    return Case("checks", title, tuple(problems)), checks


def _release_case(assignment: Assignment, checks: Sequence[Check]) -> Case:
    """Return the case of the files in ``release/``."""
    title = "release/ is up to date and names no check and no reference"
    problems = (*_leaks(assignment, checks), *_outdated(assignment))
    return Case("leaks", title, problems)


def _leaks(assignment: Assignment, checks: Sequence[Check]) -> Iterator[str]:
    """Yield a line for each name of a check or of an instructor's module in a released file."""
    secrets = {check.name for check in checks}
    secrets |= {path.stem for path in assignment.graders.glob("test_*.py")}
    # "reference" alone is an ordinary word, so only its import counts.
    secrets |= {f"import {path.stem}" for path in assignment.course.graders.glob("*.py")}
    for path in sorted(path for path in assignment.release.rglob("*") if path.is_file()):
        text = path.read_bytes().decode("utf-8", "replace")
        for secret in sorted(secrets):
            if secret in text:
                yield f"{path.name} in release/ names '{secret}'; remove it from source/"


def _outdated(assignment: Assignment) -> Iterator[str]:
    """Yield a line for each cell and each file that ``release/`` has in another version."""
    # nbgrader's SaveCells refuses new cells once somebody has submitted, and its command then
    # removes the folder in release/. Without the database it works; grading adds the cells.
    remedy = f"run 'nbgrader generate_assignment {assignment.name} --force --no-db'"
    for name, cells in assignment.notebooks.items():
        in_release, in_source = (
            {cell.grade_id: _terms(cell) for cell in version if cell.grade_id}
            for version in (released(assignment, name), cells)
        )
        for grade_id in {**in_source, **in_release}:
            if in_source.get(grade_id) != in_release.get(grade_id):
                yield (
                    f"release/{assignment.name}/{name}.ipynb differs from its source in cell "
                    f"'{grade_id}'; {remedy}"
                )
    for name, data in assignment.files.items():
        path = assignment.release / name
        if not path.is_file() or path.read_bytes() != data:
            yield f"release/{assignment.name}/{name} differs from the file in source/; {remedy}"


def _terms(cell: Cell) -> tuple[object, ...]:
    """Return what source and release must agree on: kind, points, and the text if it is locked."""
    # nbgrader takes the solutions out of the other cells, so their text differs in any case.
    text = cell.source if cell.is_locked else ""
    return cell.kind, cell.is_grade, cell.is_solution, cell.nbgrader.get("points"), text


@dataclass(frozen=True)
class _Outcome:
    """The case of a trial, and whether the clock stopped one of its runs."""

    case: Case
    stopped_by_clock: bool


def _by_clock(outcome: _Outcome) -> bool:
    return outcome.stopped_by_clock


def _run_trial(processes: CheckPool, checks: Sequence[Check], trial: Trial) -> _Outcome:
    runs: list[Graded] = []

    def grade(submission: Submission) -> Graded:
        runs.append(processes.grade(submission))
        return runs[-1]

    graded = grade(trial.submission)
    missing = {check.name for check in checks} - {result.check.name for result in graded.results}
    problems = [f"{name} did not run" for name in sorted(missing)]
    problems += [
        f"{result.check.name} raised: {_last_line(result)}"
        for result in graded.results
        if result.outcome == "raised"
    ]
    problems += trial.find_problems(graded, grade)
    case = Case(trial.name, trial.title, tuple(problems))
    return _Outcome(case, any(run.stopped_by_clock for run in runs))


def _last_line(result: CheckResult) -> str:
    """Return the line of a traceback that names the exception; pytest marks it with an E."""
    lines = [line for line in result.trace.splitlines() if line.startswith("E ")]
    return lines[-1][1:].strip() if lines else "no message"


def _conditions(assignment: Assignment, sandbox: str) -> dict[str, Any]:
    """Return everything that the result of a verification depends on."""
    return {"digest": assignment.digest, "sandbox": sandbox, "versions": comparable(versions())}


def _is_recorded(assignment: Assignment, sandbox: str) -> bool:
    """Return whether the assignment passed under the conditions of today."""
    try:
        recorded = json.loads(assignment.record.read_text())
    except (OSError, ValueError):  # no record, or a merge conflict in it
        return False
    return bool(recorded == _conditions(assignment, sandbox))


def _record_success(assignment: Assignment, sandbox: str) -> None:
    text = json.dumps(_conditions(assignment, sandbox), indent=1) + "\n"
    write_atomic(assignment.record, text.encode())
