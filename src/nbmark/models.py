"""The engine's data classes: checks, their results, and one graded submission.

msgspec turns these classes into JSON values and back (`msgspec.to_builtins`, `msgspec.convert`),
and validates every field on the way back. Their field names are the names in evidence files, so
renaming one makes a new `SCHEMA`.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

SCHEMA = 2

Outcome = Literal["passed", "failed", "raised"]


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The base of all models: immutable, and strict about fields that it does not know."""


class Check(Model, frozen=True):
    """A hidden check: a test function, the grade cell it belongs to, and its points."""

    name: str
    cell: str
    points: float
    title: str


class CheckResult(Model, frozen=True):
    """The result of one check on one submission.

    Parameters
    ----------
    outcome
        ``passed``, ``failed`` (a wrong answer) or ``raised`` (the check itself broke on this
        submission: no points until a person reviews it).
    says, own
        For the student: a sentence, and their own value as text. Either may be empty.
    trace
        For the instructor only: the traceback of a check that raised.
    """

    check: Check
    outcome: Outcome
    says: str = ""
    own: str = ""
    trace: str = ""

    @property
    def earned(self) -> float:
        return self.check.points if self.outcome == "passed" else 0.0


class CellScore(Model, frozen=True):
    """Points of one autograded cell.

    Parameters
    ----------
    earned, possible
        In points, ``0 <= earned <= possible``.
    needs_look
        Whether a person must review the cell before its points are final.
    """

    earned: float
    possible: float
    needs_look: bool


class Notice(Model, frozen=True):
    """A sentence about the files of a submission, which student and instructor read.

    Parameters
    ----------
    needs_look
        Whether a person must look at the submission because of it.
    """

    says: str
    needs_look: bool = False


class GainedCells(Model, frozen=True):
    """What shows which cells an assignment gained after a student had handed in.

    Parameters
    ----------
    since
        Grade id → when nbmark first saw the cell, in UTC without a zone, for cells that the
        assignment gained after nbmark first graded it.
    handed_in
        The time of submission, None if it is not known.
    graded
        Grade ids that an earlier grading of the same submission had, None without one.
    """

    since: Mapping[str, datetime.datetime]
    handed_in: datetime.datetime | None
    graded: Sequence[str] | None


class Submission(Model, frozen=True):
    """One student's submission.

    Parameters
    ----------
    notebooks
        Notebook name → bytes of its file, None if it is missing.
    digest
        SHA-256 of the notebooks and the time of submission, hexadecimal.
    seed
        Decides the hidden inputs; secret.
    refused
        Notebook name → why its file was not read, where `notebooks` has None.
    asks
        Whether checks put their questions; `verify` also runs the reference without them.
    gained
        The cells that the assignment gained after its first grading, None without any.
    aliases
        Other ids of the same student (see `intake.identity`).
    classmates
        The ids of all students with a submission of the assignment, this one included. Every
        submission of a class shares one tuple, so a class of thousands takes little memory.
    candidates
        Path → bytes of files that may be notebooks of the assignment under other names.
    files
        Path → bytes of the student's own files that the assignment lets in.
    beside
        Paths of all other files.
    notices
        What became of files that the assignment would let in.
    """

    student: str
    notebooks: Mapping[str, bytes | None]
    digest: str
    seed: bytes
    refused: Mapping[str, str] = {}
    asks: bool = True
    gained: GainedCells | None = None
    aliases: Sequence[str] = ()
    classmates: Sequence[str] = ()
    candidates: Mapping[str, bytes] = {}
    files: Mapping[str, bytes] = {}
    beside: Sequence[str] = ()
    notices: Sequence[Notice] = ()


class NotebookContext(Model, frozen=True):
    """The surroundings of a notebook, as on the student's own machine.

    Parameters
    ----------
    student
        The student's id: the value of ``JUPYTERHUB_USER``.
    files
        Name → bytes of the assignment's own files beside the notebook.
    own_files
        The same for the student's files that the assignment lets in. Nothing here parses them.
    """

    student: str
    files: Mapping[str, bytes] = {}
    own_files: Mapping[str, bytes] = {}

    @property
    def all_files(self) -> dict[str, bytes]:
        """Return all files beside the notebook; the assignment's own win."""
        return {**self.own_files, **self.files}


