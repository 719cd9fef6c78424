"""Hidden checks of `keras`: the line as a Keras model (listings 3.5 and 3.6, figure 3.2)."""

import functools
import itertools

import numpy as np

import reference
from answers import entries_for, value_or_none
from nbmark import Answer, check, close, fail
from plots import Picture
from reference import AGE, SBP, descend, mse
from tensors import description_of

START = (0.0, 139.0)
RATES = (0.0001, 0.0004, 0.00042, 0.001)
MEAN_SQUARE = 7.0  # of the residuals 1, 2 and 4, on which description_of tries the loss
TEN_TIMES_OFF = (
    "Rate or number of updates is ten times off. Look at model.optimizer.learning_rate and "
    "model.optimizer.iterations."
)
WHERE_STARTED = (
    "Your training started from another line. Set the weights to slope 0, intercept 139."
)
SWAPPED = "Give the slope first: [a, b]."
UNTRAINED = "This is the line at the start. Was the model trained?"
BEST_LINE = (
    "This is the best line of all. Plain SGD is not that far yet. Where do these numbers come "
    "from: a formula, or another optimiser?"
)
MOMENTUM = "This is what SGD with momentum gives. The task asks for plain SGD."
BATCHES = "How many batches do 33 women make with your batch_size?"
EXECUTION = "How many updates does one execution do? Look at steps_per_execution."
SHAPE = "Print the shape of your differences. Are they 33 numbers?"
RAW_AGE = "This model expects standardised ages. In which unit did you give it the age?"
FIRST_LINE = "This is the prediction of the line with slope 1 and intercept 100."


@functools.cache
def path():
    """Return the lines (a, b) after 0 to 85 000 updates."""
    return descend(*START, 0.0004, 85_000)


def line_of(student, variable):
    """Return the student's own weights [a, b] as numbers, or None if they are none."""
    line = value_or_none(student.array, variable, (2,))
    return line if line is not None and np.isfinite(line).all() else None


def compare_line(student, variable, steps, rel_a, b_tolerance, mistakes):
    """Compare [a, b]: `b_tolerance` is in mmHg, `mistakes` holds pairs of a line and a sentence."""
    line = student.array(variable, shape=(2,)).value

    def near(point, factor=1.0):
        return close(line[0], point[0], rel=factor * rel_a) and close(
            line[1], point[1], rel=0, abs=factor * b_tolerance
        )

    right = path()[steps]
    if near(right):
        return
    own = f"a = {line[0]:.7g}, b = {line[1]:.7g}"
    if close(line, right[::-1], rel=1e-3):
        fail(SWAPPED, own)
    for point, sentence in itertools.chain([(START, UNTRAINED)], mistakes):
        if near(point, 3):
            fail(sentence, own)
    updates = f"{steps:,} updates".replace(",", " ") if steps > 1 else "one update"
    fail(
        f"These are not the weights after {updates} from (0, 139) with the rate 0.0004. Print the "
        "weights before the training, and model.optimizer.iterations after it.",
        own,
    )


# A model (listing 3.5) -------------------------------------------------------------------------


def described_model(student):
    """Return the description of the student's model, and fail if `model` is none."""
    description = student.probe(description_of, "model").value
    if not isinstance(description, dict):
        fail("The variable model should hold a Keras model.")
    return description


@check("model", points=1, title="The model is one neuron without activation")
def test_structure(student):
    description = described_model(student)
    size = description["parameters"]
    if not size:
        fail("Your model has no weights yet. Give it an input of one number: keras.Input((1,)).")
    if size != 2:
        fail(
            "A line has two parameters. How many parameters does your model have? "
            "Ask model.count_params().",
            own=str(size),
        )
    if description["layers"] != ["Dense"] or description["units"] != [1]:
        fail(
            "The model should have exactly one Dense layer, with one unit.",
            own=str(description["layers"]),
        )
    if description["activations"] != ["linear"]:
        fail("The layer should have no activation.", own=str(description["activations"]))
    if description["restricted"] or description["trainable"] != 2:
        fail(
            "Training must be able to change both parameters freely: no regulariser, no "
            "constraint, nothing frozen.",
            own=str(description["restricted"] or f"{description['trainable']} trainable"),
        )


