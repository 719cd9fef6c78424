"""Pictures that students draw, read from their axes and compared with the expected one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbmark import Expr, Student, fail

Array = NDArray[np.float64]


def drawn_in(axes: Any) -> dict[str, Any]:
    """Return points, lines, segments, bars, contours, scales and labels of an axes as plain lists.

    nbmark sends the source of this probe to the student's process, so it imports what it needs.
    """
    import numpy as np
    from matplotlib.collections import LineCollection, PathCollection
    from matplotlib.contour import ContourSet

    groups, segments, lines, contours = [], [], [], 0
    for artist in [*axes.collections, *axes.images]:
        if isinstance(artist, ContourSet):
            contours += 1
        elif isinstance(artist, LineCollection):
            segments += [np.asarray(part, float).tolist() for part in artist.get_segments()]
        elif isinstance(artist, PathCollection):
            groups.append(np.asarray(artist.get_offsets(), float).tolist())
    for line in axes.lines:
        path = np.column_stack(
            [np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)]
        )
        # A line with markers counts twice: students may draw points with plot(x, y, "o").
        if line.get_marker() not in ("None", "none", "", " ", None):
            groups.append(path.tolist())
        if line.get_linestyle() not in ("None", "none", "", " "):
            lines.append(path.tolist())
    return {
        "groups": groups,
        "segments": segments,
        "lines": lines,
        "contours": contours,
        "bars": [
            [float(patch.get_width()), float(patch.get_height())]
            for patch in axes.patches
            if hasattr(patch, "get_height")
        ],
        "labels": [axes.get_xlabel(), axes.get_ylabel()],
        "scales": [axes.get_xscale(), axes.get_yscale()],
    }


class Picture:
    """The contents of a student's axes.

    Attributes
    ----------
    groups
        The markers that one call drew, shape (n, 2), for each call.
    points
        All markers of all groups, shape (n, 2).
    lines
        The corners of each line, shape (n, 2).
    segments
        The two ends of each segment that ``vlines`` or ``hlines`` drew.
    """

    def __init__(self, student: Student, axes: str | Expr, name: str = "") -> None:
        self.name = name or str(axes)
        contents = student.probe(drawn_in, axes).value
        self.groups = [_pairs(group) for group in contents["groups"]]
        self.points = np.concatenate([np.empty((0, 2)), *self.groups])
        self.lines = [_pairs(line) for line in contents["lines"]]
        self.segments = [_pairs(segment) for segment in contents["segments"]]
        self.bars: list[list[float]] = contents["bars"]  # width and height of each
        self.contours: int = contents["contours"]
        self.labels: list[str] = contents["labels"]
        self.scales: list[str] = contents["scales"]

    def must_have_labels(self) -> None:
        """Fail unless both axes have a label."""
        # Labels come from the student's process, so they may be of any type.
        if not all(isinstance(label, str) and label.strip() for label in self.labels):
            fail(f"Label both axes of {self.name} with the quantity and its unit.")

    def has_curve(self, values: Array, rel: float = 1e-3, abs: float = 1e-6) -> bool:
        """Return whether some line has exactly these heights in this order, at any x."""
        return any(
            len(line) == len(values) and close(line[:, 1], values, rel, abs) for line in self.lines
        )

    def has_path(self, path: Array, rel: float = 1e-3, abs: float = 1e-6) -> bool:
        """Return whether a line joins the points of `path` in this order, or markers show all."""
        points = np.asarray(path)
        if any(line.shape == points.shape and close(line, points, rel, abs) for line in self.lines):
            return True
        return len(points) > 0 and all(self.has_point(point, rel, abs) for point in points)

    def has_point(self, point: Iterable[float], rel: float = 1e-3, abs: float = 1e-6) -> bool:
        """Return whether a marker stands at `point`."""
        near = np.isclose(self.points, np.asarray(point), rtol=rel, atol=abs)
        return bool(near.all(axis=1).any())

    def marks(self, point: Iterable[float]) -> bool:
        """Return whether a marker at `point` was drawn on its own, so that it stands out."""
        return any(
            len(group) == 1 and close(group[0], np.asarray(point), 1e-3, 1e-6)
            for group in self.groups
        )

    def has_function(
        self, height: Any, start: float, end: float, rel: float = 1e-3, points: int = 2
    ) -> bool:
        """Return whether a line follows ``height(x)`` all the way from `start` to `end`."""
        for line in self.lines:
            x, y = line.T
            covers = len(x) >= points and x.min() <= start and x.max() >= end
            # The absolute tolerance is a share of the range, because a curve may cross zero.
            if covers and close(y, height(x), rel, rel * float(np.ptp(height(x)))):
                return True
        return False


def close(actual: Array, expected: Array, rel: float, abs: float) -> bool:
    """Return whether two arrays agree, with gaps (nan) and infinities in the same places."""
    # A diverging walk ends with infinite losses, and NumPy must not warn about them.
    with np.errstate(all="ignore"):
        return bool(np.isclose(actual, expected, rtol=rel, atol=abs, equal_nan=True).all())


def _pairs(values: Any) -> Array:
    return np.array(values, dtype=np.float64).reshape(-1, 2)
