"""Hidden checks of `local-gradients`: backpropagation by hand (section 3.4.1)."""

import functools

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
SIGNS = (
    "ds_dr and dr_dabx do not belong to the same residual. If r is observed minus predicted, it "
    "falls when abx grows. With r as in figure 3.12, both change their sign."
)
WRONG_FACTOR = (
    "This is the product of your own local gradients, and at least one of them is wrong. "
    "Look at task 2 again."
)
LOCAL = ("dmse_ds", "ds_dr", "dr_dabx", "dabx_db", "dabx_dax", "dax_da")
EXACT = 1e-6  # the answers have few digits, so only the 1e-7 that float32 loses need room
CLOSE = 1e-5  # the patients' numbers have up to six digits


def given(student, variable):
    """Return a number that another task has judged, nan if it is none."""
    try:
        return student.number(variable).value
    except CheckFailed:
        return np.nan


def near(number, expected):
    """Return whether two numbers agree as well as the patients' numbers must."""
    return abs(number - expected) <= CLOSE * abs(
        expected
    )  # `numpy.isclose` takes ten times as long


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
        WOMAN["r"],
        rel=EXACT,
        mistakes=[(-WOMAN["r"], ARROWS), *mix_ups("r")],
        otherwise="The residual is abx - y, with the blood pressure y of woman 15.",
    )


@check("forward", points=1, title="Squared residual and loss of woman 15")
def test_square(student):
    own_residual = given(student, "r")
    for variable in ("s", "mse_15"):
        answer = student.number(variable)
        # A wrong residual has cost its points already, so its square is accepted here.
        if abs(own_residual) > 1 and near(answer.value, own_residual**2):
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
    answers = {variable: student.number(variable) for variable in LOCAL}
    # Observed minus predicted has cost its points in task 1, so its derivatives are accepted. Both
    # must then have the other sign: beside the right one, the flipped one is a mistake.
    flipped = near(given(student, "r"), -WOMAN["r"])
    signs = [near(answers["ds_dr"].value, -WOMAN["ds_dr"]), near(answers["dr_dabx"].value, -1)]
    if flipped and any(signs) and not all(signs):
        fail(
            SIGNS, own=f"ds_dr = {answers['ds_dr'].value:g}, dr_dabx = {answers['dr_dabx'].value:g}"
        )
    if not (flipped and all(signs)):
        answers["ds_dr"].matches(
            WOMAN["ds_dr"], rel=EXACT, mistakes=mix_ups("ds_dr"), otherwise=SQUARE
        )
        answers["dr_dabx"].matches(1, otherwise="How much does abx - y change when abx grows by 1?")
    for variable in ("dmse_ds", "dabx_db", "dabx_dax"):
        answers[variable].matches(
            1,
            otherwise=f"{variable}: how much does the output of this step change when this input "
            "grows by 1?",
        )
    answers["dax_da"].matches(58, otherwise="dax_da: how much does a·x change when a grows by 1?")


# Backwards (figure 3.12, right) ----------------------------------------------------------------


def own_product(student, *edges):
    """Return the product of the student's own local gradients, nan unless all are numbers."""
    return float(np.prod([given(student, edge) for edge in edges]))


@check("chain", points=1, title="Gradient for b")
def test_gradient_b(student):
    product = own_product(student, "dmse_ds", "ds_dr", "dr_dabx", "dabx_db")
    student.number("grad_b").matches(
        WOMAN["grad_b"],
        rel=EXACT,
        mistakes=[*mix_ups("grad_b"), (product, WRONG_FACTOR)],
        otherwise=PATH_TO_B,
    )


@check("chain", points=1, title="Gradient for a")
def test_gradient_a(student):
    product = own_product(student, "dmse_ds", "ds_dr", "dr_dabx", "dabx_dax", "dax_da")
    student.number("grad_a").matches(
        WOMAN["grad_a"],
        rel=EXACT,
        mistakes=[*mix_ups("grad_a"), (product, WRONG_FACTOR)],
        otherwise=PATH_TO_A,
    )


