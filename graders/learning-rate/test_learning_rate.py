"""Hidden checks of `learning-rate`: gradient descent for one parameter (section 3.2.1)."""

from itertools import chain

import numpy as np

import reference
from answers import entries_for, value_or_none
from nbmark import Answer, check, close, fail
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
COUNT_ZEROS = "Count the zeros in the learning rate."
OWN_SLOPE = "This follows from your grad_a, and that is not right yet. Look at task 1 first."


def difference_of(name, a):
    """Return the sentence that tells how to test a slope at `a` without its formula."""
    return (
        f"{name} is not the slope of the loss at a = {a:g}. Compare it with "
        f"(loss({a + 0.001:g}) - loss({a - 0.001:g})) / 0.002."
    )


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
        (slope_1d(a, 0.0), "Where is the intercept b in your slope?"),
        (loss_1d(a), "This is the loss at this point, not its slope."),
    ]


def from_own_slope(student, compute):
    """Yield the value of ``compute(slope)`` with the student's own slope, as a known mistake.

    A generator, because only a wrong answer needs it, and it calls the student's function.
    """

    def slope(a):
        own = value_or_none(lambda: student.call("grad_a", float(a)).number())
        return np.nan if own is None else own

    wrong = compute(slope)
    if np.isfinite(wrong).all():
        yield wrong, OWN_SLOPE


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
                (loss_1d(a, 0.0), "Where is the intercept b in your loss?"),
                (
                    np.mean(np.abs(a * AGE + FIXED_B - SBP)),
                    "Your function averages the sizes of the residuals. Square them instead.",
                ),
                (
                    np.mean(a * AGE + FIXED_B - SBP) ** 2,
                    "Your function squares the mean residual. Square first, then average.",
                ),
            ],
            otherwise="loss(a) is not the MSE of the line a * age + 87.6.",
        )


@check("loss", points=2, title="grad_a(a) for any slope")
def test_gradient(student):
    # abs=0.01: the slopes are in the thousands, and near the minimum float32 loses digits.
    for a in (0.3, -4.0, 2.5, 50.0):
        student.call("grad_a", a).number().matches(
            slope_1d(a),
            rel=1e-5,
            abs=0.01,
            mistakes=slopes_by_mistake(a),
            otherwise=difference_of("grad_a(a)", a),
        )


def slope_is_right(student, name, a, other):
    """Compare a slope at `a`; `other` is the place of the other slope."""
    right = slope_1d(a)
    answer = student.number(name)
    mistakes = [
        *slopes_by_mistake(a),
        (slope_1d(other), "At which of the two points did you take this slope?"),
    ]
    # 1e-4 lets rounding to six digits pass; the closest mistake (other b) is 1.2e-3 away.
    answer.matches(
        right,
        rel=1e-4,
        mistakes=chain(mistakes, from_own_slope(student, lambda slope: slope(a))),
        otherwise=difference_of(name, a),
    )


@check("slopes", points=1, title="Slope at a = 0")
def test_slope_at_0(student):
    slope_is_right(student, "slope_0", 0, 2)


@check("slopes", points=1, title="Slope at a = 2")
def test_slope_at_2(student):
    slope_is_right(student, "slope_2", 2, 0)


# The walk --------------------------------------------------------------------------------------


@check("descend", points=1, title="step(a, eta), one update")
def test_step(student):
    for a, eta in [(0.3, 0.0001), (2.5, 0.0003), (-3.0, 0.001)]:
        change = -eta * slope_1d(a)
        mistakes = [
            (a - change, "This step goes uphill: move against the slope."),
            (a + change / eta, "How far does one step go? Where does the learning rate come in?"),
            (change, "This is the change in a. The function should return the new value of a."),
            (a, "This step does not move at all."),
        ]
        from_own = from_own_slope(student, lambda slope, a=a, eta=eta: a - eta * slope(a))
        student.call("step", a, eta).number().matches(
            a + change,
            rel=1e-5,
            abs=1e-6,
            mistakes=chain(mistakes, from_own),
            otherwise="step(a, eta) is not a minus the rate times the slope at a. Work out one "
            "step by hand.",
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
            (right[-1], "This is the last value. Return the whole walk."),
            (losses(right), "These are losses. The walk consists of values of a."),
        ]
        from_own = from_own_slope(
            student, lambda slope, a0=a0, eta=eta, steps=steps: walk_with(slope, eta, a0, steps)
        )
        answer.matches(
            right,
            rel=1e-4,
            abs=1e-5,
            mistakes=chain(mistakes, from_own),
            otherwise=f"descend({a0:g}, {eta:g}, {steps}) should return {steps + 1} values: first "
            "a0, then the new value after each step.",
        )


