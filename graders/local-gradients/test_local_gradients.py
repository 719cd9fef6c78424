"""Hidden checks of `local-gradients`: backpropagation by hand (section 3.4.1)."""

import numpy as np

import reference
from nbmark import Answer, CheckFailed, check, fail
from plots import Picture
from reference import AGE, SBP

WOMAN = reference.backprop(0.0, 139.0, 58.0, 153.0)
ETA = 0.0002
# The women that are taken for number 15 by counting wrongly, and the pressure that the chapter's
# text misprints: age, pressure, sentence.
OTHERS = [
    (AGE[15], SBP[15], "Python counts from zero: print age and pressure of your woman."),
    (AGE[13], SBP[13], "Python counts from zero: print age and pressure of your woman."),
    (58.0, 158.0, "Look the pressure up in the data."),
]
ARROWS = "Follow the arrows of figure 3.12: which number is taken from which?"
SQUARE = "Differentiate r² at your r."
WAY_TO_B = "Multiply the local gradients on the way from the loss to b."
WAY_TO_A = "The path to a is one edge longer than that to b, and one woman is in the batch."
DOWNHILL = "Downhill is against the gradient; check rate and gradient of each update."
ANOTHER = (
    "These numbers belong to another patient. Discussing the way is fine, but everybody has "
    "numbers of their own: run the cell that draws yours, and use its four numbers."
)
EXACT = 1e-6  # all numbers here have few digits; float32 errs by 1e-7


def of_others(key):
    """What `key` comes to for the women that are taken by mistake."""
    return [(reference.backprop(0.0, 139.0, x, y)[key], says) for x, y, says in OTHERS]


# Forwards (figure 3.12, left) ------------------------------------------------------------------


@check("forward", points=0.5, title="Product and prediction of woman 15")
def test_prediction(student):
    student.number("ax").matches(0, abs=1e-9, otherwise="Which slope does the task start from?")
    student.number("abx").matches(139, rel=EXACT, otherwise="The prediction is ax + b.")


@check("forward", points=1, title="Residual of woman 15")
def test_residual(student):
    student.number("r").matches(
        WOMAN["r"], rel=EXACT, mistakes=[(-WOMAN["r"], ARROWS), *of_others("r")]
    )


@check("forward", points=1, title="Squared residual and loss of woman 15")
def test_square(student):
    own = student.number("r").value
    for name in ("s", "mse_15"):
        answer = student.number(name)
        if abs(own) > 1 and answer == own**2:  # a wrong residual was judged above
            continue
        answer.matches(
            WOMAN["s"],
            rel=EXACT,
            mistakes=of_others("s"),
            otherwise="Square your residual; one woman is in the batch.",
        )


# Local gradients (figure 3.13) -----------------------------------------------------------------


@check("local", points=2, title="The six local gradients")
def test_local_gradients(student):
    own = student.number("r").value
    found = {
        name: student.number(name)
        for name in ("dmse_ds", "ds_dr", "dr_dabx", "dabx_db", "dabx_dax", "dax_da")
    }
    flipped = own == -WOMAN["r"]  # observed minus predicted was judged in task 1
    if not (flipped and found["ds_dr"] == 2 * own):
        found["ds_dr"].matches(
            WOMAN["ds_dr"], rel=EXACT, mistakes=of_others("ds_dr"), otherwise=SQUARE
        )
    if not (flipped and found["dr_dabx"] == -1):
        found["dr_dabx"].matches(1, otherwise="How much does abx - y change when abx grows by 1?")
    for name in ("dmse_ds", "dabx_db", "dabx_dax"):
        found[name].matches(
            1, otherwise=f"{name}: how much does the output change when this input grows by 1?"
        )
    found["dax_da"].matches(58, otherwise="dax_da: how much does a·x change when a grows by 1?")


# Backwards (figure 3.12, right) ----------------------------------------------------------------


@check("chain", points=1, title="Gradient for b")
def test_gradient_b(student):
    student.number("grad_b").matches(
        WOMAN["grad_b"],
        rel=EXACT,
        mistakes=[
            (-WOMAN["grad_b"], WAY_TO_B),
            (WOMAN["grad_b"] / 2, WAY_TO_B),
            *of_others("grad_b"),
        ],
        otherwise=WAY_TO_B,
    )


