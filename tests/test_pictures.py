"""A picture is read whatever its size, and no odd picture or value breaks a check."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nbmark import CheckFailed, Student, close
from nbmark.checks.plain_data import encode
from nbmark.limits import Limits
from nbmark.sandbox.session import Session
from nbmark.sandbox.supply import SessionSource
from plots import Picture

LIMITS = Limits(memory_mib=3000)
LONGEST_WALK = 71_726  # steps in the canyon of `two-parameters`
FLOATS = st.floats(width=64) | st.sampled_from([0.0, 1.0, 1e308, -1e308])
ARRAYS = st.sampled_from(["f8", "f4", "i8", "?", "c16"]).flatmap(
    lambda dtype: arrays.arrays(
        dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    )
)
PATHS = arrays.arrays("f8", st.tuples(st.integers(0, 5), st.just(2)), elements=FLOATS)
SCALARS = (
    st.none() | st.booleans() | st.integers() | FLOATS | st.text(max_size=3) | st.complex_numbers()
)
ODD = st.recursive(
    SCALARS | ARRAYS | PATHS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
LINES = st.fixed_dictionaries(
    {"path": PATHS, "has_line": st.booleans(), "has_markers": st.booleans()}
)
CONTENTS = {
    "groups": st.lists(PATHS, max_size=3),
    "segments": st.lists(PATHS, max_size=3),
    "lines": st.lists(LINES, max_size=3),
    "contours": st.integers(0, 3),
    "bars": PATHS,
    "labels": st.lists(st.text(max_size=2), min_size=2, max_size=2),
    "scales": st.just(["linear", "log"]),
}


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with (
        closing(SessionSource("bubblewrap", LIMITS, ["matplotlib.pyplot", "numpy"])) as supply,
        closing(supply.open()) as opened,
    ):
        yield opened


def picture_in(session: Session, code: str) -> Picture:
    """Return the picture `ax` that some code draws."""
    start = "import numpy as np, matplotlib.pyplot as plt\nfig, ax = plt.subplots()\n"
    assert session.run_cell(start + code, 30).status == "ok"
    student = Student("ada", lambda question: session.ask(question).text, LIMITS.answer_kib << 10)
    return Picture(student, "ax")


def picture_of(contents: Any) -> Picture:
    """Return the picture that a student's process describes in this way."""
    reply = json.dumps({"ok": encode(contents)})
    return Picture(Student("ada", lambda question: reply, 1 << 24), "ax")


@pytest.mark.parametrize("draw", ["plot(*path.T)", "plot(*path.T, 'o')", "scatter(*path.T)"])
def test_a_walk_ten_times_as_long_as_the_longest_of_the_course_is_found(session, draw):
    steps = 10 * LONGEST_WALK
    path = np.column_stack([np.arange(steps) / 7, np.arange(steps) / 3])
    code = f"path = np.column_stack([np.arange({steps}) / 7, np.arange({steps}) / 3])\nax.{draw}"
    picture = picture_in(session, code)
    assert picture.has_path(path)
    assert not picture.has_path(path[1:])


def test_gaps_dates_and_names_are_read_as_matplotlib_draws_them(session):
    picture = picture_in(
        session,
        "ax.plot(['a', 'b'], [1, 2])\n"
        "ax.plot(np.ma.array([1.0, 2.0], mask=[0, 1]), [3, 4])\n"
        "ax.scatter(np.ma.array([1.0, 2.0], mask=[0, 1]), [3, 4])\n"
        "ax.bar(['a', 'b'], [5, 6])",
    )
    assert picture.has_path([[0, 1], [1, 2]])
    assert picture.has_curve([3, 4])
    assert picture.has_point((1, 3))
    assert picture.bars[:, 1].tolist() == [5, 6]


def test_an_endless_line_is_read_where_matplotlib_draws_it(session):
    draw = "ax.scatter([0, 2], [1, 5])\nax.axline((0, 1), slope=2)\nax.axline((0, 1), (1, 0))"
    picture = picture_in(session, draw)
    assert picture.has_function(lambda x: 1 + 2 * x, 0, 2)
    assert picture.has_function(lambda x: 1 - x, 0, 1)
    assert not picture.has_function(lambda x: 1 - x, 0, 2)  # it leaves the picture before
    assert not picture.has_function(lambda x: 2 * x, 0, 2)


def test_many_markers_in_a_row_show_a_curve_and_two_do_not(session):
    picture = picture_in(
        session, "x = np.arange(12)\nax.plot(x, x**2, 'o')\nax.plot([0, 11], [0, 11], 'o')"
    )
    assert picture.has_function(np.square, 0, 11)
    assert picture.has_curve(np.arange(12) ** 2)
    assert not picture.has_function(lambda x: x, 0, 11)


def test_a_curve_may_go_on_but_not_end_early(session):
    picture = picture_in(session, "ax.semilogy([8, 4, 2, 1])")
    assert picture.has_curve([8, 4, 2])
    assert not picture.has_curve([8, 4, 2, 1, 0.5])
    assert not picture.has_curve([4, 2])
    assert not picture.has_curve([])


def test_a_picture_that_is_still_none_is_a_missing_answer(session):
    with pytest.raises(CheckFailed, match="ax is None: the answer is still missing"):
        picture_in(session, "ax = None")


@given(ODD, ODD)
@settings(max_examples=300, deadline=None)
def test_close_takes_any_two_values(actual, expected):
    assert close(actual, expected) in (True, False)


@given(st.fixed_dictionaries(CONTENTS), ODD | PATHS, st.sampled_from(["x", "odd"]))
@settings(max_examples=300, deadline=None)
def test_no_picture_and_no_value_breaks_a_method_of_a_picture(contents, value, height):
    picture = picture_of(contents)
    picture.has_curve(value)
    picture.has_path(value)
    picture.has_point(value)
    picture.marks(value)
    picture.has_function({"x": np.abs, "odd": lambda x: value}[height], 0, 1)
    with suppress(CheckFailed):
        picture.must_have_labels()


@given(ODD | st.dictionaries(st.sampled_from(sorted(CONTENTS)), ODD | st.lists(LINES, max_size=2)))
@settings(max_examples=300, deadline=None)
def test_a_forged_picture_fails_with_a_sentence(contents):
    with pytest.raises(CheckFailed, match="ax could not be read as a picture"):
        picture_of(contents)
