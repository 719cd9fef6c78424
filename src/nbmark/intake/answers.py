"""A student's own work in a notebook: the answers that were edited, and the cells that were added.

Students fill in a copy of an answer cell, or write their answer into a new cell further down. Both
would look like no answer at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from nbmark.notebooks import Cell

# nbgrader's own stubs. A course may configure others, which the released notebook shows.
STUBS = ("", "YOUR ANSWER HERE", "# YOUR CODE HERE\nraise NotImplementedError()")
COPIES = (
    "Your submission has several filled-in copies of the answer cell '{}'. The last one was "
    "graded, and a person will look at this task."
)
TEXT_ELSEWHERE = (
    "This answer is as you received it, but you wrote into other text cells, so a person will look "
    "at it."
)
DEFINED_HERE = "This cell is as you received it. {names} defined in cell {place}, and that counts."
DEFINED_BELOW = (
    "This cell is as you received it. {names} defined in cell {place}, below the tests of this "
    "task; move your code up into this cell."
)
DEFINED_ABOVE = (
    "This cell is as you received it. {names} defined in cell {place}, which runs before this "
    "cell; move your code down into this cell."
)
ELSEWHERE = (
    "Your answer to this task stands in cell {place} and not in its own cell, so a person will "
    "look at this task."
)
# A definition at the left margin: a function, a class, or names before an equals sign. Python's
# own parser may exhaust the stack on hostile code; this takes linear time.
DEFINITION = re.compile(
    r"^(?:(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)|"
    r"([^\W\d]\w*(?:[ \t]*,[ \t]*[^\W\d]\w*)*)[ \t]*(?::[^=\n]+)?=(?!=))",
    re.M,
)
DOCSTRING = re.compile(r'"""[^"]*"""')


def is_untouched(cell: Cell, released: Mapping[str, str]) -> bool:
    """Return whether an answer cell is blank, a stub, or as the student received it.

    Parameters
    ----------
    released
        Grade id → text of the cell in the released notebook.
    """
    text = _essence(cell.source)
    return text in STUBS or text == _essence(released.get(cell.grade_id, ""))


def without_untouched_copies(
    cells: Sequence[Cell], record: Iterable[Cell], released: Mapping[str, str]
) -> list[Cell]:
    """Return the cells without untouched copies of an answer cell that has an edited copy.

    Such a copy holds nothing of the student's. If it ran below the edited one, its ``x = None``
    would take the answer away.
    """
    edited = _edited_texts(cells, record, released).keys()
    return [
        cell for cell in cells if cell.grade_id not in edited or not is_untouched(cell, released)
    ]


def copied_answers(
    cells: Sequence[Cell], record: Iterable[Cell], released: Mapping[str, str]
) -> set[str]:
    """Return the grade ids of answer cells with several edited copies that differ."""
    texts = _edited_texts(cells, record, released)
    return {grade_id for grade_id, different in texts.items() if len(different) > 1}


def edited_answers(cells: Iterable[Cell], released: Mapping[str, str]) -> set[tuple[str, str]]:
    """Return grade id and text of each edited answer in a restored notebook."""
    return {
        (cell.grade_id, _essence(cell.source))
        for cell in cells
        if cell.is_solution and not cell.restored and not is_untouched(cell, released)
    }


def added_code(
    cells: Sequence[Cell], source: Iterable[Cell], released: Mapping[str, str]
) -> set[tuple[str, str]]:
    """Return the code that a student added to a restored notebook, in the form of answers."""
    places = _added(cells, source, released)
    return {("", _essence(cells[at].source)) for at in places if cells[at].kind == "code"}


def answers_elsewhere(
    cells: Sequence[Cell], source: Sequence[Cell], released: Mapping[str, str]
) -> dict[str, str]:
    """Return a sentence for each untouched answer cell whose answer may stand in an added cell.

    Where that answer does not count, the task's tests have a sentence too.

    Parameters
    ----------
    cells
        The restored notebook.
    source
        The instructor's cells, whose answers show which names a task defines.
    """
    sentences = {}
    added = _added(cells, source, released)
    wrote_text = any(cells[at].kind != "code" for at in added)
    definitions = [
        (at, _defined_names(cells[at].source)) for at in added if cells[at].kind == "code"
    ]
    solutions = {cell.grade_id: cell.source for cell in source if cell.is_solution}
    for place, cell in enumerate(cells):
        if not cell.is_solution or cell.restored or not is_untouched(cell, released):
            continue
        if cell.is_grade:
            if wrote_text:
                sentences[cell.grade_id] = TEXT_ELSEWHERE
            continue
        wanted = _defined_names(solutions[cell.grade_id])
        defined = [(at, names & wanted) for at, names in definitions if names & wanted]
        if defined:
            later_tests = (at for at, other in enumerate(cells) if at > place and other.is_grade)
            tests = next(later_tests, len(cells))
            sentence, at, names = _definition(defined, place, tests)
            sentences[cell.grade_id] = sentence.format(names=_listed(names), place=at + 1)
            if sentence != DEFINED_HERE and tests < len(cells):
                sentences[cells[tests].grade_id] = ELSEWHERE.format(place=at + 1)
    return sentences


def _definition(
    defined: Sequence[tuple[int, set[str]]], place: int, tests: int
) -> tuple[str, int, set[str]]:
    """Return the sentence about one added cell that defines names of an untouched answer.

    Parameters
    ----------
    defined
        Place of an added cell, and the names that it defines.
    place, tests
        Where the answer cell and its tests stand.

    Returns
    -------
    sentence, place, names
        A cell that counts comes first, then one below the tests, then one above the answer cell.
    """

    def rank(at: int) -> int:
        return 0 if place <= at < tests else 1 if at >= tests else 2

    at, names = min(defined, key=lambda definition: rank(definition[0]))
    return (DEFINED_HERE, DEFINED_BELOW, DEFINED_ABOVE)[rank(at)], at, names


def _edited_texts(
    cells: Iterable[Cell], record: Iterable[Cell], released: Mapping[str, str]
) -> dict[str, set[str]]:
    """Return the different texts of each edited answer cell by grade id."""
    answers = {cell.grade_id for cell in record if cell.is_solution}
    texts: dict[str, set[str]] = {}
    for cell in cells:
        if cell.grade_id in answers and not is_untouched(cell, released):
            texts.setdefault(cell.grade_id, set()).add(_essence(cell.source))
    return texts


def _added(cells: Sequence[Cell], source: Iterable[Cell], released: Mapping[str, str]) -> list[int]:
    """Return the places of cells with text that the student added, or that held other text."""
    given = {_essence(cell.source) for cell in source if not cell.is_solution}
    given |= {*map(_essence, released.values()), *STUBS}
    return [
        place
        for place, cell in enumerate(cells)
        if not cell.grade_id and _essence(cell.source) not in given
    ]


def _defined_names(code: str) -> set[str]:
    """Return the names that code defines at the left margin."""
    return {
        name.strip()
        for match in DEFINITION.finditer(code)
        for name in (match[1] or match[2]).split(",")
    }


def _listed(names: Iterable[str]) -> str:
    """Return ``x is`` or ``x and y are``, with each name as code."""
    *others, last = (f"`{name}`" for name in sorted(names))
    return f"{', '.join(others)} and {last} are" if others else f"{last} is"


def _essence(text: str) -> str:
    """Return a text without what changes by itself.

    Editors change spaces and line ends, and the instructor may have reworded a docstring since the
    student received the notebook.
    """
    return "\n".join(line.rstrip() for line in DOCSTRING.sub("", text).strip().splitlines())
