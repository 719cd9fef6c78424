"""Hidden checks of `autodiff`: tapes, traced functions, reverse mode (3.3.3, listing 3.7)."""

import functools

import numpy as np

import reference
from nbmark import check, fail
from plots import Picture
from reference import AGE, SBP, descend, gradient
from tensors import tracing_count

START = (0.0, 139.0)
FULL = np.array(gradient(*START))
ONE_NUMBER = (
    "This is the gradient of the sum of the squares. If the loss is a vector, the tape "
    "differentiates the sum of its elements. Is your loss a mean, a single number?"
)
FACTOR = "This is half of the gradient. Is there a factor in front of your mean?"
DOWNHILL = "This is the way down. The gradient itself points up."
SHAPE = "Print the shape of the residual, and check the formula of the loss."
FIRST_UPDATE = "Compare your first update with the first one in the notebook two-parameters."
COUNT = "Count your updates."
ON_THE_WAY = (
    "Your line is on the way of the right updates, but not where 300 of them end. Count your "
    "updates, and compare the first one with the notebook two-parameters."
)
TRACED = "Ask train_step how many times it was traced: train_step.experimental_get_tracing_count()."
TRACED_OFTEN = (
    "train_step was traced that often because each new Python number as an argument makes another "
    "graph. Write it without arguments."
)
BACK = "backward() must also reach the parents of the parents."
CONTRIBUTIONS = "A number that is used twice collects two contributions."


def broadcast_gradient():
    """Return the tape's gradient for (33, 1) minus (33,): each prediction minus each pressure."""
    error = np.subtract.outer(START[0] * AGE + START[1], SBP)
    return 2 * np.mean(error * AGE[:, None]), 2 * np.mean(error)


# The tape --------------------------------------------------------------------------------------


def compare_gradient(student, variable, index):
    """Compare a partial derivative at the start: `index` is 0 for a and 1 for b."""
    if student.value(variable).value is None:
        fail(
            f"{variable} is None. If the tape gave you that, it has not recorded how the loss "
            "depends on this parameter. Are a and b variables, and do you compute the loss inside "
            "the tape's block?"
        )
    root = FULL[index] / (2 * np.sqrt(reference.mse(*START)))
    # 1e-4, because float32 gives -553.09094 and 0.727273.
    student.number(variable).matches(
        FULL[index],
        rel=1e-4,
        mistakes=[
            (FULL[index] * 33, ONE_NUMBER),
            (root, SHAPE),
            (broadcast_gradient()[index], SHAPE),
            (FULL[1 - index], "Gradients are ordered (a, b)."),
            (FULL[index] / 2, FACTOR),
            (-FULL[index], DOWNHILL),
        ],
        otherwise="This is not the gradient of the MSE at (0, 139). Compare it with the formulas "
        "in the notebook two-parameters.",
    )


@check("tape", points=1, title="Gradient for a from the tape")
def test_gradient_a(student):
    compare_gradient(student, "grad_a", 0)


@check("tape", points=1, title="Gradient for b from the tape")
def test_gradient_b(student):
    compare_gradient(student, "grad_b", 1)


@functools.cache
def path():
    """Return the lines after 0 to 5 000 updates."""
    return descend(*START, 0.0004, 5000)


def compare_line(student, variables, mistakes):
    """Compare the line after 300 updates; `mistakes` holds pairs of a line and a sentence."""
    if any(student.value(variable).value is None for variable in variables):
        fail(
            "There is no line yet. If the second update ended in a TypeError, then a or b has "
            "become a plain tensor, which the tape does not watch. "
            "How do you change a variable in place?"
        )
    line = np.array([student.number(variable).value for variable in variables])

    def near(points):
        # One update changes a by 6e-4 of it and b by 0.0045; float32 errs by 2e-6 and 2e-5.
        a, b = np.reshape(points, (-1, 2)).T
        close = (abs(line[0] - a) < 2e-4 * abs(a)) & (abs(line[1] - b) < 2e-3)
        return bool(close.any())

    if near(path()[300]):
        return
    own = f"a = {line[0]:.7g}, b = {line[1]:.7g}"
    if tuple(line) == START:
        fail("This is the line at the start. Did you read the variables after the updates?", own)
    for points, sentence in mistakes:
        if near(points):
            fail(sentence, own)
    # The same place is reached by fewer updates or by shorter ones, so the sentence names both.
    fail(ON_THE_WAY if near(path()[2:]) else FIRST_UPDATE, own)


