"""Regrading applies today's checks to recorded answers, without running students' code."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from conftest import run
from helpers import HALF, RIGHT, dump_gradebook, submit_toy
from nbmark.errors import CheckFailed, NeverAsked
from nbmark.models import SCHEMA, AnsweredQuestion, CellState, Evidence
from nbmark.running.replay import Replay

NEARLY = "a = 3.4\ndef f(x):\n    return 2 * x"


@pytest.fixture
def graded(toy_course: Path) -> Path:
    """Return a course with three graded students: right, nearly right, and half right."""
    for student, answer in {"ada": RIGHT, "ben": NEARLY, "cleo": HALF}.items():
        submit_toy(toy_course, student, answer)
    assert run(toy_course, "nbmark", "grade", "toy").returncode == 0
    return toy_course


def change_checks(course: Path, old: str, new: str) -> None:
    path = course / "graders" / "toy" / "test_toy.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def regrade(course: Path, *options: str, **environment: str) -> dict[str, Any]:
    """Run ``nbmark regrade``, which must succeed, and return its report."""
    completed = run(course, "nbmark", "regrade", "toy", "--json", *options, **environment)
    assert completed.returncode == 0, completed.stderr
    return json.loads(completed.stdout)


def regrade_with_trouble(course: Path, *options: str) -> dict[str, dict[str, Any]]:
    """Run ``nbmark regrade``, which must fail for somebody; return its rows by student."""
    completed = run(course, "nbmark", "regrade", "toy", "--json", *options)
    assert completed.returncode == 1, completed.stderr
    assert "Traceback" not in completed.stderr
    return {row["student"]: row for row in json.loads(completed.stdout)["students"]}


def rows_by_student(course: Path) -> dict[str, dict[str, Any]]:
    """Return the gradebook's rows by student."""
    return {row["student"]: row for row in dump_gradebook(course, "toy")}


def path_without_programs(course: Path) -> str:
    """Return a PATH without bubblewrap, so that no student's code can run."""
    (course / "no-programs").mkdir()
    return str(course / "no-programs")


def accept_nearly_right(course: Path) -> None:
    """Correct a check that was too strict: 3.4 passes now."""
    change_checks(course, "matches(3.0,", "matches(3.0, abs=0.5,")
    assert run(course, "nbmark", "verify", "toy").returncode == 0


def test_no_points_change_under_the_same_checks(graded):
    report = regrade(graded, PATH=path_without_programs(graded))
    assert (report["judged"], report["differ"], report["ran again"]) == (3, 0, 0)


def test_a_corrected_check_is_applied_to_evidence_and_nothing_is_written_without_apply(graded):
    accept_nearly_right(graded)
    before = dump_gradebook(graded, "toy")
    report = regrade(graded, PATH=path_without_programs(graded))
    (ben,) = [student for student in report["students"] if student["differs"]]
    assert (ben["student"], ben["before"], ben["after"], ben["ran_because"]) == ("ben", 2, 3, "")
    assert ben["why"] == ["a is right (+1)"]
    assert not report["applied"]
    assert dump_gradebook(graded, "toy") == before
    completed = run(graded, "nbmark", "regrade", "toy")
    assert "3 regraded, 1 differ (1 in points), 0 had to run again" in completed.stdout
    assert "toy: 3 submissions to regrade, 0 up to date" in completed.stderr
    assert "nothing was written; repeat with --apply" in completed.stdout


def test_apply_writes_points_feedback_and_mark_and_leaves_what_people_gave(graded):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{graded}/gradebook.db") as gradebook:
        gradebook.find_grade("a", "toy", "toy", "ben").extra_credit = 0.25
        gradebook.find_grade("w", "toy", "toy", "ben").manual_score = 2
        gradebook.find_comment("w", "toy", "toy", "ben").manual_comment = "Well said."
        gradebook.db.commit()
    before = rows_by_student(graded)
    accept_nearly_right(graded)
    regrade(graded, "--apply", PATH=path_without_programs(graded))
    before["ben"]["notebooks"]["toy"]["grades"]["a"][0] = 3.0
    before["ben"]["score"] += 1
    assert rows_by_student(graded) == before
    page = (graded / "autograded" / "ben" / "toy" / "toy.ipynb").read_text()
    assert "3 of 3 points" in page
    assert regrade(graded)["differ"] == 0
    assert "0 submissions to grade, 3 up to date" in run(graded, "nbmark", "grade", "toy").stderr


def test_after_apply_a_line_says_how_students_see_the_new_pages(graded):
    assert run(graded, "nbgrader", "generate_feedback", "toy").returncode == 0
    page = graded / "feedback" / "ben" / "toy" / "toy.html"
    assert "3 of 3 points" not in page.read_text()
    accept_nearly_right(graded)
    completed = run(graded, "nbmark", "regrade", "toy", "--apply")
    (line,) = [line for line in completed.stdout.splitlines() if "students still see" in line]
    generate, release = re.findall("'nbgrader ([^']*)'", line)
    assert release == "release_feedback toy"
    assert run(graded, "nbgrader", *generate.split()).returncode == 0
    assert "3 of 3 points" in page.read_text()
    assert "students still see" not in run(graded, "nbmark", "regrade", "toy", "--apply").stdout


