"""Hidden checks of `mse`: a line fitted by hand (section 3.1 of the chapter)."""

import numpy as np

import reference
from answers import value_or_none
from nbmark import check, close, fail
from plots import Picture
from reference import AGE, SBP

BEST_A, BEST_B = reference.closed_form(AGE, SBP)
FIRST_LINE = (1.0, 100.0)
MIDDLE = (27.0, 63.0)  # a line in the picture covers at least half of the ages
RSS_5 = reference.rss(*FIRST_LINE, rows=5)
FIVE = reference.residuals(*FIRST_LINE, rows=5)
RIGHT_MATRIX, RIGHT_RHS = reference.normal_equations()
SUM = "This is the sum of the squared residuals. What turns a sum into a mean?"
UNIT = "The MSE is measured in mmHg². Check the unit of your value."
ONE_LESS = "You divided by one less than the number of women. The chapter's MSE is a plain average."
SQUARE_FIRST = "Square each residual first, then take the average."
SAME_COUNT = "Divide the numerator and the denominator by the same count."
SLOPE_FIRST = "Which of the two numbers multiplies the age?"
WHICH_LINE = "Which line does the question name? These are the numbers of the best line."
OTHER_WAY_ROUND = "This line predicts the age from the blood pressure. Swap the two columns."
NO_UNIT = "This slope is the correlation coefficient, which has no unit. Yours is in mmHg per year."
ORIGIN = "Your line passes through the origin. The best line chooses its own intercept."
SIGN_OF_MEAN = (
    "At the mean age, the best line has the mean blood pressure. Check the sign in your intercept."
)


def follows(value, own, compute):
    """Return whether a value follows from the student's own earlier value, right or wrong.

    Zeros and unchanged values prove nothing, because every step keeps zeros and some keep ones.
    Neither does nan, because every step keeps it too.
    """
    if own is None or not np.any(own) or not np.any(value) or not np.isfinite(value).all():
        return False
    if close(value, own, rel=1e-4):
        return False
    return close(value, compute(own), rel=1e-4)


def own_line(student, *names):
    """Return the student's slope and intercept, or None if one of them is no finite number."""
    line = [value_or_none(student.number, name) for name in names]
    return line if None not in line and np.isfinite(line).all() else None


def from_right_and_own(right, own, kinds):
    """Yield each mistake twice: made with the right earlier value and with the student's own.

    `kinds` holds pairs of a function of the earlier value and a sentence.
    """
    for earlier in (right, own):
        if earlier is not None and np.isfinite(earlier).all():
            yield from ((wrong(earlier), sentence) for wrong, sentence in kinds)


# Table 3.1 -------------------------------------------------------------------------------------


@check("table", points=1, title="Predictions for the first five women")
def test_predictions(student):
    student.array("y_hat_5", shape=(5,)).matches(
        reference.predict(*FIRST_LINE, AGE[:5]),
        mistakes=[
            (reference.predict(100, 1, AGE[:5]), SLOPE_FIRST),
            (reference.predict(BEST_A, BEST_B, AGE[:5]), WHICH_LINE),
            (SBP[:5], "These are the measured pressures. What does the line predict?"),
            (AGE[:5], "These are the ages. What does the line predict for them?"),
            (100 * AGE[:5], "Here 100 multiplies the age. It is the intercept."),
        ],
        otherwise="y_hat_5 should hold 1 · age + 100 for the first five women. Work out the first "
        "one by hand: her age is 22.",
    )


@check("table", points=0.5, title="Residuals of the first five women")
def test_residuals(student):
    answer = student.array("residual_5", shape=(5,))
    y_hat = value_or_none(student.array, "y_hat_5", (5,))
    if follows(answer.value, y_hat, lambda predicted: SBP[:5] - predicted):
        return
    answer.matches(
        FIVE,
        mistakes=from_right_and_own(
            reference.predict(*FIRST_LINE, AGE[:5]),
            y_hat,
            [
                (
                    lambda predicted: predicted - SBP[:5],
                    "Here a residual is the observed value minus the predicted one. Which of the "
                    "two did you subtract?",
                ),
                (
                    lambda predicted: np.abs(SBP[:5] - predicted),
                    "A residual has a sign: is the woman above the line or below it?",
                ),
                (lambda predicted: (SBP[:5] - predicted) ** 2, "These are already the squares."),
            ],
        ),
        otherwise="residual_5 is not your y_hat_5 subtracted from the first five values of sbp.",
    )


