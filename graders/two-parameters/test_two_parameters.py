"""Hidden checks of `two-parameters`: gradient descent in a bowl and in a canyon (section 3.2.2)."""

import numpy as np

import reference
from nbmark import Answer, check, fail, name
from plots import Picture
from reference import AGE, SBP, descend

X, Y = reference.bowl_data()
N = len(X)
START, RATE = (0.0, 139.0), 0.0004
Z = reference.standardised()
ONE_POINT = "Both slopes belong to the same point: compute both, then move."
COUNT = "Count the updates."
HOW_LONG = "Your marble moves in the right direction, but how long is each step?"
WHICH_SLOPE = "Which slope contains x? Does the loss fall after one step?"
FIRST_STEP = "Check the first step with pencil and paper before you run thousands of steps."
RULE = "Read the definitions of the stopping rule and of z again."
WITHIN = "What must come within 0.001 of what, and where does the walk start?"
WHICH_FUNCTION = "Which function do you differentiate twice?"
COLLECT = "Put z = (x - mean)/std into the line, then collect the terms with x."


def pair(student, first, second):
    """Return two numbers of the notebook as one answer."""
    values = [student.number(variable).value for variable in (first, second)]
    return Answer(np.array(values), f"{first}, {second}")


def walk(start, eta, steps, x, y, mistake):
    """Return the last point of a walk with the named mistake in each update."""
    (a, b), n = start, len(x)
    # The gradient needs only these four means, so long walks with mistakes stay fast.
    xx, xy, mx, my = (float(np.mean(values)) for values in (x * x, x * y, x, y))
    for _ in range(steps):
        grad_a, grad_b = 2 * (a * xx + b * mx - xy), 2 * (a * mx + b - my)
        if mistake == "half":
            grad_a, grad_b = grad_a / 2, grad_b / 2
        elif mistake == "n - 1":
            grad_a, grad_b = grad_a * n / (n - 1), grad_b * n / (n - 1)
        elif mistake == "exchanged":
            grad_a, grad_b = grad_b, grad_a
        elif mistake == "uphill":
            grad_a, grad_b = -grad_a, -grad_b
        elif mistake == "sequential":
            grad_b = 2 * ((a - eta * grad_a) * mx + b - my)
        a, b = a - eta * grad_a, b - eta * grad_b
    return a, b


# The bowl --------------------------------------------------------------------------------------


@check("bowl", points=1, title="loss(a, b) for any line")
def test_loss(student):
    # float32 errs by 1e-7; the closest mistake, n - 1, is 2 % off.
    for a, b in [(3.0, 1.0), (-2.0, 0.5), (100.0, -40.0)]:
        right = reference.loss_of(a, b, X, Y)
        student.call("loss", a, b).number().matches(
            right,
            rel=1e-5,
            mistakes=[
                (right * N, "Your function returns a sum. What turns a sum into a mean?"),
                (np.sqrt(right), "Is the root one step too many?"),
                (right * N / (N - 1), "What do you divide by? Is it the number of points?"),
                (reference.loss_of(b, a, X, Y), "Which argument is the slope?"),
            ],
            otherwise="loss(a, b) is not the mean squared error on the data x and y.",
        )


@check("bowl", points=2, title="gradient(a, b) at any point")
def test_gradient(student):
    for a, b in [(3.0, 1.0), (-2.0, 0.5), (100.0, -40.0)]:
        right = np.array(reference.gradient(a, b, X, Y))
        student.call("gradient", a, b).array().matches(
            right,
            rel=1e-5,
            abs=1e-6,
            mistakes=[
                (right / 2, "Check the derivative of the square: which factor comes to the front?"),
                (right[::-1], "Gradients are ordered (a, b). Which slope contains x?"),
                (-right, "The gradient points uphill, where the loss grows. Check your sign."),
                (right * N, "The loss is a mean, so its slopes are means too."),
            ],
            otherwise="These are not the derivatives for a and for b on the data x and y.",
        )