@check("chain", points=1, title="Gradient for a")
def test_gradient_a(student):
    student.number("grad_a").matches(
        WOMAN["grad_a"], rel=EXACT, mistakes=[*of_others("grad_a")], otherwise=WAY_TO_A
    )


@check("update", points=1, title="One update")
def test_update(student):
    line = np.array([student.number("a_1").value, student.number("b_1").value])
    own = np.array([student.number("grad_a").value, student.number("grad_b").value])
    right = np.array([WOMAN["grad_a"], WOMAN["grad_b"]])
    # b moves by 0.0056 in 139: the moves are compared, to 1 % for float32.
    moved = line - (0, 139)
    if any(np.allclose(moved, -ETA * one, rtol=0.01) for one in (own, right) if one.all()):
        return
    Answer(line, "a_1, b_1").matches(
        (0, 139) - ETA * right,
        rel=1e-6,
        mistakes=[
            ((0 - ETA * a, 139 - ETA * b), says)
            for (a, says), (b, _) in zip(of_others("grad_a"), of_others("grad_b"), strict=True)
        ],
        otherwise=DOWNHILL,
    )


# The student's own patient ---------------------------------------------------------------------


def own_patient(student):
    """Everything about the patient that belongs to the submission's id, whatever it says."""
    age, pressure, a, b = reference.patient(student.id)
    values = reference.backprop(a, b, age, pressure)
    return {**values, "a": a, "b": b, "age": age}


def own_is_right(student, name, expected, mistakes):
    """Whether a variable holds what belongs to this student; kind words if it is another's."""
    answer = student.number(name)
    if not np.isclose(answer.value, expected, rtol=1e-5, atol=0) and is_of_another(student):
        fail(ANOTHER, own=f"{name} = {answer.value:.8g}")
    answer.matches(expected, rel=1e-5, mistakes=mistakes)


def is_of_another(student):
    """Whether the gradients fit together for some patient of another age."""
    mine = own_patient(student)
    try:
        grad_a, grad_b = student.number("own_grad_a").value, student.number("own_grad_b").value
        r = student.number("own_r").value
    except CheckFailed:
        return False
    if not np.isfinite([grad_a, grad_b]).all() or grad_b == 0 or not np.isclose(grad_b, 2 * r):
        return False
    age = grad_a / grad_b
    return (
        abs(age - round(age)) < 1e-6
        and 20 <= age <= 80
        and (round(age) != mine["age"] or not np.isclose(r, mine["r"]))
    )


@check("own", points=0.5, title="Residual of your own patient")
def test_own_residual(student):
    mine = own_patient(student)
    own_is_right(student, "own_r", mine["r"], [(-mine["r"], ARROWS)])


@check("own", points=0.5, title="Loss of your own patient")
def test_own_loss(student):
    mine = own_patient(student)
    own_is_right(
        student,
        "own_mse",
        mine["s"],
        [
            (mine["s"] / 2, "The mean of one square is that square."),
            (mine["r"], "Square the residual."),
        ],
    )


@check("own", points=0.75, title="Gradient for b of your own patient")
def test_own_gradient_b(student):
    mine = own_patient(student)
    wrong = [factor * mine["grad_b"] for factor in (-1, 0.5, mine["age"])]
    own_is_right(student, "own_grad_b", mine["grad_b"], [(one, WAY_TO_B) for one in wrong])


@check("own", points=0.75, title="Gradient for a of your own patient")
def test_own_gradient_a(student):
    mine = own_patient(student)
    wrong = [-mine["grad_a"], mine["grad_a"] / 2, mine["grad_b"]]
    own_is_right(student, "own_grad_a", mine["grad_a"], [(one, WAY_TO_A) for one in wrong])


@check("own", points=1.5, title="One update for your own patient")
def test_own_update(student):
    mine = own_patient(student)
    line = np.array([student.number("own_a_1").value, student.number("own_b_1").value])
    moved = line - (mine["a"], mine["b"])
    right = -ETA * np.array([mine["grad_a"], mine["grad_b"]])
    own = -ETA * np.array([student.number(f"own_grad_{one}").value for one in "ab"])
    # The moves are compared, to 1 %: b may move by 0.001 in 100, near the end of float32.
    if np.allclose(moved, right, rtol=0.01):
        return
    if is_of_another(student):
        fail(ANOTHER, own=f"own_a_1 = {line[0]:.8g}, own_b_1 = {line[1]:.8g}")
    if own.all() and np.allclose(moved, own, rtol=0.01):
        return  # wrong gradients were judged above
    fail(DOWNHILL, own=f"own_a_1 = {line[0]:.8g}, own_b_1 = {line[1]:.8g}")