@check("table", points=0.5, title="Squared residuals of the first five women")
def test_squared_residuals(student):
    answer = student.array("squared_residual_5", shape=(5,))
    residuals = value_or_none(student.array, "residual_5", (5,))
    if follows(answer.value, residuals, np.square):
        return
    answer.matches(
        FIVE**2,
        mistakes=from_right_and_own(
            FIVE,
            residuals,
            [
                (lambda r: r, "These are the residuals themselves. Square each of them."),
                (lambda r: 2 * r, "The square of a number is not twice the number."),
                (lambda r: np.sign(r) * r**2, "A square is never negative."),
            ],
        ),
        otherwise="These are not the squares of your residual_5. Square the five residuals, one "
        "by one.",
    )


# RSS, MSE and its root -------------------------------------------------------------------------


@check("five", points=1, title="RSS of the first five women")
def test_rss_of_five(student):
    answer = student.number("rss_5")
    squares = value_or_none(student.array, "squared_residual_5", (5,))
    if follows(answer.value, squares, np.sum):
        return
    residuals = value_or_none(student.array, "residual_5", (5,))
    answer.matches(
        RSS_5,
        rel=1e-4,
        mistakes=[
            (reference.rss(*FIRST_LINE), "Only the first five women belong in this sum."),
            *from_right_and_own(
                FIVE**2,
                squares,
                [
                    (
                        np.mean,
                        "This is already the mean. The RSS is the sum of the squared residuals.",
                    ),
                    (lambda s: np.sqrt(np.sum(s)), "The RSS is a sum of squares, without a root."),
                ],
            ),
            *from_right_and_own(
                FIVE,
                residuals,
                [
                    (np.sum, "This sum is of the residuals. Square each of them first."),
                    (lambda r: np.sum(r) ** 2, "Square first, then add."),
                    (lambda r: np.sum(np.abs(r)), "Square the residuals. You took their sizes."),
                ],
            ),
        ],
        otherwise="rss_5 is not the sum of the five numbers in your squared_residual_5.",
    )


