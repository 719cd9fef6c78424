"""Hidden checks of `autodiff`: tapes, traced functions, reverse mode (3.3.3, listing 3.7)."""

import numpy as np

import reference
from nbmark import Answer, check, fail
from plots import Picture
from reference import AGE, SBP, descend, gradient
from tensors import tracing_count

START = (0.0, 139.0)
FULL = np.array(gradient(*START))
ONE_NUMBER = (
    "If the loss is a vector, the tape differentiates the sum of its elements. "
    "Is your loss a single number?"
)
SHAPE = "Print the shape of the residual, and check the formula of the loss."
FIRST_UPDATE = "Compare your first update with the first one in the notebook two-parameters."
COUNT = "Count your updates."
TRACED = "How many times was your function traced?"
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
            f"{variable} is None, because the tape has not recorded how the loss depends on this "
            "parameter. Are a and b variables, and do you compute the loss inside the tape's block?"
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
        ],
        otherwise="This is not the gradient of the MSE at (0, 139).",
    )


@check("tape", points=1, title="Gradient for a from the tape")
def test_gradient_a(student):
    compare_gradient(student, "grad_a", 0)


@check("tape", points=1, title="Gradient for b from the tape")
def test_gradient_b(student):
    compare_gradient(student, "grad_b", 1)


def compare_line(student, variables, mistakes):
    """Compare the line after 300 updates; `mistakes` holds pairs of a line and a sentence."""
    if any(student.value(variable).value is None for variable in variables):
        fail(
            "There is no line yet. If the second update ended in a TypeError, then a or b has "
            "become a plain tensor, which the tape does not watch. "
            "How do you change a variable in place?"
        )
    line = np.array([student.number(variable).value for variable in variables])

    def near(point):
        # One update changes a by 6e-4 of it and b by 0.0045; float32 errs by 2e-6 and 2e-5.
        return abs(line[0] - point[0]) < 2e-4 * abs(point[0]) and abs(line[1] - point[1]) < 2e-3

    if near(descend(*START, 0.0004, 300)[-1]):
        return
    own = f"a = {line[0]:.7g}, b = {line[1]:.7g}"
    for point, sentence in mistakes:
        if near(point):
            fail(sentence, own)
    fail(FIRST_UPDATE, own)


def off_by_one():
    """Return the lines after one update too few and one too many, with their sentence."""
    return [(descend(*START, 0.0004, steps)[-1], COUNT) for steps in (299, 301)]


@check("eager", points=2, title="300 eager updates")
def test_eager(student):
    compare_line(
        student,
        ("a_300", "b_300"),
        [
            *off_by_one(),
            (descend(*START, 0.0002, 300)[-1], FIRST_UPDATE),
            (descend(*START, 0.00004, 300)[-1], FIRST_UPDATE),
            (descend(*START, 0.0004, 30)[-1], FIRST_UPDATE),
        ],
    )


# Traced functions ------------------------------------------------------------------------------


@check("graph", points=1, title="300 updates under tf.function")
def test_graph_line(student):
    not_reset = "Did you reset the variables to (0, 139) before this training?"
    compare_line(
        student,
        ("a_graph", "b_graph"),
        [*off_by_one(), (descend(*START, 0.0004, 600)[-1], not_reset)],
    )


@check("graph", points=1, title="train_step is a traced function")
def test_train_step(student):
    count = student.probe(tracing_count, "train_step").value
    if count is None:
        fail("train_step is a plain Python function. Decorate it with @tf.function.")
    if count == 0:
        fail("train_step has never been called.")


@check("graph", points=1, title="How often train_step was traced")
def test_traces(student):
    student.number("traces").matches(1, otherwise=TRACED)


@check("speed", points=2, title="The two times and their ratio")
def test_speed(student):
    eager, graph = student.number("seconds_eager").value, student.number("seconds_graph").value
    ratio = student.number("speed_up").value
    if not (eager > 0 and graph > 0):
        fail(
            "A time should be positive. When do you read the clock?",
            own=f"{eager:.4g}, {graph:.4g}",
        )
    if abs(ratio * graph - eager) > 0.01 * eager:
        fail(
            "Which time do you divide by which? Did you run each version once before you started "
            "the clock?",
            own=f"{eager:.4g} s, {graph:.4g} s, {ratio:.4g}",
        )
    # Times depend on the machine, so a function that was traced once may also be slow.
    if ratio <= 1.5 and student.probe(tracing_count, "train_step").value != 1:
        fail(TRACED, own=f"{ratio:.4g}")


# Other ways to differentiate -------------------------------------------------------------------


@check("autograd", points=1, title="The gradient from autograd")
def test_autograd(student):
    answer = student.array("grads_autograd")
    Answer(answer.value.ravel(), "grads_autograd").matches(
        FULL,
        rel=1e-5,
        mistakes=[
            (FULL[::-1], "Ask for both derivatives in the order (a, b)."),
            (FULL * 33, "Is your function the mean of the squares?"),
        ],
    )


POINTS = (-1.5, 0.25, 2 / 3, 4.0)


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
            ],
        )


@check("chain", points=1, title="The same derivative from a tape")
def test_tape_rule(student):
    for x in POINTS:
        answer = student.call("tape_rule", x)
        if answer.value is None:
            fail(
                "tape_rule returns None, because the tape has not recorded how the result depends "
                "on x. Let it watch x."
            )
        answer.number().matches(slope_of_logarithm(x), rel=1e-4, abs=1e-5)


# The student's own tape ------------------------------------------------------------------------


def compare_programs(student, programs, sentence):
    """Run programs with the student's class, and compare values and gradients."""
    for program, inputs in programs:
        value, slopes = reference.program_gradient(program, inputs)
        answer = student.call("run_program", program, inputs)
        answer[0].number().matches(value, rel=1e-9, abs=1e-12, otherwise=sentence)
        answer[1].array((len(inputs),)).matches(slopes, rel=1e-9, abs=1e-12, otherwise=sentence)


@check("value", points=1, title="Minus")
def test_minus(student):
    compare_programs(
        student,
        [
            ([["sub", 0, 1]], [2.5, -4.0]),
            ([["const", 3.0], ["sub", 0, 1]], [1.25]),
            ([["sub", 0, 1], ["mul", 3, 2]], [5.0, 0.5, -2.0]),
        ],
        "v - w: what is its value, and what are its derivatives with respect to v and w?",
    )


@check("value", points=1, title="Square")
def test_square(student):
    compare_programs(
        student,
        [([["square", 0]], [-3.0]), ([["add", 0, 1], ["square", 2]], [1.5, 0.25])],
        "v.square(): what is the derivative of a square?",
    )


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
        "backward() must also reach the parents of the parents.",
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
