"""The chapter's mathematics in NumPy float64, the reference for every hidden check.

The model is ``y = a*x + b`` with the slope `a` in mmHg per year and the intercept `b` in mmHg.
"""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# 33 healthy women: age in years, systolic blood pressure in mmHg.
# The formatter would put each number on its own line.
# fmt: off
AGE: Array = np.array(
    [22, 41, 52, 23, 41, 54, 24, 46, 56, 27, 47, 57, 28, 48, 58, 9, 49, 59, 30, 49, 63, 32, 50, 67,
     33, 51, 71, 35, 51, 77, 40, 51, 81], dtype=np.float64)
SBP: Array = np.array(
    [131, 139, 128, 128, 171, 105, 116, 137, 145, 106, 111, 141, 114, 115, 153, 123, 133, 157, 117,
     128, 155, 122, 183, 176, 99, 130, 172, 121, 133, 178, 147, 144, 217], dtype=np.float64)
# fmt: on


def predict(a: float, b: float, x: Array = AGE) -> Array:
    """Return the line's values at the ages `x`, in mmHg."""
    return a * x + b


def residuals(a: float, b: float, rows: int | None = None) -> Array:
    """Return observed minus predicted, in mmHg, for the first `rows` women or all (figure 3.3)."""
    return SBP[:rows] - predict(a, b, AGE[:rows])


def rss(a: float, b: float, rows: int | None = None) -> float:
    """Return the sum of squared residuals, in mmHg² (section 3.1.1)."""
    return float(np.sum(residuals(a, b, rows) ** 2))


def mse(a: float, b: float, rows: int | None = None) -> float:
    """Return the mean of the squared residuals, in mmHg² (equation 3.1)."""
    return float(np.mean(residuals(a, b, rows) ** 2))


def closed_form(x: Array, y: Array) -> tuple[float, float]:
    """Return slope and intercept of the line with the smallest MSE; `x` must not be constant."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    a = float(np.sum((x - x.mean()) * (y - y.mean())) / np.sum((x - x.mean()) ** 2))
    return a, float(y.mean() - a * x.mean())


def normal_equations(x: Array = AGE, y: Array = SBP) -> tuple[Array, Array]:
    """Return matrix (2, 2) and right-hand side (2,) of the equations for (a, b), as sums."""
    matrix = np.array([[np.sum(x * x), np.sum(x)], [np.sum(x), len(x)]], dtype=np.float64)
    return matrix, np.array([np.sum(x * y), np.sum(y)], dtype=np.float64)


# One parameter (section 3.2.1) -----------------------------------------------------------------

FIXED_B = 87.6  # mmHg: the intercept that section 3.2.1 takes as known


def gradient(a: float, b: float, x: Array = AGE, y: Array = SBP) -> tuple[float, float]:
    """Return the MSE's partial derivatives for a and b (the formulas above equation 3.3)."""
    error = a * x + b - y
    return float(2 * np.mean(error * x)), float(2 * np.mean(error))


def loss_1d(a: float, b: float = FIXED_B) -> float:
    """Return the MSE as a function of the slope alone (figure 3.4)."""
    return mse(a, b)


def slope_1d(a: float, b: float = FIXED_B) -> float:
    """Return the derivative of `loss_1d`, in mmHg² per (mmHg per year)."""
    return gradient(a, b)[0]


def curvature_1d(x: Array = AGE) -> float:
    """Return the second derivative of `loss_1d`, which is the same everywhere."""
    return float(2 * np.mean(x**2))


def best_a_1d(b: float = FIXED_B) -> float:
    """Return the slope at which `loss_1d` is smallest."""
    return float(np.mean((SBP - b) * AGE) / np.mean(AGE**2))


def descend_1d(a0: float, eta: float, steps: int, b: float = FIXED_B) -> Array:
    """Return the slopes of step 0 to `steps` (equation 3.2), shape (steps + 1,)."""
    history = [a0]
    # A diverging walk overflows to inf and nan, about which NumPy must not warn.
    with np.errstate(all="ignore"):
        for _ in range(steps):
            history.append(float(np.float64(history[-1]) - eta * slope_1d(history[-1], b)))
    return np.array(history)


