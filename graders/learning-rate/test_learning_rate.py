"""Hidden checks of `learning-rate`: gradient descent for one parameter (section 3.2.1)."""

import numpy as np

import reference
from nbmark import check, fail
from plots import Picture
from reference import AGE, FIXED_B, SBP, descend_1d, loss_1d, slope_1d

N = len(AGE)
LIMIT = 2 / reference.curvature_1d()
START_OF_PUBLIC_NOTEBOOK = -0.5
WHICH_B = "The text fixes b at a rounded value. Which one do you use?"
BEGINS_BEFORE = "The history begins before the first step."
WHERE_START = "Where does figure 3.5 start?"
TRY_LARGER = "Run your rate, and one 1 % larger, for a thousand steps. What does each loss do?"
ONE_STEP = "Look at the sign of a minus the best a after one step."
OF_WHICH_MINIMUM = "Within 0.001 of which quantity's minimum?"


def slopes_by_mistake(a):
    """Pairs of a wrong derivative at `a` and the sentence for its mistake."""
    right, error = slope_1d(a), a * AGE + FIXED_B - SBP
    return [
        (right / 2, "Differentiate the square once more: what comes to the front?"),
        (-right, "Left of the valley the loss falls as a grows. What sign has the slope there?"),
        (right * N, "The loss is a mean, so its slope is a mean too."),
        (right * N / (N - 1), "By how many women do you divide?"),
        (2 * np.mean(error), "What does a multiply inside the square? Chain rule."),
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
                    "Your function returns a sum. The MSE divides it by the number of women.",
                ),
                (np.sqrt(right), "The MSE is measured in mmHg². Is the root one step too many?"),
                (right * N / (N - 1), "By how many women do you divide?"),
                (loss_1d(a, reference.closed_form(AGE, SBP)[1]), WHICH_B),
            ],
            otherwise="loss(a) is not the MSE of the line a * age + 87.6.",
        )


@check("loss", points=2, title="grad_a(a) for any slope")
def test_gradient(student):
    # 1e-5: near the minimum float32 loses digits by cancellation, hence abs = 0.01 of thousands.
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
            (slope_1d(2), "At which of the two points is this the slope?"),
        ],
    )


@check("slopes", points=1, title="Slope at a = 2")
def test_slope_at_2(student):
    student.number("slope_2").matches(
        slope_1d(2),
        rel=1e-4,
        mistakes=[
            *slopes_by_mistake(2),
            (slope_1d(0), "At which of the two points is this the slope?"),
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
                (a + change / eta, "How far does a step go? Where is the learning rate?"),
                (change, "This is the change of a. The function should return the new value of a."),
            ],
            otherwise="One update moves a downhill, by the rate times the slope.",
        )


@check("descend", points=2, title="descend(a0, eta, steps), the whole walk")
def test_descend(student):
    for a0, eta, steps in [(2.0, 0.0001, 7), (-1.0, 0.0003, 12), (0.8, 0.0002, 1)]:
        answer = student.call("descend", a0, eta, steps).array()
        right = descend_1d(a0, eta, steps)
        mistakes = [
            (right[1:], BEGINS_BEFORE),
            (right[:-1], "Your walk is one step too short."),
            (descend_1d(a0, eta, steps + 1), "Your walk is one step too long."),
            (descend_1d(0.5, eta, steps), "Your walk always starts at the same place. Use a0."),
        ]
        answer.matches(
            right,
            rel=1e-4,
            abs=1e-5,
            mistakes=mistakes,
            otherwise="Start with a0, and append one step after the other.",
        )


def walk_with(slope, eta):
    """Five updates from 0.5 with another formula for the slope."""
    found = [0.5]
    for _ in range(5):
        found.append(found[-1] - eta * slope(found[-1]))
    return np.array(found)


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
            (right[1:], BEGINS_BEFORE),
            (descend_1d(START_OF_PUBLIC_NOTEBOOK, eta, 5), WHERE_START),
            (descend_1d(0.0, eta, 5), WHERE_START),
            *wrong,
            *(
                (descend_1d(0.5, eta * factor, 5), "Count the zeros of the learning rate.")
                for factor in (10, 0.1)
            ),
        ],
        otherwise="These are not the five steps of figure 3.5: 6 values from 0.5.",
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


def verdict_is(student, name, right, look):
    word = student.value(name).value
    said = word.strip().lower() if isinstance(word, str) else ""
    if said not in ("creeps", "overshoots", "diverges"):
        fail("Use one of the three words creeps, overshoots, diverges.", own=repr(word))
    if said != right:
        fail(look, own=said)


@check("histories", points=0.5, title="Verdict on the small rate")
def test_verdict_small(student):
    verdict_is(student, "verdict_small", "creeps", "Does this walk ever change its side?")


