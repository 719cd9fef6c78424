"""Whose cell is whose: matches submitted cells with the assignment's own record.

A student's notebook is believed as far as it agrees with the record. A cell is matched by its
grade id, else by its text, else by its place between cells that are matched already; what is
locked reads as the instructor wrote it, and stands where it belongs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher

from nbmark.notebooks import Cell

MISSING = "This cell (id: {}) was missing from the submission and was put back."
DOUBT = (
    "The answer cell '{}' of this task was not found in the submission. A person will look at it."
)
SIMILAR = 0.6
# Between two matched cells stand a few others; a gap with more of them is searched by id and text.
MAX_GAP = 20
Matches = dict[int, int]  # number of a cell in the record → number in the submission


def restore(submitted: Sequence[Cell], source: Sequence[Cell]) -> list[Cell]:
    """The submitted cells, with everything locked as and where the instructor wrote it.

    An answer cell keeps its place unless it stands below its own tests. A locked or graded cell
    that was deleted comes back; where an answer cell cannot be found, the grade cell that it
    belongs to carries a `doubt`. Of two cells with one grade id the last is taken for the real
    one, as nbgrader does.
    """
    record = [cell for cell in source if cell.grade_id]
    matches = _match(submitted, record)
    keep = _in_order(matches, record)
    numbers = {place: number for number, place in matches.items() if number in keep}
    moved = set(matches.values()) - numbers.keys()
    cells = [
        _as_in_record(cell, record[numbers[place]]) if place in numbers else _ordinary(cell)
        for place, cell in enumerate(submitted)
        if place not in moved
    ]
    for number, cell in enumerate(record):
        if number in keep:
            continue
        if number in matches:
            cell = _as_in_record(submitted[matches[number]], cell)
        elif cell.is_locked or cell.is_grade:
            cell = _put_back(cell)
        else:
            continue
        cells.insert(_place_of(cells, record[:number]), cell)
    return _with_doubts(cells, record, matches)


def _match(submitted: Sequence[Cell], record: Sequence[Cell]) -> Matches:
    """By id, then by text, then by place."""
    numbers = {cell.grade_id: number for number, cell in enumerate(record)}
    found = {
        numbers[cell.grade_id]: place
        for place, cell in enumerate(submitted)
        if cell.grade_id in numbers
    }
    unknown = [
        place
        for place, cell in enumerate(submitted)
        if cell.grade_id not in numbers and cell.source.strip()
    ]
    for number, cell in enumerate(record):
        if number not in found and cell.is_locked:
            same = [one for one in unknown if submitted[one].source.strip() == cell.source.strip()]
            _take(found, unknown, number, same[:1])
    for of_locked in (True, False):  # what is found first divides the gaps for the others
        for number, cell in enumerate(record):
            if number not in found and cell.is_locked == of_locked:
                gap = [one for one in unknown if _lies_between(one, number, found)]
                _take(found, unknown, number, _fitting(gap, cell, submitted))
    return found


def _take(found: Matches, unknown: list[int], number: int, places: Sequence[int]) -> None:
    for place in places:
        found[number] = place
        unknown.remove(place)


def _lies_between(place: int, number: int, found: Mapping[int, int]) -> bool:
    """Whether a place lies between the matched neighbours of a cell of the record."""
    before = max((one for one in found if one < number), default=None)
    after = min((one for one in found if one > number), default=None)
    return (before is None or found[before] < place) and (after is None or place < found[after])


def _fitting(gap: Sequence[int], cell: Cell, submitted: Sequence[Cell]) -> Sequence[int]:
    """The one cell in a gap that must be meant, none if that is not certain."""
    alike = [one for one in gap if submitted[one].kind == cell.kind]
    if cell.is_locked and len(alike) <= MAX_GAP:
        alike = [one for one in alike if _similar(submitted[one].source, cell.source)]
    return alike if len(alike) == 1 else ()


def _similar(left: str, right: str) -> bool:
    matcher = SequenceMatcher(None, left[:2000], right[:2000], autojunk=False)
    return matcher.quick_ratio() > SIMILAR and matcher.ratio() > SIMILAR


def _in_order(matches: Matches, record: Sequence[Cell]) -> set[int]:
    """The cells that may stay where the student has them: a longest run in the record's order.

    An answer outside of it stays as well if it still stands above the tests that follow it.
    """
    by_place = sorted(matches, key=matches.__getitem__)
    tails: list[int] = []
    previous: dict[int, int | None] = {}
    for number in by_place:  # patience sorting
        pile = bisect_left(tails, number)
        previous[number] = tails[pile - 1] if pile else None
        tails[pile : pile + 1] = [number]
    keep: set[int] = set()
    last = tails[-1] if tails else None
    while last is not None:
        keep.add(last)
        last = previous[last]
    for number, cell in enumerate(record):
        if number in matches and number not in keep and not cell.is_locked:
            tests = [one for one in keep if one > number and record[one].is_locked]
            if tests and matches[number] < matches[min(tests)]:
                keep.add(number)
    return keep


def _place_of(cells: Sequence[Cell], before: Sequence[Cell]) -> int:
    """Behind the nearest earlier cell of the record that is there, else at the front."""
    places = {cell.grade_id: place for place, cell in enumerate(cells) if cell.grade_id}
    return next((places[one.grade_id] + 1 for one in reversed(before) if one.grade_id in places), 0)


def _as_in_record(cell: Cell, known: Cell) -> Cell:
    text = known.source if known.is_locked else cell.source
    return replace(cell, kind=known.kind, source=text, nbgrader=known.nbgrader)


def _ordinary(cell: Cell) -> Cell:
    return replace(cell, nbgrader={})


def _put_back(cell: Cell) -> Cell:
    note = MISSING.format(cell.grade_id)
    if cell.is_solution:  # the instructor's text may hold a solution or a marking scheme
        return replace(
            cell, source=f"*{note}*" if cell.kind == "markdown" else f"# {note}", restored=True
        )
    return replace(cell, restored=True)


def _with_doubts(cells: list[Cell], record: Sequence[Cell], matches: Matches) -> list[Cell]:
    """Every answer that is not there marks the grade cells that would have judged it."""
    doubts: dict[str, str] = {}
    missing = ""
    for number, cell in enumerate(record):
        if cell.is_solution:
            missing = "" if number in matches else cell.grade_id
        if missing and cell.is_grade:
            doubts[cell.grade_id] = DOUBT.format(missing)
    return [replace(cell, doubt=doubts.get(cell.grade_id, "")) for cell in cells]
