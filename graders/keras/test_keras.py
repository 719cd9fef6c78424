"""Hidden checks of `keras`: the line as a Keras model (listings 3.5 and 3.6, figure 3.2)."""

import functools

import numpy as np

import reference
from nbmark import Answer, check, fail
from plots import Picture
from reference import AGE, SBP, descend, mse
from tensors import description_of

START = (0.0, 139.0)
MSE_NAMES = ("mse", "mean_squared_error", "meansquarederror")
RATE_AND_ITERATIONS = "Check the learning rate and the number of iterations in model.optimizer."
WHERE_STARTED = "Which slope and intercept did your training start from?"
UNIT = "Which model did you ask? In which unit does it expect the age?"
REPORT = "What does history report: the loss at the end, or an average along the way?"
BATCHES = "How many batches do 33 women make with your batch_size?"
EXECUTION = "How many updates does one execution do? Look at steps_per_execution."
SHAPE = "Print the shape of your differences. Are they 33 numbers?"


@functools.cache
def path():
    """Return the lines (a, b) after 0 to 80 000 updates."""
    return descend(*START, 0.0004, 80_000)


def compare_line(student, variable, steps, rel_a, b_tolerance, mistakes):
    """Compare [a, b]: `b_tolerance` is in mmHg, `mistakes` holds pairs of a line and a sentence."""
    line = student.array(variable).value.ravel()
    if line.shape != (2,):
        fail(f"{variable} should be two numbers: [a, b].", own=str(line))

    def near(point, factor=1.0):
        return (
            abs(line[0] - point[0]) <= factor * rel_a * abs(point[0])
            and abs(line[1] - point[1]) <= factor * b_tolerance
        )

    if near(path()[steps]):
        return
    own = f"a = {line[0]:.7g}, b = {line[1]:.7g}"
    for point, sentence in mistakes:
        if near(point, 3):
            fail(sentence, own)
    fail(RATE_AND_ITERATIONS, own)


# A model (listing 3.5) -------------------------------------------------------------------------


@check("model", points=1, title="The model is one neuron without activation")
def test_structure(student):
    description = student.probe(description_of, "model").value
    if description["parameters"] != 2:
        fail(
            "A line has two parameters. How many parameters does your model have? "
            "Ask model.count_params().",
            own=str(description["parameters"]),
        )
    if description["layers"] != ["Dense"] or description["units"] != [1]:
        fail(
            "The model should have exactly one Dense layer, with one unit.",
            own=str(description["layers"]),
        )
    if description["activations"] != ["linear"]:
        fail("The layer should have no activation.", own=description["activations"][0])


@check("model", points=1, title="The model starts at (0, 139)")
def test_start(student):
    description = student.probe(description_of, "model").value
    weights = description["weights"]
    if weights[-1] != 139 or any(weights[:-1]):
        fail("Which slope and intercept does your model start with?", own=str(weights))


@check("model", points=1, title="The model is compiled with SGD, the learning rate and the MSE")
def test_compiled(student):
    description = student.probe(description_of, "model").value
    if description["optimizer"] != "SGD":
        fail("Compile the model with the optimiser SGD.", own=description["optimizer"])
    if not np.isclose(description["rate"], 0.0004, rtol=1e-5):
        fail(
            "Compile the model with the learning rate 0.0004. Check model.optimizer.learning_rate.",
            own=f"{description['rate']:g}",
        )
    if description["loss"].lower() not in MSE_NAMES:
        fail("Compile the model with the mean squared error as its loss.", own=description["loss"])


@check("model", points=1, title="The MSE before training")
def test_mse_at_start(student):
    right = mse(*START)
    # 1e-5 leaves room for float32. The broadcasting trap happens to give the right number here, so
    # test_own_mse looks for it after an update.
    student.number("mse_start").matches(
        right,
        rel=1e-5,
        mistakes=[
            (right * 33, "This is a sum. The method evaluate gives a mean."),
            (np.sqrt(right), "The MSE is measured in mmHg². Did you take a square root?"),
            (
                mse(*path()[1]),
                "This is the loss after an update. Evaluate the model before you train it.",
            ),
        ],
        otherwise="Evaluate the untrained model on all women.",
    )


# One update ------------------------------------------------------------------------------------


