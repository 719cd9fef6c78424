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
RATE_AND_ITERATIONS = "Ask the optimizer for its rate and its iterations."
WHERE_STARTED = "Where did your line start?"
UNIT = "In which unit does your model expect the age, and which model did you ask?"
REPORT = "What does history report: the end, or an average on the way?"
BATCHES = "How many batches do 33 women make?"
EXECUTION = "How many updates does one execution do?"
SHAPE = "Print the shape of the difference."


@functools.cache
def path():
    """Lines after 0 to 80 000 updates."""
    return descend(*START, 0.0004, 80_000)


def line_is_right(student, variable, steps, rel_a, b_tolerance, mistakes):
    """Compare [a, b]: `b_tolerance` in mmHg; `mistakes` gives pairs of a line and a sentence."""
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
    seen = student.probe(description_of, "model").value
    if seen["parameters"] != 2:
        fail(
            "A line has two parameters. How many has your model (model.count_params())?",
            own=str(seen["parameters"]),
        )
    if seen["layers"] != ["Dense"] or seen["units"] != [1]:
        fail("The model should hold one Dense layer with one unit.", own=str(seen["layers"]))
    if seen["activations"] != ["linear"]:
        fail("The layer should have no activation.", own=seen["activations"][0])


@check("model", points=1, title="The model starts at (0, 139)")
def test_start(student):
    seen = student.probe(description_of, "model").value
    if seen["weights"][-1] != 139 or any(seen["weights"][:-1]):
        fail("Where does your line start?", own=str(seen["weights"]))


@check("model", points=1, title="The model is compiled with SGD, its rate and the MSE")
def test_compiled(student):
    seen = student.probe(description_of, "model").value
    if seen["optimizer"] != "SGD":
        fail("Compile with the optimizer SGD.", own=seen["optimizer"])
    if not np.isclose(seen["rate"], 0.0004, rtol=1e-5):
        fail(
            "Compile with the learning rate 0.0004: ask the optimizer for its rate.",
            own=f"{seen['rate']:g}",
        )
    if seen["loss"].lower() not in MSE_NAMES:
        fail("Compile with the mean squared error as loss.", own=seen["loss"])


@check("model", points=1, title="The MSE before training")
def test_mse_at_start(student):
    right = mse(*START)
    # 1e-5: float32. The broadcasting trap gives the right number here, so it is asked later.
    student.number("mse_start").matches(
        right,
        rel=1e-5,
        mistakes=[
            (right * 33, "This is a sum. evaluate gives a mean."),
            (np.sqrt(right), "The MSE is measured in mmHg². Is the root one step too many?"),
            (mse(*path()[1]), "This is the loss after an update. Evaluate before you train."),
        ],
        otherwise="Evaluate the untrained model on all women.",
    )


# One update ------------------------------------------------------------------------------------


@check("one-update", points=1, title="The weights after one update")
def test_one_update(student):
    # Of two batches the second holds one woman: unshuffled that is the last one. 3e-5 mmHg:
    # float32 errs by 1.5e-5, an unchanged intercept by 2.9e-4.
    first = descend(*START, 0.0004, 1, AGE[:32], SBP[:32])[-1]
    two_batches = descend(*first, 0.0004, 1, AGE[32:], SBP[32:])[-1]
    line_is_right(
        student,
        "weights_1",
        1,
        1e-4,
        3e-5,
        [
            (two_batches, BATCHES),
            ((4.7563, 139.0556), BATCHES),
            *((path()[updates], EXECUTION) for updates in (20, 100, 200, 500, 1000)),
            (path()[1] / (10, 1), "Ask the optimizer for its rate."),
        ],
    )


@check("one-update", points=2, title="Your own MSE after one update")
def test_own_mse(student):
    a, b = path()[1]
    predicted = (a * AGE + b)[:, None]
    # 1e-4: float32 errs by 1e-6; the loss before the update is 0.8 % off.
    student.number("mse_1").matches(
        mse(a, b),
        rel=1e-4,
        mistakes=[
            (np.mean((predicted - SBP) ** 2), SHAPE),
            (mse(*START), "This is the loss before the update. Predict after it."),
        ],
        otherwise="Predict with the model of this task, and average 33 squared differences.",
    )


# Many updates (listing 3.6) --------------------------------------------------------------------


