"""Messages say what to do next, to an instructor and to a student."""

from __future__ import annotations

from nbmark.errors import unknown
from nbmark.running import messages
from nbmark.sandbox.session import CellRun


def test_an_unknown_name_is_answered_with_the_nearest_one():
    error = unknown("assignment", "ms", "source/", ["keras", "mse"])
    assert str(error) == "no assignment 'ms' under source/ (found: keras, mse). Did you mean 'mse'?"


def test_a_task_without_an_answer_asks_for_the_students_own_code():
    run = CellRun("error", error_name="NotImplementedError")
    assert "put your own code" in messages.error_text(run)