@check("five", points=1, title="MSE of the first five women")
def test_mse_of_five(student):
    answer = student.number("mse_5")
    rss = value_or_none(student.number, "rss_5")
    if follows(answer.value, rss, lambda total: total / 5):
        return
    residuals = value_or_none(student.array, "residual_5", (5,))
    answer.matches(
        RSS_5 / 5,
        rel=1e-4,
        mistakes=[
            (reference.mse(*FIRST_LINE), "Only the first five women belong in this mean."),
            (RSS_5 / 33, "You divided by 33, but only five women are in this sum."),
            *from_right_and_own(
                RSS_5,
                rss,
                [
                    (lambda total: total, SUM),
                    (lambda total: total / 4, ONE_LESS),
                    (lambda total: np.sqrt(np.abs(total) / 5), UNIT),
                    (lambda total: total // 5, "Do not use whole-number division (//)."),
                ],
            ),
            *from_right_and_own(
                FIVE,
                residuals,
                [
                    (lambda r: np.mean(np.abs(r)), SQUARE_FIRST),
                    (np.mean, SQUARE_FIRST),
                    (lambda r: np.mean(r) ** 2, SQUARE_FIRST),
                    (np.var, "This is the variance. The MSE takes the residuals as they are."),
                ],
            ),
        ],
        otherwise="mse_5 is not the mean of the five squared residuals. Compare it with your "
        "rss_5: how many women share that sum?",
    )


@check("five", points=1, title="Root of the MSE")
def test_root_of_mse(student):
    answer = student.number("rmse_5")
    mean = value_or_none(student.number, "mse_5")
    if follows(answer.value, mean, lambda own: np.sqrt(np.abs(own))):
        return
    many = "Take the root of the mean. How many residuals went into it?"
    # 1e-3, because the chapter prints this number with three digits.
    answer.matches(
        np.sqrt(RSS_5 / 5),
        rel=1e-3,
        mistakes=from_right_and_own(
            RSS_5 / 5,
            mean,
            [
                (lambda own: np.sqrt(5 * np.abs(own)), many),
                (lambda own: np.sqrt(5 / 4 * np.abs(own)), many),
                (lambda own: own, "This is the mean itself. Its root is in mmHg."),
                (lambda own: own / 2, "The root of a number is not half of it."),
                (np.square, "This is the square of the mean. Take its root."),
            ],
        ),
        otherwise="rmse_5 is not the root of your mse_5. Its square should give mse_5 again.",
    )


# The function mse, and the first line ----------------------------------------------------------


@check("mse-function", points=2, title="mse(a, b) for any line")
def test_mse_function(student):
    for a, b in [(0.0, 139.0), (1.1, 87.7), (-2.0, 300.0), (0, 0)]:
        n, rss = len(AGE), reference.rss(a, b)
        # 1e-5, because single precision errs by 1e-6; the closest mistake is 3 % off.
        student.call("mse", a, b).number().matches(
            rss / n,
            rel=1e-5,
            mistakes=[
                (rss, "Your function returns a sum. What turns a sum into a mean?"),
                (rss / (n - 1), "Your function divides by one less than the number of women."),
                (np.sqrt(rss / n), "Your function takes a root, but the MSE is measured in mmHg²."),
                (rss / 5, "Your function divides by 5, but all 33 women are in the sum."),
                (reference.mse(a, b, rows=5), "Your function uses only the first five women."),
                (reference.mse(b, a), "Your function swaps a and b: the slope comes first."),
                (
                    np.mean(np.abs(reference.residuals(a, b))),
                    "Your function averages the sizes of the residuals. Square them instead.",
                ),
                (
                    np.mean(reference.residuals(a, b)) ** 2,
                    "Your function squares the mean residual. Square first, then average.",
                ),
                (
                    np.var(reference.residuals(a, b)),
                    "Your function returns the variance of the residuals. The MSE takes the "
                    "residuals as they are, without their mean.",
                ),
                *(
                    (
                        reference.mse(*line),
                        "Your function returns the same value for every line. Does it use its "
                        "arguments a and b?",
                    )
                    for line in (FIRST_LINE, (BEST_A, BEST_B))
                ),
            ],
            otherwise="mse(a, b) is not the mean of the 33 squared residuals of the line "
            "a * age + b. Check your function with another formula, for instance a loop over the "
            "women.",
        )


@check("first-line", points=1, title="MSE of the first line on all women")
def test_mse_of_first_line(student):
    n, rss = len(AGE), reference.rss(*FIRST_LINE)
    student.number("mse_1_100").matches(
        rss / n,
        rel=1e-4,
        mistakes=[
            (rss, SUM),
            (np.sqrt(rss / n), UNIT),
            (rss / (n - 1), ONE_LESS),
            (rss / 5, "You divided by 5, but all 33 women are in the sum."),
            (RSS_5 / 5, "This is the MSE of the first five women. Here all 33 women count."),
            (reference.mse(100, 1), SLOPE_FIRST),
            (np.mean((AGE - (SBP + 100)) ** 2), OTHER_WAY_ROUND),
            (reference.mse(BEST_A, BEST_B), WHICH_LINE),
        ],
        otherwise="mse_1_100 is not the MSE of the line 1 · age + 100 on all 33 women.",
    )


@check("first-line", points=1, title="Prediction for a woman of 31")
def test_prediction_for_31(student):
    student.number("sbp_31").matches(
        131,
        rel=1e-4,
        mistakes=[
            (100 * 31 + 1, SLOPE_FIRST),
            (BEST_A * 31 + BEST_B, WHICH_LINE),
            (31, "This is her age. What does the line predict for it?"),
        ],
        otherwise="sbp_31 is not the value of the line 1 · age + 100 at the age of 31.",
    )


# Search by hand (exercise 1) -------------------------------------------------------------------


def search_gets_below(student, limit):
    a, b = student.number("a_manual").value, student.number("b_manual").value
    # Lines with enormous numbers have an infinite MSE, and NumPy must not warn about it.
    with np.errstate(all="ignore"):
        loss, swapped = reference.mse(a, b), reference.mse(b, a)
    if loss < limit:
        return
    own = f"a = {a:.6g}, b = {b:.6g}"
    if swapped < limit:
        fail("Did you swap a_manual and b_manual? The slope a multiplies the age.", own)
    fail(
        f"Your line's MSE is not below {limit:g} yet. Change one of the two numbers a little, "
        "and keep the change if it helps. Then change the other.",
        own,
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


def factors_of(rows, right):
    """Return the factor of each row compared with the right row, or None if a row has none.

    An equation may be multiplied by any number but zero: sums and means are both allowed.
    """
    factors = rows[:, 0] / right[:, 0]
    if not np.isfinite(factors).all() or not factors.all():
        return None
    return factors if close(rows, factors[:, None] * right, rel=1e-6) else None


@check("normal", points=0.5, title="Matrix of the two equations")
def test_normal_matrix(student):
    matrix = student.array("normal_matrix", shape=(2, 2)).value
    if factors_of(matrix, RIGHT_MATRIX) is not None:
        return
    one_for_n = RIGHT_MATRIX - [[0, 0], [0, len(AGE) - 1]]
    for wrong, sentence in [
        (
            RIGHT_MATRIX[::-1, ::-1],
            "Your equations are in the order (b, a). Write them in the order (a, b).",
        ),
        (
            RIGHT_MATRIX[::-1],
            "The first row should be the equation from the derivative with respect to a.",
        ),
        (
            RIGHT_MATRIX[:, ::-1],
            "The unknowns are in the order (a, b): the first column multiplies a.",
        ),
        (one_for_n, "In the equation for b, the number b is added once for each woman."),
    ]:
        if factors_of(matrix, wrong) is not None:
            fail(sentence, own=str(matrix))
    fail(
        "These are not the factors of a and b in the two equations. Set the derivative with "
        "respect to a to zero, then the derivative with respect to b. Which sum multiplies a, and "
        "which multiplies b?",
        own=str(matrix),
    )


@check("normal", points=0.5, title="Right-hand side of the two equations")
def test_normal_rhs(student):
    rhs = student.array("normal_rhs", shape=(2,)).value
    matrix = value_or_none(student.array, "normal_matrix", (2, 2))
    factors = None if matrix is None else factors_of(matrix, RIGHT_MATRIX)
    # Without a right matrix, nobody knows the factor that both sides should share.
    both = factors_of(rhs[None], RIGHT_RHS[None])
    if both is not None if factors is None else close(rhs, factors * RIGHT_RHS):
        return
    if factors is not None and close(rhs, -factors * RIGHT_RHS):
        fail("Check the sign: these terms move to the other side of the equation.", own=str(rhs))
    if both is not None:
        fail("Give both sides of an equation the same factor: sums or means.", own=str(rhs))
    if factors_of(rhs[None], RIGHT_RHS[None, ::-1]) is not None:
        fail("The first number belongs to the equation from the derivative for a.", own=str(rhs))
    fail(
        "The right-hand side holds the terms that contain neither a nor b, with the same factor "
        "as your matrix.",
        own=str(rhs),
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
        n, mean_x, mean_y = len(x), np.mean(x), np.mean(y)
        student.call("closed_form", x, y).array((2,)).matches(
            [a, b],
            rel=rel,
            abs=rel,
            mistakes=[
                ([b, a], "Return the slope first, then the intercept."),
                # np.cov divides by n - 1, np.var by n.
                *(
                    ([slope, mean_y - slope * mean_x], SAME_COUNT)
                    for slope in (a * n / (n - 1), a * (n - 1) / n)
                ),
                (
                    reference.closed_form(y, x),
                    "This line predicts x from y. Which of the two is the input?",
                ),
                (
                    [BEST_A, BEST_B],
                    "Your function ignores its arguments: use x and y, not age and sbp.",
                ),
                (
                    [a, mean_y + a * mean_x],
                    "At the mean of x, the best line has the mean of y. Check the sign in your "
                    "intercept.",
                ),
                ([np.sum(x * y) / np.sum(x * x), 0], ORIGIN),
            ],
            otherwise="closed_form does not return slope and intercept of the best line for some "
            "data. Try it on points of a line that you know, rising and falling.",
        )


@check("best-line", points=1, title="Slope and intercept of the best line")
def test_best_line(student):
    a, b = student.number("a_hat").value, student.number("b_hat").value
    n, mean_x, mean_y = len(AGE), AGE.mean(), SBP.mean()

    def through_means(slope):
        return slope, mean_y - slope * mean_x

    if close([a, b], [BEST_A, BEST_B], rel=1e-4):
        return
    own = f"a_hat = {a:.7g}, b_hat = {b:.7g}"
    for line, sentence in [
        (through_means(BEST_A * n / (n - 1)), SAME_COUNT),
        (through_means(BEST_A * (n - 1) / n), SAME_COUNT),
        (reference.closed_form(SBP, AGE), OTHER_WAY_ROUND),
        (through_means(np.corrcoef(AGE, SBP)[0, 1]), NO_UNIT),
        ((np.sum(AGE * SBP) / np.sum(AGE**2), 0), ORIGIN),
        ((BEST_A, mean_y + BEST_A * mean_x), SIGN_OF_MEAN),
        ((BEST_A, 139 - BEST_A * mean_x), "Did you round the mean blood pressure?"),
        ((BEST_B, BEST_A), "Which of the two numbers is the slope?"),
        (FIRST_LINE, "This is the first line. The best line comes from closed_form."),
        (reference.closed_form(AGE[:5], SBP[:5]), "Here all 33 women count, not only five."),
    ]:
        if close([a, b], line, rel=1e-4, abs=1e-9):
            fail(sentence, own)
    if close([a, b], [BEST_A, BEST_B], rel=0.01):
        fail(
            "This line is close to the best one, but is another line. Submit the two numbers as "
            "closed_form returns them, without rounding.",
            own,
        )
    fail(
        "This is not the line with the smallest MSE. Call closed_form with the arrays age and sbp. "
        "Any small change of the best line makes its MSE larger: try that with show_line.",
        own,
    )


@check("best-line", points=1, title="The smallest MSE")
def test_smallest_mse(student):
    n, rss = len(AGE), reference.rss(BEST_A, BEST_B)

    own_mistakes = [
        (reference.mse(*line), sentence)
        for line, sentence in [
            (
                own_line(student, "a_manual", "b_manual"),
                "This is the MSE of the line you found by hand.",
            ),
            (
                own_line(student, "a_hat", "b_hat"),
                "This is the MSE of your a_hat and b_hat, but they are not the best line yet.",
            ),
        ]
        if line is not None
    ]
    rounded = [
        reference.mse(round(BEST_A, digits_a), round(BEST_B, digits_b))
        for digits_a in (0, 1, 2, 3, 15)
        for digits_b in (0, 1, 2, 15)
    ]
    student.number("mse_min").matches(
        rss / n,
        rel=2e-5,
        mistakes=[
            (rss, SUM),
            (np.sqrt(rss / n), UNIT),
            (rss / (n - 1), ONE_LESS),
            (rss / (n - 2), "You divided by two less than the number of women. The MSE is a mean."),
            (reference.mse(*FIRST_LINE), "This is the MSE of the first line, not of the best one."),
            *own_mistakes,
            *(
                (
                    wrong,
                    "This is the MSE of a rounded line. Do not round your line before you use it.",
                )
                for wrong in rounded
            ),
            (np.mean(np.abs(reference.residuals(BEST_A, BEST_B))), SQUARE_FIRST),
        ],
        otherwise="mse_min is not the smallest MSE of a line on all 33 women. Call your function "
        "mse with your a_hat and b_hat.",
    )


# The picture (figures 3.1 and 3.3) -------------------------------------------------------------


def lines_to_accept(student):
    """Yield the student's own line and the best one, so that an earlier slip costs only once."""
    own = own_line(student, "a_hat", "b_hat")
    if own is not None:
        yield own
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


def without_gaps(line):
    """Return the parts of a line between its gaps (nan)."""
    is_gap = np.isnan(line).any(axis=1)
    starts = np.flatnonzero(is_gap)
    return [
        part[~gap]
        for part, gap in zip(np.split(line, starts), np.split(is_gap, starts), strict=True)
    ]


@check("plot", points=0.5, title="33 residuals are in the picture")
def test_plot_residuals(student):
    picture = Picture(student, "ax_fit")
    # Students may draw a residual with vlines or with plot, upwards or downwards, and all of them
    # as one line with gaps (nan).
    parts = [part for line in picture.lines for part in without_gaps(line)]
    lines = [line for line in (*picture.segments, *parts) if len(line) == 2]
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
