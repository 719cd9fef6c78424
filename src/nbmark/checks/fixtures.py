"""The pytest plugin behind a hidden check: its fixtures, and the collection of its results.

``pytest graders/mse --submission FILE.ipynb`` registers a `Grading` like any other plugin, and
`grade_one` passes one to `pytest.main`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence

import msgspec
import numpy as np
import pytest

from nbmark.checks.declare import declaration_of
from nbmark.checks.student import Student
from nbmark.errors import CheckFailed, InfrastructureError
from nbmark.models import Check, CheckResult
from nbmark.running.replay import Replay
from nbmark.running.submission_run import Run

# The end of a traceback names the error, so evidence keeps only that.
MAX_TRACE_CHARS = 8000


class Grading:
    """A plugin that grades one submission after another; `begin` selects the submission.

    Attributes
    ----------
    results
        The results of the finished checks, in the order in which they ran.
    engine_error
        Our own failure, or None. After a failure nothing of this submission is graded.
    """

    def begin(
        self,
        run: Run | Replay,
        ids: Sequence[str],
        seed: bytes,
        max_answer_chars: int,
        classmates: Sequence[str] = (),
    ) -> None:
        """Start with another submission and forget the results of the last one.

        Parameters
        ----------
        run
            The submission: its running notebooks, or the evidence of an earlier run.
        ids
            The id under which the submission was collected, then other ids of the same student.
        seed
            The seed of this submission's hidden inputs.
        max_answer_chars
            The length of the longest answer that is read.
        classmates
            The ids of all students with a submission.
        """
        self.run = run
        self.results: list[CheckResult] = []
        self.engine_error: InfrastructureError | None = None
        self._trouble = ""  # in the task of the check that runs
        self._ids = ids
        self._classmates = classmates
        self._seed = seed
        self._max_answer_chars = max_answer_chars

    @pytest.fixture
    def student(self, request: pytest.FixtureRequest) -> Student:
        """Run the student's notebook up to the grade cell of this check, and return it."""
        check = check_of(request.node)
        self._trouble = ""
        self.run.advance_to(check.cell)
        self._trouble = self.run.trouble_before(check.cell)
        return Student(
            self._ids,
            lambda question: self.run.ask(question, cell=check.cell, check=check.name),
            self._max_answer_chars,
            lambda name: self.run.why_missing(name, cell=check.cell),
            self._classmates,
        )

    @pytest.fixture
    def draw(self, request: pytest.FixtureRequest) -> np.random.RandomState:
        """Return random numbers for hidden inputs, different for each submission and check."""
        # The check's name is part of the seed. So a new check leaves the inputs of the others as
        # they were, and regrading finds the answers to their questions in the evidence.
        seed = hashlib.sha256(self._seed + b"\0" + request.node.name.encode()).digest()
        return np.random.RandomState(np.frombuffer(seed, dtype=np.uint32))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note the result of a check, or the engine's own failure."""
        report = yield
        error = call.excinfo.value if call.excinfo else None
        if isinstance(error, InfrastructureError):
            self.engine_error = error
            # `grade_one` reads `engine_error`; pytest's own loop stops at this attribute.
            item.session.shouldstop = str(error)
        elif error is not None or call.when == "call":
            # If the `student` fixture fails, the check is never called and its error comes from the
            # set-up. Without an error only the call counts, because every phase makes a report.
            result = _result(check_of(item), error, str(report.longrepr or ""))
            self.results.append(self._with_cause(result))
        return report

    def _with_cause(self, result: CheckResult) -> CheckResult:
        """Return the result with the error in the task's own cells before its consequence."""
        if result.outcome != "failed" or self._trouble in result.says:
            return result
        return msgspec.structs.replace(result, says=f"{self._trouble} {result.says}".strip())


def check_of(item: pytest.Item) -> Check:
    """Return the declaration of a collected test.

    Raises
    ------
    pytest.UsageError
        If the test has none.
    """
    check = declaration_of(getattr(item, "function", None))
    if check is None:
        raise pytest.UsageError(
            f"{item.name} in {item.path.name} is not a check: "
            "put @check(grade_cell, points=…, title=…) above it"
        )
    return check


def _result(check: Check, error: BaseException | None, trace: str) -> CheckResult:
    """Return the result of a check that passed (without `error`) or ended in `error`."""
    if error is None:
        return CheckResult(check, "passed")
    if isinstance(error, CheckFailed):
        return CheckResult(check, "failed", error.says, error.own)
    # The message of a plain assertion may hold the expected value, so the student never reads it.
    if isinstance(error, AssertionError | pytest.fail.Exception):
        return CheckResult(check, "failed")
    return CheckResult(check, "raised", trace=trace[-MAX_TRACE_CHARS:])
