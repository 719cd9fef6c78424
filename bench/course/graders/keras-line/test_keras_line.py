"""A line fitted with Keras, which trains so briefly that a benchmark measures the grading."""

import numpy as np

from nbmark import check, fail, name
from plots import Picture

AGE = np.array([22, 41, 52, 23, 41, 54, 24, 46, 56, 27, 47], dtype=float)
SBP = np.array([131, 139, 128, 128, 171, 105, 116, 137, 145, 106, 111], dtype=float)
START = (0.0, 120.0)
RATE = 0.0004


def mse(a, b):
    """Return the mean squared error of a line on the eleven women."""
    return np.mean((a * AGE + b - SBP) ** 2)


def after_one_update():
    """Return slope and intercept after one update with the gradient of the MSE."""
    r = START[0] * AGE + START[1] - SBP
    return START[0] - RATE * 2 * np.mean(r * AGE), START[1] - RATE * 2 * np.mean(r)


@check("model", points=1, title="The model is a line")
def test_model(student):
    if len(student.ask(name("model").get_weights())) != 2:
        fail("The model should have one slope and one intercept.")


@check("model", points=1, title="The loss at the start")
def test_start(student):
    student.number("mse_start").matches(
        mse(*START), rel=1e-4, mistakes=[(np.sqrt(mse(*START)), "This is the root of the MSE.")]
    )


@check("update", points=2, title="One update")
def test_update(student):
    student.array("weights_1", (2,)).matches(after_one_update(), rel=1e-5)


@check("predict", points=1, title="The prediction")
def test_predict(student):
    a, b = after_one_update()
    student.number("sbp_31").matches(31 * a + b, rel=1e-5)


@check("picture", points=1, title="The picture")
def test_picture(student):
    if len(Picture(student, "ax_line").lines) != 1:
        fail("The picture should show exactly one line.")
