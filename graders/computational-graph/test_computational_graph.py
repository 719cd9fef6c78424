"""Hidden checks of `computational-graph`: static graphs (listings 3.2 to 3.4, figure 3.10)."""

import functools

import numpy as np

import reference
from nbmark import Answer, check, fail, name
from plots import Picture
from reference import AGE, SBP, gradient, mse
from tensors import line_after, nodes_in_events, nodes_of, run_at, traced_types, types_on_path

START = (0.0, 139.0)
POINTS = [(0.0, 139.0), (1.5, 60.0), (-0.25, 180.0)]
TOP = "Which operation is at the top of figure 3.10?"
VALUES_NOW = "Which values do a and b have at the moment you run the node?"
ORDER_ASKED = "In which order did you ask for the gradients? Is the top node of your graph a mean?"
TEN_TIMES = "Your learning rate or your number of updates is off by a factor of ten."
ONE_SESSION = (
    "The trained values exist only in the session that trained them. "
    "Read a and b in that session, after the loop."
)
FIGURE = "Use the operations named in figure 3.10."


@functools.cache
def path():
    """Return the lines (a, b) after 0 to 80 001 updates."""
    return reference.descend(*START, 0.0004, 80_001)


def normalised(types):
    """Return operation types in lower case, with one spelling for types that mean the same."""
    spellings = {"addv2": "add", "pow": "square", "biasadd": "add"}
    return [
        spellings.get(op_type.lower(), op_type.lower())
        for op_type in types
        if isinstance(op_type, str)
    ]


def at_points(student, node):
    """Return one node of the student's graph, evaluated at the hidden points."""
    return student.probe(run_at, "graph", "a_", "b_", node, POINTS)


PATHS = (["mul", "add", "sub", "square", "mean"], ["mul", "add", "squareddifference", "mean"])


# Build (listing 3.2) ---------------------------------------------------------------------------


@check("build", points=1, title="The graph contains the four named nodes")
def test_named_nodes(student):
    nodes = student.probe(nodes_of, "graph").value
    for node in ("a_var", "b_var", "x_const", "y_const"):
        if node not in nodes:
            fail(f"Your graph has no node called {node}. Use this name when you create the node.")
    for node in ("a_var", "b_var"):
        if nodes[node][0] not in ("VariableV2", "Variable", "VarHandleOp"):
            fail(f"{node} should be a variable.", own=nodes[node][0])
    for node in ("x_const", "y_const"):
        if nodes[node] != ["Const", 33]:
            fail(f"{node} should be a constant with 33 values.", own=str(nodes[node]))


@check("build", points=1, title="The path of the data through the graph")
def test_path_of_data(student):
    types = student.probe(types_on_path, "a_", "loss_").value
    if normalised(types) in PATHS:
        return
    if types and normalised(types)[-1] == "sum":
        fail(TOP, own=" → ".join(types))
    fail(FIGURE, own=" → ".join(types) or "no path from a_ to loss_")


@check("build", points=1, title="The graph computes the loss of any line")
def test_graph_computes(student):
    # 1e-4, because float32 sums 33 squares of some hundreds.
    losses = at_points(student, "loss_").array((len(POINTS),)).value
    right = np.array([mse(a, b) for a, b in POINTS])
    swapped = np.array([mse(b, a) for a, b in POINTS])
    Answer(losses, "loss_ for three lines").matches(
        right,
        rel=1e-4,
        mistakes=[
            (right * 33, TOP),
            (np.sqrt(right), TOP),
            (right * 33 / 32, TOP),
            (swapped, "Which of the two variables multiplies x_?"),
        ],
        otherwise="Does your graph use all women? Does it subtract the right constant?",
    )


@check("build", points=1, title="The types of the operations")
def test_operation_types(student):
    types = student.value("operation_types").value
    listed = normalised(types) if isinstance(types, list | tuple) else []
    if listed in PATHS:
        return
    if listed[::-1] in PATHS:
        fail("Check the order. It should go from a_var up to the loss.", own=str(types))
    fail(
        "Start at the loss and follow op.inputs down to a_var. Write down op.type at each step.",
        own=str(types)[:200],
    )


# Run (listing 3.3) -----------------------------------------------------------------------------


@check("forward", points=1, title="The loss at the start")
def test_forward(student):
    right = mse(*START)
    after = path()[1]
    half_step = np.array(START) + (after - START) / 2
    # 1e-5, because float32 gives 673.4545, while the mean pressure (138.636) as the intercept
    # gives 673.3223, which is 2e-4 off.
    student.number("loss_start").matches(
        right,
        rel=1e-5,
        mistakes=[
            *((wrong, TOP) for wrong in (right * 33, np.sqrt(right), right * 33 / 32)),
            *(
                (mse(*line), VALUES_NOW)
                for line in ((139, 0), after, (0, float(SBP.mean())), half_step)
            ),
        ],
        otherwise=VALUES_NOW,
    )


@check("gradients", points=1, title="Gradients at the start")
def test_gradients(student):
    right = np.array(gradient(*START))
    answer = student.array("grads_start")
    # 1e-4, because float32 gives -553.09094 and 0.727273.
    Answer(answer.value.ravel(), "grads_start").matches(
        right,
        rel=1e-4,
        mistakes=[(right * 33, ORDER_ASKED), (right[::-1], ORDER_ASKED)],
        otherwise=ORDER_ASKED,
    )


@check("gradients", points=1, title="The graph computes the gradients of any line")
def test_gradient_nodes(student):
    partials = [at_points(student, name("grads_")[i]) for i in (0, 1)]
    gradients = np.column_stack([partial.array((len(POINTS),)).value for partial in partials])
    right = np.array([gradient(a, b) for a, b in POINTS])
    Answer(gradients, "grads_ for three lines").matches(
        right,
        rel=1e-3,
        abs=1e-2,
        mistakes=[(right[:, ::-1], "Ask for the gradients in the order (a, b).")],
        otherwise="grads_ should be the two nodes that v1.gradients returns for loss_.",
    )


