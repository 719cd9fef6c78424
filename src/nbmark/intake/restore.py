"""Restoration of a submitted notebook from the assignment's own record.

The record is the instructor's source notebook. It decides the type and points of every cell with a
grade id, and the text and place of the locked ones. From the submission come the answers, and the
cells that the student added.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher

from nbmark.intake.answers import (
    COPIES,
    answers_elsewhere,
    copied_answers,
    without_untouched_copies,
)
from nbmark.notebooks import Cell

MISSING = "This cell (id: {}) was missing from the submission and was put back."
DOUBT = (
    "The answer cell '{}' of this task was not found in the submission, so a person will look at "
    "this task."
)
ADDED_LATER = "**This task was added after you handed in, so it does not count for you.**"
# A student may edit a locked cell whose id is lost, and add cells around it. This share of equal
# characters tells the edited cell from the others.
SIMILAR = 0.6
# Comparing texts is slow, and every candidate in a gap is compared with every locked cell that is
# missing there. Ids and texts alone match in a larger gap, so a hostile notebook causes no delay.
MAX_GAP = 20
MAX_COMPARED_CHARS = 2000
Matches = dict[int, int]  # index of a cell in the record → its index in the submission


def restore(
    submitted: Sequence[Cell],
    source: Sequence[Cell],
    added_later: Collection[str] = (),
    released: Sequence[Cell] = (),
) -> list[Cell]:
    """Return the submitted cells, with every locked cell as and where the instructor wrote it.

    An answer cell keeps its place unless it stands below its own tests. A locked or graded cell
    that was deleted comes back. If an answer cell cannot be found, or several copies of it were
    filled in, the grade cells that judge it carry a `doubt`.

    Parameters
    ----------
    submitted
        The student's cells; empty gives the instructor's cells, without any answer.
    source
        The instructor's cells.
    added_later
        Grade ids of cells that came after this submission. A sentence stands in place of each one
        that has points.
    released
        The same cells as students receive them, which shows what an untouched answer looks like.
    """
    whole_record = [cell for cell in source if cell.grade_id]
    record = [cell for cell in whole_record if cell.grade_id not in added_later]
    released_texts = {cell.grade_id: cell.source for cell in released}
    copied = copied_answers(submitted, record, released_texts)
    submitted = without_untouched_copies(submitted, record, released_texts)
    matches = _match(submitted, record)
    in_place = _in_place(matches, record)
    record_index_at = {place: index for index, place in matches.items() if index in in_place}
    misplaced = set(matches.values()) - record_index_at.keys()
    cells = [
        _as_in_record(cell, record[record_index_at[place]])
        if place in record_index_at
        else _without_metadata(cell)
        for place, cell in enumerate(submitted)
        if place not in misplaced
    ]
    # In the record's order: a cell goes behind its predecessor, which must be back before it.
    for index, cell in enumerate(record):
        if index in in_place:
            continue
        if index in matches:
            cell = _as_in_record(submitted[matches[index]], cell)
        elif cell.is_locked or cell.has_points:
            cell = _put_back(cell)
        else:
            continue
        cells.insert(_insertion_index(cells, record[:index]), cell)
    doubts = answers_elsewhere(cells, source, released_texts)
    cells = _with_doubts(cells, doubts | _doubts(record, matches, copied))
    # Backwards, because each sentence goes right behind the cell before it.
    for index, cell in reversed([*enumerate(whole_record)]):
        if cell.grade_id in added_later and cell.has_points:
            place = _insertion_index(cells, whole_record[:index])
            cells.insert(place, Cell("markdown", ADDED_LATER))
    return cells


def _match(submitted: Sequence[Cell], record: Sequence[Cell]) -> Matches:
    """Match cells by grade id, then by text, then by their place between other matches.

    The order is that of certainty. Jupyter keeps the id when a student edits or moves a cell. The
    text of a locked cell is the same in every submission, but an answer may say anything. The place
    alone is a guess, which needs the other matches as its frame.
    """
    index_of = {cell.grade_id: index for index, cell in enumerate(record)}
    # Copying a cell in Jupyter copies its id. A later cell overwrites an earlier one here: students
    # correct themselves further down, and nbgrader takes the last one too.
    matches = {
        index_of[cell.grade_id]: place
        for place, cell in enumerate(submitted)
        if cell.grade_id in index_of
    }
    unmatched = [
        place
        for place, cell in enumerate(submitted)
        if cell.grade_id not in index_of and cell.source.strip()
    ]
    for index, cell in enumerate(record):
        if index not in matches and cell.is_locked:
            text = cell.source.strip()
            same_text = [place for place in unmatched if submitted[place].source.strip() == text]
            _take(matches, unmatched, index, same_text[:1])
    # Locked cells come first: they can be compared with the record, and each one that is found
    # divides a gap, which leaves fewer candidates for the answers around it.
    for locked in (True, False):
        for index, cell in enumerate(record):
            if index not in matches and cell.is_locked == locked:
                gap = [place for place in unmatched if _lies_between(place, index, matches)]
                _take(matches, unmatched, index, _certain_match(gap, cell, submitted))
    return matches


def _take(matches: Matches, unmatched: list[int], index: int, places: Sequence[int]) -> None:
    """Match a cell of the record with the place, if there is one."""
    for place in places:
        matches[index] = place
        unmatched.remove(place)


def _lies_between(place: int, index: int, matches: Mapping[int, int]) -> bool:
    """Return whether a place lies between the matched neighbours of a cell of the record."""
    before = max((other for other in matches if other < index), default=None)
    after = min((other for other in matches if other > index), default=None)
    return (before is None or matches[before] < place) and (after is None or place < matches[after])


def _certain_match(gap: Sequence[int], cell: Cell, submitted: Sequence[Cell]) -> Sequence[int]:
    """Return the only place in a gap that fits a cell of the record, or no place if several do.

    A wrong match would judge one answer as another. Without a match a person looks at the task.
    """
    candidates = [place for place in gap if submitted[place].kind == cell.kind]
    if cell.is_locked and len(candidates) <= MAX_GAP:
        candidates = [
            place for place in candidates if _similar(submitted[place].source, cell.source)
        ]
    return candidates if len(candidates) == 1 else ()


def _similar(text: str, other: str) -> bool:
    # `autojunk` would ignore the commonest characters of a text above 200 characters.
    matcher = SequenceMatcher(
        None, text[:MAX_COMPARED_CHARS], other[:MAX_COMPARED_CHARS], autojunk=False
    )
    # The quick ratio is an upper bound, so most pairs need no exact one.
    return matcher.quick_ratio() > SIMILAR and matcher.ratio() > SIMILAR


def _in_place(matches: Matches, record: Sequence[Cell]) -> set[int]:
    """Return the cells of the record that may stay where the student has them.

    These are a longest sequence in the record's order. An answer outside of it stays as well if it
    still stands above the tests that follow it.
    """
    in_place = _longest_ordered(matches)
    for index, cell in enumerate(record):
        if index in matches and index not in in_place and not cell.is_locked:
            tests = [other for other in in_place if other > index and record[other].is_locked]
            # Tests below an answer see its names, so the student may arrange answers freely.
            if tests and matches[index] < matches[min(tests)]:
                in_place.add(index)
    return in_place


def _longest_ordered(matches: Matches) -> set[int]:
    """Return a longest subsequence of the record's cells that the submission has in order.

    Moving only the other cells moves as few as possible, so the student recognises the notebook.
    Patience sorting takes n log n steps: a submission may have 2000 cells in any order.
    """
    by_place = sorted(matches, key=matches.__getitem__)
    tails: list[int] = []  # tails[k]: the smallest index that ends an ordered sequence of k + 1
    previous: dict[int, int | None] = {}
    for index in by_place:
        pile = bisect_left(tails, index)
        previous[index] = tails[pile - 1] if pile else None
        tails[pile : pile + 1] = [index]
    longest: set[int] = set()
    last = tails[-1] if tails else None
    while last is not None:
        longest.add(last)
        last = previous[last]
    return longest


def _insertion_index(cells: Sequence[Cell], before: Sequence[Cell]) -> int:
    """Return the index behind the nearest earlier cell of the record that is present, else 0."""
    places = {cell.grade_id: place for place, cell in enumerate(cells) if cell.grade_id}
    return next(
        (places[cell.grade_id] + 1 for cell in reversed(before) if cell.grade_id in places), 0
    )


def _as_in_record(cell: Cell, recorded: Cell) -> Cell:
    """Return a submitted cell with the record's type and metadata, and its text if locked."""
    text = recorded.source if recorded.is_locked else cell.source
    return replace(cell, kind=recorded.kind, source=text, nbgrader=recorded.nbgrader)


