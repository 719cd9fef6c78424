"""Hidden checks of `learning-rate`: gradient descent for one parameter (section 3.2.1)."""

import numpy as np

import reference
from nbmark import check, fail
from plots import Picture
from reference import AGE, FIXED_B, SBP, descend_1d, loss_1d, slope_1d

N = len(AGE)
LIMIT = 2 / reference.curvature_1d()
START_OF_PUBLIC_NOTEBOOK = -0.5
WHICH_B = "The text fixes b at a rounded value. Which value do you use?"
START_FIRST = "The history begins with the start, before the first step."
WHERE_START = "Where do the walks of figure 3.5 start?"
TRY_LARGER = (
    "Run a thousand steps with your rate, and a thousand with a rate 1 % larger. What does the "
    "loss do each time?"
)
ONE_STEP = "Take one step. Has a stopped short of the best a, or gone past it?"
OF_WHICH_MINIMUM = "Which quantity must come within 0.001, and of which minimum?"


def slopes_by_mistake(a):
    """Return pairs of a wrong derivative at `a` and the sentence for its mistake."""
    right, error = slope_1d(a), a * AGE + FIXED_B - SBP
    return [
        (right / 2, "Check the derivative of the square: which factor comes to the front?"),
        (
            -right,
            "Left of the minimum the loss falls as a grows. What is the sign of the slope there?",
        ),
        (right * N, "The loss is a mean, so its slope is a mean too."),
        (right * N / (N - 1), "What do you divide by? Is it the number of women?"),
        (2 * np.mean(error), "Use the chain rule: what does a multiply inside the square?"),
        (slope_1d(a, reference.closed_form(AGE, SBP)[1]), WHICH_B),
    ]


# The landscape ---------------------------------------------------------------------------------


@check("loss", points=1, title="loss(a) for any slope")
def test_loss(student):
    # A float32 loss errs by 1e-7; n - 1 for n is 3 % off.
    for a in (0.3, -4.0, 1.1, 50.0):
        right = loss_1d(a)
        student.call("loss", a).number().matches(
            right,
            rel=1e-5,
            mistakes=[
                (
                    right * N,
                    "Your function returns a sum. Divide it by the number of women to get the MSE.",
                ),
                (np.sqrt(right), "The MSE is measured in mmHg². Is the root one step too many?"),
                (right * N / (N - 1), "What do you divide by? Is it the number of women?"),
                (loss_1d(a, reference.closed_form(AGE, SBP)[1]), WHICH_B),
            ],
            otherwise="loss(a) is not the MSE of the line a * age + 87.6.",
        )


@check("loss", points=2, title="grad_a(a) for any slope")
def test_gradient(student):
    # abs=0.01: the slopes are in the thousands, and near the minimum float32 loses digits.
    for a in (0.3, -4.0, 2.5, 50.0):
        student.call("grad_a", a).number().matches(
            slope_1d(a), rel=1e-5, abs=0.01, mistakes=slopes_by_mistake(a)
        )


@check("slopes", points=1, title="Slope at a = 0")
def test_slope_at_0(student):
    # 1e-4 lets rounding to six digits pass; the closest mistake (other b) is 1.2e-3 away.
    student.number("slope_0").matches(
        slope_1d(0),
        rel=1e-4,
        mistakes=[
            *slopes_by_mistake(0),
            (slope_1d(2), "At which of the two points did you take this slope?"),
        ],
    )


@check("slopes", points=1, title="Slope at a = 2")
def test_slope_at_2(student):
    student.number("slope_2").matches(
        slope_1d(2),
        rel=1e-4,
        mistakes=[
            *slopes_by_mistake(2),
            (slope_1d(0), "At which of the two points did you take this slope?"),
        ],
    )


# The walk --------------------------------------------------------------------------------------


@check("descend", points=1, title="step(a, eta), one update")
def test_step(student):
    for a, eta in [(0.3, 0.0001), (2.5, 0.0003), (-3.0, 0.001)]:
        change = -eta * slope_1d(a)
        student.call("step", a, eta).number().matches(
            a + change,
            rel=1e-5,
            abs=1e-6,
            mistakes=[
                (a - change, "This step goes uphill: move against the slope."),
                (
                    a + change / eta,
                    "How far does one step go? Where does the learning rate come in?",
                ),
                (change, "This is the change in a. The function should return the new value of a."),
            ],
            otherwise="One update moves a downhill, by the rate times the slope.",
        )


