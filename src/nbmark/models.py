"""The words of the engine as data: checks, their results, and one graded submission."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

SCHEMA = 2

Outcome = Literal["passed", "failed", "raised"]


@dataclass(frozen=True)
class Check:
    """A hidden check: a test function, the grade cell it stands at, and what it is worth."""

    name: str
    cell: str
    points: float
    title: str


@dataclass(frozen=True)
class CheckResult:
    """What a check came to on one submission.

    Parameters
    ----------
    outcome
        ``passed``, ``failed`` (a wrong answer) or ``raised`` (the check itself broke on this
        submission: no points, and a person must look).
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

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "check": vars(self.check)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CheckResult:
        return cls(**{**value, "check": Check(**value["check"])})


@dataclass(frozen=True)
class Submission:
    """What one student handed in.

    Parameters
    ----------
    notebooks
        Notebook name → bytes of its file, None if it is not there.
    digest
        SHA-256 of the notebooks and the time of handing in, hexadecimal.
    seed
        Decides the hidden inputs; secret.
    refused
        Notebook name → why its file was not read, where `notebooks` has None.
    asks
        Whether checks put their questions; `verify` also runs the reference without them.
    """

    student: str
    notebooks: Mapping[str, bytes | None]
    digest: str
    seed: bytes
    refused: Mapping[str, str] = field(default_factory=dict)
    asks: bool = True


@dataclass(frozen=True)
class Surroundings:
    """What a notebook finds around it, as on the student's own machine.

    Parameters
    ----------
    student
        Whose work it is: the value of ``JUPYTERHUB_USER``.
    files
        Name → bytes of the files that the assignment ships beside its notebooks.
    """

    student: str
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class RunCell:
    """A cell of the graded notebook and what running it came to (see `CellRun`).

    `outputs` are cleaned. `status` is ``""`` for a cell that is no code. `doubt` says why a person
    must look at a grade cell, `note` what befell the cell, both for the student to read.
    """

    kind: str
    source: str
    nbgrader: dict[str, Any]
    attachments: dict[str, dict[str, str]]
    restored: bool = False
    status: str = ""
    outputs: list[Any] = field(default_factory=list)
    execution_count: int | None = None
    note: str = ""
    doubt: str = ""


@dataclass(frozen=True)
class Asked:
    """One question and its answer, as evidence: canonical JSON texts.

    `failed` is the sentence for the student where there was no answer, for lack of time or because
    the process ended over it.
    """

    cell: str
    check: str
    question: str
    answer: str
    failed: str = ""


@dataclass(frozen=True)
class Reached:
    """What a grade cell came to before any question was put there.

    `failed` is why no check can pass there, empty if the state after the cell could be looked at;
    `trouble` what went wrong last before it.
    """

    failed: str = ""
    trouble: str = ""


@dataclass(frozen=True)
class Heard:
    """What was asked and answered while a submission ran: all that judging it anew needs.

    `cells` are the grade ids of its notebooks, in order.
    """

    student: str
    cells: list[str]
    reached: dict[str, Reached]
    evidence: list[Asked]
    source_digest: str

    def to_json(self) -> dict[str, Any]:
        return {
            **vars(self),
            "reached": {cell: vars(one) for cell, one in self.reached.items()},
            "evidence": [vars(one) for one in self.evidence],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Heard:
        reached = {cell: Reached(**one) for cell, one in value["reached"].items()}
        evidence = [Asked(**one) for one in value["evidence"]]
        return cls(**{**value, "reached": reached, "evidence": evidence})


@dataclass(frozen=True)
class Graded:
    """One submission after grading: everything that is written down about it.

    Parameters
    ----------
    student, assignment, digest
        Whose work, of what, and the SHA-256 of the submitted files.
    notebooks
        Notebook name → its cells, in order.
    unreadable
        Notebook name → why it could not be read or found; these need a look.
    sandbox
        The wall it ran behind.
    reached
        Grade id → what the cell came to, for every cell that a check asked about.
    source_digest
        Of what the instructor put into the notebook and beside it.
    seconds
        Wall time of running and checking.
    spent_s
        Of that: ``start`` (the sandbox), ``cells`` and ``questions``.
    """

    student: str
    assignment: str
    digest: str
    notebooks: dict[str, list[RunCell]]
    results: list[CheckResult]
    evidence: list[Asked] = field(default_factory=list)
    reached: dict[str, Reached] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    sandbox: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    source_digest: str = ""
    seconds: float = 0.0
    spent_s: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        # By hand: `dataclasses.asdict` copies every output, which takes longer than writing it.
        return {
            **vars(self),
            "schema": SCHEMA,
            "notebooks": {
                name: [vars(one) for one in cells] for name, cells in self.notebooks.items()
            },
            "results": [one.to_json() for one in self.results],
            "evidence": [vars(one) for one in self.evidence],
            "reached": {cell: vars(one) for cell, one in self.reached.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Graded:
        fields = {name: one for name, one in value.items() if name != "schema"}
        fields["notebooks"] = {
            name: [RunCell(**cell) for cell in cells] for name, cells in value["notebooks"].items()
        }
        fields["results"] = [CheckResult.from_json(one) for one in value["results"]]
        fields["evidence"] = [Asked(**one) for one in value["evidence"]]
        fields["reached"] = {cell: Reached(**one) for cell, one in value.get("reached", {}).items()}
        return cls(**fields)

    def results_at(self, cell: str) -> Sequence[CheckResult]:
        """The results of the checks that stand at a grade cell, in order."""
        return [one for one in self.results if one.check.cell == cell]

    @property
    def heard(self) -> Heard:
        """What it takes to judge the submission anew."""
        cells = [
            str(cell.nbgrader["grade_id"])
            for cells in self.notebooks.values()
            for cell in cells
            if "grade_id" in cell.nbgrader
        ]
        return Heard(self.student, cells, self.reached, self.evidence, self.source_digest)

    @property
    def doubts(self) -> dict[str, str]:
        """Grade id → why a person must look at what the cell came to."""
        return {
            str(cell.nbgrader.get("grade_id", "")): cell.doubt
            for cells in self.notebooks.values()
            for cell in cells
            if cell.doubt
        }
