"""The maximum on feedback pages: only what counts for the student.

The course's configuration names it in ``c.GenerateFeedback.preprocessors``. Stock nbgrader counts
every cell of the assignment, also those that came after the student had handed in.
"""

from __future__ import annotations

from typing import Any

from nbgrader.preprocessors import GetGrades

from nbmark.gradebook.gradebook import possible_points


class CountedGrades(GetGrades):  # type: ignore[misc]  # nbgrader has no type hints
    """nbgrader's own step, with the maximum of the cells that have a row for the student."""

    def preprocess(self, notebook: Any, resources: Any) -> tuple[Any, Any]:
        """Put scores and comments into the notebook, and their sums into the resources."""
        notebook, resources = super().preprocess(notebook, resources)
        names = resources["nbgrader"]
        names["max_score"] = possible_points(
            names["db_url"], names["notebook"], names["assignment"], names["student"]
        )
        return notebook, resources
