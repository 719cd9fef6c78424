"""Is an assignment fit to grade with? Its own answers, right and wrong, go through the pipeline.

The reference solution must earn all points, the release none, and every wrong answer under
``graders/<assignment>/wrong/`` exactly what it says, with the sentence it says.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nbmark.checkprocess import CheckPool, CheckProcess
from nbmark.course import Assignment, make_private
from nbmark.errors import AssignmentError
from nbmark.feedback import diagnosis
from nbmark.models import Check, CheckResult, Graded, Submission
from nbmark.notebooks import Cell, read_notebook, write_notebook
from nbmark.safefiles import write_atomic
from nbmark.scoring import misfits
from nbmark.versions import versions

ADDRESS = re.compile(r"0x[0-9a-f]+")


@dataclass(frozen=True)
class Case:
    """One trial of an assignment; `problems` is empty if all was as expected.

    Parameters
    ----------
    name
        ``checks``, ``leaks``, ``reference``, ``release`` or ``wrong/<file>``.
    title
        What the case shows.
    """

    name: str
    title: str
    problems: tuple[str, ...] = ()

    @property
    def as_expected(self) -> bool:
        return not self.problems


OnCase = Callable[[Case], None]


def verify(assignment: Assignment, sandbox: str, *, jobs: int = 2,
           on_case: OnCase = lambda case: None) -> list[Case]:  # fmt: skip
    """Every case of an assignment, in a fixed order; remembered if all is as expected."""
    first = _checks_case(assignment, sandbox)
    on_case(first[0])
    if not first[0].as_expected:
        return [first[0]]
    cases = [first[0], _release_case(assignment, first[1])]
    on_case(cases[1])
    trials = _trials(assignment)
    with (
        closing(CheckPool(assignment, sandbox, jobs)) as processes,
        processes.threads() as threads,
    ):
        for case in threads.map(lambda trial: _try(processes, first[1], trial), trials):
            on_case(case)
            cases.append(case)
    if all(case.as_expected for case in cases):
        _remember(assignment, sandbox)
    return cases


def ensure_verified(assignment: Assignment, sandbox: str, *, jobs: int = 2,
                    on_case: OnCase = lambda case: None) -> None:  # fmt: skip
    """Nothing, if the assignment is as it was when it last passed; else `verify` it first.

    Raises
    ------
    AssignmentError
        With one line for each problem: nobody is graded on broken material.
    """
    if _memory(assignment, sandbox).exists():
        return
    problems = [
        f"{case.name}: {problem}"
        for case in verify(assignment, sandbox, jobs=jobs, on_case=on_case)
        for problem in case.problems
    ]
    if problems:
        raise AssignmentError("\n".join(problems))


@dataclass(frozen=True)
class Trial:
    """Notebooks that are graded, and what each check is expected to come to."""

    name: str
    title: str
    notebooks: Mapping[str, bytes]
    judge: Callable[[Graded, Callable[[Submission], Graded]], Iterable[str]]


def _checks_case(assignment: Assignment, sandbox: str) -> tuple[Case, list[Check]]:
    title = "every autograded cell has checks, and their points add up"
    with closing(CheckProcess(assignment, sandbox)) as process:
        try:
            checks = process.list_checks()
        except AssignmentError as error:
            return Case("checks", title, (str(error),)), []
    lines = misfits(checks, assignment.autograded_cells, f"graders/{assignment.name}")
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
        released = {one.grade_id: one for one in _released(assignment, name)}
        problems += [
            f"release/{assignment.name}/{name}.ipynb is older than its source in cell "
            f"'{cell.grade_id}'; run 'nbgrader generate_assignment {assignment.name} --force'"
            for cell in cells
            if cell.is_locked and cell.grade_id
            and (cell.grade_id not in released or released[cell.grade_id].source != cell.source)
        ]  # fmt: skip
    return Case("leaks", title, tuple(problems))


def _trials(assignment: Assignment) -> list[Trial]:
    reference = assignment.notebooks
    release = {name: _released(assignment, name) for name in reference}
    trials = [
        Trial(
            "reference", "the reference solution earns all points", _bytes(reference), _is_perfect
        ),
        Trial("release", "the release as it is earns nothing", _bytes(release), _is_worthless),
    ]
    for path in sorted((assignment.graders / "wrong").glob("*.toml")):
        trials.append(_wrong_trial(assignment, path))
    return trials


def _wrong_trial(assignment: Assignment, path: Path) -> Trial:
    where = f"graders/{assignment.name}/wrong/{path.name}"
    try:
        wrong = tomllib.loads(path.read_text())
        losses = {one["check"]: (float(one["points"]), str(one["says"])) for one in wrong["loses"]}
        cells, title = dict(wrong["cells"]), str(wrong["title"])
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise AssignmentError(
            f"{where}: {type(error).__name__} {error}; see docs/checks.md"
        ) from error
    answers = {
        c.grade_id for cells in assignment.notebooks.values() for c in cells if c.is_solution
    }
    for name in cells:
        if name not in answers:
            raise AssignmentError(
                f"{where}: no answer cell '{name}' (found: {', '.join(sorted(answers))})"
            )
    notebooks = {
        name: [replace(cell, source=cells.get(cell.grade_id, cell.source)) for cell in source]
        for name, source in assignment.notebooks.items()
    }
    return Trial(f"wrong/{path.stem}", title, _bytes(notebooks),
                 lambda graded, grade: _loses(graded, losses))  # fmt: skip


def _try(processes: CheckPool, checks: Sequence[Check], trial: Trial) -> Case:
    graded = processes.grade(_submission(trial))
    missing = {check.name for check in checks} - {one.check.name for one in graded.results}
    problems = [f"{name} did not run" for name in sorted(missing)]
    problems += [f"{one.check.name} raised: {_last_line(one)}"
                 for one in graded.results if one.outcome == "raised"]  # fmt: skip
    return Case(trial.name, trial.title, (*problems, *trial.judge(graded, processes.grade)))


def _is_perfect(graded: Graded, grade: Callable[[Submission], Graded]) -> Iterable[str]:
    for one in graded.results:
        if one.outcome == "failed":
            yield f"{one.check.name} refuses the reference solution: {diagnosis(one)}"
    for name, cells in graded.notebooks.items():
        for index, cell in enumerate(cells):
            if cell.status not in ("", "ok"):
                yield f"cell {index + 1} of {name} ends in '{cell.status}' with the solutions in"
    notebooks = {
        name: write_notebook([Cell(c.kind, c.source, c.nbgrader) for c in cells], {}, {})
        for name, cells in graded.notebooks.items()
    }
    unasked = grade(Submission("reference", notebooks, graded.digest, b"", asks=False))
    for name, cells in unasked.notebooks.items():
        for index, (quiet, asked) in enumerate(zip(cells, graded.notebooks[name], strict=True)):
            if _comparable(quiet.outputs) != _comparable(asked.outputs):
                yield f"cell {index + 1} of {name} prints something else once checks have asked"


def _is_worthless(graded: Graded, grade: Callable[[Submission], Graded]) -> Iterable[str]:
    for one in graded.results:
        if one.earned:
            yield f"{one.check.name} gives {one.earned:g} points for the untouched release"


def _loses(graded: Graded, losses: Mapping[str, tuple[float, str]]) -> Iterable[str]:
    results = {one.check.name: one for one in graded.results}
    for name in sorted(losses.keys() - results.keys()):
        yield f"no check '{name}' (found: {', '.join(sorted(results))})"
    for name, one in results.items():
        if one.outcome == "raised":
            continue
        points, says = losses.get(name, (0.0, ""))
        if one.check.points - one.earned != points:
            said = f": {diagnosis(one)}" if diagnosis(one) else ""
            yield (f"{name} takes {one.check.points - one.earned:g} points, not {points:g}{said}")
        elif points and says not in diagnosis(one):
            yield f"{name} says '{diagnosis(one)}', not '{says}'"


def _submission(trial: Trial) -> Submission:
    digest = hashlib.sha256(b"\0".join(trial.notebooks.values())).hexdigest()
    return Submission("reference", trial.notebooks, digest, digest.encode())


def _released(assignment: Assignment, name: str) -> list[Cell]:
    path = assignment.release / f"{name}.ipynb"
    if not path.exists():
        raise AssignmentError(
            f"no release/{assignment.name}/{name}.ipynb; run 'nbgrader generate_assignment "
            f"{assignment.name}'"
        )
    return read_notebook(path.read_bytes())


def _bytes(notebooks: Mapping[str, Sequence[Cell]]) -> dict[str, bytes]:
    return {name: write_notebook(cells, {}, {}) for name, cells in notebooks.items()}


def _comparable(outputs: Sequence[Any]) -> str:
    return ADDRESS.sub("0x", json.dumps(outputs, sort_keys=True))


def _last_line(result: CheckResult) -> str:
    lines = [line for line in result.trace.splitlines() if line.startswith("E ")]
    return lines[-1][1:].strip() if lines else "no message"


def _memory(assignment: Assignment, sandbox: str) -> Path:
    key = json.dumps([assignment.digest(), sandbox, versions()], sort_keys=True)
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    return assignment.course.state / "verified" / f"{assignment.name}-{name}.json"


def _remember(assignment: Assignment, sandbox: str) -> None:
    path = _memory(assignment, sandbox)
    make_private(assignment.course.state)
    make_private(path.parent)
    write_atomic(path, json.dumps({"versions": versions()}).encode(), mode=0o600)


def as_json(case: Case) -> dict[str, Any]:
    """The case as it is printed by ``nbmark verify --json``."""
    return {**asdict(case), "as_expected": case.as_expected}