@check("descend", points=2, title="descend(a0, eta, steps), the whole walk")
def test_descend(student):
    for a0, eta, steps in [(2.0, 0.0001, 7), (-1.0, 0.0003, 12), (0.8, 0.0002, 1)]:
        answer = student.call("descend", a0, eta, steps).array()
        right = descend_1d(a0, eta, steps)
        mistakes = [
            (right[1:], START_FIRST),
            (right[:-1], "Your walk is one step too short."),
            (descend_1d(a0, eta, steps + 1), "Your walk is one step too long."),
            (descend_1d(0.5, eta, steps), "Your walk always starts at the same place. Use a0."),
        ]
        answer.matches(
            right,
            rel=1e-4,
            abs=1e-5,
            mistakes=mistakes,
            otherwise="Start with a0, then append the new value after each step.",
        )


def walk_with(slope, eta):
    """Return the history of five updates from 0.5 with another formula for the slope."""
    history = [0.5]
    for _ in range(5):
        history.append(history[-1] - eta * slope(history[-1]))
    return np.array(history)


def history_is_right(student, name, eta):
    # abs + rel 1e-4: with the unrounded b every value differs by at least 7e-4.
    right = descend_1d(0.5, eta, 5)
    wrong = [
        (walk_with(lambda a, i=i: slopes_by_mistake(a)[i][0], eta), slopes_by_mistake(0.5)[i][1])
        for i in range(len(slopes_by_mistake(0.5)))
    ]
    student.array(name).matches(
        right,
        rel=1e-4,
        abs=1e-4,
        mistakes=[
            (right[1:], START_FIRST),
            (descend_1d(START_OF_PUBLIC_NOTEBOOK, eta, 5), WHERE_START),
            (descend_1d(0.0, eta, 5), WHERE_START),
            *wrong,
            *(
                (descend_1d(0.5, eta * factor, 5), "Count the zeros in the learning rate.")
                for factor in (10, 0.1)
            ),
        ],
        otherwise="These are not the five steps of figure 3.5. Give 6 values, the first one 0.5.",
    )


@check("histories", points=1, title="Walk with rate 0.0001")
def test_history_small(student):
    history_is_right(student, "history_small", 0.0001)


@check("histories", points=1, title="Walk with rate 0.0003")
def test_history_good(student):
    history_is_right(student, "history_good", 0.0003)


@check("histories", points=1, title="Walk with rate 0.00045")
def test_history_large(student):
    history_is_right(student, "history_large", 0.00045)


def verdict_is(student, name, right, hint):
    answer = student.value(name).value
    verdict = answer.strip().lower() if isinstance(answer, str) else ""
    if verdict not in ("creeps", "overshoots", "diverges"):
        fail("Use one of these three words: creeps, overshoots, diverges.", own=repr(answer))
    if verdict != right:
        fail(hint, own=verdict)


@check("histories", points=0.5, title="Verdict on the small rate")
def test_verdict_small(student):
    verdict_is(student, "verdict_small", "creeps", "Does this walk ever cross the lowest point?")


@check("histories", points=0.5, title="Verdict on the medium rate")
def test_verdict_good(student):
    verdict_is(
        student,
        "verdict_good",
        "overshoots",
        "Does this walk cross the lowest point? Does it still come closer with every step?",
    )


@check("histories", points=0.5, title="Verdict on the large rate")
def test_verdict_large(student):
    verdict_is(
        student,
        "verdict_large",
        "diverges",
        "Is the last value closer to the lowest point than the first one?",
    )


# The knob --------------------------------------------------------------------------------------


@check("limits", points=1, title="The largest rate that still works")
def test_largest_rate(student):
    # Three digits below the limit are fine (0.98); 0.00042 is 0.49 % above it and diverges.
    answer = student.number("eta_max")
    if not 0.98 * LIMIT <= answer.value <= 1.001 * LIMIT:
        fail(TRY_LARGER, own=f"{answer.value:.6g}")


@check("limits", points=1, title="The rate that reaches the lowest point in one step")
def test_best_rate(student):
    # 1 %: rounding to three digits passes, the first guess 0.0002 is 4.3 % off.
    student.number("eta_best").matches(LIMIT / 2, rel=0.01, otherwise=ONE_STEP)


@check("limits", points=0.5, title="The loss with a rate that is far too large")
def test_far_loss(student):
    # inf and nan are both right: the precision and the form of the loop decide which one comes.
    answer = student.number("loss_far")
    if np.isfinite(answer.value):
        fail(
            "This loss is an ordinary number. Which rate did you use, and how many steps?",
            own=f"{answer.value:.6g}",
        )


RATES = (1e-5, 5e-5, 1e-4, 2e-4, 3e-4, 4e-4, 4.5e-4)