@check("histories", points=0.5, title="Verdict on the medium rate")
def test_verdict_good(student):
    verdict_is(
        student,
        "verdict_good",
        "overshoots",
        "Does this walk change its side, and does it come closer nevertheless?",
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


@check("limits", points=1, title="The rate that lands in one step")
def test_best_rate(student):
    # 1 %: rounding to three digits passes, the first guess 0.0002 is 4.3 % off.
    student.number("eta_best").matches(LIMIT / 2, rel=0.01, otherwise=ONE_STEP)


@check("limits", points=0.5, title="Where a far too large rate ends")
def test_far_loss(student):
    # inf and nan are both right: it depends on the precision and on how the loop is written.
    answer = student.number("loss_far")
    if np.isfinite(answer.value):
        fail(
            "This loss is an ordinary number. Which rate did you use, and how many steps?",
            own=f"{answer.value:.6g}",
        )


RATES = (1e-5, 5e-5, 1e-4, 2e-4, 3e-4, 4e-4, 4.5e-4)


def steps_by(stops):
    """What the table would hold if a walk stopped as ``stops(a)`` says."""
    table = []
    for eta in RATES:
        walk = descend_1d(0.5, eta, 400)
        found = next((i for i, a in enumerate(walk) if stops(a)), None)
        table.append(found)
    return table


@check("steps", points=1, title="Steps that each rate needs")
def test_steps_needed(student):
    # Exact, but for the slowest rate: there a float32 loss may be within 0.001 a step off.
    found = student.value("steps_needed").value
    if not isinstance(found, dict):
        fail("steps_needed should be a dictionary: rate → steps.")
    table = []
    for eta in RATES:
        near = [
            value
            for key, value in found.items()
            if isinstance(key, float) and abs(key - eta) < 1e-3 * eta
        ]
        if not near:
            fail(f"The rate {eta:g} is missing in your table.")
        table.append(near[0])
    right = [reference.steps_needed_1d(eta) for eta in RATES]
    if table[-1] is not None and table[:-1] == right[:-1]:
        fail("Where a walk diverges, the table holds None.", own=str(table))
    best, smallest = reference.best_a_1d(), reference.mse(*reference.closed_form(AGE, SBP))
    if table in (
        steps_by(lambda a: loss_1d(a) - smallest <= 0.001),
        steps_by(lambda a: abs(a - best) <= 0.001),
    ):
        fail(OF_WHICH_MINIMUM, own=str(table))
    slowest = table[0] in (right[0] - 1, right[0], right[0] + 1)
    if not slowest or table[1:] != right[1:]:
        fail(
            "Count the updates until the loss is within 0.001 of the smallest loss for the first "
            "time; the start is step 0.",
            own=str(table),
        )


# Pictures --------------------------------------------------------------------------------------


def losses(slopes):
    return np.array([loss_1d(a) for a in np.ravel(slopes)])


def own_losses(student):
    """The student's own loss for each slope: a slip there was judged in task 1."""
    return lambda slopes: student.map("loss", np.ravel(slopes).tolist()).array().value


def own_or_right(student):
    """Both ways to turn slopes into losses, the right one first."""
    return losses, own_losses(student)


@check("plot-curve", points=0.5, title="The loss curve is in the picture")
def test_curve(student):
    picture = Picture(student, "ax_loss_curve")
    picture.must_have_labels()
    if not any(picture.has_function(one, 0, 2, points=10) for one in own_or_right(student)):
        fail("I cannot find the loss as a curve from a = 0 to a = 2 in ax_loss_curve.")


@check("plot-curve", points=0.5, title="Both tangents are in the picture")
def test_tangents(student):
    picture = Picture(student, "ax_loss_curve")
    for a, name in ((0.0, "slope_0"), (2.0, "slope_2")):

        def line(height, slope, a=a):
            return lambda x: float(height([a])[0]) + slope * (x - a)

        lines = [
            line(height, slope)
            for height in own_or_right(student)
            for slope in (slope_1d(a), student.number(name).value)
        ]
        if not any(picture.has_function(one, a, a, rel=5e-3) for one in lines):
            fail(
                f"I cannot find the tangent at a = {a:g}: a straight line through the curve's "
                "point there, with the slope of task 2."
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
            fail(f"I cannot find {name} in ax_runs: its values to the right, their losses upwards.")


@check("plot-rates", points=0.5, title="Losses of four rates on a logarithmic axis")
def test_rates(student):
    picture = Picture(student, "ax_rates")
    picture.must_have_labels()
    for eta in (0.00005, 0.0001, 0.0003, 0.00045):
        walk = descend_1d(0.5, eta, 20)
        if not any(picture.has_curve(height(walk)) for height in own_or_right(student)):
            fail(f"I cannot find the losses of step 0 to 20 for the rate {eta:g} in ax_rates.")
    if picture.scales[1] != "log":
        fail("Give ax_rates a logarithmic vertical axis.")