def steps_needed_1d(eta: float, a0: float = 0.5, max_steps: int = 10_000) -> int | None:
    """Return the first of `max_steps` steps within 0.001 of the smallest `loss_1d`, or None."""
    smallest, a = loss_1d(best_a_1d()), a0
    for step in range(max_steps + 1):
        if loss_1d(a) - smallest <= 0.001:
            return step
        # The best slope is near 1, so a walk that gets this far has diverged (or is nan).
        if not abs(a) < 1e6:
            return None
        a -= eta * slope_1d(a)
    return None


# Two parameters (section 3.2.2) ----------------------------------------------------------------


def bowl_data() -> tuple[Array, Array]:
    """Return the simulated data of figure 3.7: 50 points around y = x + 1."""
    # The legacy generator, as in the notebook: NumPy guarantees that its stream never changes.
    state = np.random.RandomState(42)
    x = state.normal(0, 1, 50)
    return x, x + 1 + state.normal(0, 1, 50)


def loss_of(a: float, b: float, x: Array, y: Array) -> float:
    """Return the MSE of a line on any data."""
    return float(np.mean((y - (a * x + b)) ** 2))


def descend(a0: float, b0: float, eta: float, steps: int, x: Array = AGE, y: Array = SBP) -> Array:
    """Return (a, b) of step 0 to `steps` (equation 3.3), shape (steps + 1, 2).

    The gradient needs only four means of the data, so 80 000 steps take a fraction of a second.
    """
    xx, xy, mx, my = (float(np.mean(values)) for values in (x * x, x * y, x, y))
    path = np.empty((steps + 1, 2))
    path[0] = a, b = a0, b0
    for step in range(1, steps + 1):
        grad_a, grad_b = 2 * (a * xx + b * mx - xy), 2 * (a * mx + b - my)
        a, b = a - eta * grad_a, b - eta * grad_b
        path[step] = a, b
    return path


def first_within(losses: Array, smallest: float, distance: float = 0.001) -> int:
    """Return the first index whose loss is at most `distance` above the smallest, or -1."""
    near = np.flatnonzero(np.asarray(losses) - smallest <= distance)
    return int(near[0]) if len(near) else -1


def losses_along(path: Array, x: Array = AGE, y: Array = SBP) -> Array:
    """Return the MSE at each row (a, b) of a path, computed from five means of the data."""
    a, b = path[:, 0], path[:, 1]
    return (
        np.mean(y**2)
        + a**2 * np.mean(x**2)
        + b**2
        - 2 * a * np.mean(x * y)
        - 2 * b * np.mean(y)
        + 2 * a * b * np.mean(x)
    )


def hessian(x: Array = AGE) -> Array:
    """Return the MSE's second derivatives in the order (a, b), shape (2, 2), for any y."""
    return 2 * np.array([[np.mean(x * x), np.mean(x)], [np.mean(x), 1.0]])


def standardised(x: Array = AGE) -> Array:
    """Return ``(x - mean) / std`` with the population's standard deviation."""
    return (x - x.mean()) / x.std()


# Batches and optimisers (sections 3.3.1 and 3.3.2) ---------------------------------------------


def sgd(batch_size: int, eta: float, epochs: int, seed: int, x: Array | None = None) -> Array:
    """Return (a, b) before and after each update on standardised age, from (0, 139).

    Each epoch draws an order with ``permutation`` of one ``RandomState(seed)`` and takes
    consecutive slices of it. The last slice may be shorter. The shape is (updates + 1, 2).
    """
    x = standardised() if x is None else x
    state, line, path = np.random.RandomState(seed), (0.0, 139.0), [(0.0, 139.0)]
    for _ in range(epochs):
        order = state.permutation(len(x))
        for start in range(0, len(x), batch_size):
            rows = order[start : start + batch_size]
            grad_a, grad_b = gradient(*line, x[rows], SBP[rows])
            line = line[0] - eta * grad_a, line[1] - eta * grad_b
            path.append(line)
    return np.array(path)


def momentum_step(p: Array, g: Array, v: Array, mu: float, eta: float) -> tuple[Array, Array]:
    """Return parameters and velocity of the heavy ball (Sutskever et al. 2013, not Nesterov's)."""
    v = mu * v - eta * g
    return p + v, v