def _without_metadata(cell: Cell) -> Cell:
    # Otherwise the first of two cells with one id, or an invented id, would count as graded.
    return replace(cell, nbgrader={})


def _put_back(cell: Cell) -> Cell:
    """Return a deleted cell as it goes back into the notebook."""
    note = MISSING.format(cell.grade_id)
    if cell.is_solution:
        # The record may hold the solution or a marking scheme, which the student must not read.
        text = f"*{note}*" if cell.kind == "markdown" else f"# {note}"
        return replace(cell, source=text, restored=True)
    return replace(cell, restored=True)


def _doubts(record: Sequence[Cell], matches: Matches, copied: Collection[str]) -> dict[str, str]:
    """Return a doubt for every grade cell whose answer cell is missing or was copied."""
    doubts: dict[str, str] = {}
    doubt = ""
    for index, cell in enumerate(record):
        # A grade cell judges the last answer cell above it.
        if cell.is_solution:
            doubt = COPIES.format(cell.grade_id) if cell.grade_id in copied else ""
            if index not in matches:
                doubt = DOUBT.format(cell.grade_id)
        if doubt and cell.is_grade:
            doubts[cell.grade_id] = doubt
    return doubts


def _with_doubts(cells: Sequence[Cell], doubts: Mapping[str, str]) -> list[Cell]:
    return [replace(cell, doubt=doubts.get(cell.grade_id, "")) for cell in cells]
