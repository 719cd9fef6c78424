"""The chapter's mathematics, once, in NumPy float64: what every hidden check compares with.

The model is ``y = a*x + b`` with the slope `a` in mmHg per year and the intercept `b` in mmHg.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# 33 healthy women: age in years, systolic blood pressure in mmHg.
# fmt: off
AGE: Array = np.array(
    [22, 41, 52, 23, 41, 54, 24, 46, 56, 27, 47, 57, 28, 48, 58, 9, 49, 59, 30, 49, 63, 32, 50, 67,
     33, 51, 71, 35, 51, 77, 40, 51, 81], dtype=np.float64)
SBP: Array = np.array(
    [131, 139, 128, 128, 171, 105, 116, 137, 145, 106, 111, 141, 114, 115, 153, 123, 133, 157, 117,
     128, 155, 122, 183, 176, 99, 130, 172, 121, 133, 178, 147, 144, 217], dtype=np.float64)
# fmt: on


def predict(a: float, b: float, x: Array = AGE) -> Array:
    """The line's values at the ages `x`, in mmHg."""
    return a * x + b


def residuals(a: float, b: float, rows: int | None = None) -> Array:
    """Observed minus predicted for the first `rows` women (None: all), in mmHg (figure 3.3)."""
    return SBP[:rows] - predict(a, b, AGE[:rows])


def rss(a: float, b: float, rows: int | None = None) -> float:
    """The sum of squared residuals, in mmHg² (section 3.1.1)."""
    return float(np.sum(residuals(a, b, rows) ** 2))


def mse(a: float, b: float, rows: int | None = None) -> float:
    """The mean of the squared residuals, in mmHg² (equation 3.1)."""
    return float(np.mean(residuals(a, b, rows) ** 2))


def closed_form(x: Array, y: Array) -> tuple[float, float]:
    """Slope and intercept of the line with the smallest MSE; `x` must not be constant."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    a = float(np.sum((x - x.mean()) * (y - y.mean())) / np.sum((x - x.mean()) ** 2))
    return a, float(y.mean() - a * x.mean())


def normal_equations(x: Array = AGE, y: Array = SBP) -> tuple[Array, Array]:
    """Matrix (2, 2) and right-hand side (2,) of the equations for (a, b), as sums."""
    matrix = np.array([[np.sum(x * x), np.sum(x)], [np.sum(x), len(x)]], dtype=np.float64)
    return matrix, np.array([np.sum(x * y), np.sum(y)], dtype=np.float64)
