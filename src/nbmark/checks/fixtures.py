"""Makes pytest run hidden checks on a submission: the `student` fixture, the order, the results.

``pytest graders/mse --submission FILE.ipynb`` loads it as any plugin; `checking` hands a `Grading`
to `pytest.main` itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator

import numpy as np
import pytest

from nbmark.checks.declare import declared
from nbmark.checks.student import Student
from nbmark.errors import CheckFailed, InfrastructureError, NbmarkError
from nbmark.models import Check, CheckResult
from nbmark.running.replay import Replay
from nbmark.running.submission_run import Run


class Grading:
    """The plugin; `begin` tells it which submission the next checks are about.

    Attributes
    ----------
    results
        One per finished check, in the order in which they ran.
    broken
        Our own trouble, if there was any: nothing of this submission is graded then.
    """

    def begin(self, run: Run | Replay, student_id: str, seed: bytes, max_answer_chars: int) -> None:
        """Take up a submission.

        Parameters
        ----------
        run
            The submission's notebooks, at work or as evidence.
        seed
            Decides the hidden inputs of this submission.
        max_answer_chars
            The longest answer that is looked at.
        """
        self.run = run
        self.results: list[CheckResult] = []
        self.broken: NbmarkError | None = None
        self._student_id = student_id
        self._seed = seed
        self._max_answer_chars = max_answer_chars

    @pytest.fixture
    def student(self, request: pytest.FixtureRequest) -> Student:
        """The student's work, run up to the grade cell of this check."""
        check = check_of(request.node)
        self.run.advance_to(check.cell)
        return Student(
            self._student_id,
            lambda question: self.run.ask(question, cell=check.cell, check=check.name),
            self._max_answer_chars,
            self.run.trouble_before(check.cell),
        )

    @pytest.fixture
    def draw(self, request: pytest.FixtureRequest) -> np.random.RandomState:
        """Random numbers for hidden inputs: other ones for each submission and check."""
        seed = hashlib.sha256(self._seed + b"\0" + request.node.name.encode()).digest()
        return np.random.RandomState(np.frombuffer(seed, dtype=np.uint32))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        error = call.excinfo.value if call.excinfo else None
        if isinstance(error, InfrastructureError):
            self.broken = error
            item.session.shouldstop = str(error)  # for pytest's own loop
        elif error is not None or call.when == "call":
            self.results.append(_result(check_of(item), error, str(report.longrepr or "")))
        return report


def check_of(item: pytest.Item) -> Check:
    """The declaration of a collected test.

    Raises
    ------
    pytest.UsageError
        If the test has none.
    """
    found = declared(getattr(item, "function", check_of))
    if found is None:
        raise pytest.UsageError(
            f"{item.name} in {item.path.name} is no check: "
            "put @check(grade_cell, points=…, title=…) above it"
        )
    return found


def _result(check: Check, error: BaseException | None, trace: str) -> CheckResult:
    if error is None:
        return CheckResult(check, "passed")
    if isinstance(error, CheckFailed):
        return CheckResult(check, "failed", error.says, error.own)
    if isinstance(error, AssertionError | pytest.fail.Exception):
        return CheckResult(check, "failed")
    return CheckResult(check, "raised", trace=trace[-8000:])
