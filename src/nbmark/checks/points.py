"""The points of grade cells, added up from the results of checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nbmark.errors import InfrastructureError
from nbmark.models import CellScore, Check, CheckResult, Graded


def scores(graded: Graded, cells: Mapping[str, float]) -> dict[str, CellScore]:
    """Return the score of every autograded cell that counts for the student, by grade id.

    Parameters
    ----------
    cells
        Grade id → points of each autograded cell.

    Raises
    ------
    InfrastructureError
        If no check ran for a cell. A missing result is an error of ours, not zero points.
    """
    score_of = {}
    doubtful = graded.doubts.keys()
    for grade_id, possible in cells.items():
        if grade_id in graded.added_later:
            continue
        results = graded.results_at(grade_id)
        if not results:
            raise InfrastructureError(
                f"no check of cell '{grade_id}' ran on the submission of '{graded.student}'"
            )
        raised = any(result.outcome == "raised" for result in results)
        earned = earned_by(results)
        # The clock stopped it twice, the second time with the machine to itself. Still, wall time
        # alone must not take points.
        lost_to_clock = graded.stopped_by_clock and earned < possible
        # An unreadable notebook earns nothing, which may be an accident of the upload.
        needs_look = raised or lost_to_clock or bool(graded.unreadable) or grade_id in doubtful
        score_of[grade_id] = CellScore(earned, possible, needs_look)
    return score_of


def earned_by(results: Iterable[CheckResult]) -> float:
    """Return the points that some checks earn together."""
    # Rounding undoes binary fractions: 0.1 + 0.2 must be the 0.3 that the instructor wrote.
    return round(sum(result.earned for result in results), 9)


def misfits(checks: Iterable[Check], cells: Mapping[str, float], where: str) -> list[str]:
    """Return a line for each way in which checks and autograded cells do not fit together.

    Parameters
    ----------
    cells
        Grade id → points of each autograded cell.
    where
        The checks' folder, named at the start of each line.
    """
    lines = []
    total_at: dict[str, float] = {}
    names: set[str] = set()
    for check in checks:
        if check.name in names:
            lines.append(f"{where}: two checks are called {check.name}; give each its own name")
        names.add(check.name)
        if check.points <= 0:
            lines.append(f"{where}: {check.name} is worth {check.points:g} points; use more than 0")
        if check.cell not in cells:
            grade_ids = ", ".join(sorted(cells)) or "none"
            lines.append(
                f"{where}: {check.name} names the grade cell '{check.cell}', which is not an "
                f"autograded cell of the source (found: {grade_ids})"
            )
        total_at[check.cell] = round(total_at.get(check.cell, 0.0) + check.points, 9)
    for grade_id, points in cells.items():
        if grade_id not in total_at:
            lines.append(f"{where}: the grade cell '{grade_id}' ({points:g} points) has no check")
        elif total_at[grade_id] != points:
            lines.append(
                f"{where}: the checks at '{grade_id}' add up to {total_at[grade_id]:g} points, but "
                f"the cell is worth {points:g}"
            )
    return lines