@check("eager", points=2, title="300 eager updates")
def test_eager(student):
    compare_line(student, ("a_300", "b_300"), [(path()[[299, 301]], COUNT)])


# Traced functions ------------------------------------------------------------------------------


@check("graph", points=1, title="300 updates under tf.function")
def test_graph_line(student):
    not_reset = "Did you reset the variables to (0, 139) before this training?"
    compare_line(
        student, ("a_graph", "b_graph"), [(path()[[299, 301]], COUNT), (path()[599:602], not_reset)]
    )


@check("graph", points=1, title="train_step is a traced function")
def test_train_step(student):
    count = student.probe(tracing_count, "train_step").value
    if count is None:
        fail("train_step is not a tf.function. Decorate it with @tf.function.")
    if count == 0:
        fail("train_step has never been called.")


@check("graph", points=1, title="How often train_step was traced")
def test_traces(student):
    answer = student.number("traces")
    count = student.probe(tracing_count, "train_step").value
    # TensorFlow traces a function twice if its first call makes variables, as some optimisers do.
    if answer.value == 2 == count:
        return
    answer.matches(1, mistakes=[(count, TRACED_OFTEN)] if count else [], otherwise=TRACED)


@check("speed", points=2, title="The two times and their ratio")
def test_speed(student):
    eager, graph = student.number("seconds_eager").value, student.number("seconds_graph").value
    ratio = student.number("speed_up").value
    if not (eager > 0 and graph > 0):
        fail(
            "A time should be positive. When do you read the clock?",
            own=f"{eager:.4g}, {graph:.4g}",
        )
    if not abs(ratio * graph - eager) <= 0.01 * eager:
        inverted = abs(ratio * eager - graph) <= 0.01 * graph
        fail(
            "Which time do you divide by which?"
            if inverted
            else "speed_up says how many times faster the graph is: divide seconds_eager by "
            "seconds_graph.",
            own=f"{eager:.4g} s, {graph:.4g} s, {ratio:.4g}",
        )
    # Times depend on the machine, so a function that was not traced again may also be slow.
    if ratio <= 1.5 and student.probe(tracing_count, "train_step").value not in (1, 2):
        fail(
            "Your graph is hardly faster, and train_step is no function that was traced only once.",
            own=f"{ratio:.4g}",
        )


# Other ways to differentiate -------------------------------------------------------------------


@check("autograd", points=1, title="The gradient from autograd")
def test_autograd(student):
    student.array("grads_autograd", shape=(2,)).matches(
        FULL,
        rel=1e-5,
        mistakes=[
            (FULL[::-1], "Ask for both derivatives in the order (a, b)."),
            (FULL * 33, "Is your function the mean of the squares?"),
            (FULL / 2, FACTOR),
            (-FULL, DOWNHILL),
        ],
        otherwise="This is not the gradient of the MSE at (0, 139). Compare it with the tape's in "
        "task 1.",
    )


POINTS = (-1.5, 0.25, 2 / 3, 4.0)
HEIGHT = "This is f(x) itself, not its derivative."


def logarithm(x):
    """Return ln(1 + (3x - 2)²)."""
    return np.log(1 + (3 * x - 2) ** 2)


def slope_of_logarithm(x):
    """Return the derivative of ln(1 + (3x - 2)²)."""
    return 6 * (3 * x - 2) / (1 + (3 * x - 2) ** 2)


@check("chain", points=1, title="The chain rule by hand")
def test_chain_rule(student):
    for x in POINTS:
        right = slope_of_logarithm(x)
        student.call("chain_rule", x).number().matches(
            right,
            rel=1e-6,
            abs=1e-9,
            mistakes=[
                (
                    right / 3,
                    "What is x multiplied by in the innermost bracket? "
                    "That is the inner derivative.",
                ),
                (6 * (3 * x - 2), "The derivative of the logarithm is one over its argument."),
                (logarithm(x), HEIGHT),
            ],
            otherwise="This is not the derivative. Compare chain_rule with a small difference: "
            "(f(x + h) - f(x - h)) / (2h).",
        )


@check("chain", points=1, title="The same derivative from a tape")
def test_tape_rule(student):
    for x in POINTS:
        answer = student.call("tape_rule", x)
        if answer.value is None:
            fail(
                "tape_rule returns None. If the tape gave you that, it has not recorded how the "
                "result depends on x. Let it watch x."
            )
        answer.number().matches(
            slope_of_logarithm(x),
            rel=1e-4,
            abs=1e-5,
            mistakes=[(logarithm(x), HEIGHT)],
            otherwise="This is not the derivative of f. Compare the formula inside your tape's "
            "block with the task.",
        )