def test_one_command_regrades_the_whole_course(graded):
    for part in ("source", "graders"):
        shutil.copytree(graded / part / "toy", graded / part / "play")
    (graded / "source" / "play" / "toy.ipynb").rename(graded / "source" / "play" / "play.ipynb")
    accept_nearly_right(graded)
    completed = run(graded, "nbmark", "regrade", "--all", "--student", "ben", "--json")
    assert completed.returncode == 0, completed.stderr
    play, toy = json.loads(completed.stdout)["assignments"]
    assert (play["assignment"], toy["assignment"]) == ("play", "toy")
    assert play["students"] == []  # 'play' has no graded submission, so it is not verified either
    assert [(ben["student"], ben["after"]) for ben in toy["students"]] == [("ben", 3)]
    completed = run(graded, "nbmark", "regrade", "--all", "--student", "bem")
    assert completed.returncode == 2
    assert "no graded submission by student 'bem' under evidence/" in completed.stderr


def test_a_new_question_runs_the_notebooks_again_and_the_report_counts_them(graded):
    change_checks(
        graded, 'student.call("f", x) == approx(2 * x)', 'student.call("f", -x) == approx(-2 * x)'
    )
    report = regrade(graded)
    assert (report["judged"], report["differ"], report["ran again"]) == (3, 0, 3)
    assert report["students"][0]["ran_because"] == "'test_f' asks something new at 'a'"
    path = graded / "submitted" / "ada" / "toy" / "timestamp.txt"
    path.write_text("2026-11-03 10:00:00.000000 UTC")
    (ada,) = [row for row in regrade_with_trouble(graded).values() if row["trouble"]]
    assert "has changed since it was graded" in ada["trouble"]
    assert (ada["student"], ada["after"]) == ("ada", None)


def test_a_change_of_the_instructors_own_cells_runs_the_notebooks_again(graded):
    for part in ("source", "release"):
        path = graded / part / "toy" / "toy.ipynb"
        path.write_text(path.read_text().replace("be one number", "hold one number"))
    assert "hold one number" in (graded / "source" / "toy" / "toy.ipynb").read_text()
    report = regrade(graded)
    assert report["ran again"] == 3
    assert "own cells or files have changed" in report["students"][0]["ran_because"]


def test_an_ungraded_student_is_refused_with_the_nearest_name(graded):
    completed = run(graded, "nbmark", "regrade", "toy", "--student", "bem")
    assert completed.returncode == 2
    assert "no graded submission of 'toy' by student 'bem' under evidence/" in completed.stderr
    assert "Did you mean 'ben'?" in completed.stderr


REFUSE_BEN = """
CREATE TRIGGER locked BEFORE UPDATE ON grade WHEN OLD.notebook_id IN
(SELECT n.id FROM submitted_notebook n JOIN submitted_assignment a ON n.assignment_id = a.id
WHERE a.student_id = 'ben') BEGIN SELECT RAISE(ABORT, 'locked'); END"""


def execute_sql(course: Path, statement: str) -> None:
    """Execute a statement in the gradebook's database."""
    with closing(sqlite3.connect(course / "gradebook.db")) as database:
        database.execute(statement)


def test_a_refused_write_is_reported_spares_the_others_and_is_repeated_next_time(graded):
    submit_toy(graded, "abe", NEARLY)
    submit_toy(graded, "dan", NEARLY)
    assert run(graded, "nbmark", "grade", "toy").returncode == 0
    accept_nearly_right(graded)
    page = (graded / "autograded" / "ben" / "toy" / "toy.ipynb").read_bytes()
    execute_sql(graded, REFUSE_BEN)
    rows = regrade_with_trouble(graded, "--apply")
    assert [rows[student]["after"] for student in ("abe", "ben", "dan")] == [3, None, 3]
    assert rows["ben"]["trouble"] == (
        "the gradebook refused the scores of 'ben': (sqlite3.IntegrityError) locked; "
        "run 'nbmark regrade toy --apply' again"
    )
    assert "the gradebook refused" in run(graded, "nbmark", "regrade", "toy", "--apply").stdout
    assert (graded / "autograded" / "ben" / "toy" / "toy.ipynb").read_bytes() == page
    execute_sql(graded, "DROP TRIGGER locked")
    report = regrade(graded, "--apply")
    assert [row["student"] for row in report["students"] if row["differs"]] == ["ben"]
    scores = {student: row["score"] for student, row in rows_by_student(graded).items()}
    assert scores == {"abe": 3, "ada": 3, "ben": 3, "cleo": 2, "dan": 3}


def test_evidence_without_a_complete_grading_is_reported_with_the_remedy(graded):
    (graded / "evidence" / "toy" / "ben" / "graded.json").unlink()
    rows = regrade_with_trouble(graded, "--apply")
    assert rows["ben"]["trouble"] == "has no complete grading; run: nbmark grade toy --student ben"
    assert [rows[student]["after"] for student in ("ada", "ben", "cleo")] == [3, None, 2]
    assert run(graded, "nbmark", "grade", "toy", "--student", "ben").returncode == 0
    assert regrade(graded)["judged"] == 3


