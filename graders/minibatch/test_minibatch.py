"""Hidden checks of `minibatch`: batches, momentum and Adam (sections 3.3.1 and 3.3.2)."""

import functools

import numpy as np

import reference
from answers import value_or_none
from nbmark import check, close, fail
from plots import Picture
from reference import AGE, SBP, gradient
from updates import ADAM_MISTAKES, MOMENTUM_MISTAKES, adam_rule, as_it_is, update_is_right

START = (0.0, 139.0)
FULL = np.array(gradient(*START))
HALF = "This is half of the gradient. Which factor does the derivative of a square bring?"
HOW_MANY = "How many rows are in this batch?"
MEAN_OF_BATCH = "The loss of a batch is a mean over its rows."
BY_ITS_SIZE = "To average over a batch, divide by the number of its rows."
ORDER = "Gradients are ordered (a, b)."
UPHILL = "The gradient points uphill, where the loss grows. Check your sign."
FIRST_TIME = (
    "This is not the first step within 0.001. Start at (0, 139), with age in years, the full "
    "gradient and nothing in memory, and count the updates."
)


def of_rows(rows, a=START[0], b=START[1]):
    return np.array(gradient(a, b, AGE[rows], SBP[rows]))


THIRDS = np.array([of_rows(np.arange(k, k + 11)) for k in (0, 11, 22)])
SINGLE = np.array([of_rows([i]) for i in range(33)])


# Batches ---------------------------------------------------------------------------------------


@check("batch", points=2, title="batch_gradient(a, b, rows) for any batch")
def test_batch_gradient(student, draw):
    for a, b, size in [(0.0, 139.0, 11), (1.5, 60.0, 4), (-2.0, 300.0, 1), (1.0, 90.0, 33)]:
        rows = draw.permutation(33)[:size]
        right = of_rows(rows, a, b)
        mistakes = [
            (right / 2, HALF),
            (right * size / 33, HOW_MANY),
            (right * size, MEAN_OF_BATCH),
            (right * size / max(size - 1, 1), BY_ITS_SIZE),
            (gradient(a, b), "This is the gradient on all women. Use only the women in rows."),
            (of_rows(np.arange(size), a, b), "These are the first women. Use those in rows."),
            (right[::-1], ORDER),
            (-right, UPHILL),
        ]
        # 1e-5: float32 errs by 1e-6; the closest mistake, 33 rows over 32, is 3 % off.
        student.call("batch_gradient", a, b, rows).array((2,)).matches(
            right,
            rel=1e-5,
            abs=1e-3,
            mistakes=mistakes,
            otherwise="This is not the gradient of the MSE of the women in rows. How much does "
            "that MSE change if a or b grows by 0.001? Compare, also for a single woman.",
        )


@check("thirds", points=1, title="Gradients of the three batches")
def test_three_batches(student):
    every_third = np.array([of_rows(np.arange(k, 33, 3)) for k in range(3)])
    student.array("gradients_3", shape=(3, 2)).matches(
        THIRDS,
        rel=1e-5,
        abs=1e-3,
        mistakes=[
            (THIRDS / 2, HALF),
            (THIRDS / 3, HOW_MANY),
            (THIRDS * 11, MEAN_OF_BATCH),
            (THIRDS * 1.1, BY_ITS_SIZE),
            (every_third, '"In order" means women who are neighbours in the list.'),
            (THIRDS[:, ::-1], ORDER),
            (-THIRDS, UPHILL),
            (np.array([FULL] * 3), "These are the gradients on all women, three times."),
        ],
        otherwise="gradients_3 should hold one row (a, b) for each batch: women 0 to 10, 11 to 21 "
        "and 22 to 32, at (0, 139).",
    )


@check("thirds", points=1, title="The mean of the three gradients")
def test_mean_of_three(student):
    uneven = np.mean([of_rows(np.arange(33)[k : k + 10]) for k in (0, 10, 20, 30)], axis=0)
    own = value_or_none(student.array, "gradients_3", (3, 2))
    student.array("mean_3", shape=(2,)).matches(
        FULL,
        rel=1e-5,
        abs=1e-3,
        mistakes=[
            (FULL / 2, HALF),
            (FULL / 3, HOW_MANY),
            (FULL * 11, MEAN_OF_BATCH),
            (FULL * 1.1, BY_ITS_SIZE),
            (FULL * 3, "This is the sum of the three gradients."),
            (uneven, "Do all your batches have the same size?"),
            (FULL[::-1], ORDER),
            (-FULL, UPHILL),
            *mean_of_own(own, "This is the mean of your gradients_3, and they are not right yet."),
        ],
        otherwise="mean_3 is not the mean of the three right gradients: one number for a, one for "
        "b.",
    )