# Train (listing 3.4) ---------------------------------------------------------------------------


@check("training", points=1, title="train_op_ does one update")
def test_train_op(student):
    for point in ((0.0, 139.0), (1.5, 60.0)):
        line = student.probe(line_after, "graph", "a_", "b_", "train_op_", point, 1)
        change = line.array((2,)).value - point
        right = -0.0004 * np.array(gradient(*point))
        # b changes by 0.0003 from 139, which float32 keeps only to 5 %, so a decides.
        Answer(change, "change of (a, b)").matches(
            right,
            rel=1e-3,
            abs=3e-5,
            mistakes=[
                (right / 10, "The learning rate of your optimiser is off by a factor of ten."),
                (-right, "This update goes uphill."),
            ],
            otherwise="One run of train_op_ should do one update with the learning rate 0.0004.",
        )


def compare_line(student, variables, steps, rel_a, rel_b):
    """Compare a trained line.

    The tolerances allow for one update more or less, because a student who reads the variables in
    the same run as the training may get them before or after the update.
    """
    a, b = (student.number(variable).value for variable in variables)

    def near(point, factor=1.0):
        return abs(a - point[0]) <= factor * rel_a * abs(point[0]) and abs(
            b - point[1]
        ) <= factor * rel_b * abs(point[1])

    if near(path()[steps]):
        return
    own = f"a = {a:.7g}, b = {b:.7g}"
    slow = reference.descend(*START, 0.00004, steps)[-1]
    if near(slow, 3) or near(path()[steps // 10], 3):
        fail(TEN_TIMES, own)
    if near(reference.closed_form(AGE, SBP)) or (a, b) == START:
        fail(ONE_SESSION, own)
    fail(
        f"This is not the line after {steps} updates with the learning rate 0.0004 from (0, 139).",
        own,
    )


@check("training", points=1.5, title="The line after 5 000 updates")
def test_line_5000(student):
    # float32 and one update more or less change a by 1.2e-4 and b by 2.4e-5 of its value.
    compare_line(student, ("a_5000", "b_5000"), 5000, 3e-4, 5e-5)


@check("training", points=1.5, title="The line after 80 000 updates")
def test_line_80000(student):
    # The closed form differs by 7.4e-4 in a and by 4.9e-4 in b, and must fail.
    compare_line(student, ("a_80000", "b_80000"), 80_000, 2e-4, 1e-4)


# A traced function -----------------------------------------------------------------------------


@check("function", points=1, title="mse_function is traced, and right for any line")
def test_function(student):
    types = student.probe(traced_types, "mse_function").value
    if types is None:
        fail("mse_function is a plain Python function. Decorate it with @tf.function.")
    if "mean" not in normalised(types):
        fail(TOP, own=", ".join(types))
    for a, b in POINTS:
        constant = name("tf").constant
        student.call("mse_function", constant(a), constant(b)).number().matches(
            mse(a, b),
            rel=1e-4,
            otherwise="mse_function does not return the MSE of the line on the 33 women.",
        )


@check("function", points=1, title="The operations in its concrete graph")
def test_function_types(student):
    types = student.value("function_types").value
    listed = set(normalised(types)) if isinstance(types, list | tuple) else set()
    required = {"placeholder", "mul", "add", "mean"}
    if not required <= listed or not {"square", "squareddifference"} & listed:
        fail(
            "List the type of every operation in the graph of the concrete function. "
            "Include its inputs, the placeholders.",
            own=str(types)[:200],
        )


@check("local", points=2, title="The six local gradients, from a graph")
def test_local_gradients(student):
    woman = reference.backprop(0.0, 139.0, 58.0, 153.0)
    answer = student.value("local_gradients")
    for key in ("dmse_ds", "ds_dr", "dr_dabx", "dabx_db", "dabx_dax", "dax_da"):
        answer[key].number().matches(
            woman[key],
            rel=1e-5,
            otherwise={
                "ds_dr": "Does your graph square the residual abx - y?",
                "dax_da": "How much does a·x change when a grows by 1?",
            }.get(key, f"'{key}' is not the local gradient of this edge."),
        )


@check("events", points=2, title="The event file contains your graph")
def test_event_file(student):
    nodes = dict(student.probe(nodes_in_events, "log_dir").value)
    if not {"a_var", "b_var", "x_const", "y_const"} <= nodes.keys():
        fail(
            "Did you give your graph to the writer? Did you close the writer?",
            own=f"nodes in the event files: {len(nodes)}",
        )


@check("plot", points=1, title="The training curve")
def test_training_curve(student):
    picture = Picture(student, "ax_training")
    picture.must_have_labels()
    losses = reference.losses_along(path()[:5102])
    for line in (*picture.lines, *picture.groups):
        inside = line[(line[:, 0] >= 0) & (line[:, 0] <= 5100)]
        if len(inside) < 20 or inside[:, 0].min() > 500 or inside[:, 0].max() < 4500:
            continue
        steps = np.round(inside[:, 0]).astype(int)
        # As in the numbers, one update more or less is accepted.
        near = [
            np.isclose(inside[:, 1], losses[np.clip(steps + shift, 0, None)], rtol=2e-3)
            for shift in (-1, 0, 1)
        ]
        if np.any(near, axis=0).all():
            return
    fail(
        "I cannot find the losses of the first 5 000 updates in ax_training. Draw at least "
        "20 points, with the updates on the horizontal axis and the MSE on the vertical axis."
    )
