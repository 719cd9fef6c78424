"""The results of checks become points, feedback for the student, and a record in JSON."""

from __future__ import annotations

import json

import msgspec
import pytest

from nbmark.checks.points import misfits, scores
from nbmark.errors import InfrastructureError
from nbmark.models import Check, CheckResult, Graded
from nbmark.records.feedback import as_html, as_text

CHECKS = [Check("test_a", "a", 1, "A"), Check("test_b", "a", 2, "<b>")]
POINTS = {"a": 3}


def results(*outcomes: str) -> list[CheckResult]:
    """Return a result for each check, all with the same sentence and value."""
    return [
        CheckResult(check, outcome, "<i>wrong</i>", "<u>7</u>")
        for check, outcome in zip(CHECKS, outcomes, strict=True)
    ]


def graded(check_results: list[CheckResult], **fields: dict) -> Graded:
    return Graded("ada", "toy", "0", {}, check_results, **fields)


def test_only_checks_that_passed_earn_points():
    assert scores(graded(results("passed", "failed")), POINTS)["a"].earned == 1
    assert scores(graded(results("passed", "raised")), POINTS)["a"].needs_look
    unreadable = graded(results("failed", "failed"), unreadable={"toy": "x"})
    assert scores(unreadable, POINTS)["a"].needs_look


def test_a_cell_without_any_result_is_an_infrastructure_error():
    with pytest.raises(InfrastructureError, match="no check of cell 'a' ran"):
        scores(graded([]), POINTS)


def test_each_misfit_of_checks_and_cells_is_a_line_of_its_own():
    assert misfits(CHECKS, POINTS, "here") == []
    checks = [*CHECKS, CHECKS[0], Check("test_c", "zzz", 0, "")]
    assert len(misfits(checks, {"a": 3, "b": 1}, "here")) == 5


def test_feedback_names_failed_checks_and_points_and_escapes_html():
    feedback = results("passed", "failed")
    assert "✗ <b>: not passed (0 of 2)" in as_text(feedback)
    assert "1 of 3 points" in as_text(feedback)
    html = as_html(feedback)
    assert "&lt;i&gt;wrong&lt;/i&gt;" in html
    assert "&lt;u&gt;7" in html
    assert "<u>" not in html


def test_a_check_that_raised_shows_the_student_no_traceback():
    raised = CheckResult(CHECKS[0], "raised", trace="Traceback: secret 317.2")
    assert "317.2" not in as_text([raised]) + as_html([raised])


def test_a_graded_submission_survives_json():
    submission = graded(results("passed", "failed"), unreadable={"toy": "why \ud800"})
    text = json.dumps(msgspec.to_builtins(submission))
    assert msgspec.convert(json.loads(text), Graded) == submission
