"""Pictures that students draw, read from their axes and compared with the expected one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbmark import Expr, Student, close, fail

Array = NDArray[np.float64]
# Each marker of a path is looked for among all markers. A longer path is found only if one call
# drew it, because Matplotlib would need minutes for so many calls.
MAX_SINGLE_MARKERS = 10_000
MARKERS_IN_A_ROW = 10  # fewer could be single points that happen to lie on a line


def drawn_in(axes: Any) -> dict[str, Any]:
    """Return points, lines, segments, bars, contours, scales and labels of an axes.

    nbmark sends the source of this probe to the student's process, so it imports what it needs.
    Coordinates leave as arrays, because a walk may have a hundred thousand steps.
    """
    import numpy as np
    from matplotlib.collections import LineCollection, PathCollection
    from matplotlib.contour import ContourSet

    def pairs(values: Any) -> Any:
        # Gaps may be masked. Matplotlib has turned dates and names into numbers already.
        return np.ma.filled(np.ma.asarray(values, dtype=float), np.nan).reshape(-1, 2)

    def corners(line: Any) -> Any:
        # axline and axhline have corners of their own kind until Matplotlib draws them.
        own, data = line.get_transform(), axes.transData
        path = line.get_xydata()
        return path if own == data else (own + data.inverted()).transform(path)

    nothing = ("None", "none", "", " ", None)
    groups, segments, contours = [], [], 0
    for artist in [*axes.collections, *axes.images]:
        if isinstance(artist, ContourSet):
            contours += 1
        elif isinstance(artist, LineCollection):
            segments += [pairs(part) for part in artist.get_segments()]
        elif isinstance(artist, PathCollection):
            groups.append(pairs(artist.get_offsets()))
    lines = [
        {
            "path": pairs(corners(line)),
            "has_line": line.get_linestyle() not in nothing,
            "has_markers": line.get_marker() not in nothing,
        }
        for line in axes.lines
    ]
    bars = [
        (float(patch.get_width()), float(patch.get_height()))
        for patch in axes.patches
        if hasattr(patch, "get_height")
    ]
    return {
        "groups": groups,
        "segments": segments,
        "lines": lines,
        "contours": contours,
        "bars": pairs(bars),
        "labels": [axes.get_xlabel(), axes.get_ylabel()],
        "scales": [axes.get_xscale(), axes.get_yscale()],
    }


class Picture:
    """The contents of a student's axes.

    Its methods take numbers of any shape and kind, such as a student's own values, and never raise.

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
    bars
        Width and height of each bar, shape (n, 2).
    contours
        The number of contour plots.
    labels, scales
        Of the horizontal and the vertical axis.
    """

    def __init__(self, student: Student, axes: str | Expr, name: str = "") -> None:
        self.name = name or str(axes)
        contents = student.probe(drawn_in, axes).value
        # The contents come from the student's process, which may send anything.
        try:
            lines = [(_pairs(line["path"]), line) for line in contents["lines"]]
            self.lines = [path for path, line in lines if line["has_line"]]
            # A line with markers counts twice: students may draw points with plot(x, y, "o").
            self.groups = [_pairs(group) for group in contents["groups"]]
            self.groups += [path for path, line in lines if line["has_markers"]]
            self.points = np.concatenate([np.empty((0, 2)), *self.groups])
            self.segments = [_pairs(segment) for segment in contents["segments"]]
            self.bars = _pairs(contents["bars"])
            self.contours = int(contents["contours"])
            self.labels = _two_texts(contents["labels"])
            self.scales = _two_texts(contents["scales"])
        except (LookupError, TypeError, ValueError):
            fail(f"{self.name} could not be read as a picture.")

    def must_have_labels(self) -> None:
        """Fail unless both axes have a label."""
        if not all(label.strip() for label in self.labels):
            fail(f"Label both axes of {self.name} with the quantity and its unit.")

    def has_curve(self, values: Any, rel: float = 1e-3, abs: float = 1e-6) -> bool:
        """Return whether a line or markers begin with these heights in this order, at any x."""
        heights = _numbers(values)
        if heights is None or not heights.size:
            return False
        return any(
            close(curve[: heights.size, 1], heights, rel=rel, abs=abs)
            for curve in (*self.lines, *self.groups)
        )

    def has_path(self, path: Any, rel: float = 1e-3, abs: float = 1e-6) -> bool:
        """Return whether a line joins the points of `path` in this order, or markers show all."""
        if any(close(drawn, path, rel=rel, abs=abs) for drawn in (*self.lines, *self.groups)):
            return True
        points = _numbers(path)
        if points is None or points.ndim != 2 or not 0 < len(points) <= MAX_SINGLE_MARKERS:
            return False
        return all(self.has_point(point, rel, abs) for point in points)

    def has_point(self, point: Any, rel: float = 1e-3, abs: float = 1e-6) -> bool:
        """Return whether a marker stands at `point`."""
        place = _numbers(point)
        if place is None or place.shape != (2,):
            return False
        with np.errstate(all="ignore"):
            near = np.isclose(self.points, place, rtol=rel, atol=abs)
        return bool(near.all(axis=1).any())

    def marks(self, point: Any) -> bool:
        """Return whether a marker at `point` was drawn on its own, so that it stands out."""
        return any(
            len(group) == 1 and close(group[0], point, rel=1e-3, abs=1e-6) for group in self.groups
        )

    def has_function(
        self, height: Any, start: float, end: float, rel: float = 1e-3, points: int = 2
    ) -> bool:
        """Return whether a line follows ``height(x)`` all the way from `start` to `end`.

        Markers show it as well, if there are enough of them in a row.
        """
        rows = [group for group in self.groups if len(group) >= MARKERS_IN_A_ROW]
        for line in (*self.lines, *rows):
            x, y = line.T
            if len(x) < max(points, 1) or not (x.min() <= start and x.max() >= end):
                continue
            expected = _numbers(height(x))
            if expected is None or expected.size == 0:
                continue
            # The absolute tolerance is a share of the range, because a curve may cross zero.
            with np.errstate(all="ignore"):
                span = float(np.ptp(expected))
            if close(y, expected, rel=rel, abs=rel * span):
                return True
        return False


def _numbers(values: Any) -> Array | None:
    """Return the values as float64, or None if they are not numbers of one shape."""
    try:
        array = np.asarray(values)
        # NumPy would drop the imaginary part of complex numbers with a warning only.
        return None if array.dtype.kind == "c" else array.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        return None


def _two_texts(values: Any) -> list[str]:
    """Return two texts from the student's process; raise ValueError if they are none."""
    first, second = values
    if not isinstance(first, str) or not isinstance(second, str):
        raise ValueError(values)
    return [first, second]


def _pairs(values: Any) -> Array:
    """Return coordinates from the student's process; raise ValueError if they are none."""
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f" or values.ndim != 2:
        raise ValueError(values)
    if values.shape[1] != 2:
        raise ValueError(values.shape)
    return values.astype(np.float64)