def adam_step(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    t: int,
    eta: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
) -> tuple[Array, Array, Array]:
    """Return parameters and both averages of Adam (Kingma and Ba 2015, algorithm 1), t from 1."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    return p - eta * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


def rmsprop_step(
    p: Array, g: Array, s: Array, eta: float, rho: float = 0.9, eps: float = 1e-7
) -> tuple[Array, Array]:
    """Return parameters and the average of squares of RMSProp (Tieleman and Hinton 2012)."""
    s = rho * s + (1 - rho) * g**2
    return p - eta * g / (np.sqrt(s) + eps), s


def momentum_path(mu: float, eta: float, steps: int) -> Array:
    """Return (a, b) of the heavy ball on the blood pressure from (0, 139), shape (steps + 1, 2)."""
    p, v, path = np.array([0.0, 139.0]), np.zeros(2), [np.array([0.0, 139.0])]
    for _ in range(steps):
        p, v = momentum_step(p, np.array(gradient(*p)), v, mu, eta)
        path.append(p)
    return np.array(path)


def adam_path(eta: float, steps: int, eps: float = 1e-8) -> Array:
    """Return (a, b) of Adam on the blood pressure from (0, 139), shape (steps + 1, 2)."""
    p, path = np.array([0.0, 139.0]), [np.array([0.0, 139.0])]
    m, v = np.zeros(2), np.zeros(2)
    for t in range(1, steps + 1):
        p, m, v = adam_step(p, np.array(gradient(*p)), m, v, t, eta, eps=eps)
        path.append(p)
    return np.array(path)


def rmsprop_path(eta: float, steps: int) -> Array:
    """Return (a, b) of RMSProp on the blood pressure from (0, 139), shape (steps + 1, 2)."""
    p, s, path = np.array([0.0, 139.0]), np.zeros(2), [np.array([0.0, 139.0])]
    for _ in range(steps):
        p, s = rmsprop_step(p, np.array(gradient(*p)), s, eta)
        path.append(p)
    return np.array(path)


# Backpropagation (section 3.4.1, figures 3.12 and 3.13) ----------------------------------------


def backprop(a: float, b: float, x: float, y: float) -> dict[str, float]:
    """Return all values and gradients for one woman; the residual is predicted minus observed."""
    ax = a * x
    abx = ax + b
    r = abx - y
    s = r**2
    return {
        "ax": ax,
        "abx": abx,
        "r": r,
        "s": s,
        "mse": s,
        "dmse_ds": 1.0,
        "ds_dr": 2 * r,
        "dr_dabx": 1.0,
        "dabx_db": 1.0,
        "dabx_dax": 1.0,
        "dax_da": x,
        "grad_b": 2 * r,
        "grad_a": 2 * r * x,
    }


def patient(student: str) -> tuple[int, int, float, int]:
    """Return age, pressure, slope and intercept of a student's own patient in `local-gradients`.

    The numbers come from the SHA-256 of course, assignment, id and number of the attempt. Attempts
    go on until the residual is between 3 and 60 mmHg, because then every listed mistake differs
    from the answer. `personal.py` beside the notebook draws the same patient. No check trusts that
    file, because it runs in the student's process.
    """
    for attempt in itertools.count():
        text = "\0".join(["curve-fitting", "local-gradients", student, str(attempt)])
        digest = hashlib.sha256(text.encode()).digest()
        first, second, third, fourth = (
            int.from_bytes(digest[start : start + 8], "big") for start in (0, 8, 16, 24)
        )
        age, sbp = 20 + first % 61, 95 + second % 101
        a, b = (1 + third % 15) / 10, 80 + fourth % 71
        if 3 <= abs(a * age + b - sbp) <= 60:
            return age, sbp, a, b
    raise AssertionError("never reached")


# Automatic differentiation (section 3.3.3) -----------------------------------------------------


def program_gradient(program: list[list[Any]], inputs: list[float]) -> tuple[float, list[float]]:
    """Return value and gradient of a small program, in forward mode: numbers carry derivatives.

    A step is ``[operation, i, j]``; i and j are places in the list of all numbers so far, inputs
    first. Operations are ``add``, ``sub``, ``mul`` and ``square``. The step ``["const", c]``
    appends a constant.
    """
    numbers = [(value, np.eye(len(inputs))[i]) for i, value in enumerate(inputs)]
    for operation, *rest in program:
        if operation == "const":
            numbers.append((rest[0], np.zeros(len(inputs))))
            continue
        (u, du), (v, dv) = numbers[rest[0]], numbers[rest[-1]]
        numbers.append(
            {
                "add": (u + v, du + dv),
                "sub": (u - v, du - dv),
                "mul": (u * v, u * dv + v * du),
                "square": (u * u, 2 * u * du),
            }[operation]
        )
    value, gradient_of_all = numbers[-1]
    return float(value), [float(slope) for slope in gradient_of_all]