@check("update", points=1, title="One update")
def test_update(student):
    line = np.array([student.number("a_1").value, student.number("b_1").value])
    own_gradient = np.array([given(student, "grad_a"), given(student, "grad_b")])
    right_gradient = np.array([WOMAN["grad_a"], WOMAN["grad_b"]])
    # The gradients have been judged in task 3, so an update with the student's own is right too.
    if any(is_update(line, (0, 139), gradient) for gradient in (right_gradient, own_gradient)):
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


def is_update(line, start, gradient):
    """Return whether a line is one update away from `start`, against a gradient that is not 0."""
    gradient = np.asarray(gradient, dtype=float)
    if not (np.isfinite(gradient).all() and gradient.all()):
        return False
    # b moves by only 0.0056 from 139. float32 keeps that to 0.3 %, so compare the moves to 1 %.
    return np.allclose(np.subtract(line, start), -ETA * gradient, rtol=0.01)


# The student's own patient ---------------------------------------------------------------------

NUMBERS = {"own_r": "r", "own_mse": "s", "own_grad_b": "grad_b", "own_grad_a": "grad_a"}


@functools.cache  # a class of a thousand looks up the same thousand patients again and again
def patient_of(student_id):
    """Return all values for the patient of an id."""
    age, pressure, a, b = reference.patient(student_id)
    return described(age, pressure, a, b)


def described(age, pressure, a, b):
    """Return all values for a patient, and the patient's own four numbers."""
    return {**reference.backprop(a, b, age, pressure), "age": age, "sbp": pressure, "a": a, "b": b}


def own_patient(student):
    """Return all values for the student's own patient.

    The notebook may have drawn the patient for another id of the same student. Then the numbers
    tell which one.
    """
    mine = patient_of(student.id)
    if near(given(student, "own_r"), mine["r"]):
        return mine
    own = {variable: given(student, variable) for variable in NUMBERS}
    written = written_id(student)
    ids = [*student.ids, *([written] if is_own(written, student) else [])]

    def numbers_that_fit(patient):
        return sum(near(own[variable], patient[key]) for variable, key in NUMBERS.items())

    return max(map(patient_of, ids), key=numbers_that_fit)


def written_id(student):
    """Return the id that the student has written into the notebook, or ""."""
    try:
        written = student.value("MY_ID").value
    except CheckFailed:
        return ""
    return written.strip()[:128] if isinstance(written, str) else ""


def is_own(written, student):
    """Return whether an id in the notebook is the student's, in capital or small letters."""
    return written.casefold() in {student_id.casefold() for student_id in student.ids}


def refuse_another_patient(student, own):
    """Fail if the numbers are those of a patient who is known and not the student's own.

    Any other wrong number is a slip: nothing is said about where it comes from.
    """
    written = written_id(student)
    if written and not is_own(written, student):
        fail(
            f"Your notebook draws the patient for the id '{written}' in MY_ID, but your work was "
            f"collected as '{student.id}'. Write that id into MY_ID, and run the cells again.",
            own,
        )
    # Asked once, because the class may have a thousand patients to compare with.
    numbers = [given(student, variable) for variable in NUMBERS]
    line = [given(student, "own_a_1"), given(student, "own_b_1")]

    def are_of(patient):
        """Return whether all six numbers are a patient's.

        A single number says little: in a large class, nearly every residual is somebody's.
        """
        expected = [patient[key] for key in NUMBERS.values()]
        return all(map(near, numbers, expected)) and is_update(
            line, (patient["a"], patient["b"]), (patient["grad_a"], patient["grad_b"])
        )

    if are_of(patient_of("nobody")):
        fail(
            "These numbers belong to the patient for practice, who is drawn without an id. Write "
            f"the id under which your work was collected, '{student.id}', into MY_ID.",
            own,
        )
    woman = described(58, 153, 0.0, 139)
    if are_of(woman) or any(are_of(patient_of(classmate)) for classmate in student.classmates):
        fail(ANOTHER_PATIENT, own)


