"""Hidden checks of `mse`: a line fitted by hand (section 3.1 of the chapter)."""

import contextlib

import numpy as np
import pytest

import reference
from nbmark import CheckFailed, check, fail
from plots import Picture
from reference import AGE, SBP

BEST_A, BEST_B = reference.closed_form(AGE, SBP)
FIRST_LINE = (1.0, 100.0)
MIDDLE = (27.0, 63.0)  # a line in the picture covers at least half of the ages
RSS_5 = reference.rss(*FIRST_LINE, rows=5)
ROOT_OF_MEAN = "Take the root of the mean. How many residuals went into it?"
ALL_WOMEN = (
    "All the women are in this sum. What do you divide it by? Is a step missing at the end, or is "
    "there one too many?"
)
WHICH_COLUMN = "Which number multiplies the age? Which column does the line predict?"
SAME_COUNT = "Divide the numerator and the denominator by the same count."
UNITS = "Is your slope in mmHg per year? Is your line free to choose its own intercept?"
THROUGH_THE_MEANS = (
    "The best line passes through the point of the two means, without rounding. Does yours?"
)
OWN_FUNCTION = "Use your own function mse with your own line."


def follows(student, name, compute, earlier, rel=1e-4):
    """Return whether a value follows from the student's own earlier value, right or wrong.

    Zeros and unchanged values prove nothing, because every step keeps zeros and some keep ones.
    """
    try:
        value, own = (np.ravel(student.array(variable).value) for variable in (name, earlier))
    except CheckFailed:
        return False
    if np.allclose(value, own) or not value.any() or not own.any():
        return False
    expected = compute(own)
    return value.shape == expected.shape and np.allclose(value, expected, rtol=rel)


# Table 3.1 -------------------------------------------------------------------------------------


@check("table", points=1, title="Predictions for the first five women")
def test_predictions(student):
    student.array("y_hat_5", shape=(5,)).matches(
        reference.predict(*FIRST_LINE, AGE[:5]),
        mistakes=[
            (reference.predict(100, 1, AGE[:5]), WHICH_COLUMN),
            (reference.predict(BEST_A, BEST_B, AGE[:5]), "Which line does the question name?"),
        ],
    )


@check("table", points=0.5, title="Residuals of the first five women")
def test_residuals(student):
    right = reference.residuals(*FIRST_LINE, rows=5)
    answer = student.array("residual_5", shape=(5,))
    if follows(student, "residual_5", lambda y_hat: SBP[:5] - y_hat, "y_hat_5"):
        return
    answer.matches(
        right,
        mistakes=[
            (
                -right,
                "Here a residual is the observed value minus the predicted one. Which of the two "
                "did you subtract?",
            ),
            (np.abs(right), "A residual has a sign: is the woman above the line or below it?"),
        ],
    )


@check("table", points=0.5, title="Squared residuals of the first five women")
def test_squared_residuals(student):
    answer = student.array("squared_residual_5", shape=(5,))
    if follows(student, "squared_residual_5", np.square, "residual_5"):
        return
    answer.matches(
        reference.residuals(*FIRST_LINE, rows=5) ** 2,
        otherwise="Square each of your residuals, one by one.",
    )


# RSS, MSE and its root -------------------------------------------------------------------------


@check("five", points=1, title="RSS of the first five women")
def test_rss_of_five(student):
    student.number("rss_5").matches(
        RSS_5,
        rel=1e-4,
        mistakes=[
            (RSS_5 / 5, "This is already the mean. The RSS is the sum of the squared residuals."),
            (reference.rss(*FIRST_LINE), "Only the first five women belong in this sum."),
        ],
    )


