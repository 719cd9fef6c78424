"""Hidden checks of `minibatch`: batches, momentum and Adam (sections 3.3.1 and 3.3.2)."""

import functools

import numpy as np

import reference
from nbmark import Answer, check, fail
from plots import Picture
from reference import AGE, SBP, gradient

START = (0.0, 139.0)
FULL = np.array(gradient(*START))
COMPARE = "Compare your gradient on all rows with the one from the notebook two-parameters."
HOW_MANY = "How many rows are in this batch?"
MEAN_OF_BATCH = "The loss of a batch is a mean over its rows."
BY_ITS_SIZE = "To average over a batch, divide by the number of its rows."
WHICH_SPREAD = (
    "Which spread does the task ask for? It describes single women, in the unit of the gradient."
)
VELOCITY_FIRST = "Update the velocity first, then move by the new velocity."
ON_PAPER = (
    "Work out one update on paper for t = 1, with both averages at zero. The step should have the "
    "length eta."
)
CARRIES_OVER = "How much of the velocity carries over from one step to the next?"
AVERAGES = "Both averages are too small in the first steps. What corrects them?"


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
            (right / 2, COMPARE),
            (right * size / 33, HOW_MANY),
            (right * size, MEAN_OF_BATCH),
            (right * size / max(size - 1, 1), BY_ITS_SIZE),
            (gradient(a, b), "This is the gradient on all women. Use only the women in rows."),
            (right[::-1], "Gradients are ordered (a, b)."),
            (-right, "The gradient points uphill, where the loss grows. Check your sign."),
        ]
        # 1e-5: float32 errs by 1e-6; the closest mistake, 33 rows over 32, is 3 % off.
        student.call("batch_gradient", a, b, rows).array().matches(
            right,
            rel=1e-5,
            abs=1e-3,
            mistakes=mistakes,
            otherwise="Pick the rows first, then take the mean over them.",
        )


@check("thirds", points=1, title="Gradients of the three batches")
def test_three_batches(student):
    every_third = np.array([of_rows(np.arange(k, 33, 3)) for k in range(3)])
    student.array("gradients_3", shape=(3, 2)).matches(
        THIRDS,
        rel=1e-5,
        abs=1e-3,
        mistakes=[
            (THIRDS / 2, COMPARE),
            (THIRDS / 3, HOW_MANY),
            (THIRDS * 11, MEAN_OF_BATCH),
            (THIRDS * 1.1, BY_ITS_SIZE),
            (every_third, '"In order" means women who are neighbours in the list.'),
            (THIRDS[:, ::-1], "Gradients are ordered (a, b)."),
        ],
    )


@check("thirds", points=1, title="The mean of the three gradients")
def test_mean_of_three(student):
    uneven = np.mean([of_rows(np.arange(33)[k : k + 10]) for k in (0, 10, 20, 30)], axis=0)
    answer = student.array("mean_3")
    Answer(answer.value.ravel(), "mean_3").matches(
        FULL,
        rel=1e-5,
        abs=1e-3,
        mistakes=[
            (FULL / 2, COMPARE),
            (FULL / 3, HOW_MANY),
            (FULL * 11, MEAN_OF_BATCH),
            (FULL * 1.1, BY_ITS_SIZE),
            (uneven, "Do all your batches have the same size?"),
        ],
    )


@check("single", points=1, title="Gradients of all single women")
def test_single_women(student):
    student.array("gradients_1", shape=(33, 2)).matches(
        SINGLE, rel=1e-5, abs=1e-3, mistakes=[(SINGLE / 2, COMPARE), (SINGLE / 33, HOW_MANY)]
    )


@check("single", points=1, title="The mean of all single gradients")
def test_mean_of_single_women(student):
    answer = student.array("mean_1")
    Answer(answer.value.ravel(), "mean_1").matches(
        FULL,
        rel=1e-5,
        abs=1e-3,
        mistakes=[(FULL * 33, "This is the sum of the 33 gradients."), (FULL / 2, COMPARE)],
        otherwise="Take the mean over the women for each of the two columns.",
    )


@check("single", points=1, title="How widely single gradients scatter")
def test_spread_of_single_women(student):
    # 2e-3: the task asks for the population's deviation; n - 1 is 1.6 % off.
    answer = student.array("spread_1")
    Answer(answer.value.ravel(), "spread_1").matches(
        SINGLE.std(axis=0),
        rel=2e-3,
        mistakes=[
            (wrong, WHICH_SPREAD)
            for wrong in (
                SINGLE.std(axis=0, ddof=1),
                SINGLE.var(axis=0),
                SINGLE.std(axis=0, ddof=1) / np.sqrt(11),
            )
        ],
    )


# Stochastic gradient descent -------------------------------------------------------------------


def other_sgd(batch_size, eta, epochs, seed, mistake):
    """Return the path of a walk with the named mistake."""
    z, line, path = reference.standardised(), START, [START]
    state = np.random.RandomState(seed)
    first = state.permutation(33)
    for epoch in range(epochs):
        order = first if epoch == 0 or mistake == "one order" else state.permutation(33)
        if mistake == "no order":
            order = np.arange(33)
        for start in range(0, 33, batch_size):
            rows = order[start : start + batch_size]
            if mistake == "drops last" and len(rows) < batch_size:
                continue
            share = len(rows) / batch_size if mistake == "batch size" else 1.0
            grad = np.array(gradient(*line, z[rows], SBP[rows])) * share
            line = tuple(np.array(line) - eta * grad / (2 if mistake == "half" else 1))
            path.append(line)
    return np.array(path)