# The student's own tape ------------------------------------------------------------------------


def compare_programs(student, programs, sentence):
    """Run programs with the student's class, and compare values and gradients."""
    no_seed = (
        "The value is right, but backward() leaves every gradient at 0. "
        "What is the derivative of the result with respect to itself?"
    )
    for program, inputs in programs:
        value, slopes = reference.program_gradient(program, inputs)
        one_step = sum(operation != "const" for operation, *_ in program) == 1
        answer = student.call("run_program", program, inputs)
        answer[0].number().matches(value, rel=1e-9, abs=1e-12, otherwise=sentence)
        answer[1].array((len(inputs),)).matches(
            slopes,
            rel=1e-9,
            abs=1e-12,
            # After several steps, zeros may also come from a backward() that stops too early.
            mistakes=[(np.zeros(len(inputs)), no_seed)] if one_step else [],
            otherwise=sentence,
        )


@check("value", points=1, title="Minus")
def test_minus(student):
    compare_programs(
        student,
        [([["sub", 0, 1]], [2.5, -4.0]), ([["const", 3.0], ["sub", 0, 1]], [1.25])],
        "v - w: what is its value, and what are its derivatives with respect to v and w?",
    )
    compare_programs(student, [([["sub", 0, 1], ["mul", 3, 2]], [5.0, 0.5, -2.0])], BACK)


@check("value", points=1, title="Square")
def test_square(student):
    compare_programs(
        student, [([["square", 0]], [-3.0])], "v.square(): what is the derivative of a square?"
    )
    compare_programs(student, [([["add", 0, 1], ["square", 2]], [1.5, 0.25])], BACK)


@check("value", points=1, title="Numbers on either side")
def test_numbers_on_either_side(student):
    compare_programs(
        student,
        [
            ([["const", 3.0], ["sub", 1, 0]], [1.25]),
            ([["const", 2.0], ["mul", 1, 0]], [-0.5]),
            ([["const", 7.0], ["add", 1, 0]], [4.0]),
        ],
        "3 - v, 2 * v and 7 + v: which method does Python call, and which number comes first?",
    )


@check("value", points=1, title="Back through several steps")
def test_back_through_steps(student):
    compare_programs(
        student,
        [
            ([["mul", 0, 1], ["add", 4, 2], ["mul", 5, 3]], [2.0, 3.0, -1.0, 0.5]),
            ([["mul", 0, 1], ["mul", 3, 2]], [1.5, -2.0, 4.0]),
        ],
        BACK,
    )
    # Two later steps use the same number, and the second of them uses the first. A number that
    # passes its gradient on before both contributions have arrived fails here.
    compare_programs(
        student,
        [
            ([["add", 0, 1], ["mul", 2, 0], ["mul", 2, 3], ["add", 4, 1]], [0.5, -1.25]),
            ([["mul", 0, 1], ["add", 2, 0], ["mul", 3, 2], ["add", 4, 2]], [2.0, -3.0]),
        ],
        CONTRIBUTIONS,
    )


@check("value", points=1, title="A number combined with itself")
def test_shared_numbers(student):
    compare_programs(
        student,
        [
            ([["mul", 0, 0]], [-1.5]),
            ([["mul", 0, 0], ["add", 1, 0]], [3.0]),
            ([["add", 0, 0]], [4.0]),
        ],
        CONTRIBUTIONS,
    )


@check("plot", points=1, title="A bar for each time")
def test_bars(student):
    picture = Picture(student, "ax_speed")
    picture.must_have_labels()
    eager, graph = student.number("seconds_eager").value, student.number("seconds_graph").value
    if not (np.isfinite([eager, graph]).all() and eager and graph):
        fail("The bars show the times of task 4, which are no times yet.", f"{eager:g}, {graph:g}")
    # Bars may stand or lie, so both their heights and their widths are candidates.
    for lengths in np.array(picture.bars).reshape(-1, 2).T:
        # Bars may show seconds, milliseconds or the time per update, so compare only the ratio.
        ratios = np.divide.outer(lengths, lengths[lengths != 0])
        if np.isclose(ratios, graph / eager, rtol=0.01).any() and len(lengths) >= 2:
            return
    fail(
        "I cannot find two bars in ax_speed whose lengths are your two times.",
        own=f"number of bars: {len(picture.bars)}",
    )