def own_residual_in(student, mine):
    """Return the student's residual if it is wrong and later numbers may follow from it, else nan.

    Squares and products of 0 and 1 would say nothing about the method.
    """
    own = given(student, "own_r")
    return own if abs(own) > 1 and not near(own, mine["r"]) else np.nan


@check("own", points=0.5, title="Residual of your own patient")
def test_own_residual(student):
    mine = own_patient(student)
    answer = student.number("own_r")
    if near(answer.value, mine["r"]):
        return
    own = f"own_r = {answer.value:.8g}; your work was collected as '{student.id}'"
    refuse_another_patient(student, own)
    age, pressure, a, b = mine["age"], mine["sbp"], mine["a"], mine["b"]
    mistakes = [
        (-mine["r"], ARROWS),
        (mine["r"] + 2 * pressure, "Subtract the blood pressure; do not add it."),
        (mine["abx"], "This is the prediction. The blood pressure is not subtracted yet."),
        (a * age - pressure, "The intercept my_b is missing from your prediction."),
        (b * age + a - pressure, "Which of my_a and my_b is the slope?"),
        (a * pressure + b - age, "Which of your two numbers is the age?"),
        (
            139.0 - pressure,
            "Your line starts at the slope 0 and the intercept 139 of task 1. Your patient has a "
            "line of its own, my_a and my_b.",
        ),
        (b - pressure, "The product my_a · my_age is missing from your prediction."),
        (WOMAN["r"], "This is the residual of woman 15. Use the four numbers of your own patient."),
    ]
    for wrong, sentence in mistakes:
        if near(answer.value, wrong):
            fail(sentence, own)
    fail(
        "This is not the residual of the patient who is drawn for your id. Does the notebook print "
        "the same id? Then compare each step with task 1.",
        own,
    )


@check("own", points=0.5, title="Loss of your own patient")
def test_own_loss(student):
    mine = own_patient(student)
    answer = student.number("own_mse")
    if near(answer.value, mine["s"]):
        return
    refuse_another_patient(student, f"own_mse = {answer.value:.8g}")
    own_residual = own_residual_in(student, mine)
    answer.matches(
        own_residual**2 if np.isfinite(own_residual) else mine["s"],
        rel=CLOSE,
        mistakes=[
            (half, "The mean of a single square is the square itself.")
            for half in (mine["s"] / 2, own_residual**2 / 2)
        ]
        + [(r, "Square the residual.") for r in (mine["r"], -mine["r"], own_residual)],
        otherwise="The loss is the square of your residual own_r.",
    )


def compare_own_gradient(student, variable, other, factor, sentence):
    """Compare a gradient of the own patient, or accept one that follows from the own residual.

    Parameters
    ----------
    other
        The other gradient. If that one belongs to the right residual, this one must as well.
    factor
        Patient → the gradient for a residual of 1.
    sentence
        For every other wrong value.
    """
    mine = own_patient(student)
    answer = student.number(variable)
    if near(answer.value, mine[NUMBERS[variable]]):
        return
    own = f"{variable} = {answer.value:.8g}"
    refuse_another_patient(student, own)
    own_residual = own_residual_in(student, mine)
    follows = near(answer.value, own_residual * factor(mine))
    if follows and not near(given(student, other), mine[NUMBERS[other]]):
        return
    if follows:
        fail(
            f"{variable} follows from your own_r, but {other} does not. Both gradients belong to "
            "the same residual.",
            own,
        )
    fail(sentence, own)


@check("own", points=0.75, title="Gradient for b of your own patient")
def test_own_gradient_b(student):
    compare_own_gradient(student, "own_grad_b", "own_grad_a", lambda mine: 2.0, PATH_TO_B)


@check("own", points=0.75, title="Gradient for a of your own patient")
def test_own_gradient_a(student):
    compare_own_gradient(
        student, "own_grad_a", "own_grad_b", lambda mine: 2.0 * mine["age"], PATH_TO_A
    )


