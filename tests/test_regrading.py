"""Regrading: today's checks on yesterday's answers, and no student's code runs."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from conftest import run
from helpers import HALF, RIGHT, dump, hand_in_toy
from nbmark.errors import CheckFailed, NeverAsked
from nbmark.models import AnsweredQuestion, CellState, Evidence
from nbmark.running.replay import Replay

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
    assert "3 judged anew, 1 differ (1 in points), 0 had to run again" in shown.stdout
    assert "toy: 3 submissions to judge anew, 0 up to date" in shown.stderr
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


def test_after_an_apply_it_says_how_students_get_to_see_it(graded):
    assert run(graded, "nbgrader", "generate_feedback", "toy").returncode == 0
    page = graded / "feedback" / "ben" / "toy" / "toy.html"
    assert "3 of 3 points" not in page.read_text()
    tolerant(graded)
    done = run(graded, "nbmark", "regrade", "toy", "--apply")
    (said,) = [one for one in done.stdout.splitlines() if "students still see" in one]
    generate, release = re.findall("'nbgrader ([^']*)'", said)
    assert release == "release_feedback toy"
    assert run(graded, "nbgrader", *generate.split()).returncode == 0
    assert "3 of 3 points" in page.read_text()
    assert "students still see" not in run(graded, "nbmark", "regrade", "toy", "--apply").stdout


def test_the_whole_course_is_judged_anew_with_one_command(graded):
    for part in ("source", "graders"):
        shutil.copytree(graded / part / "toy", graded / part / "play")
    (graded / "source" / "play" / "toy.ipynb").rename(graded / "source" / "play" / "play.ipynb")
    tolerant(graded)
    done = run(graded, "nbmark", "regrade", "--all", "--student", "ben", "--json")
    assert done.returncode == 0, done.stderr
    found = {one["assignment"]: one for one in json.loads(done.stdout)["assignments"]}
    assert found["play"]["students"] == []  # nobody was graded: it is not even tried
    assert [(one["student"], one["after"]) for one in found["toy"]["students"]] == [("ben", 3)]
    done = run(graded, "nbmark", "regrade", "--all", "--student", "bem")
    assert done.returncode == 2
    assert "no graded submission by student 'bem' under evidence/" in done.stderr


def test_a_check_that_asks_something_new_runs_the_notebook_again_and_says_for_how_many(graded):
    change_checks(
        graded, 'student.call("f", x) == approx(2 * x)', 'student.call("f", -x) == approx(-2 * x)'
    )
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


REFUSE_BEN = """
CREATE TRIGGER locked BEFORE UPDATE ON grade WHEN OLD.notebook_id IN
(SELECT n.id FROM submitted_notebook n JOIN submitted_assignment a ON n.assignment_id = a.id
WHERE a.student_id = 'ben') BEGIN SELECT RAISE(ABORT, 'locked'); END"""


def in_database(course: Path, statement: str) -> None:
    with closing(sqlite3.connect(course / "gradebook.db")) as database:
        database.execute(statement)


def refused(course: Path, *words: str) -> dict[str, dict[str, Any]]:
    """What ``nbmark regrade`` says of each student where it could not judge or write somebody."""
    done = run(course, "nbmark", "regrade", "toy", "--json", *words)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return {one["student"]: one for one in json.loads(done.stdout)["students"]}


def test_a_refused_write_is_told_and_costs_the_others_nothing_and_is_taken_up_again(graded):
    hand_in_toy(graded, "abe", NEARLY)
    hand_in_toy(graded, "dan", NEARLY)
    assert run(graded, "nbmark", "grade", "toy").returncode == 0
    tolerant(graded)
    page = (graded / "autograded" / "ben" / "toy" / "toy.ipynb").read_bytes()
    in_database(graded, REFUSE_BEN)
    found = refused(graded, "--apply")
    assert [found[one]["after"] for one in ("abe", "ben", "dan")] == [3, None, 3]
    assert found["ben"]["trouble"] == (
        "the gradebook refused the scores of 'ben': (sqlite3.IntegrityError) locked; "
        "run 'nbmark regrade toy --apply' again"
    )
    assert "the gradebook refused" in run(graded, "nbmark", "regrade", "toy", "--apply").stdout
    assert (graded / "autograded" / "ben" / "toy" / "toy.ipynb").read_bytes() == page
    in_database(graded, "DROP TRIGGER locked")
    again = regrade(graded, "--apply")
    assert [one["student"] for one in again["students"] if one["differs"]] == ["ben"]
    rows = {one["student"]: one["score"] for one in dump(graded, "toy")}
    assert rows == {"abe": 3, "ada": 3, "ben": 3, "cleo": 2, "dan": 3}


def test_whoever_has_evidence_but_no_complete_grading_is_named(graded):
    (graded / "evidence" / "toy" / "ben" / "graded.json").unlink()
    found = refused(graded, "--apply")
    assert found["ben"]["trouble"] == (
        "has no complete grading; run 'nbmark grade toy --student ben'"
    )
    assert [found[one]["after"] for one in ("ada", "ben", "cleo")] == [3, None, 2]
    assert run(graded, "nbmark", "grade", "toy", "--student", "ben").returncode == 0
    assert regrade(graded)["judged"] == 3


def test_a_removed_student_is_named_and_does_not_come_back(graded):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{graded}/gradebook.db") as gradebook:
        gradebook.remove_student("cleo")
    shutil.rmtree(graded / "autograded" / "cleo")
    for words in ((), ("--apply",)):
        cleo = refused(graded, *words)["cleo"]
        assert cleo["trouble"].startswith("no longer in the gradebook")
        assert (cleo["before"], cleo["after"]) == (2, None)
    assert [one["student"] for one in dump(graded, "toy")] == ["ada", "ben"]
    assert not (graded / "autograded" / "cleo").exists()


def test_an_answer_that_was_graded_by_hand_is_not_flagged_again(graded):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{graded}/gradebook.db") as gradebook:
        for student in ("ada", "ben", "cleo"):
            row = gradebook.find_grade("w", "toy", "toy", student)
            row.manual_score, row.needs_manual_grade = 2, False
        gradebook.db.commit()
    before = {one["student"]: one for one in dump(graded, "toy")}
    tolerant(graded)
    regrade(graded, "--apply")
    before["ben"]["notebooks"]["toy"]["grades"]["a"][0] = 3.0
    before["ben"]["score"] += 1
    assert {one["student"]: one for one in dump(graded, "toy")} == before


@pytest.mark.parametrize("damage", [lambda text: text[:-100], lambda _: "[]", lambda _: None])
def test_damaged_evidence_stops_nobody_and_grading_makes_it_anew(graded, damage):
    (path,) = set((graded / "evidence" / "toy" / "ben").iterdir()) - {
        graded / "evidence" / "toy" / "ben" / "graded.json"
    }
    text = damage(path.read_text())
    path.unlink() if text is None else path.write_text(text)
    found = refused(graded)
    assert found["ben"]["trouble"] == (
        "its evidence in evidence/toy/ben is missing, damaged or of another version; "
        "run 'nbmark grade toy --student ben'"
    )
    assert [found[one]["after"] for one in ("ada", "ben", "cleo")] == [3, None, 2]
    done = run(graded, "nbmark", "grade", "toy")
    assert done.returncode == 0, done.stderr
    assert "1 submissions to grade, 2 up to date" in done.stderr
    assert regrade(graded)["differ"] == 0


def test_evidence_without_a_result_is_never_shown_as_points(graded):
    mark = json.loads((graded / "evidence" / "toy" / "ben" / "graded.json").read_text())
    path = graded / "evidence" / "toy" / "ben" / f"{mark['digest']}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "results": []}))
    done = run(graded, "nbmark", "grade", "toy", "--json")
    assert done.returncode == 1
    ben = json.loads(done.stdout)["students"][1]
    assert (ben["outcome"], ben["points"]) == ("not graded", None)
    assert ben["trouble"].endswith("run 'nbmark grade toy --student ben --force'")
    again = run(graded, "nbmark", "grade", "toy", "--student", "ben", "--force")
    assert again.returncode == 0, again.stderr


READ, CALL = '["name","a"]', '["call",["name","f"],[],{}]'


@pytest.fixture
def replay() -> Replay:
    evidence = [
        AnsweredQuestion("one", "t", READ, "1"),
        AnsweredQuestion("one", "t", CALL, "10"),
        AnsweredQuestion("one", "t", CALL, "11"),
        AnsweredQuestion("two", "t", READ, "2"),
        AnsweredQuestion("two", "t", CALL, "", "It took too long."),
    ]
    reached = {
        "one": CellState(),
        "two": CellState(),
        "three": CellState("It was never run.", "Oh."),
    }
    return Replay(Evidence("ada", ["one", "two", "three"], reached, evidence, ""))


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