def test_a_student_removed_from_the_gradebook_is_reported_and_not_added_again(graded):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{graded}/gradebook.db") as gradebook:
        gradebook.remove_student("cleo")
    shutil.rmtree(graded / "autograded" / "cleo")
    for options in ((), ("--apply",)):
        cleo = regrade_with_trouble(graded, *options)["cleo"]
        assert cleo["trouble"].startswith("no longer in the gradebook")
        assert (cleo["before"], cleo["after"]) == (2, None)
    assert list(rows_by_student(graded)) == ["ada", "ben"]
    assert not (graded / "autograded" / "cleo").exists()


def test_an_answer_graded_by_hand_is_not_flagged_again(graded):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{graded}/gradebook.db") as gradebook:
        for student in ("ada", "ben", "cleo"):
            row = gradebook.find_grade("w", "toy", "toy", student)
            row.manual_score, row.needs_manual_grade = 2, False
        gradebook.db.commit()
    before = rows_by_student(graded)
    accept_nearly_right(graded)
    regrade(graded, "--apply")
    before["ben"]["notebooks"]["toy"]["grades"]["a"][0] = 3.0
    before["ben"]["score"] += 1
    assert rows_by_student(graded) == before


def evidence_of_ben(course: Path) -> Path:
    """Return the file with the evidence of Ben's last grading."""
    folder = course / "evidence" / "toy" / "ben"
    mark = folder / "graded.json"
    path = folder / f"{json.loads(mark.read_text())['digest']}.json"
    assert set(folder.iterdir()) == {mark, path}
    return path


def cut_off(path: Path) -> None:
    path.write_text(path.read_text()[:-100])


def set_version(path: Path, version: int) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": version}))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut_off, r"is damaged \(.+: line 1 column \d+ \(char \d+\)\)"),
        (lambda path: path.write_text("[]"), r"is damaged \(it has no schema number\)"),
        (Path.unlink, "is missing"),
        (
            lambda path: set_version(path, SCHEMA - 1),
            f"is of version {SCHEMA - 1}, and this nbmark reads version {SCHEMA}",
        ),
    ],
    ids=["cut-off", "a-list", "missing", "older"],
)
def test_damaged_evidence_concerns_one_student_and_grading_repairs_it(graded, damage, reason):
    path = evidence_of_ben(graded)
    damage(path)
    rows = regrade_with_trouble(graded)
    assert re.fullmatch(
        f"its evidence, {path.relative_to(graded)}, {reason}; run: nbmark grade toy --student ben",
        rows["ben"]["trouble"],
    )
    assert [rows[student]["after"] for student in ("ada", "ben", "cleo")] == [3, None, 2]
    completed = run(graded, "nbmark", "grade", "toy")
    assert completed.returncode == 0, completed.stderr
    assert "1 submissions to grade, 2 up to date" in completed.stderr
    assert regrade(graded)["differ"] == 0


def test_evidence_without_results_is_reported_and_never_shown_as_points(graded):
    path = evidence_of_ben(graded)
    path.write_text(json.dumps({**json.loads(path.read_text()), "results": []}))
    completed = run(graded, "nbmark", "grade", "toy", "--json")
    assert completed.returncode == 1
    ben = json.loads(completed.stdout)["students"][1]
    assert (ben["outcome"], ben["points"]) == ("not graded", None)
    assert ben["trouble"].endswith("run: nbmark grade toy --student ben --force")
    repaired = run(graded, "nbmark", "grade", "toy", "--student", "ben", "--force")
    assert repaired.returncode == 0, repaired.stderr


# The canonical forms of the questions `name("a")` and `name("f")()`.
READ, CALL = '["name","a"]', '["call",["name","f"],[],{}]'


@pytest.fixture
def replay() -> Replay:
    """Return a replay of three cells: `two` answered a call too late, and `three` was not run."""
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


def test_a_recorded_answer_is_found_by_question_cell_and_order(replay):
    def ask(question: str, cell: str) -> str:
        return replay.ask(question, cell=cell, check="u")

    assert [ask(READ, "one"), ask(READ, "two")] == ["1", "2"]
    assert [ask(CALL, "one"), ask(CALL, "one")] == ["10", "11"]
    assert ask(READ, "one") == "1"  # reading a variable twice gives the same value
    for question, cell in ((CALL, "one"), (READ, "three"), ('["name","b"]', "one")):
        with pytest.raises(NeverAsked):
            ask(question, cell)
    with pytest.raises(CheckFailed, match="took too long"):
        ask(CALL, "two")


def test_a_cell_that_was_not_reached_fails_again_with_the_same_sentence(replay):
    replay.advance_to("one")
    with pytest.raises(CheckFailed, match=r"It was never run\."):
        replay.advance_to("three")
    assert replay.trouble_before("three") == "Oh."
    with pytest.raises(NeverAsked):
        replay.advance_to("four")