@check("model", points=1, title="The model starts at (0, 139)")
def test_start(student):
    weights = described_model(student)["weights"]
    if close(weights, [139.0, 0.0], rel=0):
        fail("The first weight is the slope, the second the intercept.", own=str(weights))
    if not close(weights, START, rel=0):
        fail("Which slope and intercept does your model start with?", own=str(weights))


@check("model", points=1, title="The model is compiled with SGD, the learning rate and the MSE")
def test_compiled(student):
    description = described_model(student)
    if not description["optimizer"]:
        fail("Your model is not compiled yet.")
    if description["optimizer"] != "SGD":
        fail("Compile the model with the optimiser SGD.", own=str(description["optimizer"]))
    if not close(description["rate"], 0.0004, rel=1e-5):
        fail(
            "Compile the model with the learning rate 0.0004, the same for all updates. Check "
            "model.optimizer.get_config().",
            own=str(description["rate"]),
        )
    if description["settings"]:
        fail(
            "The task asks for plain SGD, with a learning rate and nothing else.",
            own=str(description["settings"]),
        )
    if close(description["loss"], 3 * MEAN_SQUARE):
        fail("Your loss adds the squares. The mean squared error is their mean.")
    if not close(description["loss"], MEAN_SQUARE):
        fail("Compile the model with the mean squared error as its loss.")


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
            (mse(0, 0), "This is the MSE of the line (0, 0). Where should the model start?"),
            (mse(139, 0), "Did you swap slope and intercept?"),
            (
                np.mean(np.abs(SBP - 139)),
                "This is the mean of the sizes of the residuals. Which loss did you compile?",
            ),
        ],
        otherwise="mse_start is not the MSE of the line with slope 0 and intercept 139 on all "
        "women. Evaluate the model right after you have set its weights.",
    )


# One update ------------------------------------------------------------------------------------


@check("one-update", points=1, title="The weights after one update")
def test_one_update(student):
    # 3e-5 mmHg, because float32 errs by 1.5e-5 and an unchanged intercept by 2.9e-4.
    compare_line(student, "weights_1", 1, 1e-4, 3e-5, mistakes_of_one_update())


def mistakes_of_one_update():
    """Yield the lines that common mistakes lead to, each with its sentence."""
    # Batches of 32 leave one woman for the second batch. Keras shuffles, so it may be any of them.
    for last in range(len(AGE)):
        rows = np.arange(len(AGE)) != last
        first = descend(*START, 0.0004, 1, AGE[rows], SBP[rows])[-1]
        yield descend(*first, 0.0004, 1, AGE[[last]], SBP[[last]])[-1], BATCHES
    for updates in (20, 100, 200, 300, 500, 1000):
        yield path()[updates], EXECUTION
    yield (
        (path()[1][0], 139.0),
        "Only the slope has moved here. An update moves the intercept too, a little.",
    )
    yield path()[2], "These are the weights after two updates. Is the model a fresh one?"
    for rate in (0.00004, 0.004, 0.01):
        yield (
            descend(*START, rate, 1)[-1],
            "The update is right, but with another rate. Look at model.optimizer.learning_rate.",
        )
    yield descend(0.0, 0.0, 0.0004, 1)[-1], WHERE_STARTED


@check("one-update", points=2, title="Your own MSE after one update")
def test_own_mse(student):
    a, b = path()[1]
    predicted = (a * AGE + b)[:, None]
    own = line_of(student, "weights_1")
    # 1e-4, because float32 errs by 1e-6 and the loss before the update is 0.8 % off.
    student.number("mse_1").matches(
        mse(a, b),
        rel=1e-4,
        mistakes=[
            (np.mean((predicted - SBP) ** 2), SHAPE),
            (mse(*START), "This is the loss before the update. Predict after the update."),
            (33 * mse(a, b), "This is a sum. What turns a sum into a mean?"),
            (np.sqrt(mse(a, b)), "The MSE is measured in mmHg². Did you take a square root?"),
            (mse(a, b) * 33 / 32, "Divide by the number of women."),
            *(
                []
                if own is None
                else [(mse(*own), "This follows from your weights_1, and they are not right yet.")]
            ),
        ],
        otherwise="mse_1 is not the MSE after one update. Predict with the model of this task for "
        "all women. Then average the 33 squared differences.",
    )


