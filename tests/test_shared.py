"""What half of a class reads at one check is reported, because then the task may be wrong."""

from __future__ import annotations

import json

from conftest import run
from helpers import HALF, RIGHT, submit_toy
from nbmark.grading.shared import Shared, shared_sentences
from nbmark.models import CellScore
from nbmark.records.row import Row

SCORES = {"a": CellScore(0, 1, needs_look=False)}


def row(student: str, *sentences: str) -> Row:
    return Row(student, "graded", SCORES, sentences=tuple(("A title", each) for each in sentences))


def test_a_sentence_counts_from_half_of_the_class_and_three_students():
    assert shared_sentences([row("a", "No."), row("b", "No.")]) == []
    three = [row(student, "No.") for student in "abc"]
    assert shared_sentences(three) == [Shared("A title", "No.", 3, 3)]
    others = [row(student, "Why?") for student in "defg"]
    assert [shared.sentence for shared in shared_sentences(three + others)] == ["Why?"]


def test_students_without_a_grade_do_not_count():
    missing = [Row(student, "not graded") for student in "xyz"]
    assert len(shared_sentences([row(student, "No.") for student in "abc"] + missing)) == 1


def test_a_sentence_with_the_readers_id_is_the_same_sentence():
    rows = [row(student, f"Collected as '{student}'.") for student in ("ada", "ben", "cleo")]
    assert [shared.sentence for shared in shared_sentences(rows)] == ["Collected as '…'."]


def test_the_report_follows_the_table_and_is_in_the_json_and_in_nbgraders_log(toy_course):
    for student, answer in {"ada": RIGHT, "ben": HALF, "cleo": HALF, "dora": HALF}.items():
        submit_toy(toy_course, student, answer)
    line = "3 of 4 students read the same at 'a is right': 'One too many.'; check whether"
    assert line in run(toy_course, "nbmark", "grade", "toy").stdout.splitlines()[-1]
    completed = run(toy_course, "nbmark", "grade", "toy", "--json")
    assert json.loads(completed.stdout)["shared_sentences"] == [
        {"title": "a is right", "sentence": "One too many.", "students": 3, "graded": 4}
    ]
    autograded = run(toy_course, "nbgrader", "autograde", "toy", "--force")
    assert line in autograded.stderr