@check("five", points=1, title="MSE of the first five women")
def test_mse_of_five(student):
    residuals = reference.residuals(*FIRST_LINE, rows=5)
    answer = student.number("mse_5")
    if follows(student, "mse_5", lambda rss: rss / 5, "rss_5"):
        return
    square_first = "Square each residual first, then take the average."
    answer.matches(
        RSS_5 / 5,
        rel=1e-4,
        mistakes=[
            (RSS_5, "This is the sum of the squared residuals. What turns a sum into a mean?"),
            (
                RSS_5 / 4,
                "You divided by one less than the number of women. The chapter's MSE is a "
                "plain average.",
            ),
            (np.sqrt(RSS_5 / 5), "The MSE is measured in mmHg². Check the unit of your value."),
            (np.mean(np.abs(residuals)), square_first),
            (np.mean(residuals), square_first),
            (np.mean(residuals) ** 2, square_first),
            (RSS_5 // 5, "Do not round, and do not use whole-number division (//)."),
        ],
    )


@check("five", points=1, title="Root of the MSE")
def test_root_of_mse(student):
    answer = student.number("rmse_5")
    if follows(student, "rmse_5", np.sqrt, "mse_5", rel=1e-3):
        return
    answer.matches(
        np.sqrt(RSS_5 / 5),
        rel=1e-3,
        mistakes=[(np.sqrt(RSS_5), ROOT_OF_MEAN), (np.sqrt(RSS_5 / 4), ROOT_OF_MEAN)],
    )


# The function mse, and the first line ----------------------------------------------------------


@check("mse-function", points=2, title="mse(a, b) for any line")
def test_mse_function(student):
    for a, b in [(0.0, 139.0), (1.1, 87.7), (-2.0, 300.0), (0, 0)]:
        n, rss = len(AGE), reference.rss(a, b)
        student.call("mse", a, b).number().matches(
            rss / n,
            mistakes=[
                (rss, "Your function returns a sum. What turns a sum into a mean?"),
                (rss / (n - 1), "Your function divides by one less than the number of women."),
                (np.sqrt(rss / n), "Your function takes a root, but the MSE is measured in mmHg²."),
                (rss / 5, "Your function divides by 5, but all 33 women are in the sum."),
                (reference.mse(a, b, rows=5), "Your function uses only the first five women."),
                (reference.mse(b, a), "Your function swaps a and b: the slope comes first."),
                (
                    reference.mse(*FIRST_LINE),
                    "Your function returns the same value for every line. Does it use its "
                    "arguments a and b?",
                ),
            ],
        )


@check("first-line", points=1, title="MSE of the first line on all women")
def test_mse_of_first_line(student):
    n, rss = len(AGE), reference.rss(*FIRST_LINE)
    swapped = float(np.mean((AGE - (SBP + 100)) ** 2))
    student.number("mse_1_100").matches(
        rss / n,
        rel=1e-4,
        mistakes=[
            *((wrong, ALL_WOMEN) for wrong in (rss, np.sqrt(rss / n), rss / (n - 1), rss / 5)),
            (reference.mse(100, 1), WHICH_COLUMN),
            (swapped, WHICH_COLUMN),
        ],
    )


@check("first-line", points=1, title="Prediction for a woman of 31")
def test_prediction_for_31(student):
    which_line = (
        "Which line does the question name, and which of its two numbers multiplies the age?"
    )
    student.number("sbp_31").matches(
        131, rel=1e-4, mistakes=[(100 * 31 + 1, which_line), (BEST_A * 31 + BEST_B, which_line)]
    )


# Search by hand (exercise 1) -------------------------------------------------------------------


def search_gets_below(student, limit):
    a, b = student.number("a_manual").value, student.number("b_manual").value
    loss = reference.mse(a, b) if np.isfinite([a, b]).all() else np.inf
    if not loss < limit:
        fail(
            f"Your line's MSE is not below {limit:g} yet. Change one of the two numbers a little, "
            "and keep the change if it helps. Then change the other.",
            own=f"a = {a:.6g}, b = {b:.6g}",
        )


@check("search", points=0.5, title="Your line beats the first line")
def test_search_below_408(student):
    search_gets_below(student, 408)


@check("search", points=0.5, title="Your line gets below 375")
def test_search_below_375(student):
    search_gets_below(student, 375)


@check("search", points=0.5, title="Your line gets below 352")
def test_search_below_352(student):
    search_gets_below(student, 352)


@check("search", points=0.5, title="Your line gets below 349.5")
def test_search_below_349_5(student):
    search_gets_below(student, 349.5)


# The derivation box ----------------------------------------------------------------------------


def in_common_scale(student):
    """Return both systems, the student's first, each divided by its largest matrix entry."""
    matrix = student.array("normal_matrix", shape=(2, 2)).value
    rhs = student.array("normal_rhs", shape=(2,)).value
    # Sums and means are both allowed, so the two systems may differ by a common factor.
    scale = matrix.flat[np.argmax(np.abs(matrix))]
    if not np.isfinite(scale) or scale == 0:
        fail("The matrix must hold finite numbers, and not all of them zero.", own=str(matrix))
    right_matrix, right_rhs = reference.normal_equations()
    return (
        matrix / scale,
        rhs / scale,
        right_matrix / right_matrix.max(),
        right_rhs / right_matrix.max(),
    )


@check("normal", points=0.5, title="Matrix of the two equations")
def test_normal_matrix(student):
    matrix, _, right, _ = in_common_scale(student)
    if not np.allclose(matrix, right, rtol=1e-6, atol=1e-12):
        if np.allclose(matrix, right[::-1, ::-1], rtol=1e-6, atol=1e-12):
            fail("Your equations are in the order (b, a). Write them in the order (a, b).")
        fail(
            "Set the derivative with respect to a to zero, then the derivative with respect to b. "
            "Which sum multiplies a, and which multiplies b?"
        )


@check("normal", points=0.5, title="Right-hand side of the two equations")
def test_normal_rhs(student):
    _, rhs, _, right = in_common_scale(student)
    if not np.allclose(rhs, right, rtol=1e-6):
        fail(
            "The right-hand side holds the terms that contain neither a nor b, with the same "
            "factor as your matrix."
        )


# The closed form -------------------------------------------------------------------------------


def hidden_data(draw):
    """Yield (x, y, rel): rising, falling, two points, far from zero, single precision."""
    x = draw.uniform(-3, 8, size=20)
    yield x, 2.5 * x - 1 + draw.normal(size=20), 1e-6
    yield x, -7 * x + 40 + draw.normal(size=20), 1e-6
    yield np.array([1.0, 4.0]), draw.uniform(1, 9, size=2), 1e-6
    yield x + 1e4, 0.3 * x + draw.normal(size=20), 1e-6
    single = x.astype(np.float32)
    # 1e-4: float32 has seven digits, and the sums over 20 points cost some of them.
    yield single, (3 * single + 2 + draw.normal(size=20)).astype(np.float32), 1e-4


@check("closed-form", points=2, title="closed_form(x, y) for data you have not seen")
def test_closed_form(student, draw):
    for x, y, rel in hidden_data(draw):
        a, b = reference.closed_form(x, y)
        n = len(x)
        answer = student.call("closed_form", x, y).array((2,))
        mixed = a * n / (n - 1)  # np.cov divides by n - 1, np.var by n
        answer.matches(
            [a, b],
            rel=rel,
            abs=rel,
            mistakes=[
                ([b, a], "Return the slope first, then the intercept."),
                ([mixed, np.mean(y) - mixed * np.mean(x)], SAME_COUNT),
                (reference.closed_form(y, x), WHICH_COLUMN),
                (
                    [BEST_A, BEST_B],
                    "Your function ignores its arguments: use x and y, not age and sbp.",
                ),
                ([a, np.mean(y) + a * np.mean(x)], THROUGH_THE_MEANS),
            ],
        )


@check("best-line", points=1, title="Slope and intercept of the best line")
def test_best_line(student):
    a, b = student.number("a_hat").value, student.number("b_hat").value
    n, mean_x, mean_y = len(AGE), AGE.mean(), SBP.mean()

    def through_means(slope):
        return slope, mean_y - slope * mean_x

    right = (BEST_A, BEST_B)
    wrong = [
        (through_means(BEST_A * n / (n - 1)), SAME_COUNT),
        (through_means(BEST_A * (n - 1) / n), SAME_COUNT),
        (reference.closed_form(SBP, AGE), UNITS),
        (through_means(np.corrcoef(AGE, SBP)[0, 1]), UNITS),
        ((np.sum(AGE * SBP) / np.sum(AGE**2), 0), UNITS),
        ((BEST_A, mean_y + BEST_A * mean_x), THROUGH_THE_MEANS),
        ((BEST_A, 139 - BEST_A * mean_x), THROUGH_THE_MEANS),
        ((BEST_B, BEST_A), "Which of the two numbers is the slope?"),
    ]
    own = f"a_hat = {a:.7g}, b_hat = {b:.7g}"
    if (a, b) == pytest.approx(right, rel=1e-4):
        return
    for pair, sentence in wrong:
        if (a, b) == pytest.approx(pair, rel=1e-4, abs=1e-9):
            fail(sentence, own)
    fail(
        "This is not the line with the smallest MSE. Call closed_form with the arrays age and sbp, "
        "and do not round.",
        own,
    )


@check("best-line", points=1, title="The smallest MSE")
def test_smallest_mse(student):
    n, rss = len(AGE), reference.rss(BEST_A, BEST_B)
    student.number("mse_min").matches(
        rss / n,
        rel=2e-5,
        mistakes=[
            (wrong, OWN_FUNCTION) for wrong in (rss, np.sqrt(rss / n), rss / (n - 1), rss / (n - 2))
        ],
        otherwise="This is not the smallest MSE. Do not round your line before you use it.",
    )


# The picture (figures 3.1 and 3.3) -------------------------------------------------------------


def lines_to_accept(student):
    """Yield the student's own line and the best one, so that an earlier slip costs only once."""
    with contextlib.suppress(CheckFailed):
        yield student.number("a_hat").value, student.number("b_hat").value
    yield BEST_A, BEST_B


@check("plot", points=0.5, title="All 33 women are in the picture")
def test_plot_points(student):
    picture = Picture(student, "ax_fit")
    if not all(picture.has_point(woman) for woman in zip(AGE, SBP, strict=True)):
        fail(
            "Not every woman is a point in ax_fit. Put age on the horizontal axis and sbp on the "
            "vertical axis."
        )


@check("plot", points=0.5, title="The best line is in the picture")
def test_plot_line(student):
    picture = Picture(student, "ax_fit")
    for a, b in lines_to_accept(student):
        if picture.has_function(lambda x, a=a, b=b: reference.predict(a, b, x), *MIDDLE):
            return
    fail("I cannot find your best line in ax_fit. Draw a_hat * age + b_hat against age as a line.")


@check("plot", points=0.5, title="33 residuals are in the picture")
def test_plot_residuals(student):
    picture = Picture(student, "ax_fit")
    # Students may draw a residual with vlines or with plot, upwards or downwards.
    lines = [line for line in (*picture.segments, *picture.lines) if len(line) == 2]
    vertical = [line for line in lines if line[0, 0] == line[1, 0]]
    rows = np.array([[line[0, 0], *np.sort(line[:, 1])] for line in vertical]).reshape(-1, 3)
    for a, b in lines_to_accept(student):
        ends = np.sort(np.column_stack([SBP, reference.predict(a, b)]), axis=1)
        expected = np.column_stack([AGE, ends])
        if all(np.isclose(rows, row, rtol=1e-3, atol=1e-3).all(axis=1).any() for row in expected):
            return
    fail(
        "Each woman needs a vertical segment from her point to the line, for instance with "
        "ax_fit.vlines.",
        own=f"{len(rows)} vertical segments",
    )


@check("plot", points=0.5, title="Both axes have a label")
def test_plot_labels(student):
    Picture(student, "ax_fit").must_have_labels()