@check("one-update", points=1, title="The weights after one update")
def test_one_update(student):
    # With batches of 32, the second batch holds one woman, who is the last one without shuffling.
    # 3e-5 mmHg, because float32 errs by 1.5e-5 and an unchanged intercept by 2.9e-4.
    first = descend(*START, 0.0004, 1, AGE[:32], SBP[:32])[-1]
    two_batches = descend(*first, 0.0004, 1, AGE[32:], SBP[32:])[-1]
    compare_line(
        student,
        "weights_1",
        1,
        1e-4,
        3e-5,
        [
            (two_batches, BATCHES),
            *((path()[updates], EXECUTION) for updates in (20, 100, 200, 500, 1000)),
            (path()[1] / (10, 1), "Check the learning rate in model.optimizer."),
        ],
    )


@check("one-update", points=2, title="Your own MSE after one update")
def test_own_mse(student):
    a, b = path()[1]
    predicted = (a * AGE + b)[:, None]
    # 1e-4, because float32 errs by 1e-6 and the loss before the update is 0.8 % off.
    student.number("mse_1").matches(
        mse(a, b),
        rel=1e-4,
        mistakes=[
            (np.mean((predicted - SBP) ** 2), SHAPE),
            (mse(*START), "This is the loss before the update. Predict after the update."),
        ],
        otherwise="Predict with the model of this task. Then average the 33 squared differences.",
    )


# Many updates (listing 3.6) --------------------------------------------------------------------