@check("start", points=1, title="Loss at (3, 3)")
def test_loss_at_start(student):
    right = reference.loss_of(3, 3, X, Y)
    state = np.random.RandomState(42)
    x = state.normal(0, 1, 50)
    same_draw = reference.loss_of(3, 3, x, x + 1 + x)
    hint = "Is it a mean of squares? Are x and the noise two different draws?"
    # 1e-4: rounding to 6.159 passes, the chapter's 6.15 (1.4e-3 away) does not.
    student.number("loss_33").matches(
        right,
        rel=1e-4,
        mistakes=[
            (wrong, hint) for wrong in (right * N, np.sqrt(right), right * N / (N - 1), same_draw)
        ],
    )


@check("start", points=1, title="Direction of steepest descent at (3, 3)")
def test_direction(student):
    gradient = np.array(reference.gradient(3, 3, X, Y))
    right = -gradient / np.linalg.norm(gradient)
    answer = student.array("direction")
    Answer(answer.value.ravel(), "direction").matches(
        right,
        rel=1e-4,
        mistakes=[
            (-right, "This direction is uphill."),
            (right[::-1], "Directions are ordered (a, b)."),
            (-gradient, "A unit vector has length 1: divide by the length."),
            (gradient, "Check the sign, and the length: a unit vector has length 1."),
        ],
    )


@check("descend", points=1.5, title="descend(a0, b0, eta, steps), the whole path")
def test_descend(student):
    for (a0, b0), eta, steps in [((2.0, -1.0), 0.1, 6), ((-3.0, 4.0), 0.05, 11), ((1, 1), 0.3, 1)]:
        right = descend(a0, b0, eta, steps, X, Y)
        wrong = [
            (np.array([walk((a0, b0), eta, n, X, Y, kind) for n in range(steps + 1)]), sentence)
            for kind, sentence in [
                ("half", HOW_LONG),
                ("sequential", ONE_POINT),
                ("exchanged", WHICH_SLOPE),
                ("uphill", WHICH_SLOPE),
            ]
        ]
        student.call("descend", a0, b0, eta, steps).array().matches(
            right,
            rel=1e-4,
            abs=1e-6,
            mistakes=[
                (right[1:], "The path begins with the start, before the first step."),
                (right[:-1], "Your path is one step too short."),
                (right.T, "Each row of the path is one point (a, b): the shape is (steps + 1, 2)."),
                *wrong,
            ],
            otherwise="Start with (a0, b0), then append the point (a, b) after each step.",
        )


@check("descend", points=1, title="The bowl after 20 steps")
def test_twenty_steps(student):
    def mistakes():
        for kind, sentence in [
            ("half", HOW_LONG),
            ("sequential", ONE_POINT),
            ("exchanged", WHICH_SLOPE),
            ("uphill", WHICH_SLOPE),
            ("n - 1", "What do you divide by? Is it the number of points?"),
        ]:
            yield walk((3, 3), 0.1, 20, X, Y, kind), sentence
        for steps in (19, 21):
            yield descend(3, 3, 0.1, steps, X, Y)[-1], COUNT

    # 1e-4: n - 1 for n and sequential updates differ by half a percent only.
    pair(student, "a_20", "b_20").matches(
        descend(3, 3, 0.1, 20, X, Y)[-1], rel=1e-4, mistakes=mistakes()
    )


# The canyon ------------------------------------------------------------------------------------


