"""Hidden checks of `two-parameters`: gradient descent in a bowl and in a canyon (section 3.2.2)."""

import functools

import numpy as np

import reference
from nbmark import Answer, CheckFailed, check, fail, name
from plots import Picture
from reference import AGE, SBP, descend, mse

X, Y = reference.bowl_data()
N = len(X)
START, RATE = (0.0, 139.0), 0.0004
Z = reference.standardised()
SCALE = np.array([1.0, 50.0])  # mmHg per year, mmHg: the size of the picture of the canyon
ONE_POINT = "Both slopes belong to the same point: compute both, then move."
COUNT = "Count the updates."
HOW_LONG = "Your marble moves in the right direction, but how long is each step?"
WHICH_SLOPE = "Which slope contains x? Does the loss fall after one step?"
FIRST_STEP = "Check the first step with pencil and paper before you run thousands of steps."
ON_THE_WAY = (
    "Your line is on the right way, but at another step. Is it the number of steps or their size?"
)
A_SUM = "Your function returns a sum. What turns a sum into a mean?"
A_ROOT = "Is the root one step too many?"
DIVISOR = "What do you divide by? Is it the number of points?"
RULE = "Read the definition of the stopping rule again."
WITHIN = "What must come within 0.001 of what, and where does the walk start?"
HALF_STEPS = "This is the count for steps of half the length. Which factor does the square bring?"
CHANGE = (
    "The loss itself must come within 0.001 of the smallest one. It is not enough that it changes "
    "by less than that in one step."
)
DISTANCE = "The loss must come within 0.001 of its smallest value, not a and b of theirs."
WHICH_FUNCTION = "Which function do you differentiate twice?"
BOWL_AGAIN = "This belongs to the bowl. The task asks for the blood pressure."
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
                (right * N, A_SUM),
                (np.sqrt(right), A_ROOT),
                (right * N / (N - 1), DIVISOR),
                (right / 2, "This is half of the MSE. Is there a factor in front of your mean?"),
                (mse(a, b), "This is the loss on the blood pressure. The bowl has the data x, y."),
                (reference.loss_of(b, a, X, Y), "Which argument is the slope?"),
            ],
            otherwise="loss(a, b) is not the mean squared error on the data x and y.",
        )


@check("bowl", points=2, title="gradient(a, b) at any point")
def test_gradient(student):
    for a, b in [(3.0, 1.0), (-2.0, 0.5), (100.0, -40.0)]:
        right = np.array(reference.gradient(a, b, X, Y))
        student.call("gradient", a, b).array((2,)).matches(
            right,
            rel=1e-5,
            abs=1e-6,
            mistakes=[
                (right / 2, "Check the derivative of the square: which factor comes to the front?"),
                (right[::-1], "Gradients are ordered (a, b). Which slope contains x?"),
                (-right, "The gradient points uphill, where the loss grows. Check your sign."),
                (right * N, "The loss is a mean, so its slopes are means too."),
                (
                    reference.gradient(a, b),
                    "These are the slopes on the blood pressure. The bowl has the data x, y.",
                ),
            ],
            otherwise="These are not the derivatives for a and for b on the data x and y.",
        )


@check("start", points=1, title="Loss at (3, 3)")
def test_loss_at_start(student):
    right = reference.loss_of(3, 3, X, Y)
    state = np.random.RandomState(42)
    x = state.normal(0, 1, 50)
    same_draw = reference.loss_of(3, 3, x, x + 1 + x)
    # 1e-4: rounding to 6.159 passes, the chapter's 6.15 (1.4e-3 away) does not.
    student.number("loss_33").matches(
        right,
        rel=1e-4,
        mistakes=[
            (right * N, "This is the sum of the squares. What turns a sum into a mean?"),
            (np.sqrt(right), A_ROOT),
            (right * N / (N - 1), DIVISOR),
            (same_draw, "Your x and your noise are the same draw. Use x and y of the data cell."),
        ],
        otherwise="This is not the loss of the line 3x + 3 on the data x and y.",
    )


@check("start", points=1, title="Direction of steepest descent at (3, 3)")
def test_direction(student):
    gradient = np.array(reference.gradient(3, 3, X, Y))
    right = -gradient / np.linalg.norm(gradient)
    student.array("direction", shape=(2,)).matches(
        right,
        rel=1e-4,
        mistakes=[
            (-right, "This direction is uphill."),
            (right[::-1], "Directions are ordered (a, b)."),
            (-gradient, "A unit vector has length 1: divide by the length."),
            (gradient, "Check the sign, and the length: a unit vector has length 1."),
        ],
        otherwise="Divide minus the gradient at (3, 3) by its length, the root of the sum of its "
        "squares.",
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
            ("n - 1", DIVISOR),
        ]:
            yield walk((3, 3), 0.1, 20, X, Y, kind), sentence
        for steps in (19, 21):
            yield descend(3, 3, 0.1, steps, X, Y)[-1], COUNT

    # 1e-4: n - 1 for n and sequential updates differ by half a percent only.
    pair(student, "a_20", "b_20").matches(
        descend(3, 3, 0.1, 20, X, Y)[-1],
        rel=1e-4,
        mistakes=mistakes(),
        otherwise="This is not where 20 steps with the rate 0.1 from (3, 3) end. "
        "Check the first step with pencil and paper.",
    )