def mean_of_own(gradients, sentence):
    """Return the mean of the student's own gradients as a known mistake, if they are numbers."""
    if gradients is None or not np.isfinite(gradients).all():
        return []
    return [(gradients.mean(axis=0), sentence)]


@check("single", points=1, title="Gradients of all single women")
def test_single_women(student):
    student.array("gradients_1", shape=(33, 2)).matches(
        SINGLE,
        rel=1e-5,
        abs=1e-3,
        mistakes=[
            (SINGLE / 2, HALF),
            (SINGLE / 33, HOW_MANY),
            (SINGLE[:, ::-1], ORDER),
            (-SINGLE, UPHILL),
        ],
        otherwise="gradients_1 should hold one row (a, b) for each woman, in the order of the "
        "list, at (0, 139).",
    )


@check("single", points=1, title="The mean of all single gradients")
def test_mean_of_single_women(student):
    own = value_or_none(student.array, "gradients_1", (33, 2))
    student.array("mean_1", shape=(2,)).matches(
        FULL,
        rel=1e-5,
        abs=1e-3,
        mistakes=[
            (FULL * 33, "This is the sum of the 33 gradients."),
            (FULL / 2, HALF),
            (FULL[::-1], ORDER),
            (-FULL, UPHILL),
            (np.median(SINGLE, axis=0), "This is the median. Take the mean."),
            *mean_of_own(own, "This is the mean of your gradients_1, and they are not right yet."),
        ],
        otherwise="mean_1 is not the mean of the 33 right gradients. Take the mean over the women "
        "for each of the two columns.",
    )


@check("single", points=1, title="How widely single gradients scatter")
def test_spread_of_single_women(student):
    own = value_or_none(student.array, "gradients_1", (33, 2))
    right = SINGLE.std(axis=0)
    # 2e-3: the task asks for the population's deviation; n - 1 is 1.6 % off.
    student.array("spread_1", shape=(2,)).matches(
        right,
        rel=2e-3,
        mistakes=[
            (
                SINGLE.std(axis=0, ddof=1),
                "You divided by one less than the number of women. The task asks for the "
                "population standard deviation.",
            ),
            (SINGLE.var(axis=0), "This is the variance. The spread has the unit of the gradient."),
            *(
                (
                    SINGLE.std(axis=0, ddof=ddof) / np.sqrt(size),
                    "This is the spread of a mean of several women. The task asks for that of "
                    "single women.",
                )
                for ddof in (0, 1)
                for size in (11, 33)
            ),
            (right[::-1], ORDER),
            (right / 2, HALF),
            (THIRDS.std(axis=0), "This is the spread of the three batches, not of single women."),
            *(
                []
                if own is None
                else [(own.std(axis=0), "This follows from your gradients_1. Look at them first.")]
            ),
        ],
        otherwise="spread_1 is not the population standard deviation of the 33 right gradients, "
        "one number for each column.",
    )


# Stochastic gradient descent -------------------------------------------------------------------


def other_sgd(batch_size, eta, epochs, seed, mistake):
    """Return the path of a walk with the named mistake."""
    x = AGE if mistake == "years" else reference.standardised()
    start = {"from zero": (0.0, 0.0), "from the mean": (0.0, float(np.mean(SBP)))}
    path = [start.get(mistake, START)]
    state, generator = np.random.RandomState(seed), np.random.default_rng(seed)
    first = order = state.permutation(33)
    for epoch in range(epochs):
        if epoch:
            order = state.permutation(order if mistake == "shuffled again" else 33)
        if mistake == "one order":
            order = first
        if mistake == "no order":
            order = np.arange(33)
        if mistake == "generator":
            order = generator.permutation(33)
        for begin in range(0, 33, batch_size):
            rows = order[begin : begin + batch_size]
            if mistake == "drops last" and len(rows) < batch_size:
                continue
            share = {
                "batch size": len(rows) / batch_size,
                "half": 0.5,
                "sum": len(rows),
                "uphill": -1.0,
            }.get(mistake, 1.0)
            a, b = path[-1]
            grad_a, grad_b = gradient(a, b, x[rows], SBP[rows])
            new_a = a - eta * share * grad_a
            if mistake == "one after the other":
                grad_b = gradient(new_a, b, x[rows], SBP[rows])[1]
            path.append((new_a, b - eta * share * grad_b))
    return np.array(path)