def common_mistakes(steps):
    """Yield the lines that common mistakes lead to, each with its sentence."""
    yield descend(*START, 0.00004, steps)[-1], RATE_AND_ITERATIONS
    yield path()[steps // 10], RATE_AND_ITERATIONS
    yield descend(0.0, 0.0, 0.0004, steps)[-1], WHERE_STARTED
    yield (
        reference.closed_form(AGE, SBP),
        "This is the closed form. Which weights does your model have?",
    )


@check("fast", points=1, title="The weights after 5 000 updates")
def test_weights_5000(student):
    # float32 and one update more or less change a by 1.2e-4 of it and b by 0.006 mmHg.
    compare_line(student, "weights_5000", 5000, 3e-4, 6e-3, common_mistakes(5000))


@check("fast", points=1, title="The loss after 5 000 updates")
def test_loss_5000(student):
    losses = reference.losses_along(path()[:5001])
    # 2e-5, because the loss one update earlier is 4.6e-5 off.
    student.number("loss_5000").matches(
        losses[5000], rel=2e-5, mistakes=[(losses[:5000].mean(), REPORT)], otherwise=REPORT
    )


@check("fast", points=1, title="The weights after 80 000 updates")
def test_weights_80000(student):
    # The closed form differs by 7.4e-4 of a and 0.043 mmHg, a start at zero by 2e-3 and 0.12.
    compare_line(student, "weights_80000", 80_000, 2e-4, 9e-3, common_mistakes(80_000))


@check("fast", points=1, title="The trained model")
def test_trained_model(student):
    description = student.probe(description_of, "model").value
    own = f"weights {description['weights']}, {description['iterations']} iterations"
    if not np.allclose(description["weights"], path()[80_000], rtol=2e-4):
        fail(
            "The variable model does not have the weights after 80 000 updates. "
            "Leave the trained model in this variable.",
            own,
        )
    if abs(description["iterations"] - 80_000) > 1:
        fail("The optimiser of your model does not report 80 000 iterations.", own)


@check("predict", points=1, title="Prediction for a woman of 31")
def test_prediction(student):
    a, b = path()[80_000]
    # 0.005 mmHg, because the closed form's prediction, 121.927, is 0.017 away.
    student.number("sbp_31").matches(a * 31 + b, rel=0, abs=0.005, otherwise=UNIT)


# Learning rates, optimisers, inputs ------------------------------------------------------------


def history_of(student, rate):
    """Return the losses for one rate in `histories`, and fail if there are fewer than 100."""
    histories = student.value("histories").value
    if not isinstance(histories, dict):
        fail("histories should be a dictionary: rate → losses.")
    matches = [
        losses
        for key, losses in histories.items()
        if isinstance(key, float) and abs(key - rate) < 1e-4 * rate
    ]
    if not matches:
        fail(f"The rate {rate:g} is missing from histories.")
    losses = Answer(matches[0], f"histories[{rate:g}]").array().value.ravel()
    if len(losses) < 100:
        fail("Train for 100 epochs with each rate.", own=f"{len(losses)} losses")
    return losses


def compare_history(student, rate, rel, length=100):
    """Compare the first `length` losses for one rate, to the relative tolerance `rel`."""
    losses = history_of(student, rate)[:length]
    right = reference.losses_along(descend(*START, rate, length))
    Answer(losses, f"histories[{rate:g}]").matches(
        right[:length],
        rel=rel,
        mistakes=[
            (right[1:], "The first entry should be the loss at the start, before any update.")
        ],
        otherwise="These are not the losses of 100 full-batch updates from (0, 139).",
    )


@check("rates", points=1, title="Histories for the two rates that work")
def test_good_rates(student):
    # 1e-3, because float32 errs by 1e-5 and a start one update later by 1 % or more.
    for rate in (0.0001, 0.0004):
        compare_history(student, rate, 1e-3)


@check("rates", points=1, title="Histories for the two rates that do not work")
def test_bad_rates(student):
    # 1 %, because rounding errors grow with the loss. For the largest rate, only the first losses
    # are compared, and the last one must be inf or nan.
    compare_history(student, 0.00042, 1e-2)
    compare_history(student, 0.001, 1e-2, length=10)
    if np.isfinite(history_of(student, 0.001)[-1]):
        fail("With the rate 0.001, the loss should not stay finite.")


@check("adam", points=1, title="400 updates of SGD and of Adam")
def test_adam(student):
    right = [mse(*path()[400]), mse(*reference.adam_path(1.0, 400, eps=1e-7)[-1])]
    losses = [student.number(variable).value for variable in ("loss_sgd", "loss_adam")]
    # 2e-4, because Adam in float32 wanders by 1e-6 and SGD after one update less is 6e-5 off, which
    # both may pass; SGD after only 350 updates is 3e-3 off.
    Answer(np.array(losses), "loss_sgd, loss_adam").matches(
        right,
        rel=2e-4,
        mistakes=[(right[::-1], "Did you swap the two losses?")],
        otherwise="Both optimisers should do 400 updates from (0, 139), SGD with the learning "
        "rate 0.0004 and Adam with 1.0. "
        "Check the learning rate and the number of iterations of each.",
    )


@check("standard", points=1, title="Weights on standardised age")
def test_standardised_weights(student):
    z = reference.standardised()
    right = descend(*START, 0.1, 200, z, SBP)[-1]
    sample = right * (AGE.std(ddof=1) / AGE.std(), 1)
    answer = student.array("weights_z")
    Answer(answer.value.ravel(), "weights_z").matches(
        right,
        rel=1e-3,
        mistakes=[
            (sample, "Which standard deviation did you divide by?"),
            (
                reference.closed_form(AGE, SBP),
                "Give the two weights as they are: the slope is per standard deviation of age.",
            ),
        ],
        otherwise="Standardise the ages, and do 200 updates from (0, 139) with the rate 0.1.",
    )


@check("standard", points=1, title="Prediction of the standardised model for a woman of 31")
def test_standardised_prediction(student):
    a, b = reference.closed_form(AGE, SBP)
    # After 200 updates, the model is within 1e-5 of the closed form.
    student.number("sbp_31_z").matches(a * 31 + b, rel=0, abs=0.005, otherwise=UNIT)


@check("plot", points=1, title="The four histories on a logarithmic axis")
def test_histories_plot(student):
    picture = Picture(student, "ax_histories")
    picture.must_have_labels()
    # Task 5 judges the losses, so the picture may show whatever the student has.
    histories = student.value("histories").value
    for rate, losses in histories.items() if isinstance(histories, dict) else ():
        if not picture.has_curve(Answer(losses, "histories").array().value.ravel()):
            fail(f"I cannot find the losses for the rate {rate} in ax_histories.")
    if len(picture.lines) < 4:
        fail("Draw the histories of all four rates.")
    if picture.scales[1] != "log":
        fail("Give ax_histories a logarithmic vertical axis.")
