"""Hidden checks of `computational-graph`: static graphs (listings 3.2 to 3.4, figure 3.10)."""

import functools

import numpy as np

import reference
from nbmark import Answer, check, fail, name
from plots import Picture
from reference import AGE, SBP, gradient, mse
from tensors import line_after, nodes_in_events, nodes_of, run_at, traced, way_from

START = (0.0, 139.0)
POINTS = [(0.0, 139.0), (1.5, 60.0), (-0.25, 180.0)]
TOP = "Which operation stands at the top of figure 3.10?"
AT_THE_MOMENT = "What are the values of a and b at the moment you run the node?"
ORDER_ASKED = "In which order did you ask for them? Is the top node a mean?"
TEN_TIMES = "Rate or number of steps is ten times off."
ONE_SESSION = "Training lives inside one session: read there, after the loop."
FIGURE = "Use the operations named in the figure."


@functools.cache
def path():
    """Lines after 0 to 80 001 updates."""
    return reference.descend(*START, 0.0004, 80_001)


def plain(types):
    """Operation types with their spellings made one: Add, and Square for the three squares."""
    same = {"addv2": "add", "pow": "square", "biasadd": "add"}
    return [same.get(one.lower(), one.lower()) for one in types if isinstance(one, str)]


def at_points(student, node):
    """Values of one node of the student's graph at the hidden points."""
    return student.probe(run_at, "graph", "a_", "b_", node, constant(POINTS))


WAYS = (["mul", "add", "sub", "square", "mean"], ["mul", "add", "squareddifference", "mean"])


# Build (listing 3.2) ---------------------------------------------------------------------------


@check("build", points=1, title="The graph holds the four named nodes")
def test_named_nodes(student):
    nodes = student.probe(nodes_of, "graph").value
    for one in ("a_var", "b_var", "x_const", "y_const"):
        if one not in nodes:
            fail(f"Your graph has no node called {one}. Give it this name when you make it.")
    for one in ("a_var", "b_var"):
        if nodes[one][0] not in ("VariableV2", "Variable", "VarHandleOp"):
            fail(f"{one} should be a variable.", own=nodes[one][0])
    for one in ("x_const", "y_const"):
        if nodes[one] != ["Const", 33]:
            fail(f"{one} should be a constant of 33 values.", own=str(nodes[one]))


@check("build", points=1, title="The data's way through the graph")
def test_way_of_data(student):
    way = student.probe(way_from, "a_", "loss_").value
    if plain(way) in WAYS:
        return
    if way and plain(way)[-1] == "sum":
        fail(TOP, own=" → ".join(way))
    fail(FIGURE, own=" → ".join(way) or "no way from a_ to loss_")


@check("build", points=1, title="The graph computes the loss of any line")
def test_graph_computes(student):
    # 1e-4: float32 sums of 33 squares of some hundreds.
    found = at_points(student, "loss_").array((len(POINTS),)).value
    right = np.array([mse(a, b) for a, b in POINTS])
    Answer(found, "loss_ for three lines").matches(right, rel=1e-4, mistakes=[
        (right * 33, TOP), (np.sqrt(right), TOP), (right * 33 / 32, TOP),
        (np.array([mse(b, a) for a, b in POINTS]), "Which of the two variables multiplies x_?"),
    ], otherwise="Does your graph take all women, and subtract the right constant?")  # fmt: skip


@check("build", points=1, title="The types of the operations")
def test_operation_types(student):
    types = student.value("operation_types").value
    found = plain(types) if isinstance(types, list | tuple) else []
    if found in WAYS:
        return
    if found[::-1] in WAYS:
        fail("Look at the order: from a_var up to the loss.", own=str(types))
    fail("Walk from the loss down, one op.inputs after the other, and write each op.type down.",
         own=str(types)[:200])  # fmt: skip
