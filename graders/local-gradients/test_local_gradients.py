"""Hidden checks of `local-gradients`: backpropagation by hand (section 3.4.1)."""

import numpy as np

import reference
from nbmark import Answer, CheckFailed, check, fail
from plots import Picture
from reference import AGE, SBP

WOMAN = reference.backprop(0.0, 139.0, 58.0, 153.0)
ETA = 0.0002
COUNTED_WRONG = "Python counts from zero. Print the age and the blood pressure of your woman."
# Students take a neighbour for woman 15 when they count wrongly, and the chapter misprints her
# pressure in one place: age, pressure, sentence.
MIX_UPS = [
    (AGE[15], SBP[15], COUNTED_WRONG),
    (AGE[13], SBP[13], COUNTED_WRONG),
    (58.0, 158.0, "Look up the blood pressure in the data."),
]
ARROWS = "Follow the arrows in figure 3.12. Which number is subtracted from which?"
SQUARE = "Differentiate r² with respect to r. Then put in your value of r."
PATH_TO_B = "Multiply all the local gradients on the path from the loss to b."
PATH_TO_A = "The path to a has one more edge than the path to b. Only one woman is in the batch."
DOWNHILL = (
    "To go downhill, go against the gradient. "
    "Check the learning rate and the gradient in both updates."
)
ANOTHER_PATIENT = (
    "These numbers belong to another patient. Discussing the method is fine, but all students "
    "have numbers of their own. Run the cell that draws your patient, and use its four numbers."
)
EXACT = 1e-6  # the answers have few digits, so only the 1e-7 that float32 loses need room


def mix_ups(key):
    """Return the value of `key` for each mixed-up woman, paired with its sentence."""
    return [
        (reference.backprop(0.0, 139.0, age, pressure)[key], sentence)
        for age, pressure, sentence in MIX_UPS
    ]


# Forwards (figure 3.12, left) ------------------------------------------------------------------


@check("forward", points=0.5, title="Product and prediction of woman 15")
def test_prediction(student):
    student.number("ax").matches(0, abs=1e-9, otherwise="Which slope does the task start with?")
    student.number("abx").matches(139, rel=EXACT, otherwise="The prediction is ax + b.")


@check("forward", points=1, title="Residual of woman 15")
def test_residual(student):
    student.number("r").matches(
        WOMAN["r"], rel=EXACT, mistakes=[(-WOMAN["r"], ARROWS), *mix_ups("r")]
    )


@check("forward", points=1, title="Squared residual and loss of woman 15")
def test_square(student):
    own_residual = student.number("r").value
    for variable in ("s", "mse_15"):
        answer = student.number(variable)
        # A wrong residual has cost its points already, so its square is accepted here.
        if abs(own_residual) > 1 and answer == own_residual**2:
            continue
        answer.matches(
            WOMAN["s"],
            rel=EXACT,
            mistakes=mix_ups("s"),
            otherwise="Square your residual. Only one woman is in the batch.",
        )


# Local gradients (figure 3.13) -----------------------------------------------------------------


@check("local", points=2, title="The six local gradients")
def test_local_gradients(student):
    own_residual = student.number("r").value
    answers = {
        variable: student.number(variable)
        for variable in ("dmse_ds", "ds_dr", "dr_dabx", "dabx_db", "dabx_dax", "dax_da")
    }
    # Observed minus predicted has cost its points in task 1, so its derivatives are accepted.
    flipped = own_residual == -WOMAN["r"]
    if not (flipped and answers["ds_dr"] == 2 * own_residual):
        answers["ds_dr"].matches(
            WOMAN["ds_dr"], rel=EXACT, mistakes=mix_ups("ds_dr"), otherwise=SQUARE
        )
    if not (flipped and answers["dr_dabx"] == -1):
        answers["dr_dabx"].matches(1, otherwise="How much does abx - y change when abx grows by 1?")
    for variable in ("dmse_ds", "dabx_db", "dabx_dax"):
        answers[variable].matches(
            1,
            otherwise=f"{variable}: how much does the output of this step change when this input "
            "grows by 1?",
        )
    answers["dax_da"].matches(58, otherwise="dax_da: how much does a·x change when a grows by 1?")


# Backwards (figure 3.12, right) ----------------------------------------------------------------