# Many updates (listing 3.6) --------------------------------------------------------------------


def common_mistakes(steps):
    """Yield the lines that common mistakes lead to, each with its sentence."""
    yield descend(*START, 0.00004, steps)[-1], TEN_TIMES_OFF
    yield path()[steps // 10], TEN_TIMES_OFF
    yield descend(0.0, 0.0, 0.0004, steps)[-1], WHERE_STARTED
    if steps < 80_000:
        yield path()[80_000], "These are the weights after 80 000 updates."
        yield reference.momentum_path(0.9, 0.0004, steps)[-1], MOMENTUM
    else:
        yield path()[5000], "These are the weights after 5 000 updates."
        yield path()[75_000], "These are the weights after 75 000 updates."
        yield path()[85_000], "These are the weights after 85 000 updates: 5 000 too many."
    yield reference.closed_form(AGE, SBP), BEST_LINE


@check("fast", points=1, title="The weights after 5 000 updates")
def test_weights_5000(student):
    # float32 and one update more or less change a by 1.2e-4 of it and b by 0.006 mmHg.
    compare_line(student, "weights_5000", 5000, 3e-4, 6e-3, common_mistakes(5000))


@check("fast", points=1, title="The loss after 5 000 updates")
def test_loss_5000(student):
    losses = reference.losses_along(path()[:5001])
    own = line_of(student, "weights_5000")
    # 2e-5, because the loss one update earlier is 4.6e-5 off.
    student.number("loss_5000").matches(
        losses[5000],
        rel=2e-5,
        mistakes=[
            (
                losses[:5000].mean(),
                "This is an average along the way: history reports the mean of an epoch. Ask "
                "evaluate for the loss at the end.",
            ),
            (
                losses[4999],
                "This is the loss before the last update. Ask evaluate for the loss after it.",
            ),
            (losses[0], "This is the loss at the start."),
            (mse(*path()[80_000]), "This is the loss after 80 000 updates."),
            *(
                []
                if own is None
                else [(mse(*own), "This is the MSE of your weights_5000: look at them first.")]
            ),
        ],
        otherwise="loss_5000 is not the MSE of the line after 5 000 updates. Ask model.evaluate "
        "right after them, before the training goes on.",
    )


@check("fast", points=1, title="The weights after 80 000 updates")
def test_weights_80000(student):
    # The closed form differs by 7.4e-4 of a and 0.043 mmHg, a start at zero by 2e-3 and 0.12.
    compare_line(student, "weights_80000", 80_000, 2e-4, 9e-3, common_mistakes(80_000))


@check("fast", points=1, title="The trained model")
def test_trained_model(student):
    description = described_model(student)
    own = f"weights {description['weights']}, {description['iterations']} iterations"
    if not close(description["weights"], path()[80_000], rel=2e-4):
        fail(
            "The variable model does not have the weights after 80 000 updates. "
            "Leave the trained model in this variable.",
            own,
        )
    if not close(description["iterations"], 80_000, rel=0, abs=1):
        fail(
            "The optimiser of your model does not report 80 000 iterations. Compiling a model "
            "again starts their count again.",
            own,
        )


@check("predict", points=1, title="Prediction for a woman of 31")
def test_prediction(student):
    a, b = path()[80_000]
    best_a, best_b = reference.closed_form(AGE, SBP)
    slope_z, intercept_z = best_a * AGE.std(), SBP.mean()
    own = line_of(student, "weights_80000")
    # 0.005 mmHg, because the closed form's prediction, 121.927, is 0.017 away.
    student.number("sbp_31").matches(
        a * 31 + b,
        rel=0,
        abs=0.005,
        mistakes=[
            (131, FIRST_LINE),
            (best_a * 31 + best_b, "This is the prediction of the best line, not of your model."),
            (139, "This is the prediction of the untrained model."),
            (path()[5000] @ (31, 1), "This is the prediction after 5 000 updates."),
            (slope_z * 31 + intercept_z, "This is what a model of standardised ages says to 31."),
            *(
                []
                if own is None
                else [
                    (own @ (1, 31), "The slope multiplies the age."),
                    (own @ (31, 1), "This follows from your weights_80000: look at them first."),
                ]
            ),
        ],
        otherwise="sbp_31 is not what the trained model predicts for a woman of 31. Compare with "
        "slope and intercept of that model.",
    )


# Learning rates, optimisers, inputs ------------------------------------------------------------


def history_of(student, rate):
    """Return the losses for one rate in `histories`, and fail if there are fewer than 100."""
    histories = student.value("histories").value
    if not isinstance(histories, dict):
        fail("histories should be a dictionary: rate → losses.")
    entries = entries_for(rate, histories)
    if not entries:
        fail(f"The rate {rate:g} is missing from histories.")
    if isinstance(entries[0], dict):
        fail(f'histories[{rate:g}] should be a list of losses: history["loss"], not all of it.')
    losses = Answer(entries[0], f"histories[{rate:g}]").array().value.ravel()
    if len(losses) < 100:
        fail("Train for 100 epochs with each rate.", own=f"{len(losses)} losses")
    return losses


def compare_history(student, rate, rel, length=100):
    """Compare the first `length` losses for one rate, to the relative tolerance `rel`."""
    losses = history_of(student, rate)[:length]

    def history(start, eta, begin=0):
        walk = descend(*start, eta, begin + length)
        return reference.losses_along(walk)[begin : begin + length]

    earlier = RATES[: RATES.index(rate)]
    continued = START
    for eta in earlier:
        continued = descend(*continued, eta, 100)[-1]
    Answer(losses, f"histories[{rate:g}]").matches(
        history(START, rate),
        rel=rel,
        mistakes=[
            (
                history(START, rate, begin=1),
                "The first entry should be the loss at the start, before any update.",
            ),
            (
                history(continued, rate),
                "This training goes on from where the last one ended. Take a fresh model for each "
                "rate.",
            ),
            *(
                (history(START, other), f"These are the losses with the rate {other:g}.")
                for other in RATES
                if other != rate
            ),
        ],
        otherwise=f"These are not the losses of 100 full-batch updates from (0, 139) with the rate "
        f"{rate:g}. The first one should be mse_start.",
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
    # 1e38 is where single precision ends; double precision does not get to inf in 100 updates.
    if abs(history_of(student, 0.001)[-1]) < 1e38:
        fail("With the rate 0.001, the loss should not stay finite.")


@check("adam", points=1, title="400 updates of SGD and of Adam")
def test_adam(student):
    right = [mse(*path()[400]), mse(*reference.adam_path(1.0, 400, eps=1e-7)[-1])]
    losses = [student.number(variable).value for variable in ("loss_sgd", "loss_adam")]
    # 2e-4, because Adam in float32 wanders by 1e-6 and SGD after one update less is 6e-5 off, which
    # both may pass; SGD after only 350 updates is 3e-3 off.
    fits = [close(own, loss, rel=2e-4) for own, loss in zip(losses, right, strict=True)]
    if all(fits):
        return
    own = f"loss_sgd = {losses[0]:.7g}, loss_adam = {losses[1]:.7g}"
    if close(losses, right[::-1], rel=2e-4):
        fail("Did you swap the two losses?", own)
    if not fits[0]:
        if close(losses[0], mse(*reference.momentum_path(0.9, 0.0004, 400)[-1]), rel=2e-4):
            fail(MOMENTUM, own)
        fail(
            "loss_sgd is not the loss after 400 updates of SGD from (0, 139) with the rate 0.0004. "
            "Check the rate and the iterations of its optimiser.",
            own,
        )
    if close(losses[1], mse(*reference.adam_path(0.001, 400, eps=1e-7)[-1]), rel=2e-4):
        fail("This Adam has the rate 0.001, the default of Keras. The task asks for 1.0.", own)
    fail(
        "loss_adam is not the loss after 400 updates of Adam from (0, 139) with the rate 1.0. "
        "Check the rate and the iterations of its optimiser.",
        own,
    )


@check("standard", points=1, title="Weights on standardised age")
def test_standardised_weights(student):
    z = reference.standardised()
    right = descend(*START, 0.1, 200, z, SBP)[-1]
    sample = right * (AGE.std(ddof=1) / AGE.std(), 1)
    student.array("weights_z", shape=(2,)).matches(
        right,
        rel=1e-3,
        mistakes=[
            (sample, "Which standard deviation did you divide by?"),
            (
                reference.closed_form(AGE, SBP),
                "Give the two weights as they are: the slope is per standard deviation of age.",
            ),
            (right[::-1], SWAPPED),
            (START, UNTRAINED),
            (descend(*START, 0.01, 200, z, SBP)[-1], "Is your rate 0.1? This line is slower."),
        ],
        otherwise="These are not the weights after 200 updates from (0, 139) on standardised ages "
        "with the rate 0.1. Print mean and np.std of your ages first: they should be 0 and 1.",
    )


@check("standard", points=1, title="Prediction of the standardised model for a woman of 31")
def test_standardised_prediction(student):
    a, b = reference.closed_form(AGE, SBP)
    slope_z, intercept_z = descend(*START, 0.1, 200, reference.standardised(), SBP)[-1]
    own = line_of(student, "weights_z")
    z_31 = (31 - AGE.mean()) / AGE.std()
    # After 200 updates, the model is within 1e-5 of the closed form.
    student.number("sbp_31_z").matches(
        a * 31 + b,
        rel=0,
        abs=0.005,
        mistakes=[
            (slope_z * 31 + intercept_z, RAW_AGE),
            (slope_z * (31 - AGE.mean()) + intercept_z, "Divide by the standard deviation too."),
            (slope_z * 31 / AGE.std() + intercept_z, "Subtract the mean age first."),
            (intercept_z, "This is the prediction for a woman of the mean age."),
            (
                slope_z * (31 - AGE.mean()) / AGE.std(ddof=1) + intercept_z,
                "Which standard deviation did you divide by?",
            ),
            (path()[80_000] @ (31, 1), "This is the prediction of the model of task 3."),
            (131, FIRST_LINE),
            *(
                []
                if own is None
                else [(own @ (z_31, 1), "This follows from your weights_z: look at them first.")]
            ),
        ],
        otherwise="sbp_31_z is not what the standardised model predicts for a woman of 31. Compare "
        "with its two weights and the standardised age.",
    )


@check("plot", points=1, title="The four histories on a logarithmic axis")
def test_histories_plot(student):
    picture = Picture(student, "ax_histories")
    picture.must_have_labels()
    # Task 5 judges the losses, so the picture may show the student's own.
    histories = value_or_none(student.value, "histories")
    for rate in RATES:
        entries = entries_for(rate, histories) if isinstance(histories, dict) else []
        own = [value_or_none(Answer(entry, "").array) for entry in entries]
        right = reference.losses_along(descend(*START, rate, 99))
        # Above the limit rounding errors grow with the loss, so ten losses are enough there.
        curves = [right if rate <= 0.0004 else right[:10]]
        curves += [losses.ravel() for losses in own if losses is not None and losses.size > 1]
        if not any(picture.has_curve(curve, rel=1e-2) for curve in curves):
            fail(f"I cannot find the losses for the rate {rate:g} in ax_histories.")
    if picture.scales[1] != "log":
        fail("Give ax_histories a logarithmic vertical axis.")
