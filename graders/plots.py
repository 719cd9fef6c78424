"""What is drawn in an axes, seen through the proxy, and judged in words that help."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbmark import Expr, Student, fail

Array = NDArray[np.float64]


def drawn_in(axes: Any) -> dict[str, Any]:
    """Points, lines, strokes, bars, contours, scales and labels of an axes as plain lists."""
    import numpy as np
    from matplotlib.collections import LineCollection, PathCollection
    from matplotlib.contour import ContourSet

    groups, strokes, lines, contours = [], [], [], 0
    for one in [*axes.collections, *axes.images]:
        if isinstance(one, ContourSet):
            contours += 1
        elif isinstance(one, LineCollection):
            strokes += [np.asarray(part, float).tolist() for part in one.get_segments()]
        elif isinstance(one, PathCollection):
            groups.append(np.asarray(one.get_offsets(), float).tolist())
    for one in axes.lines:
        path = np.column_stack(
            [np.asarray(one.get_xdata(), float), np.asarray(one.get_ydata(), float)]
        )
        if one.get_marker() not in ("None", "none", "", " ", None):
            groups.append(path.tolist())
        if one.get_linestyle() not in ("None", "none", "", " "):
            lines.append(path.tolist())
    return {
        "groups": groups,
        "strokes": strokes,
        "lines": lines,
        "contours": contours,
        "bars": [
            [float(one.get_width()), float(one.get_height())]
            for one in axes.patches
            if hasattr(one, "get_height")
        ],
        "labels": [axes.get_xlabel(), axes.get_ylabel()],
        "scales": [axes.get_xscale(), axes.get_yscale()],
    }


class Picture:
    """What a student's axes shows.

    Attributes
    ----------
    groups, points
        Markers that were drawn together, each of shape (n, 2), and all of them.
    lines
        Each drawn line, shape (n, 2); strokes of ``vlines`` and ``hlines`` are in `strokes`.
    """

    def __init__(self, student: Student, axes: str | Expr, name: str = "") -> None:
        self.name = name or str(axes)
        seen = student.probe(drawn_in, axes).value
        self.groups = [_pairs(one) for one in seen["groups"]]
        self.points = np.concatenate([np.empty((0, 2)), *self.groups])
        self.lines = [_pairs(one) for one in seen["lines"]]
        self.strokes = [_pairs(one) for one in seen["strokes"]]
        self.bars: list[list[float]] = seen["bars"]  # width and height of each
        self.contours: int = seen["contours"]
        self.labels: list[str] = seen["labels"]
        self.scales: list[str] = seen["scales"]

    def must_have_labels(self) -> None:
        """Fail unless both axes say what they show."""
        if not all(isinstance(one, str) and one.strip() for one in self.labels):
            fail(f"Label both axes of {self.name} with what they show and its unit.")

    def has_curve(self, values: Array, rel: float = 1e-3, abs: float = 1e-6) -> bool:
        """Whether some line has exactly these heights, in this order, whatever stands below."""
        return any(
            len(line) == len(values) and close(line[:, 1], values, rel, abs) for line in self.lines
        )

    def has_path(self, path: Array, rel: float = 1e-3, abs: float = 1e-6) -> bool:
        """Whether the points of `path` are joined by a line in this order, or all marked."""
        wanted = np.asarray(path)
        if any(line.shape == wanted.shape and close(line, wanted, rel, abs) for line in self.lines):
            return True
        return len(wanted) > 0 and all(self.has_point(one, rel, abs) for one in wanted)

    def has_point(self, point: Iterable[float], rel: float = 1e-3, abs: float = 1e-6) -> bool:
        """Whether a marker stands there."""
        near = np.isclose(self.points, np.asarray(point), rtol=rel, atol=abs)
        return bool(near.all(axis=1).any())

    def marks(self, point: Iterable[float]) -> bool:
        """Whether a marker stands there that was drawn for itself."""
        return any(
            len(one) == 1 and close(one[0], np.asarray(point), 1e-3, 1e-6) for one in self.groups
        )

    def has_function(
        self, height: Any, left: float, right: float, rel: float = 1e-3, points: int = 2
    ) -> bool:
        """Whether a line follows ``height(x)`` all the way between `left` and `right`."""
        for line in self.lines:
            x, y = line.T
            covers = len(x) >= points and x.min() <= left and x.max() >= right
            if covers and close(y, height(x), rel, rel * float(np.ptp(height(x)))):
                return True
        return False


def close(left: Array, right: Array, rel: float, abs: float) -> bool:
    """Whether two arrays agree; gaps (nan) and infinities must stand in the same places."""
    with np.errstate(all="ignore"):
        return bool(np.isclose(left, right, rtol=rel, atol=abs, equal_nan=True).all())


def _pairs(values: Any) -> Array:
    return np.array(values, dtype=np.float64).reshape(-1, 2)