SGD_MISTAKES = [
    ("one order", "Draw a new order for every epoch, always from the same generator."),
    (
        "shuffled again",
        "Each epoch draws its order with rng.permutation(33). Yours shuffles the last one again.",
    ),
    ("no order", "Draw the order of the women at random."),
    ("generator", "Which generator does step 1 of the task name?"),
    ("drops last", "The last, shorter batch belongs to the epoch too."),
    ("batch size", BY_ITS_SIZE),
    ("half", HALF),
    ("sum", MEAN_OF_BATCH),
    ("uphill", "Your walk goes uphill: move against the gradient."),
    ("one after the other", "Both slopes belong to the same point: compute both, then move."),
    ("years", "Use the standardised age z, not the age in years."),
    ("from zero", "The walk starts at (0, 139)."),
    ("from the mean", "The walk starts at (0, 139)."),
]


def sgd_is_right(student, batch_size, eta, epochs, seed):
    # A generator, because only a wrong answer needs the walks with mistakes.
    def mistakes():
        for kind, sentence in SGD_MISTAKES:
            with np.errstate(all="ignore"):  # some of these walks diverge
                yield other_sgd(batch_size, eta, epochs, seed, kind), sentence
        for other in {0, 1, 42} - {seed}:
            yield (
                reference.sgd(batch_size, eta, epochs, other),
                f"This is the walk with the seed {other}. Does your function use its seed?",
            )
        yield right[1:], "The path begins with the start, before the first update."
        ends = [0, *(updates * (k + 1) for k in range(epochs))]
        yield right[ends], "Record the point after each update, not after each epoch."
        yield right[-1], "This is the last point. Return the whole path."
        yield right[:, ::-1], "Each row should hold a first, then b."

    right = reference.sgd(batch_size, eta, epochs, seed)
    updates = -(-33 // batch_size)  # per epoch, rounded up for a shorter last batch
    call = f"sgd({batch_size}, {eta:g}, {epochs}, seed={seed})"
    answer = student.call("sgd", batch_size, eta, epochs, seed).array()
    # 1e-5 and 1e-4: single precision and another order of the sums change less than that.
    tolerance = {"rel": 1e-5, "abs": 1e-4}
    otherwise = (
        f"{call} should return {len(right)} rows (a, b): the start, and one for each update."
    )
    path = answer.value
    if path.shape == right.shape:
        same = [close(own, point, **tolerance) for own, point in zip(path, right, strict=True)]
        if not all(same):
            first = same.index(False)
            place = f"its update {first}" if first else "its start"
            otherwise = (
                f"The path of {call} goes wrong at {place}. Work that out by hand, with the four "
                "steps of the text."
            )
    answer.matches(right, **tolerance, mistakes=mistakes(), otherwise=otherwise)


@check("sgd", points=1, title="sgd with the full batch, and with batches of eleven")
def test_sgd_full_batch(student):
    sgd_is_right(student, 33, 0.05, 4, 0)
    sgd_is_right(student, 11, 0.02, 1, 0)


@check("sgd", points=1, title="sgd with small and uneven batches")
def test_sgd_small_batches(student):
    sgd_is_right(student, 10, 0.02, 3, 0)
    sgd_is_right(student, 1, 0.01, 2, 0)


@check("sgd", points=1, title="The seed decides the order")
def test_sgd_seed(student):
    sgd_is_right(student, 10, 0.02, 1, 5)


# Rules with a memory ---------------------------------------------------------------------------


@check("momentum", points=2, title="momentum_step, one update")
def test_momentum(student):
    pairs = (np.array([1.0, -2.0]), np.array([30.0, 0.5]), np.array([0.2, 4.0]))
    for arguments in [(1.5, -20.0, 3.0, 0.9, 0.1), (*pairs, 0.5, 0.01)]:
        update_is_right(
            student, "momentum_step", arguments, reference.momentum_step, MOMENTUM_MISTAKES
        )


@check("adam", points=2, title="adam_step, one update")
def test_adam(student):
    # p = 0, so that the new p is the change itself. In these states every mistake is 9 % off.
    # The place of eps changes p by less than 1e-10 of it, so all conventions pass.
    pairs = tuple(np.array(pair) for pair in ([0.0, 0.0], [3.0, -0.2], [1.0, 0.1], [4.0, 0.3]))
    for arguments in [
        (0.0, 40.0, -1.0, 2.0, 2, 0.1),
        (0.0, -20.0, 3.0, 0.5, 3, 0.1),
        (*pairs, 1, 0.01),
    ]:
        update_is_right(student, "adam_step", arguments, reference.adam_step, ADAM_MISTAKES)


# The race --------------------------------------------------------------------------------------


@functools.cache
def finish(path_of, *arguments):
    """Return the first step of an optimiser's path within 0.001 of the smallest MSE."""
    smallest = reference.mse(*reference.closed_form(AGE, SBP))
    return reference.first_within(reference.losses_along(path_of(*arguments)), smallest)


def plain_path(eta, steps):
    return reference.descend(*START, eta, steps)


def uncorrected_adam_path(eta, steps):
    """Return the path of Adam whose averages are not corrected."""
    rule = adam_rule(as_it_is, as_it_is)
    p, m, v, path = np.array(START), np.zeros(2), np.zeros(2), [START]
    for t in range(1, steps + 1):
        p, m, v = rule(p, np.array(gradient(*p)), m, v, t, eta)
        path.append(p)
    return np.array(path)


def momentum_steps_are_right(student, name, mu, most, last=()):
    """Compare the steps with momentum `mu`; the walk needs at most `most` of them."""

    # A generator, because only a wrong answer needs the slow walks.
    def mistakes():
        yield from last
        yield (
            finish(reference.momentum_path, mu, 0.0002, 15_000),
            "Is your gradient right, with its factor 2? Half of it needs this many steps.",
        )
        yield (
            finish(plain_path, 0.0004, 72_000),
            "This is how long plain descent takes. Does the velocity survive from step to step, "
            "in full?",
        )

    # 1 % in all races: float32 differs by up to 0.6 %, and the form of eps does not matter.
    student.number(name).matches(
        finish(reference.momentum_path, mu, 0.0004, most),
        rel=0.01,
        mistakes=mistakes(),
        otherwise=FIRST_TIME,
    )


@check("race", points=0.5, title="Steps with momentum 0.9")
def test_race_momentum_90(student):
    momentum_steps_are_right(student, "steps_momentum_90", 0.9, 7500)


@check("race", points=0.5, title="Steps with momentum 0.99")
def test_race_momentum_99(student):
    # From step 1285 on, the walk stays within 0.001.
    last = [(1285, "The task asks when this happens for the first time.")]
    momentum_steps_are_right(student, "steps_momentum_99", 0.99, 1400, last=last)


def adam_steps_are_right(student, name, eta, rel):
    student.number(name).matches(
        finish(reference.adam_path, eta, 1600),
        rel=rel,
        mistakes=[
            (
                finish(uncorrected_adam_path, eta, 700),
                "Both averages are too small in the first steps. What corrects them?",
            ),
            *(
                (finish(reference.adam_path, other, 1600), f"This is the race with rate {other:g}.")
                for other in (0.1, 1.0)
                if other != eta
            ),
        ],
        otherwise=FIRST_TIME,
    )


@check("race", points=0.5, title="Steps with Adam at rate 0.1")
def test_race_adam_01(student):
    adam_steps_are_right(student, "steps_adam_01", 0.1, rel=0.01)


@check("race", points=0.5, title="Steps with Adam at rate 1")
def test_race_adam_1(student):
    adam_steps_are_right(student, "steps_adam_1", 1.0, rel=0.0125)


@check("race", points=1, title="The floor that RMSProp cannot get below")
def test_rms_floor(student):
    # RMSProp ends in a cycle of plus and minus eta/2: the excess is eta²/4 · mean((age + 1)²).
    # 1 %: float32, and eps inside or outside the root, change less than that.
    right = 0.01**2 / 4 * np.mean((AGE + 1) ** 2)
    smallest = reference.mse(*reference.closed_form(AGE, SBP))
    floor = student.number("rms_floor")
    if close(floor.value, right + smallest, rel=1e-4):
        fail("This is the loss. How far is it above the smallest MSE?", own=f"{floor.value:.7g}")
    floor.matches(
        right,
        rel=0.01,
        mistakes=[
            (right * 100, "Count the zeros in the rate."),
            (right / 100, "Count the zeros in the rate."),
            (-right, "How far above the smallest MSE is the loss? Check the sign."),
        ],
        otherwise="Run 20 000 steps with rate 0.01. How far above the smallest MSE do they end?",
    )


# The picture -----------------------------------------------------------------------------------


def path_is_drawn(student, batch_size, epochs, kind):
    picture = Picture(student, "ax_noise")
    picture.must_have_labels()
    right = reference.sgd(batch_size, 0.01, epochs, 0)
    if picture.has_path(right):
        return
    # Task 4 has judged the student's own walk.
    own = value_or_none(lambda: student.call("sgd", batch_size, 0.01, epochs, 0).array())
    is_path = own is not None and own.shape == (len(own), 2) and len(own) > 1
    if not (is_path and np.isfinite(own).all() and picture.has_path(own)):
        fail(
            f"I cannot find the {kind} path in ax_noise. Put the slope on the horizontal axis and "
            "the intercept on the vertical axis."
        )


@check("plot", points=0.5, title="The noisy path is in the picture")
def test_noisy_path(student):
    path_is_drawn(student, 1, 10, "noisy")


@check("plot", points=0.5, title="The smooth path is in the picture")
def test_smooth_path(student):
    path_is_drawn(student, 33, 200, "smooth")