# Functions -------------------------------------------------------------------------------------

HIDDEN = [
    (0.5, 100.0, 40.0, 131.0),
    (1.0, 100.0, 31.0, 131.0),
    (-2.0, 250.0, -7.5, 90.0),
    (3.0, -1e4, 2e4, 5e3),
]
SENTENCES = {"r": ARROWS, "ds_dr": SQUARE, "grad_b": WAY_TO_B, "grad_a": WAY_TO_A}


@check("backprop", points=3, title="backprop(a, b, x, y) for anybody")
def test_backprop(student):
    # 1e-9: the text asks for float64; the inputs hold a zero residual and a negative x.
    for inputs in HIDDEN:
        found = student.call("backprop", *inputs)
        for key, expected in reference.backprop(*inputs).items():
            says = SENTENCES.get(key, f"Your '{key}' is wrong for values other than woman 15's.")
            found[key].number().matches(expected, rel=1e-9, abs=1e-9, otherwise=says)


def try_numeric_gradient(numeric_gradient):
    """Runs the student's function on three functions that it does not know."""

    def parabola(a, b):
        return (a * 37.0 + b - 120.0) ** 2

    def cubic(a, b):
        return a**3 - 2.0 * a * b + b

    def plane(a, b):
        return 4.0 * a - 0.25 * b

    points = [(parabola, 0.5, 90.0), (cubic, 2.0, -1.0), (plane, -3.0, 8.0)]
    return [[float(one) for one in numeric_gradient(f, a, b)] for f, a, b in points]


@check("numeric", points=2, title="numeric_gradient for functions you have not seen")
def test_numeric_gradient(student):
    right = np.array(
        [[2 * 37 * (18.5 + 90 - 120), 2 * (18.5 + 90 - 120)], [3 * 4 + 2, -2 * 2 + 1], [4.0, -0.25]]
    )
    how_far = "How far apart are your two points?"
    # 1e-3: a forward difference errs by about 2e-5; halves and doubles are far away.
    student.probe(try_numeric_gradient, "numeric_gradient").array((3, 2)).matches(
        right,
        rel=1e-3,
        abs=1e-3,
        mistakes=[
            (right * 2, how_far),
            (right / 2, how_far),
            (right[:, ::-1], "Return the pair in the order (a, b)."),
            (-right, "Which of the two points comes first in the difference?"),
        ],
        otherwise="Move one parameter at a time by h, not too small, and leave the other alone.",
    )


# The picture (figure 3.11) ---------------------------------------------------------------------


def line_is_drawn(student, lines, what):
    picture = Picture(student, "ax_lines")
    picture.must_have_labels()
    for a, b in lines:
        for line in picture.lines:
            long_enough = len(line) >= 2 and np.ptp(line[:, 0]) >= 0.5 * np.ptp(AGE)
            if long_enough and np.allclose(line[:, 1], a * line[:, 0] + b, rtol=1e-4):
                return
    fail(f"I cannot find the line {what} the update in ax_lines, over all ages.")


@check("plot", points=0.5, title="The line before the update is in the picture")
def test_line_before(student):
    line_is_drawn(student, [(0.0, 139.0)], "before")


@check("plot", points=0.5, title="The line after the update is in the picture")
def test_line_after(student):
    own = student.number("a_1").value, student.number("b_1").value  # judged in task 4
    line_is_drawn(student, [(0.3248, 139.0056), own], "after")


@check("plot", points=0.5, title="All women are in the picture, and number 15 is marked")
def test_women(student):
    picture = Picture(student, "ax_lines")
    if not all(picture.has_point(one) for one in zip(AGE, SBP, strict=True)):
        fail("Not every woman is a point of ax_lines. Draw age to the right and sbp upwards.")
    if not picture.marks((58, 153)):
        fail("Mark woman 15 by a point of her own.")