def often_seen(steps):
    """Lines that come of known mistakes."""
    yield descend(*START, 0.00004, steps)[-1], RATE_AND_ITERATIONS
    yield path()[steps // 10], RATE_AND_ITERATIONS
    yield descend(0.0, 0.0, 0.0004, steps)[-1], WHERE_STARTED
    yield (
        reference.closed_form(AGE, SBP),
        "This is the closed form. What do the weights of the model say?",
    )


@check("fast", points=1, title="The weights after 5 000 updates")
def test_weights_5000(student):
    # float32 and one update more or less: 1.2e-4 of a, 0.006 mmHg.
    line_is_right(student, "weights_5000", 5000, 3e-4, 6e-3, often_seen(5000))


@check("fast", points=1, title="The loss after 5 000 updates")
def test_loss_5000(student):
    losses = reference.losses_along(path()[:5001])
    # 3e-5: the loss one update earlier is 4.6e-5 off.
    student.number("loss_5000").matches(
        losses[5000], rel=2e-5, mistakes=[(losses[:5000].mean(), REPORT)], otherwise=REPORT
    )


@check("fast", points=1, title="The weights after 80 000 updates")
def test_weights_80000(student):
    # The closed form is 7.4e-4 of a and 0.043 mmHg away, the start at zero 2e-3 and 0.12.
    line_is_right(student, "weights_80000", 80_000, 2e-4, 9e-3, often_seen(80_000))


@check("fast", points=1, title="The trained model")
def test_trained_model(student):
    seen = student.probe(description_of, "model").value
    own = f"weights {seen['weights']}, {seen['iterations']} iterations"
    if not np.allclose(seen["weights"], path()[80_000], rtol=2e-4):
        fail(
            "The live model has other weights than after 80 000 updates. Leave the trained model "
            "in the variable model.",
            own,
        )
    if abs(seen["iterations"] - 80_000) > 1:
        fail("The optimizer of your model says another number of iterations.", own)


@check("predict", points=1, title="Prediction for a woman of 31")
def test_prediction(student):
    a, b = path()[80_000]
    # 0.005 mmHg: the closed form's 121.927 is 0.017 away.
    student.number("sbp_31").matches(a * 31 + b, rel=0, abs=0.005, otherwise=UNIT)


# Learning rates, optimisers, inputs ------------------------------------------------------------


def history_of(student, rate):
    """The losses under one key of `histories`, at least 100."""
    found = student.value("histories").value
    if not isinstance(found, dict):
        fail("histories should be a dictionary: rate → losses.")
    near = [
        value
        for key, value in found.items()
        if isinstance(key, float) and abs(key - rate) < 1e-4 * rate
    ]
    if not near:
        fail(f"The rate {rate:g} is missing in histories.")
    losses = Answer(near[0], f"histories[{rate:g}]").array().value.ravel()
    if len(losses) < 100:
        fail("Train for 100 epochs with each rate.", own=f"{len(losses)} losses")
    return losses


def history_is_right(student, rate, rel, length=100):
    losses = history_of(student, rate)[:length]
    right = reference.losses_along(descend(*START, rate, length))
    Answer(losses, f"histories[{rate:g}]").matches(
        right[:length],
        rel=rel,
        mistakes=[(right[1:], "The first entry is the loss at the start, before any update.")],
        otherwise="These are not the losses of 100 full-batch updates from (0, 139).",
    )


@check("rates", points=1, title="Histories of the two rates that work")
def test_good_rates(student):
    # 1e-3: float32 errs by 1e-5, a start one update later by 1 % and more.
    for rate in (0.0001, 0.0004):
        history_is_right(student, rate, 1e-3)


@check("rates", points=1, title="Histories of the two rates that do not")
def test_bad_rates(student):
    # 1 %: rounding grows with the loss. The largest rate is compared while it is small, and must
    # end in inf or nan.
    history_is_right(student, 0.00042, 1e-2)
    history_is_right(student, 0.001, 1e-2, length=10)
    if np.isfinite(history_of(student, 0.001)[-1]):
        fail("With the rate 0.001 the loss should not stay an ordinary number.")


@check("adam", points=1, title="400 updates of SGD and of Adam")
def test_adam(student):
    right = [mse(*path()[400]), mse(*reference.adam_path(1.0, 400, eps=1e-7)[-1])]
    found = [student.number(one).value for one in ("loss_sgd", "loss_adam")]
    # 2e-4: float32 Adam wanders by 1e-6; SGD one update earlier is 6e-5 off, 350 updates 3e-3.
    Answer(np.array(found), "loss_sgd, loss_adam").matches(
        right,
        rel=2e-4,
        mistakes=[(right[::-1], "Have you exchanged the two?")],
        otherwise="Both make 400 updates from (0, 139): SGD at 0.0004, Adam at 1.0. Ask each "
        "optimizer for its rate and its iterations.",
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
            (sample, "Which standard deviation is in your z?"),
            (
                reference.closed_form(AGE, SBP),
                "Give the two weights as they are, per standard deviation of age.",
            ),
        ],
        otherwise="Standardise the ages, and make 200 updates at rate 0.1 from (0, 139).",
    )


@check("standard", points=1, title="Prediction of the standardised model for a woman of 31")
def test_standardised_prediction(student):
    a, b = reference.closed_form(AGE, SBP)
    # 0.005 mmHg: after 200 updates the model is within 1e-5 of the closed form.
    student.number("sbp_31_z").matches(a * 31 + b, rel=0, abs=0.005, otherwise=UNIT)


@check("plot", points=1, title="The four histories on a logarithmic axis")
def test_histories_plot(student):
    picture = Picture(student, "ax_histories")
    picture.must_have_labels()
    own = student.value("histories").value  # judged in task 5
    for rate, losses in own.items() if isinstance(own, dict) else ():
        if not picture.has_curve(Answer(losses, "histories").array().value.ravel()):
            fail(f"I cannot find the losses of the rate {rate} in ax_histories.")
    if len(picture.lines) < 4:
        fail("Draw the histories of all four rates.")
    if picture.scales[1] != "log":
        fail("Give ax_histories a logarithmic vertical axis.")