def sgd_is_right(student, batch_size, eta, epochs, seed):
    # A generator, because only a wrong answer needs the walks with mistakes.
    def mistakes():
        for kind, sentence in [
            ("one order", "Draw a new order for every epoch, always from the same generator."),
            ("no order", "Draw the order of the women at random."),
            ("drops last", "The last, shorter batch belongs to the epoch too."),
            ("batch size", BY_ITS_SIZE),
            ("half", COMPARE),
        ]:
            yield other_sgd(batch_size, eta, epochs, seed, kind), sentence
        yield right[1:], "The path begins with the start, before the first update."
        updates = -(-33 // batch_size)  # per epoch, rounded up for a shorter last batch
        ends = [0, *(updates * (k + 1) for k in range(epochs))]
        yield right[ends], "Record the point after each update, not after each epoch."

    right = reference.sgd(batch_size, eta, epochs, seed)
    # 1e-6: a batch may be summed in any order, which changes the result by 1e-13.
    student.call("sgd", batch_size, eta, epochs, seed).array().matches(
        right,
        rel=1e-6,
        abs=1e-6,
        mistakes=mistakes(),
        otherwise="Follow the four steps of the text one by one. Use z instead of age, and start "
        "at (0, 139).",
    )


@check("sgd", points=1, title="sgd with the full batch is plain descent")
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
    for p, g, v, mu, eta in [(1.5, -20.0, 3.0, 0.9, 0.1), (*pairs, 0.5, 0.01)]:
        answer = student.call("momentum_step", p, g, v, mu, eta)
        for part, right in zip(
            answer_parts(answer, 2), reference.momentum_step(p, g, v, mu, eta), strict=True
        ):
            part.matches(right, rel=1e-5, otherwise=VELOCITY_FIRST)


@check("adam", points=2, title="adam_step, one update")
def test_adam(student):
    # p = 0, so that the new p is the change itself. In these states every mistake is 9 % off.
    pairs = tuple(np.array(pair) for pair in ([0.0, 0.0], [3.0, -0.2], [1.0, 0.1], [4.0, 0.3]))
    for p, g, m, v, t, eta in [
        (0.0, 40.0, -1.0, 2.0, 2, 0.1),
        (0.0, -20.0, 3.0, 0.5, 3, 0.1),
        (*pairs, 1, 0.01),
    ]:
        answer = student.call("adam_step", p, g, m, v, t, eta)
        right = reference.adam_step(p, g, m, v, t, eta)
        for part, expected in zip(answer_parts(answer, 3), right, strict=True):
            part.matches(expected, rel=1e-5, otherwise=ON_PAPER)


def answer_parts(answer, count):
    """Return the numbers or arrays that an update returns, as one answer each."""
    if len(answer) != count:
        fail(f"The function should return {count} values.")
    return [answer[i].array() for i in range(count)]


# The race --------------------------------------------------------------------------------------


@functools.cache
def finish(path_of, *arguments):
    """Return the first step of an optimiser's path within 0.001 of the smallest MSE."""
    smallest = reference.mse(*reference.closed_form(AGE, SBP))
    return reference.first_within(reference.losses_along(path_of(*arguments)), smallest)


@check("race", points=0.5, title="Steps with momentum 0.9")
def test_race_momentum_90(student):
    # 1 % in all races: float32 differs by up to 0.6 %, and the form of eps does not matter.
    right = finish(reference.momentum_path, 0.9, 0.0004, 7500)
    student.number("steps_momentum_90").matches(right, rel=0.01, otherwise=CARRIES_OVER)


@check("race", points=0.5, title="Steps with momentum 0.99")
def test_race_momentum_99(student):
    right = finish(reference.momentum_path, 0.99, 0.0004, 1400)
    student.number("steps_momentum_99").matches(
        right,
        rel=0.01,
        mistakes=[
            # From step 1285 on, the walk stays within 0.001.
            (1285, "The task asks when this happens for the first time.")
        ],
        otherwise=CARRIES_OVER,
    )


@check("race", points=0.5, title="Steps with Adam at rate 0.1")
def test_race_adam_01(student):
    right = finish(reference.adam_path, 0.1, 1600)
    student.number("steps_adam_01").matches(right, rel=0.01, otherwise=AVERAGES)


@check("race", points=0.5, title="Steps with Adam at rate 1")
def test_race_adam_1(student):
    right = finish(reference.adam_path, 1.0, 400)
    student.number("steps_adam_1").matches(right, rel=0.0125, otherwise=AVERAGES)


@check("race", points=1, title="The floor that RMSProp cannot get below")
def test_rms_floor(student):
    # RMSProp ends in a cycle of plus and minus eta/2: the excess is eta²/4 · mean((age + 1)²).
    # 1 %: float32, and eps inside or outside the root, change less than that.
    right = 0.01**2 / 4 * np.mean((AGE + 1) ** 2)
    smallest = reference.mse(*reference.closed_form(AGE, SBP))
    student.number("rms_floor").matches(
        right,
        rel=0.01,
        mistakes=[
            (right + smallest, "This is the loss. How far is it above the smallest MSE?"),
            (right * 100, "Count the zeros in the rate."),
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
    own = student.call("sgd", batch_size, 0.01, epochs, 0).array().value  # judged in task 4
    if not picture.has_path(own):
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