def walk_with(slope, eta, a0=0.5, steps=5):
    """Return the walk from `a0` with another formula for the slope."""
    history = [a0]
    for _ in range(steps):
        history.append(history[-1] - eta * slope(history[-1]))
    return np.array(history)


def history_is_right(student, name, eta):
    # abs + rel 1e-4: with the unrounded b every value differs by at least 7e-4.
    right = descend_1d(0.5, eta, 5)
    answer = student.array(name)
    mistakes = [
        (right[1:], START_FIRST),
        (right[:-1], "Your walk is one step too short."),
        (descend_1d(0.5, eta, 6), "Your walk is one step too long."),
        (losses(right), "These are losses. The history consists of values of a."),
        *((descend_1d(start, eta, 5), WHERE_START) for start in (START_OF_PUBLIC_NOTEBOOK, 0.0)),
        *(
            (descend_1d(0.5, other, 5), f"This is the walk with the rate {other:g}.")
            for other in (0.0001, 0.0003, 0.00045)
            if other != eta
        ),
        *(
            (walk_with(lambda a, i=i: slopes_by_mistake(a)[i][0], eta), sentence)
            for i, (_, sentence) in enumerate(slopes_by_mistake(0.5))
        ),
        *((descend_1d(0.5, eta * factor, 5), COUNT_ZEROS) for factor in (10, 0.1)),
    ]
    answer.matches(
        right,
        rel=1e-4,
        abs=1e-4,
        mistakes=chain(mistakes, from_own_slope(student, lambda slope: walk_with(slope, eta))),
        otherwise=f"{name} should hold the values of a from step 0 to step 5 with the rate "
        f"{eta:g}, 6 values in all. Work out the first step by hand.",
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
    rate = student.number("eta_max").value
    if 0.98 * LIMIT <= rate <= 1.001 * LIMIT:
        return
    own = f"{rate:.6g}"
    if close(rate, LIMIT / 2, rel=0.01):
        fail(
            "This rate lands on the lowest point in one step. Which larger rates still make the "
            "loss smaller?",
            own,
        )
    if close(rate, 2 * LIMIT, rel=0.01):
        fail("Is there a factor 2 missing in your second derivative?", own)
    if rate <= 0:
        fail("A learning rate is larger than 0.", own)
    fail(TRY_LARGER, own)


@check("limits", points=1, title="The rate that reaches the lowest point in one step")
def test_best_rate(student):
    # 1 %: rounding to three digits passes, the first guess 0.0002 is 4.3 % off.
    student.number("eta_best").matches(
        LIMIT / 2,
        rel=0.01,
        mistakes=[
            (
                LIMIT,
                "With this rate, one step goes as far beyond the lowest point as it began before "
                "it.",
            ),
            (LIMIT / 4, "With this rate, one step goes only half of the way."),
            (2 / LIMIT, "This is the second derivative. Which rate follows from it?"),
        ],
        otherwise=ONE_STEP,
    )


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


def counts_in(table):
    """Return the student's steps for all rates: a number each, or None."""
    counts = []
    for eta in RATES:
        entries = entries_for(eta, table)
        if not entries:
            fail(f"The rate {eta:g} is missing from your table.")
        own = Answer(entries[0], f"steps_needed[{eta:g}]")
        counts.append(None if own.value is None else own.number().value)
    return counts


@check("steps", points=1, title="Steps that each rate needs")
def test_steps_needed(student):
    # Exact, except for the slowest rate, where rounding in float32 may shift the count by one.
    steps_needed = student.value("steps_needed").value
    if not isinstance(steps_needed, dict):
        fail("steps_needed should be a dictionary: rate → steps.")
    counts = counts_in(steps_needed)
    right = [reference.steps_needed_1d(eta) for eta in RATES]
    if counts[0] in (right[0] - 1, right[0], right[0] + 1) and counts[1:] == right[1:]:
        return
    own = str({eta: None if n is None else float(n) for eta, n in zip(RATES, counts, strict=True)})
    if counts[-1] is not None and counts[:-1] == right[:-1]:
        fail("Where a walk diverges, the table should hold None.", own)
    best, smallest = reference.best_a_1d(), reference.mse(*reference.closed_form(AGE, SBP))
    for wrong, sentence in [
        (
            steps_by(lambda a: loss_1d(a) - smallest <= 0.001),
            "Within 0.001 of the smallest loss of this curve, with b = 87.6: other lines have a "
            "smaller one.",
        ),
        (steps_by(lambda a: abs(a - best) <= 0.001), "The loss should come within 0.001, not a."),
        (
            [None if n is None else n + 1 for n in right],
            "Each count is one too large. The start is step 0, so how many updates are done?",
        ),
        ([None if n is None else n - 1 for n in right], "Each count is one too small."),
    ]:
        if counts == wrong:
            fail(sentence, own)
    rate = next(eta for eta, count, n in zip(RATES, counts, right, strict=True) if count != n)
    fail(
        f"The entry for the rate {rate:g} is not right yet. Count the updates until the loss first "
        "comes within 0.001 of the smallest loss.",
        own,
    )


# Pictures --------------------------------------------------------------------------------------


def losses(slopes):
    return np.array([loss_1d(a) for a in np.ravel(slopes)])


def own_losses(student):
    """Return the student's own loss as a function of slopes: task 1 has judged a slip there."""

    def heights(slopes):
        own = value_or_none(lambda: student.map("loss", np.ravel(slopes).tolist()).array())
        # A loss is never negative, so no picture shows this value.
        if own is None or own.size != np.size(slopes):
            return np.full(np.size(slopes), -1.0)
        return np.where(np.isnan(own), -1.0, own).ravel()

    return heights


def own_or_right(student):
    """Return both functions that turn slopes into losses, the right one first."""
    return losses, own_losses(student)


@check("plot-curve", points=0.5, title="The loss curve is in the picture")
def test_curve(student):
    picture = Picture(student, "ax_loss_curve")
    picture.must_have_labels()
    # Ten points, because two of them make a straight line, which is no loss curve. A grid from
    # np.arange(0, 2, 0.1) ends one step before 2.
    if not any(
        picture.has_function(height, 0.1, 1.9, points=10) for height in own_or_right(student)
    ):
        fail("I cannot find the loss curve from a = 0 to a = 2 in ax_loss_curve.")


@check("plot-curve", points=0.5, title="Both tangents are in the picture")
def test_tangents(student):
    picture = Picture(student, "ax_loss_curve")
    for a, name in ((0.0, "slope_0"), (2.0, "slope_2")):
        own = value_or_none(student.number, name)
        slopes = [slope_1d(a)] if own is None else [slope_1d(a), own]

        def tangent(height, slope, a=a):
            return lambda x: float(height([a])[0]) + slope * (x - a)

        tangents = [tangent(height, slope) for height in own_or_right(student) for slope in slopes]
        # A tangent may begin or end at its point, but a single point has no slope.
        if not any(
            picture.has_function(height, *ends, rel=5e-3)
            for height in tangents
            for ends in ((a, a + 0.05), (a - 0.05, a))
        ):
            fail(
                f"I cannot find the tangent at a = {a:g}. Draw a straight line through the curve's "
                "point there, with the slope from task 2."
            )


@check("plot-runs", points=0.5, title="The three walks are in the picture")
def test_runs(student):
    picture = Picture(student, "ax_runs")
    picture.must_have_labels()
    walks = {"history_small": 0.0001, "history_good": 0.0003, "history_large": 0.00045}
    for name, eta in walks.items():
        own = value_or_none(student.array, name)  # wrong walks were judged in task 4
        is_walk = own is not None and own.size > 1 and np.isfinite(own).all()
        candidates = [descend_1d(0.5, eta, 5), *([own.ravel()] if is_walk else [])]
        if not any(
            picture.has_path(np.column_stack([walk, height(walk)]), rel=1e-3, abs=1e-3)
            for walk in candidates
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