def steps_by(stops):
    """Return the steps of each rate when a walk stops at the first `a` with ``stops(a)``."""
    walks = [descend_1d(0.5, eta, 400) for eta in RATES]
    return [next((step for step, a in enumerate(walk) if stops(a)), None) for walk in walks]


@check("steps", points=1, title="Steps that each rate needs")
def test_steps_needed(student):
    # Exact, except for the slowest rate, where rounding in float32 may shift the count by one.
    steps_needed = student.value("steps_needed").value
    if not isinstance(steps_needed, dict):
        fail("steps_needed should be a dictionary: rate → steps.")
    table = []
    for eta in RATES:
        # Keys are compared as numbers, because a computed rate may differ in its last digit.
        entries = [
            steps
            for rate, steps in steps_needed.items()
            if isinstance(rate, float) and abs(rate - eta) < 1e-3 * eta
        ]
        if not entries:
            fail(f"The rate {eta:g} is missing from your table.")
        table.append(entries[0])
    right = [reference.steps_needed_1d(eta) for eta in RATES]
    if table[-1] is not None and table[:-1] == right[:-1]:
        fail("Where a walk diverges, the table should hold None.", own=str(table))
    best, smallest = reference.best_a_1d(), reference.mse(*reference.closed_form(AGE, SBP))
    if table in (
        steps_by(lambda a: loss_1d(a) - smallest <= 0.001),
        steps_by(lambda a: abs(a - best) <= 0.001),
    ):
        fail(OF_WHICH_MINIMUM, own=str(table))
    slowest_is_right = table[0] in (right[0] - 1, right[0], right[0] + 1)
    if not slowest_is_right or table[1:] != right[1:]:
        fail(
            "Count the updates until the loss first comes within 0.001 of the smallest loss. The "
            "start is step 0.",
            own=str(table),
        )


# Pictures --------------------------------------------------------------------------------------


def losses(slopes):
    return np.array([loss_1d(a) for a in np.ravel(slopes)])


def own_losses(student):
    """Return the student's own loss as a function of slopes: task 1 has judged a slip there."""
    return lambda slopes: student.map("loss", np.ravel(slopes).tolist()).array().value


def own_or_right(student):
    """Return both functions that turn slopes into losses, the right one first."""
    return losses, own_losses(student)


@check("plot-curve", points=0.5, title="The loss curve is in the picture")
def test_curve(student):
    picture = Picture(student, "ax_loss_curve")
    picture.must_have_labels()
    # Ten points, because two of them make a straight line, which is no loss curve.
    if not any(picture.has_function(height, 0, 2, points=10) for height in own_or_right(student)):
        fail("I cannot find the loss curve from a = 0 to a = 2 in ax_loss_curve.")


@check("plot-curve", points=0.5, title="Both tangents are in the picture")
def test_tangents(student):
    picture = Picture(student, "ax_loss_curve")
    for a, name in ((0.0, "slope_0"), (2.0, "slope_2")):

        def tangent(height, slope, a=a):
            return lambda x: float(height([a])[0]) + slope * (x - a)

        tangents = [
            tangent(height, slope)
            for height in own_or_right(student)
            for slope in (slope_1d(a), student.number(name).value)
        ]
        if not any(picture.has_function(height, a, a, rel=5e-3) for height in tangents):
            fail(
                f"I cannot find the tangent at a = {a:g}. Draw a straight line through the curve's "
                "point there, with the slope from task 2."
            )


@check("plot-runs", points=0.5, title="The three walks are in the picture")
def test_runs(student):
    picture = Picture(student, "ax_runs")
    picture.must_have_labels()
    for name in ("history_small", "history_good", "history_large"):
        own = student.array(name).value.ravel()  # wrong walks were judged in task 4
        if not any(
            picture.has_path(np.column_stack([own, height(own)]), rel=1e-3, abs=1e-3)
            for height in own_or_right(student)
        ):
            fail(
                f"I cannot find {name} in ax_runs. Put its values on the horizontal axis and their "
                "losses on the vertical axis."
            )


@check("plot-rates", points=0.5, title="Losses of four rates on a logarithmic axis")
def test_rates(student):
    picture = Picture(student, "ax_rates")
    picture.must_have_labels()
    for eta in (0.00005, 0.0001, 0.0003, 0.00045):
        walk = descend_1d(0.5, eta, 20)
        if not any(picture.has_curve(height(walk)) for height in own_or_right(student)):
            fail(f"I cannot find the losses for steps 0 to 20 with the rate {eta:g} in ax_rates.")
    if picture.scales[1] != "log":
        fail("Give ax_rates a logarithmic vertical axis.")