def canyon_is_right(student, names, steps):
    """Compare (a, b) after `steps` updates on the blood pressure."""
    answer = pair(student, *names)
    right = descend(*START, RATE, steps)[-1]

    def is_near(point):
        # a: one step more or less is 1.2e-4 off, float32 errs by 2.4e-6; b: an unchanged 139 is
        # 2e-6 off after one step, so b is held to 3e-5 there, to 5e-6 of its value later.
        (a, b), (right_a, right_b) = answer.value, point
        b_tolerance = 3e-5 if steps == 1 else 5e-6 * abs(right_b)
        near = abs(a - right_a) <= 2e-5 * abs(right_a) and abs(b - right_b) <= b_tolerance
        return bool(near and np.isfinite(point).all())  # some mistakes run away to infinity

    def mistakes():
        half = walk(START, RATE, steps, AGE, SBP, "half")
        yield (
            half,
            (
                "You are half way. Is it the number of steps or their size?"
                if steps == 10_000
                else FIRST_STEP
            ),
        )
        for kind in ("sequential", "exchanged", "uphill"):
            yield walk(START, RATE, steps, AGE, SBP, kind), FIRST_STEP
        yield descend(*START, RATE / 10, steps)[-1], FIRST_STEP
        yield descend(0.0, float(SBP.mean()), RATE, steps)[-1], FIRST_STEP
        for other in (steps - 1, steps + 1):
            yield descend(*START, RATE, other)[-1], COUNT

    if is_near(right):
        return
    own = ", ".join(f"{number:.9g}" for number in answer.value)
    for point, sentence in mistakes():
        if is_near(point):
            fail(sentence, own)
    if steps == 1 and answer.value[1] == START[1]:
        fail("Both parameters move in each step: the intercept moves a little, too.", own)
    fail(FIRST_STEP, own)


@check("blood", points=1, title="The canyon after 1 step")
def test_canyon_1(student):
    canyon_is_right(student, ("a_1", "b_1"), 1)


@check("blood", points=1, title="The canyon after 5 000 steps")
def test_canyon_5000(student):
    canyon_is_right(student, ("a_5000", "b_5000"), 5000)


@check("blood", points=1, title="The canyon after 10 000 steps")
def test_canyon_10000(student):
    canyon_is_right(student, ("a_10000", "b_10000"), 10_000)


def first_step_within(path, x, y):
    """Return the steps until the loss is within 0.001 of the smallest one."""
    smallest = reference.loss_of(*reference.closed_form(x, y), x, y)
    return reference.first_within(reference.losses_along(path, x, y), smallest)


@check("count", points=0.5, title="Steps in the bowl")
def test_steps_in_bowl(student):
    # Exact: the excess is 0.00116 after one step less, 0.00085 after the right number.
    path = descend(3, 3, 0.1, 100, X, Y)
    right = first_step_within(path, X, Y)
    student.number("steps_bowl").matches(
        right,
        rel=0,
        mistakes=[
            (
                right - 1,
                "You are one step off. The start is step 0. Do a and b move at the same time?",
            ),
            (
                right + 1,
                "You are one step off. The start is step 0, and 0.001 is absolute, not relative.",
            ),
        ],
        otherwise=RULE,
    )


@check("count", points=1, title="Steps in the canyon")
def test_steps_in_canyon(student):
    # 1.5 %: a float32 walk judged by a float64 loss needs 71 726 steps. The closest mistake,
    # another start, is 8 % off.
    path = descend(*START, RATE, 75_000)
    answer = student.number("steps_sbp")
    answer.matches(first_step_within(path, AGE, SBP), rel=0.015, otherwise=WITHIN)


# Curvature -------------------------------------------------------------------------------------


@check("curvature", points=0.5, title="Hessian of the blood-pressure loss")
def test_hessian(student):
    right = reference.hessian()
    student.array("hessian", shape=(2, 2)).matches(
        right,
        rel=1e-5,
        mistakes=[
            (right / 2, WHICH_FUNCTION),
            (right * len(AGE), WHICH_FUNCTION),
            (right * len(AGE) / 2, WHICH_FUNCTION),
            (right[::-1, ::-1], "Write the Hessian in the order (a, b)."),
        ],
    )


@check("curvature", points=0.5, title="The two eigenvalues of the Hessian")
def test_eigenvalues(student):
    answer = np.sort(student.array("eigenvalues").value.ravel())
    right = np.linalg.eigvalsh(reference.hessian())
    Answer(answer, "eigenvalues").matches(
        right,
        rel=1e-5,
        mistakes=[
            (right / 2, WHICH_FUNCTION),
            (right * len(AGE), WHICH_FUNCTION),
            (right * len(AGE) / 2, WHICH_FUNCTION),
        ],
    )