@check("chain", points=1, title="Gradient for b")
def test_gradient_b(student):
    student.number("grad_b").matches(
        WOMAN["grad_b"],
        rel=EXACT,
        mistakes=[
            (-WOMAN["grad_b"], PATH_TO_B),
            (WOMAN["grad_b"] / 2, PATH_TO_B),
            *mix_ups("grad_b"),
        ],
        otherwise=PATH_TO_B,
    )


@check("chain", points=1, title="Gradient for a")
def test_gradient_a(student):
    student.number("grad_a").matches(
        WOMAN["grad_a"], rel=EXACT, mistakes=mix_ups("grad_a"), otherwise=PATH_TO_A
    )


@check("update", points=1, title="One update")
def test_update(student):
    line = np.array([student.number("a_1").value, student.number("b_1").value])
    own_gradient = np.array([student.number("grad_a").value, student.number("grad_b").value])
    right_gradient = np.array([WOMAN["grad_a"], WOMAN["grad_b"]])
    # b moves by only 0.0056 from 139. float32 keeps that to 0.3 %, so compare the moves to 1 %.
    moves = line - (0, 139)
    # The gradients have been judged in task 3, so an update with the student's own is right too.
    if any(
        np.allclose(moves, -ETA * gradient, rtol=0.01)
        for gradient in (own_gradient, right_gradient)
        if gradient.all()
    ):
        return
    Answer(line, "a_1, b_1").matches(
        (0, 139) - ETA * right_gradient,
        rel=1e-6,
        mistakes=[
            ((0 - ETA * grad_a, 139 - ETA * grad_b), sentence)
            for (grad_a, sentence), (grad_b, _) in zip(
                mix_ups("grad_a"), mix_ups("grad_b"), strict=True
            )
        ],
        otherwise=DOWNHILL,
    )


# The student's own patient ---------------------------------------------------------------------


def own_patient(student):
    """Return all values for the patient of the submission's id, whatever the notebook says."""
    age, pressure, a, b = reference.patient(student.id)
    values = reference.backprop(a, b, age, pressure)
    return {**values, "a": a, "b": b, "age": age}


def compare_own_number(student, variable, expected, mistakes):
    """Compare a number of the student's own patient, and recognise another student's."""
    answer = student.number(variable)
    if not np.isclose(answer.value, expected, rtol=1e-5, atol=0) and is_another_patient(student):
        fail(ANOTHER_PATIENT, own=f"{variable} = {answer.value:.8g}")
    answer.matches(expected, rel=1e-5, mistakes=mistakes)


def is_another_patient(student):
    """Return whether the gradients are consistent, but for a patient who is not this student's."""
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
    compare_own_number(student, "own_r", mine["r"], [(-mine["r"], ARROWS)])


@check("own", points=0.5, title="Loss of your own patient")
def test_own_loss(student):
    mine = own_patient(student)
    compare_own_number(
        student,
        "own_mse",
        mine["s"],
        [
            (mine["s"] / 2, "The mean of a single square is the square itself."),
            (mine["r"], "Square the residual."),
        ],
    )


@check("own", points=0.75, title="Gradient for b of your own patient")
def test_own_gradient_b(student):
    mine = own_patient(student)
    wrong = [factor * mine["grad_b"] for factor in (-1, 0.5, mine["age"])]
    compare_own_number(
        student, "own_grad_b", mine["grad_b"], [(number, PATH_TO_B) for number in wrong]
    )


@check("own", points=0.75, title="Gradient for a of your own patient")
def test_own_gradient_a(student):
    mine = own_patient(student)
    wrong = [-mine["grad_a"], mine["grad_a"] / 2, mine["grad_b"]]
    compare_own_number(
        student, "own_grad_a", mine["grad_a"], [(number, PATH_TO_A) for number in wrong]
    )


@check("own", points=1.5, title="One update for your own patient")
def test_own_update(student):
    mine = own_patient(student)
    line = np.array([student.number("own_a_1").value, student.number("own_b_1").value])
    moves = line - (mine["a"], mine["b"])
    right_moves = -ETA * np.array([mine["grad_a"], mine["grad_b"]])
    own_moves = -ETA * np.array(
        [student.number(variable).value for variable in ("own_grad_a", "own_grad_b")]
    )
    # 1 %, because b may move by only 0.001 from 100, and float32 keeps few digits of that.
    if np.allclose(moves, right_moves, rtol=0.01):
        return
    if is_another_patient(student):
        fail(ANOTHER_PATIENT, own=f"own_a_1 = {line[0]:.8g}, own_b_1 = {line[1]:.8g}")
    # Wrong gradients have cost their points above, so a consistent update is accepted.
    if own_moves.all() and np.allclose(moves, own_moves, rtol=0.01):
        return
    fail(DOWNHILL, own=f"own_a_1 = {line[0]:.8g}, own_b_1 = {line[1]:.8g}")


