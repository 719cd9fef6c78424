"""An assignment's own answers as submissions: reference, release, honest forms, known mistakes.

Each `Trial` holds notebooks and knows the result that grading them must have. `verify` runs them.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nbmark.course.course import Assignment
from nbmark.errors import AssignmentError
from nbmark.models import Graded, Submission
from nbmark.notebooks import Cell, read_notebook, write_notebook
from nbmark.records.feedback import diagnosis

ADDRESS = re.compile(r"0x[0-9a-f]+")
Judge = Callable[[Graded, Callable[[Submission], Graded]], Iterable[str]]


@dataclass(frozen=True)
class Trial:
    """Notebooks that are graded, and what that is expected to come to.

    Parameters
    ----------
    name
        ``reference``, ``release``, ``right/<file>`` or ``wrong/<file>``.
    title
        What the trial shows.
    judge
        Gives a line for each thing that is not as expected.
    loses
        The checks that a known wrong answer must fail.
    """

    name: str
    title: str
    notebooks: Mapping[str, bytes]
    judge: Judge
    loses: frozenset[str] = frozenset()

    @property
    def submission(self) -> Submission:
        digest = hashlib.sha256(b"\0".join(self.notebooks.values())).hexdigest()
        return Submission("reference", self.notebooks, digest, digest.encode())


def trials(assignment: Assignment) -> list[Trial]:
    """All trials, in a fixed order.

    Raises
    ------
    AssignmentError
        If a file is missing or not in the form that docs/checks.md shows.
    """
    reference = assignment.notebooks
    release = {name: released(assignment, name) for name in reference}
    return [
        Trial(
            "reference", "the reference solution earns all points", _bytes(reference), _is_perfect
        ),
        Trial("release", "the release as it is earns nothing", _bytes(release), _is_worthless),
        *(_right(assignment, path) for path in sorted(assignment.graders.glob("right/*.toml"))),
        *(_wrong(assignment, path) for path in sorted(assignment.graders.glob("wrong/*.toml"))),
    ]


def quick(found: Sequence[Trial]) -> list[Trial]:
    """For daily work: of the wrong answers only as many as it takes to fail each check."""
    chosen, failed = [], set[str]()
    for trial in found:
        if not trial.loses or trial.loses - failed:
            chosen.append(trial)
            failed |= trial.loses
    return chosen


def released(assignment: Assignment, name: str) -> list[Cell]:
    """The cells of a notebook of ``release/``."""
    path = assignment.release / f"{name}.ipynb"
    if not path.exists():
        raise AssignmentError(
            f"no release/{assignment.name}/{name}.ipynb; run 'nbgrader generate_assignment "
            f"{assignment.name}'"
        )
    return read_notebook(path.read_bytes())


def _right(assignment: Assignment, path: Path) -> Trial:
    title, notebooks, _ = _described(assignment, path)
    return Trial(f"right/{path.stem}", title, notebooks, lambda graded, grade: _loses(graded, {}))


def _wrong(assignment: Assignment, path: Path) -> Trial:
    title, notebooks, losses = _described(assignment, path)
    if not losses:
        raise AssignmentError(f"{_place(assignment, path)}: a wrong answer loses something")
    return Trial(
        f"wrong/{path.stem}",
        title,
        notebooks,
        lambda graded, grade: _loses(graded, losses),
        frozenset(losses),
    )


def _described(
    assignment: Assignment, path: Path
) -> tuple[str, dict[str, bytes], dict[str, tuple[float, str]]]:
    """Title, notebooks, and check → points and sentence, of one TOML file."""
    where = _place(assignment, path)
    try:
        found = tomllib.loads(path.read_text("utf-8"))
        losses = {
            one["check"]: (float(one["points"]), str(one["says"])) for one in found.get("loses", ())
        }
        cells, title = dict(found["cells"]), str(found["title"])
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
    return title, _bytes(notebooks), losses


def _is_perfect(graded: Graded, grade: Callable[[Submission], Graded]) -> Iterable[str]:
    for one in graded.results:
        if one.outcome == "failed":
            yield f"{one.check.name} refuses the reference solution: {diagnosis(one)}"
    for name, cells in graded.notebooks.items():
        for index, cell in enumerate(cells):
            if cell.status not in ("", "ok"):
                yield f"cell {index + 1} of {name} ends in '{cell.status}' with the solutions in"
            for output in cell.outputs:
                said = "".join(output["text"]).strip() if output.get("name") == "stderr" else ""
                if said:
                    warned = said.splitlines()[-1][:100]
                    yield f"cell {index + 1} of {name} warns with the solutions in: {warned}"
    quiet = _unasked(graded, grade)
    changed = _differing(graded, quiet)
    if changed:  # a cell that prints a time prints another one each time
        changed -= _differing(quiet, _unasked(graded, grade))
    for name, index in sorted(changed):
        yield f"cell {index + 1} of {name} prints something else once checks have asked"


def _unasked(graded: Graded, grade: Callable[[Submission], Graded]) -> Graded:
    """The same notebooks, run without a question."""
    notebooks = {
        name: write_notebook([Cell(c.kind, c.source, c.nbgrader) for c in cells], {}, {})
        for name, cells in graded.notebooks.items()
    }
    return grade(Submission("reference", notebooks, graded.digest, b"", asks=False))


def _differing(one: Graded, other: Graded) -> set[tuple[str, int]]:
    """Notebook and number of the cells whose outputs differ."""
    return {
        (name, index)
        for name, cells in one.notebooks.items()
        for index, (left, right) in enumerate(zip(cells, other.notebooks[name], strict=True))
        if _comparable(left.outputs) != _comparable(right.outputs)
    }


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


def _place(assignment: Assignment, path: Path) -> str:
    return f"graders/{assignment.name}/{path.parent.name}/{path.name}"


def _bytes(notebooks: Mapping[str, Sequence[Cell]]) -> dict[str, bytes]:
    return {name: write_notebook(cells, {}, {}) for name, cells in notebooks.items()}


def _comparable(outputs: Sequence[Any]) -> str:
    return ADDRESS.sub("0x", json.dumps(outputs, sort_keys=True))