@check("curvature", points=1, title="Condition number")
def test_condition(student):
    smaller, larger = np.linalg.eigvalsh(reference.hessian())
    student.number("condition").matches(
        larger / smaller,
        rel=1e-4,
        mistakes=[
            (np.sqrt(larger / smaller), WHICH_FUNCTION),
            (
                smaller / larger,
                "The condition number is the larger curvature divided by the smaller one.",
            ),
        ],
    )


# Standardising ---------------------------------------------------------------------------------


@check("standard", points=0.5, title="Standardised age")
def test_standardised(student):
    answer = student.array("z")
    Answer(answer.value.ravel(), "z").matches(
        Z,
        rel=1e-5,
        abs=1e-6,
        mistakes=[
            ((AGE - AGE.mean()) / AGE.std(ddof=1), RULE),
            ((AGE - AGE.min()) / np.ptp(AGE), RULE),
            (AGE / AGE.std(), "The mean of z is zero. Is yours?"),
            (AGE - AGE.mean(), "The standard deviation of z is one. Is yours?"),
        ],
        otherwise=RULE,
    )


@check("standard", points=1, title="Steps on standardised age")
def test_steps_standardised(student):
    # Exact, in float32 too; the sample's standard deviation gives one step more.
    path = descend(*START, 0.1, 100, Z, SBP)
    student.number("steps_z").matches(first_step_within(path, Z, SBP), rel=0, otherwise=RULE)


@check("standard", points=1, title="The line for age in years again")
def test_back_in_years(student):
    a, b = descend(*START, 0.1, 200, Z, SBP)[-1]
    mean, std, sample = AGE.mean(), AGE.std(), AGE.std(ddof=1)
    early_a, early_b = descend(*START, 0.1, 29, Z, SBP)[-1]
    # 1e-5: stopping after 29 steps is 1.5e-3 off.
    pair(student, "a_back", "b_back").matches(
        (a / std, b - a * mean / std),
        rel=1e-5,
        mistakes=[
            ((a / std, b), COLLECT),
            ((a / std, b + a * mean / std), COLLECT),
            ((a * std, b - a * std * mean), COLLECT),
            ((a / sample, b - a * mean / sample), COLLECT),
            ((a, b), COLLECT),
            ((early_a / std, early_b - early_a * mean / std), "Walk all 200 steps."),
        ],
        otherwise=COLLECT,
    )


# The picture (figures 3.6 and 3.7) -------------------------------------------------------------


def picture_of(student, index):
    """Return one of the two axes, or fail unless it has labels and contour lines."""
    picture = Picture(student, name("ax_contour")[index], f"ax_contour[{index}]")
    picture.must_have_labels()
    if not picture.contours:
        fail(f"Draw contour lines of the loss in ax_contour[{index}].")
    return picture


@check("plot", points=0.75, title="Contours and path of the bowl")
def test_plot_bowl(student):
    picture = picture_of(student, 0)
    own = student.call("descend", 3, 3, 0.1, 20).array().value  # judged in task 3
    if not any(picture.has_path(path) for path in (descend(3, 3, 0.1, 20, X, Y), own)):
        fail(
            "I cannot find the 20 steps from (3, 3) in the bowl. Put a on the horizontal axis and "
            "b on the vertical axis."
        )


@check("plot", points=0.75, title="Contours and path of the canyon")
def test_plot_canyon(student):
    picture = picture_of(student, 1)
    path = descend(*START, RATE, 10_000)
    scale = np.array([1.0, 50.0])  # mmHg per year, mmHg: the size of the picture
    # Students may draw only some of the steps, but every point must lie on the path.
    for line in (*picture.lines, picture.points):
        reaches = len(line) >= 3 and line[:, 0].max() >= 0.99 * path[5000, 0]
        starts = reaches and np.linalg.norm((line - START) / scale, axis=1).min() < 0.01
        if starts and all(
            np.linalg.norm((path - point) / scale, axis=1).min() < 0.01 for point in line
        ):
            return
    fail(
        "I cannot find the path of the first 5 000 steps from (0, 139) in the canyon. Put a on the "
        "horizontal axis and b on the vertical axis."
    )