# Functions -------------------------------------------------------------------------------------

# The second set has a residual of zero, the third a negative age.
HIDDEN_INPUTS = [
    (0.5, 100.0, 40.0, 131.0),
    (1.0, 100.0, 31.0, 131.0),
    (-2.0, 250.0, -7.5, 90.0),
    (3.0, -1e4, 2e4, 5e3),
]
SENTENCES = {"r": ARROWS, "ds_dr": SQUARE, "grad_b": PATH_TO_B, "grad_a": PATH_TO_A}


@check("backprop", points=3, title="backprop(a, b, x, y) for any woman")
def test_backprop(student):
    # 1e-9, because the notebook asks for float64.
    for inputs in HIDDEN_INPUTS:
        answer = student.call("backprop", *inputs)
        for key, expected in reference.backprop(*inputs).items():
            sentence = SENTENCES.get(
                key, f"Your '{key}' is wrong for numbers other than those of woman 15."
            )
            answer[key].number().matches(expected, rel=1e-9, abs=1e-9, otherwise=sentence)


def try_numeric_gradient(numeric_gradient):
    """Run the student's function on three functions that it has not seen."""

    def parabola(a, b):
        return (a * 37.0 + b - 120.0) ** 2

    def cubic(a, b):
        return a**3 - 2.0 * a * b + b

    def plane(a, b):
        return 4.0 * a - 0.25 * b

    points = [(parabola, 0.5, 90.0), (cubic, 2.0, -1.0), (plane, -3.0, 8.0)]
    return [[float(slope) for slope in numeric_gradient(f, a, b)] for f, a, b in points]


@check("numeric", points=2, title="numeric_gradient for functions you have not seen")
def test_numeric_gradient(student):
    right = np.array(
        [[2 * 37 * (18.5 + 90 - 120), 2 * (18.5 + 90 - 120)], [3 * 4 + 2, -2 * 2 + 1], [4.0, -0.25]]
    )
    distance = "How far apart are your two points?"
    # 1e-3, because a one-sided difference is off by about 2e-5; halves and doubles are far away.
    student.probe(try_numeric_gradient, "numeric_gradient").array((3, 2)).matches(
        right,
        rel=1e-3,
        abs=1e-3,
        mistakes=[
            (right * 2, distance),
            (right / 2, distance),
            (right[:, ::-1], "Return the pair in the order (a, b)."),
            (-right, "Which of the two function values do you subtract from the other?"),
        ],
        otherwise="Change one parameter at a time by h, and leave the other alone. "
        "Do not make h too small.",
    )


# The picture (figure 3.11) ---------------------------------------------------------------------


def find_line(student, lines, moment):
    """Fail unless the picture shows one of the lines (a, b) over at least half of the ages."""
    picture = Picture(student, "ax_lines")
    picture.must_have_labels()
    for a, b in lines:
        for line in picture.lines:
            long_enough = len(line) >= 2 and np.ptp(line[:, 0]) >= 0.5 * np.ptp(AGE)
            if long_enough and np.allclose(line[:, 1], a * line[:, 0] + b, rtol=1e-4):
                return
    fail(
        f"I cannot find the line {moment} the update in ax_lines. "
        "Draw it from the youngest to the oldest woman."
    )


@check("plot", points=0.5, title="The line before the update is in the picture")
def test_line_before(student):
    find_line(student, [(0.0, 139.0)], "before")


@check("plot", points=0.5, title="The line after the update is in the picture")
def test_line_after(student):
    own_line = student.number("a_1").value, student.number("b_1").value  # judged in task 4
    find_line(student, [(0.3248, 139.0056), own_line], "after")


@check("plot", points=0.5, title="All women are in the picture, and number 15 is marked")
def test_women(student):
    picture = Picture(student, "ax_lines")
    if not all(picture.has_point(woman) for woman in zip(AGE, SBP, strict=True)):
        fail(
            "Not every woman has a point in ax_lines. "
            "Draw age on the horizontal axis and sbp on the vertical axis."
        )
    if not picture.marks((58, 153)):
        fail("Mark woman 15 with a point of her own.")
