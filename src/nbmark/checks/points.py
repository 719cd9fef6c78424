"""From the results of checks to the points of grade cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nbmark.errors import InfrastructureError
from nbmark.models import CellScore, Check, CheckResult, Graded


def scores(graded: Graded, cells: Mapping[str, float]) -> dict[str, CellScore]:
    """Grade id → score, for every autograded cell.

    Raises
    ------
    InfrastructureError
        If a cell has no result: silence is never read as points, nor as their loss.
    """
    found = {}
    look = bool(graded.unreadable)
    doubtful = graded.doubts.keys()
    for grade_id, possible in cells.items():
        results = graded.results_at(grade_id)
        if not results:
            raise InfrastructureError(
                f"no check of cell '{grade_id}' ran on the submission of '{graded.student}'"
            )
        raised = any(one.outcome == "raised" for one in results)
        found[grade_id] = CellScore(
            earned_by(results), possible, raised or look or grade_id in doubtful
        )
    return found


def earned_by(results: Iterable[CheckResult]) -> float:
    """Points earned by some checks together."""
    return round(sum(one.earned for one in results), 9)


def misfits(checks: Iterable[Check], cells: Mapping[str, float], where: str) -> list[str]:
    """One line for each way in which checks and autograded cells do not fit together."""
    lines = []
    worth: dict[str, float] = {}
    names: set[str] = set()
    for check in checks:
        if check.name in names:
            lines.append(f"{where}: two checks are called {check.name}; give each its own name")
        names.add(check.name)
        if check.points <= 0:
            lines.append(f"{where}: {check.name} is worth {check.points:g} points; use more than 0")
        if check.cell not in cells:
            known = ", ".join(sorted(cells)) or "none"
            lines.append(
                f"{where}: {check.name} names the grade cell '{check.cell}', which is no "
                f"autograded cell of the source (found: {known})"
            )
        worth[check.cell] = round(worth.get(check.cell, 0.0) + check.points, 9)
    for cell, points in cells.items():
        if cell not in worth:
            lines.append(f"{where}: no check stands at the grade cell '{cell}' ({points:g} points)")
        elif worth[cell] != points:
            lines.append(
                f"{where}: the checks at '{cell}' add up to {worth[cell]:g} points, but "
                f"the cell is worth {points:g}"
            )
    return lines