# The canyon ------------------------------------------------------------------------------------


@functools.cache
def canyon():
    """Return the points of the walk in the canyon, as far as its end in sight: 100 000 steps."""
    return descend(*START, RATE, 100_000)


def canyon_is_right(student, names, steps):
    """Compare (a, b) after `steps` updates on the blood pressure."""
    answer = pair(student, *names)
    right = canyon()[steps]

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
        yield walk(START, RATE, steps, AGE, SBP, "sequential"), ONE_POINT
        yield walk(START, RATE, steps, AGE, SBP, "exchanged"), WHICH_SLOPE
        yield walk(START, RATE, steps, AGE, SBP, "uphill"), WHICH_SLOPE
        yield (
            descend(0.0, float(SBP.mean()), RATE, steps)[-1],
            "Where does your walk start? The task names a rounded mean.",
        )
        for other in (steps - 1, steps + 1):
            yield canyon()[other], COUNT
        # A tenth of the rate ends where a tenth of the steps does, so the sentence names both.
        yield descend(*START, RATE / 10, steps)[-1], ON_THE_WAY if steps > 1 else FIRST_STEP

    if is_near(right):
        return
    own = ", ".join(f"{number:.9g}" for number in answer.value)
    if tuple(answer.value) == START:
        fail("This is the line at the start, before the first step.", own)
    for point, sentence in mistakes():
        if is_near(point):
            fail(sentence, own)
    # The walk never returns, so the closest slope tells the step.
    if is_near(canyon()[np.argmin(np.abs(canyon()[:, 0] - answer.value[0]))]):
        fail(ON_THE_WAY, own)
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


def wrong_counts(start, eta, x, y, steps):
    """Yield the counts that known mistakes give within `steps` steps, with their sentences."""
    path = descend(*start, eta, steps, x, y)
    losses, best = reference.losses_along(path, x, y), reference.closed_form(x, y)
    yield first_step_within(descend(*start, eta / 2, steps, x, y), x, y), HALF_STEPS
    first_small_change = int(np.argmax(np.abs(np.diff(losses)) < 0.001))
    yield from ((first_small_change + late, CHANGE) for late in (0, 1))
    apart = np.abs(path - best)
    for distance in (apart.max(axis=1), np.hypot(*apart.T)):
        yield int(np.argmax(distance <= 0.001)), DISTANCE


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
            *wrong_counts((3, 3), 0.1, X, Y, 200),
        ],
        otherwise=RULE,
    )


@check("count", points=1, title="Steps in the canyon")
def test_steps_in_canyon(student):
    # 1.5 %: a float32 walk judged by a float64 loss needs 71 726 steps. The closest mistake,
    # another start, is 8 % off.
    def mistakes():
        yield from wrong_counts(START, RATE, AGE, SBP, 150_000)
        from_zero = descend(0.0, 0.0, RATE, 100_000)
        yield first_step_within(from_zero, AGE, SBP), "Your walk starts at (0, 0), not at (0, 139)."
        losses, smallest = reference.losses_along(canyon()), mse(*reference.closed_form(AGE, SBP))
        share = reference.first_within(losses, smallest, 0.001 * smallest)
        yield share, "0.001 is a distance in mmHg², not a share of the smallest loss."

    right = first_step_within(canyon(), AGE, SBP)
    student.number("steps_sbp").matches(right, rel=0.015, mistakes=mistakes(), otherwise=WITHIN)


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
            (reference.hessian(X), BOWL_AGAIN),
        ],
        otherwise="This is not the Hessian of the blood-pressure loss. "
        "Put the 33 ages into the formula of the box.",
    )


@check("curvature", points=0.5, title="The two eigenvalues of the Hessian")
def test_eigenvalues(student):
    answer = np.sort(student.array("eigenvalues", shape=(2,)).value)
    right = np.linalg.eigvalsh(reference.hessian())
    Answer(answer, "eigenvalues").matches(
        right,
        rel=1e-5,
        mistakes=[
            (right / 2, WHICH_FUNCTION),
            (right * len(AGE), WHICH_FUNCTION),
            (right * len(AGE) / 2, WHICH_FUNCTION),
            (np.linalg.eigvalsh(reference.hessian(X)), BOWL_AGAIN),
        ],
        otherwise="These are not the eigenvalues of the Hessian of the blood-pressure loss. "
        "Give the Hessian to np.linalg.eigvalsh.",
    )


