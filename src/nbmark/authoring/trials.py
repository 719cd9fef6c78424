"""An assignment's own answers as submissions: reference, release, honest forms, known mistakes.

Each `Trial` holds notebooks and finds the differences from the result that they must have.
`verify` grades them.
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
from nbmark.notebooks import Cell, write_notebook
from nbmark.records.feedback import diagnosis

# A default repr holds an address in memory, which differs from run to run.
ADDRESS = re.compile(r"0x[0-9a-f]+")
# Two runs may print the same time by chance, so one comparison does not prove anything.
MAX_COMPARISONS = 3
Grade = Callable[[Submission], Graded]
FindProblems = Callable[[Graded, Grade], Iterable[str]]


@dataclass(frozen=True)
class Trial:
    """Notebooks to grade, and the result that they must have.

    Parameters
    ----------
    name
        ``reference``, ``release``, ``right/<file>`` or ``wrong/<file>``.
    title
        The rule or the answer that the trial shows.
    find_problems
        Yields a line for each difference between the result and the expected one. It may grade
        more submissions.
    loses
        The checks that a known wrong answer must fail.
    aliases, classmates
        Ids for checks with personal numbers (see `Submission`). The student's own id is
        ``reference``.
    """

    name: str
    title: str
    notebooks: Mapping[str, bytes]
    find_problems: FindProblems
    loses: frozenset[str] = frozenset()
    aliases: tuple[str, ...] = ()
    classmates: tuple[str, ...] = ()

    @property
    def submission(self) -> Submission:
        """Return the notebooks as a submission."""
        digest = hashlib.sha256(b"\0".join(self.notebooks.values())).hexdigest()
        # The seed is not secret, so every verification of the same notebooks has the same inputs.
        return Submission(
            "reference",
            self.notebooks,
            digest,
            digest.encode(),
            aliases=self.aliases,
            classmates=self.classmates,
        )


def trials(assignment: Assignment) -> list[Trial]:
    """Return all trials of an assignment, in a fixed order.

    Raises
    ------
    AssignmentError
        If a file is missing, or not in the form that docs/checks.md shows.
    """
    reference = assignment.notebooks
    release = {name: released(assignment, name) for name in reference}
    return [
        Trial(
            "reference",
            "the reference solution earns all points",
            _as_files(reference),
            _reference_problems,
        ),
        Trial(
            "release", "the release as it is earns nothing", _as_files(release), _release_problems
        ),
        *(_right(assignment, path) for path in sorted(assignment.graders.glob("right/*.toml"))),
        *(_wrong(assignment, path) for path in sorted(assignment.graders.glob("wrong/*.toml"))),
    ]


def quick(all_trials: Sequence[Trial]) -> list[Trial]:
    """Return fewer trials for daily work: just enough wrong answers to fail each check."""
    chosen, failed_checks = [], set[str]()
    for trial in all_trials:
        if not trial.loses or trial.loses - failed_checks:
            chosen.append(trial)
            failed_checks |= trial.loses
    return chosen


def released(assignment: Assignment, name: str) -> list[Cell]:
    """Return the cells of a notebook of ``release/``.

    Raises
    ------
    AssignmentError
        If the notebook has not been released.
    """
    if name not in assignment.released:
        raise AssignmentError(
            f"no release/{assignment.name}/{name}.ipynb; run 'nbgrader generate_assignment "
            f"{assignment.name} --force --no-db'"
        )
    return assignment.released[name]


def _right(assignment: Assignment, path: Path) -> Trial:
    answer = _parse_answer_file(assignment, path)
    # An honest form must earn all points, whatever its file says.
    return _trial(f"right/{path.stem}", replace(answer, losses={}))


def _wrong(assignment: Assignment, path: Path) -> Trial:
    answer = _parse_answer_file(assignment, path)
    if not answer.losses:
        raise AssignmentError(
            f"{_label(assignment, path)}: a wrong answer must lose points; add a [[loses]] table"
        )
    return _trial(f"wrong/{path.stem}", answer)


@dataclass(frozen=True)
class _AnswerFile:
    """The content of one TOML file.

    Parameters
    ----------
    notebooks
        The reference solution with the file's cells in place of its answers.
    losses
        Check → points that it deducts, and a part of its sentence.
    aliases, classmates
        As in a `Trial`.
    """

    title: str
    notebooks: Mapping[str, bytes]
    losses: Mapping[str, tuple[float, str]]
    aliases: tuple[str, ...]
    classmates: tuple[str, ...]


def _trial(name: str, answer: _AnswerFile) -> Trial:
    return Trial(
        name,
        answer.title,
        answer.notebooks,
        lambda graded, grade: _loss_problems(graded, answer.losses),
        frozenset(answer.losses),
        answer.aliases,
        answer.classmates,
    )


def _parse_answer_file(assignment: Assignment, path: Path) -> _AnswerFile:
    label = _label(assignment, path)
    try:
        content = tomllib.loads(path.read_text("utf-8"))
        losses = {
            loss["check"]: (float(loss["points"]), str(loss["says"]))
            for loss in content.get("loses", ())
        }
        answers, title = dict(content["cells"]), str(content["title"])
        aliases = tuple(map(str, content.get("aliases", ())))
        classmates = tuple(map(str, content.get("classmates", ())))
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise AssignmentError(
            f"{label}: {type(error).__name__} {error}; see docs/checks.md"
        ) from error
    answer_cells = {
        cell.grade_id
        for cells in assignment.notebooks.values()
        for cell in cells
        if cell.is_solution
    }
    for grade_id in answers:
        # A misspelt id would leave the reference solution as it is.
        if grade_id not in answer_cells:
            raise AssignmentError(
                f"{label}: no answer cell '{grade_id}' (found: {', '.join(sorted(answer_cells))})"
            )
    notebooks = {
        name: [replace(cell, source=answers.get(cell.grade_id, cell.source)) for cell in cells]
        for name, cells in assignment.notebooks.items()
    }
    return _AnswerFile(title, _as_files(notebooks), losses, aliases, classmates)


def _reference_problems(graded: Graded, grade: Grade) -> Iterable[str]:
    """Yield a line for each failed check, failed cell, warning, or output that questions change."""
    for result in graded.results:
        if result.outcome == "failed":
            yield f"{result.check.name} refuses the reference solution: {diagnosis(result)}"
    for name, cells in graded.notebooks.items():
        for index, cell in enumerate(cells):
            where = f"cell {index + 1} of {name} (reference solution)"
            if cell.status not in ("", "ok"):
                yield f"{where} ends with status '{cell.status}'"
            for output in cell.outputs:
                is_stderr = output.get("name") == "stderr"
                text = "".join(output["text"]).strip() if is_stderr else ""
                if text:  # a warning ends with the line that names it
                    yield f"{where} writes a warning: {text.splitlines()[-1][:100]}"
    # A check must leave the student's objects as they were. If a question changes them, a later
    # cell prints something else than without questions.
    unasked = _run_without_questions(graded, grade)
    changed = _differing_cells(graded, unasked)
    for _ in range(MAX_COMPARISONS):
        if changed:
            # A cell that prints the time differs between two runs without questions as well, so
            # the questions are not to blame.
            changed -= _differing_cells(unasked, _run_without_questions(graded, grade))
    for name, index in sorted(changed):
        yield f"cell {index + 1} of {name} prints something different once checks ask questions"


def _run_without_questions(graded: Graded, grade: Grade) -> Graded:
    """Run the same notebooks again, without a question."""
    notebooks = {
        name: write_notebook(
            [Cell(cell.kind, cell.source, cell.nbgrader) for cell in cells], {}, {}
        )
        for name, cells in graded.notebooks.items()
    }
    return grade(Submission("reference", notebooks, graded.digest, b"", asks=False))


def _differing_cells(graded: Graded, other: Graded) -> set[tuple[str, int]]:
    """Return notebook and index of each cell whose outputs differ in two runs."""
    return {
        (name, index)
        for name, cells in graded.notebooks.items()
        for index, (cell, other_cell) in enumerate(zip(cells, other.notebooks[name], strict=True))
        if _without_addresses(cell.outputs) != _without_addresses(other_cell.outputs)
    }


def _release_problems(graded: Graded, grade: Grade) -> Iterable[str]:
    """Yield a line for each check that gives points for no work at all."""
    for result in graded.results:
        if result.earned:
            yield f"{result.check.name} gives {result.earned:g} points for the untouched release"


def _loss_problems(graded: Graded, losses: Mapping[str, tuple[float, str]]) -> Iterable[str]:
    """Yield a line for each check that deducts other points than expected, or says something else.

    Parameters
    ----------
    losses
        Check → points that it must deduct, and text that its sentence must contain.
    """
    results = {result.check.name: result for result in graded.results}
    for name in sorted(losses.keys() - results.keys()):
        yield f"no check '{name}' (found: {', '.join(sorted(results))})"
    for name, result in results.items():
        if result.outcome == "raised":
            continue  # `verify` reports it with the exception
        expected_points, expected_text = losses.get(name, (0.0, ""))
        lost_points, sentence = result.check.points - result.earned, diagnosis(result)
        if lost_points != expected_points:
            detail = f": {sentence}" if sentence else ""
            yield f"{name} deducts {lost_points:g} points, not {expected_points:g}{detail}"
        elif expected_points and expected_text not in sentence:
            yield f"{name} says '{sentence}', not '{expected_text}'"


def _label(assignment: Assignment, path: Path) -> str:
    return f"graders/{assignment.name}/{path.parent.name}/{path.name}"


def _as_files(notebooks: Mapping[str, Sequence[Cell]]) -> dict[str, bytes]:
    return {name: write_notebook(cells, {}, {}) for name, cells in notebooks.items()}


def _without_addresses(outputs: Sequence[Any]) -> str:
    return ADDRESS.sub("0x", json.dumps(outputs, sort_keys=True))