class GradedCell(Model, frozen=True):
    """A cell of the graded notebook with the result of running it (see `replies.CellRun`).

    `outputs` are cleaned. `status` is ``""`` for a cell that is not code. `doubt` says why a person
    must look at a grade cell, or why an answer cell was left as it is; `note` says what happened to
    the cell. The student reads both.
    """

    kind: str
    source: str
    nbgrader: dict[str, Any]
    attachments: dict[str, dict[str, str]]
    restored: bool = False
    status: str = ""
    outputs: list[Any] = []
    execution_count: int | None = None
    note: str = ""
    doubt: str = ""

    @property
    def grade_id(self) -> str:
        """Return nbgrader's name of the cell, empty if it has none."""
        return str(self.nbgrader.get("grade_id", ""))

    @property
    def is_test(self) -> bool:
        """Return whether hidden checks give the cell's points."""
        is_answer = self.nbgrader.get("solution")
        return self.kind == "code" and bool(self.nbgrader.get("grade")) and not is_answer


class AnsweredQuestion(Model, frozen=True):
    """One question and its answer, as evidence: canonical JSON texts.

    `failed` is the sentence for the student if there was no answer, because the time ran out or the
    process ended.
    """

    cell: str
    check: str
    question: str
    answer: str
    failed: str = ""


class CellState(Model, frozen=True):
    """The state at a grade cell before any question was put there.

    `failed` says why no check can pass there; it is empty if checks could ask questions there.
    `trouble` is the first thing that went wrong in the task's own cells. `missing` holds the names
    that a check asked for in vain, and why they had no value.
    """

    failed: str = ""
    trouble: str = ""
    missing: dict[str, str] = {}


class Evidence(Model, frozen=True):
    """The questions and answers of one submission: all that judging it again needs.

    `cells` are the grade ids of its notebooks, in order; `added_later` are the cells that do not
    count for this submission.
    """

    student: str
    cells: list[str]
    reached: dict[str, CellState]
    evidence: list[AnsweredQuestion]
    source_digest: str
    added_later: list[str] = []


class Graded(Model, frozen=True):
    """One submission after grading: everything that is written down about it.

    Parameters
    ----------
    student, assignment, digest
        Who submitted which assignment, and the SHA-256 of the submission.
    notebooks
        Notebook name → its cells, in order.
    unreadable
        Notebook name → why it could not be read or found; these need a look.
    notices
        Notebook name → sentences about the files that were and were not graded.
    sandbox
        The kind of sandbox it ran in.
    reached
        Grade id → state at the cell, for every cell that a check asked about.
    source_digest
        SHA-256 of the instructor's part of the notebooks and the files beside them.
    seconds
        Wall time of running and checking.
    spent_s
        Of that: ``start`` (the sandbox), ``cells`` and ``questions``.
    added_later
        Grade ids of cells that the assignment gained after the student had handed in. They do not
        count for this student.
    stopped_by_clock
        Whether something was stopped for its idle time alone, which a busy machine may cause.
    """

    student: str
    assignment: str
    digest: str
    notebooks: dict[str, list[GradedCell]]
    results: list[CheckResult]
    evidence: list[AnsweredQuestion] = []
    reached: dict[str, CellState] = {}
    unreadable: dict[str, str] = {}
    sandbox: str = ""
    versions: dict[str, str] = {}
    source_digest: str = ""
    seconds: float = 0.0
    spent_s: dict[str, float] = {}
    added_later: list[str] = []
    stopped_by_clock: bool = False
    notices: dict[str, list[Notice]] = {}

    def results_at(self, cell: str) -> Sequence[CheckResult]:
        """Return the results of the checks of a grade cell, in order."""
        return [result for result in self.results if result.check.cell == cell]

    @property
    def as_evidence(self) -> Evidence:
        """Return the evidence for regrading this submission."""
        cells = [
            str(cell.nbgrader["grade_id"])
            for cells in self.notebooks.values()
            for cell in cells
            if "grade_id" in cell.nbgrader
        ]
        return Evidence(
            self.student, cells, self.reached, self.evidence, self.source_digest, self.added_later
        )

    @property
    def doubts(self) -> dict[str, str]:
        """Return why a person must review a cell, by grade id.

        A notice about files puts its notebook's first autograded cell in doubt: one cell is enough
        for formgrader to list the submission, and a person confirms it with one click.
        """
        doubts: dict[str, str] = {}
        for name, cells in self.notebooks.items():
            reasons = [notice.says for notice in self.notices.get(name, ()) if notice.needs_look]
            tests = [cell for cell in cells if cell.is_test]
            if reasons and tests:
                doubts[tests[0].grade_id] = reasons[0]
            doubts |= {cell.grade_id: cell.doubt for cell in cells if cell.doubt}
        return doubts