@check("curvature", points=1, title="Condition number")
def test_condition(student):
    smaller, larger = np.linalg.eigvalsh(reference.hessian())
    student.number("condition").matches(
        larger / smaller,
        rel=1e-4,
        mistakes=[
            (
                np.sqrt(larger / smaller),
                "This is the condition number of the data. Take that of the Hessian, its square.",
            ),
            (np.linalg.cond(reference.hessian(X)), BOWL_AGAIN),
            (
                smaller / larger,
                "The condition number is the larger curvature divided by the smaller one.",
            ),
        ],
        otherwise="Divide the larger eigenvalue of the Hessian by the smaller one.",
    )


# Standardising ---------------------------------------------------------------------------------


@check("standard", points=0.5, title="Standardised age")
def test_standardised(student):
    student.array("z", shape=(33,)).matches(
        Z,
        rel=1e-5,
        abs=1e-6,
        mistakes=[
            ((AGE - AGE.mean()) / AGE.std(ddof=1), "Which of the two standard deviations is s?"),
            ((AGE - AGE.min()) / np.ptp(AGE), "This z runs from 0 to 1. Read its definition."),
            (AGE / AGE.std(), "The mean of z is zero. Is yours?"),
            (AGE - AGE.mean(), "The standard deviation of z is one. Is yours?"),
        ],
        otherwise="This is not the standardised age. Its mean should be 0, and its standard "
        "deviation 1.",
    )


@check("standard", points=1, title="Steps on standardised age")
def test_steps_standardised(student):
    # Exact, in float32 too; the sample's standard deviation gives one step more.
    right = first_step_within(descend(*START, 0.1, 100, Z, SBP), Z, SBP)
    scaled = (AGE - AGE.min()) / np.ptp(AGE)

    def mistakes():
        yield right - 1, f"One step off: the start is step 0. {CHANGE}"
        yield right + 1, "One step off: the start is step 0, and z is made with np.std."
        yield from wrong_counts(START, 0.1, Z, SBP, 200)
        old_rate = descend(*START, RATE, 10_000, Z, SBP)
        yield (
            first_step_within(old_rate, Z, SBP),
            "On z you can take longer steps: the rate is 0.1.",
        )
        on_scaled = descend(*START, 0.1, 1000, scaled, SBP)
        yield first_step_within(on_scaled, scaled, SBP), "This walk uses an age from 0 to 1, not z."

    student.number("steps_z").matches(right, rel=0, mistakes=mistakes(), otherwise=RULE)


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


def own_walk(student):
    """Return a list with the path of the student's own descend, judged in task 3, if it is one."""
    try:
        own = student.call("descend", 3, 3, 0.1, 20).array().value
    except CheckFailed:
        return []
    is_path = own.ndim == 2 and own.shape[1] == 2 and len(own) > 1
    return [own] if is_path and np.isfinite(own).all() else []


def on_canyon(points):
    """Return whether all points lie on the walk in the canyon, up to 1 % of the picture."""
    # In the first 200 steps a swings from side to side. Then it only grows, so that b follows from
    # it, and a picture with 100 000 points is compared in no time.
    swing, tail = canyon()[:200], canyon()[200:]
    near_swing = (np.abs(points[:, None] - swing) / SCALE < 0.01).all(axis=2).any(axis=1)
    on_tail = np.abs(points[:, 1] - np.interp(points[:, 0], *tail.T)) / SCALE[1] < 0.015
    on_tail &= (points[:, 0] > tail[0, 0] - 0.01) & (points[:, 0] < tail[-1, 0] + 0.01)
    return bool((near_swing | on_tail).all())


@check("plot", points=0.75, title="Contours and path of the bowl")
def test_plot_bowl(student):
    picture = picture_of(student, 0)
    paths = [descend(3, 3, 0.1, 20, X, Y), *own_walk(student)]
    if not any(picture.has_path(path) for path in paths):
        fail(
            "I cannot find the 20 steps from (3, 3) in the bowl. Put a on the horizontal axis and "
            "b on the vertical axis."
        )


@check("plot", points=0.75, title="Contours and path of the canyon")
def test_plot_canyon(student):
    picture = picture_of(student, 1)
    # Students may draw only some of the steps, or more, but every point must lie on the path.
    for line in (*picture.lines, *picture.groups, picture.points):
        reaches = len(line) >= 3 and line[:, 0].max() >= 0.99 * canyon()[5000, 0]
        starts = reaches and np.linalg.norm((line - START) / SCALE, axis=1).min() < 0.01
        if starts and on_canyon(line):
            return
    fail(
        "I cannot find the path of the first 5 000 steps from (0, 139) in the canyon. Put a on the "
        "horizontal axis and b on the vertical axis."
    )
