"""Regrading: today's checks on yesterday's answers, and no student's code runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import run
from helpers import HALF, RIGHT, dump, hand_in_toy
from nbmark.errors import CheckFailed
from nbmark.models import Asked, Heard, Reached
from nbmark.replay import NeverAsked, Replay

NEARLY = "a = 3.4\ndef f(x):\n    return 2 * x"


@pytest.fixture
def graded(toy_course: Path) -> Path:
    """Three students with a grade: right, nearly right, and half."""
    for student, answer in {"ada": RIGHT, "ben": NEARLY, "cleo": HALF}.items():
        hand_in_toy(toy_course, student, answer)
    assert run(toy_course, "nbmark", "grade", "toy").returncode == 0
    return toy_course


def change_checks(course: Path, old: str, new: str) -> None:
    path = course / "graders" / "toy" / "test_toy.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def regrade(course: Path, *words: str, **environment: str) -> dict[str, Any]:
    done = run(course, "nbmark", "regrade", "toy", "--json", *words, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def without_programs(course: Path) -> str:
    """A path on which there is no bubblewrap, and so no way to run a student's code."""
    (course / "no-programs").mkdir()
    return str(course / "no-programs")


def tolerant(course: Path) -> None:
    """A mended check: 3.4 is near enough."""
    change_checks(course, "matches(3.0,", "matches(3.0, abs=0.5,")
    assert run(course, "nbmark", "verify", "toy").returncode == 0


def test_nothing_changes_where_nothing_was_changed(graded):
    found = regrade(graded, PATH=without_programs(graded))
    assert (found["judged"], found["differ"], found["ran again"]) == (3, 0, 0)


def test_a_mended_check_is_judged_from_evidence_and_shown_before_it_is_written(graded):
    tolerant(graded)
    before = dump(graded, "toy")
    found = regrade(graded, PATH=without_programs(graded))
    (ben,) = [one for one in found["students"] if one["differs"]]
    assert (ben["student"], ben["before"], ben["after"], ben["ran_because"]) == ("ben", 2, 3, "")
    assert ben["why"] == ["a is right (+1)"]
    assert not found["applied"]
    assert dump(graded, "toy") == before
    shown = run(graded, "nbmark", "regrade", "toy")
    assert "3 judged anew, 1 differ, 0 had to run again" in shown.stdout
    assert "nothing was written; repeat with --apply" in shown.stdout


def test_with_apply_points_feedback_and_mark_are_new_and_what_people_gave_stays(graded):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{graded}/gradebook.db") as gradebook:
        gradebook.find_grade("a", "toy", "toy", "ben").extra_credit = 0.25
        gradebook.find_grade("w", "toy", "toy", "ben").manual_score = 2
        gradebook.find_comment("w", "toy", "toy", "ben").manual_comment = "Well said."
        notebook = gradebook.find_submission_notebook("toy", "toy", "ben")
        notebook.late_submission_penalty = 0.75
        gradebook.db.commit()
    before = {one["student"]: one for one in dump(graded, "toy")}
    tolerant(graded)
    regrade(graded, "--apply", PATH=without_programs(graded))
    after = {one["student"]: one for one in dump(graded, "toy")}
    expected = before["ben"]
    expected["notebooks"]["toy"]["grades"]["a"][0] = 3.0
    expected["score"] += 1
    assert after == before
    page = (graded / "autograded" / "ben" / "toy" / "toy.ipynb").read_text()
    assert "3 of 3 points" in page
    assert regrade(graded)["differ"] == 0
    assert "0 submissions to grade, 3 up to date" in run(graded, "nbmark", "grade", "toy").stderr


def test_a_check_that_asks_something_new_runs_the_notebook_again_and_says_for_how_many(graded):
    change_checks(graded, "student.call(\"f\", x) == approx(2 * x)",
                  "student.call(\"f\", -x) == approx(-2 * x)")  # fmt: skip
    found = regrade(graded)
    assert (found["judged"], found["differ"], found["ran again"]) == (3, 0, 3)
    assert found["students"][0]["ran_because"] == "'test_f' asks something new at 'a'"
    path = graded / "submitted" / "ada" / "toy" / "timestamp.txt"
    path.write_text("2026-11-03 10:00:00.000000 UTC")
    done = run(graded, "nbmark", "regrade", "toy", "--json")
    assert done.returncode == 1
    (ada,) = [one for one in json.loads(done.stdout)["students"] if one["trouble"]]
    assert "has changed since it was graded" in ada["trouble"]
    assert (ada["student"], ada["after"]) == ("ada", None)


def test_where_the_instructors_own_cells_changed_the_notebook_runs_again(graded):
    for part in ("source", "release"):
        path = graded / part / "toy" / "toy.ipynb"
        path.write_text(path.read_text().replace("be one number", "hold one number"))
    assert "hold one number" in (graded / "source" / "toy" / "toy.ipynb").read_text()
    found = regrade(graded)
    assert found["ran again"] == 3
    assert "own cells or files have changed" in found["students"][0]["ran_because"]


def test_somebody_without_a_grade_is_named(graded):
    done = run(graded, "nbmark", "regrade", "toy", "--student", "bem")
    assert done.returncode == 2
    assert "no graded submission of 'toy' by student 'bem' under evidence/" in done.stderr
    assert "Did you mean 'ben'?" in done.stderr


READ, CALL = '["name","a"]', '["call",["name","f"],[],{}]'


@pytest.fixture
def replay() -> Replay:
    evidence = [
        Asked("one", "t", READ, "1"), Asked("one", "t", CALL, "10"), Asked("one", "t", CALL, "11"),
        Asked("two", "t", READ, "2"), Asked("two", "t", CALL, "", "It took too long."),
    ]  # fmt: skip
    reached = {"one": Reached(), "two": Reached(), "three": Reached("It was never run.", "Oh.")}
    return Replay(Heard("ada", ["one", "two", "three"], reached, evidence, ""))


def test_an_answer_is_found_by_question_cell_and_ordinal(replay):
    asked: Callable[[str, str], str] = lambda q, cell: replay.ask(q, cell=cell, check="u")  # noqa: E731
    assert [asked(READ, "one"), asked(READ, "two")] == ["1", "2"]
    assert [asked(CALL, "one"), asked(CALL, "one")] == ["10", "11"]
    assert asked(READ, "one") == "1"  # a variable that is read once more is the same
    for question, cell in ((CALL, "one"), (READ, "three"), ('["name","b"]', "one")):
        with pytest.raises(NeverAsked):
            asked(question, cell)
    with pytest.raises(CheckFailed, match="took too long"):
        asked(CALL, "two")


def test_a_cell_that_was_not_reached_fails_again_with_its_sentence(replay):
    replay.advance_to("one")
    with pytest.raises(CheckFailed, match=r"It was never run\."):
        replay.advance_to("three")
    assert replay.trouble_before("three") == "Oh."
    with pytest.raises(NeverAsked):
        replay.advance_to("four")