@check("own", points=1.5, title="One update for your own patient")
def test_own_update(student):
    mine = own_patient(student)
    line = np.array([student.number("own_a_1").value, student.number("own_b_1").value])
    start = (mine["a"], mine["b"])
    if is_update(line, start, (mine["grad_a"], mine["grad_b"])):
        return
    own = f"own_a_1 = {line[0]:.8g}, own_b_1 = {line[1]:.8g}"
    refuse_another_patient(student, own)
    own_gradient = [given(student, "own_grad_a"), given(student, "own_grad_b")]
    # Wrong gradients have cost their points above, so a consistent update is accepted.
    if is_update(line, start, own_gradient):
        return
    if is_update(line, (0, 139), own_gradient):
        fail("Your update starts from the line of task 1. Start from my_a and my_b.", own)
    fail(DOWNHILL, own)


# Functions -------------------------------------------------------------------------------------

# The second set has a residual of zero, the last a falling line.
HIDDEN_INPUTS = [
    (0.5, 100.0, 40.0, 131.0),
    (1.0, 100.0, 31.0, 131.0),
    (2.25, 20.0, 18.0, 205.0),
    (-2.0, 250.0, 75.0, 90.0),
]
SENTENCES = {"ds_dr": SQUARE, "grad_b": PATH_TO_B, "grad_a": PATH_TO_A}


@check("backprop", points=3, title="backprop(a, b, x, y) for any woman")
def test_backprop(student):
    # 1e-9, because the notebook asks for float64.
    for a, b, x, y in HIDDEN_INPUTS:
        answer = student.call("backprop", a, b, x, y)
        woman_15 = reference.backprop(a, b, 58.0, 153.0)
        for key, expected in reference.backprop(a, b, x, y).items():
            mistakes = [(-expected, ARROWS)] if key == "r" else []
            mistakes.append((woman_15[key], f"Your '{key}' is that of woman 15. Use x and y."))
            answer[key].number().matches(
                expected,
                rel=1e-9,
                abs=1e-9,
                mistakes=mistakes,
                otherwise=SENTENCES.get(
                    key,
                    f"Your '{key}' is not right for this woman. Does backprop give your numbers of "
                    "tasks 1 to 5 for woman 15 and for your own patient?",
                ),
            )


def try_numeric_gradient(numeric_gradient):
    """Run the student's function on three functions that it has not seen."""
    import numpy as np

    def parabola(a, b):
        return (a * 37.0 + b - 120.0) ** 2

    def cubic(a, b):
        return a**3 - 2.0 * a * b + b

    def plane(a, b):
        return 4.0 * a - 0.25 * b

    points = [(parabola, 0.5, 90.0), (cubic, 2.0, -1.0), (plane, -3.0, 8.0)]
    return [np.ravel(numeric_gradient(f, a, b)).tolist() for f, a, b in points]


@check("numeric", points=2, title="numeric_gradient for functions you have not seen")
def test_numeric_gradient(student):
    right = np.array(
        [[2 * 37 * (18.5 + 90 - 120), 2 * (18.5 + 90 - 120)], [3 * 4 + 2, -2 * 2 + 1], [4.0, -0.25]]
    )
    both = right.sum(axis=1, keepdims=True)
    distance = "How far apart are your two points?"
    answer = student.probe(try_numeric_gradient, "numeric_gradient")
    if any(np.size(pair) != 2 for pair in answer.value):
        fail("numeric_gradient should return two numbers.", own=str(answer.value[0])[:200])
    # 1e-3, because a one-sided difference is off by about 2e-5; halves and doubles are far away.
    answer.array((3, 2)).matches(
        right,
        rel=1e-3,
        abs=1e-3,
        mistakes=[
            (right * 2, distance),
            (right / 2, distance),
            (right[:, ::-1], "Return the pair in the order (a, b)."),
            (-right, "Which of the two function values do you subtract from the other?"),
            (both.repeat(2, axis=1), "Change one parameter at a time, and leave the other alone."),
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
        for line in (*picture.lines, *picture.segments):
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
    own_line = given(student, "a_1"), given(student, "b_1")  # judged in task 4
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
