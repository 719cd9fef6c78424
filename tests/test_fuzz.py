"""Random notebooks and random answers of the agent end in a grade or a named error."""

from __future__ import annotations

import attacks
import fuzzing


def test_fifty_random_notebooks_end_in_a_grade_or_a_named_error(tmp_path):
    attacks.make_course(tmp_path / "course", "none", "target")
    assert fuzzing.grade_notebooks(tmp_path / "course", 50, start=1) == []


def test_no_random_answer_breaks_the_decoder():
    assert fuzzing.judge_answers(3000, start=1) == []
