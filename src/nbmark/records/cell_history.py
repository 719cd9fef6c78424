"""When each cell of an assignment first appeared: a student loses no points for a later one.

``evidence/<assignment>/.cells.json`` holds a time for each cell that an assignment gained after
nbmark first graded it. No student's folder can have that name, because an id begins otherwise.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Collection
from dataclasses import replace

import msgspec

from nbmark.course.course import Assignment
from nbmark.errors import InfrastructureError, NotebookUnreadable
from nbmark.intake.receive import Received
from nbmark.models import Graded, Model
from nbmark.notebooks import Cell, read_notebook, write_notebook
from nbmark.untrusted.files import make_private, write_atomic

DAMAGED = (
    "{} is damaged ({}); restore it from a backup: it says which cells came after a submission"
)


class _History(Model, frozen=True):
    """The content of the file.

    Parameters
    ----------
    since
        Notebook → grade id → when nbmark first saw the cell, in UTC without a zone. None stands for
        a cell that was there from the start.
    source_digest
        SHA-256 of the source notebooks that the gradebook was last brought up to date with.
    """

    since: dict[str, dict[str, datetime.datetime | None]]
    source_digest: str = ""


class CellHistory:
    """The history of one assignment's cells, today's new ones included.

    Parameters
    ----------
    in_gradebook
        Notebook and grade id of the cells that the gradebook has. Without a file they count as
        there from the start.
    """

    def __init__(self, assignment: Assignment, in_gradebook: Collection[tuple[str, str]]) -> None:
        self._assignment = assignment
        self._path = assignment.course.evidence / assignment.name / ".cells.json"
        self._stored = self._read()
        self._digest = _digest(assignment)
        now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        since = self._stored.since if self._stored else {}
        self._since = {notebook: dict(cells) for notebook, cells in since.items()}
        for notebook, cells in assignment.notebooks.items():
            for cell in filter(_is_dated, cells):
                is_old = self._stored is None and (notebook, cell.grade_id) in in_gradebook
                times = self._since.setdefault(notebook, {})
                times.setdefault(cell.grade_id, None if is_old else now)

    @property
    def source_changed(self) -> bool | None:
        """Return whether the source notebooks have changed, None if that is not known."""
        return self._stored.source_digest != self._digest if self._stored else None

    @property
    def has_gained_cells(self) -> bool:
        """Return whether any cell came after nbmark first graded the assignment."""
        return any(time is not None for cells in self._since.values() for time in cells.values())

    def save(self, *, is_entered: bool) -> None:
        """Write the history.

        Parameters
        ----------
        is_entered
            Whether the gradebook is up to date with the source.
        """
        old_digest = self._stored.source_digest if self._stored else ""
        history = _History(self._since, self._digest if is_entered else old_digest)
        if history == self._stored:
            return
        make_private(self._assignment.course.evidence)
        make_private(self._path.parent)
        write_atomic(self._path, json.dumps(msgspec.to_builtins(history)).encode(), mode=0o600)
        self._stored = history

    def without_later_cells(self, received: Received, earlier: Graded | None) -> Received:
        """Return the submission with the list of cells that the assignment gained after it.

        Parameters
        ----------
        earlier
            The last complete grading of the student, None if there is none.
        """
        submission = received.submission
        later = self._later(received, earlier)
        notebooks, refused = dict(submission.notebooks), dict(submission.refused)
        for name, cells in self._assignment.notebooks.items():
            tasks = {cell.grade_id for cell in cells if _is_dated(cell)}
            # The whole notebook came later, so its absence is no fault either.
            if notebooks[name] is None and tasks and tasks <= later:
                notebooks[name] = write_notebook([], {}, {})
                refused.pop(name, None)
        changed = msgspec.structs.replace(
            submission, notebooks=notebooks, refused=refused, added_later=sorted(later)
        )
        return replace(received, submission=changed)

    def _later(self, received: Received, earlier: Graded | None) -> set[str]:
        """Return the ids of cells that came after the version that the student had."""
        # An earlier grading of the same submission shows what there was, also without a time.
        is_graded = earlier is not None and earlier.digest == received.submission.digest
        graded_ids = set(earlier.as_evidence.cells) if earlier and is_graded else set()
        first_seen: dict[str, datetime.datetime] = {}
        version = datetime.datetime.min
        for name, cells in self._assignment.notebooks.items():
            submitted = _cells(received.submission.notebooks[name])
            ids = graded_ids | {cell.grade_id for cell in submitted}
            # A notebook may have lost its ids, but the text of a locked cell is the same in all.
            texts = {cell.source.strip() for cell in submitted}
            for cell in filter(_is_dated, cells):
                time = self._since[name][cell.grade_id]
                if time is None:
                    continue
                first_seen[cell.grade_id] = time
                if cell.grade_id in ids or (cell.is_locked and cell.source.strip() in texts):
                    version = max(version, time)
        handed_in = received.submitted_at or datetime.datetime.max
        return {
            grade_id
            for grade_id, time in first_seen.items()
            if time > version and (is_graded or handed_in < time)
        }

    def _read(self) -> _History | None:
        try:
            return msgspec.convert(json.loads(self._path.read_bytes()), _History)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            where = self._path.relative_to(self._assignment.course.root)
            raise InfrastructureError(DAMAGED.format(where, error)) from error


def _is_dated(cell: Cell) -> bool:
    """Return whether a cell belongs to a task; the instructor's other cells are always put back."""
    return bool(cell.grade_id) and (cell.has_points or cell.is_solution)


def _cells(data: bytes | None) -> list[Cell]:
    try:
        return read_notebook(data) if data is not None else []
    except NotebookUnreadable:
        return []


def _digest(assignment: Assignment) -> str:
    total = hashlib.sha256()
    for name in assignment.notebooks:
        data = (assignment.source / f"{name}.ipynb").read_bytes()
        total.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
    return total.hexdigest()
