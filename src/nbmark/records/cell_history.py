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
from nbmark.errors import InfrastructureError
from nbmark.intake.later import belongs_to_task
from nbmark.intake.receive import Received
from nbmark.models import GainedCells, Graded, Model
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
            for cell in filter(belongs_to_task, cells):
                is_old = self._stored is None and (notebook, cell.grade_id) in in_gradebook
                times = self._since.setdefault(notebook, {})
                times.setdefault(cell.grade_id, None if is_old else now)
        self._gained = {
            cell.grade_id: time
            for notebook, cells in assignment.notebooks.items()
            for cell in cells
            if (time := self._since.get(notebook, {}).get(cell.grade_id)) is not None
        }

    @property
    def source_changed(self) -> bool | None:
        """Return whether the source notebooks have changed, None if that is not known."""
        return self._stored.source_digest != self._digest if self._stored else None

    @property
    def has_gained_cells(self) -> bool:
        """Return whether any cell came after nbmark first graded the assignment."""
        return bool(self._gained)

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

    def with_gained_cells(self, received: Received, earlier: Graded | None) -> Received:
        """Return the submission with what shows which cells the assignment gained after it.

        Parameters
        ----------
        earlier
            The last complete grading of the student, None if there is none.
        """
        submission = received.submission
        graded_ids = None
        # An earlier grading of the same submission shows what there was, also without a time.
        if earlier is not None and earlier.digest == submission.digest:
            graded_ids = earlier.as_evidence.cells
        gained = GainedCells(self._gained, received.submitted_at, graded_ids)
        return replace(received, submission=msgspec.structs.replace(submission, gained=gained))

    def _read(self) -> _History | None:
        try:
            return msgspec.convert(json.loads(self._path.read_bytes()), _History)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            where = self._path.relative_to(self._assignment.course.root)
            raise InfrastructureError(DAMAGED.format(where, error)) from error


def _digest(assignment: Assignment) -> str:
    total = hashlib.sha256()
    for name in assignment.notebooks:
        data = (assignment.source / f"{name}.ipynb").read_bytes()
        total.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
    return total.hexdigest()
