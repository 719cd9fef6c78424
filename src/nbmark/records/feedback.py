"""What a student reads: the result of each check, in the output of its grade cell."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from nbmark.checks.points import earned_by
from nbmark.models import CheckResult, Graded, GradedCell
from nbmark.notebooks import Cell, write_notebook

RAISED = "This answer could not be judged automatically. A person will look at it."
PLAIN_FAILURE = "Your answer does not pass this check yet."
# Word, sign, text colour, background: contrast at least 4.5 to 1, and never colour alone.
STYLES = {
    "passed": ("passed", "✓", "#0b5a2a", "#e8f5ec"),
    "failed": ("not passed", "✗", "#8a1c12", "#fdecea"),
    "raised": ("needs a look", "?", "#6b4e00", "#fff6dd"),
}
BOX = "border-left:4px solid {0};background-color:{1};color:#1a1a1a;padding:6px 10px;margin:4px 0"


def autograded_notebook(graded: Graded, name: str) -> bytes:
    """The bytes of a graded notebook: the student's cells, what they printed, and the feedback."""
    run_cells = list(graded.notebooks[name])
    if name in graded.unreadable:
        run_cells.insert(0, _explanation(graded.unreadable[name]))
    cells, outputs, counts = [], {}, {}
    for index, cell in enumerate(run_cells):
        cells.append(Cell(cell.kind, cell.source, cell.nbgrader, cell.attachments, cell.restored))
        results = graded.results_at(str(cell.nbgrader.get("grade_id", "")))
        outputs[index] = [*cell.outputs, *_notes(cell)]
        if results and cells[-1].is_autograded:
            outputs[index].append(_display(as_text(results), as_html(results)))
        counts[index] = cell.execution_count
    return write_notebook(cells, outputs, counts)


def as_text(results: Sequence[CheckResult]) -> str:
    """The results at one grade cell as plain text."""
    lines = [f"{earned_by(results):g} of {_possible(results):g} points"]
    for one in results:
        word, sign, _, _ = STYLES[one.outcome]
        lines.append(f"{sign} {one.check.title}: {word} ({one.earned:g} of {one.check.points:g})")
        lines += [f"    {line}" for line in _sentences(one)]
    return "\n".join(lines)


def as_html(results: Sequence[CheckResult]) -> str:
    """The results at one grade cell as HTML; everything a student wrote is escaped."""
    parts = [f"<p><strong>{earned_by(results):g} of {_possible(results):g} points</strong></p>"]
    for one in results:
        word, sign, colour, background = STYLES[one.outcome]
        told = "".join(f"<br>{escape(line)}" for line in _sentences(one))
        parts.append(
            f'<div style="{BOX.format(colour, background)}">'
            f'<strong style="color:{colour}">{sign} {word}</strong>: {escape(one.check.title)} '
            f"({one.earned:g} of {one.check.points:g}){told}</div>"
        )
    return "".join(parts)


def diagnosis(result: CheckResult) -> str:
    """The one sentence about a check that was not passed, empty for one that was."""
    if result.outcome == "passed":
        return ""
    return RAISED if result.outcome == "raised" else result.says or PLAIN_FAILURE


def summary(graded: Graded) -> str:
    """The first thing a reader of a table wants to know about a submission."""
    if graded.unreadable:
        return next(iter(graded.unreadable.values()))
    said = list(dict.fromkeys(filter(None, map(diagnosis, graded.results))))
    more = f" (and {len(said) - 1} more)" if len(said) > 1 else ""
    return said[0] + more if said else "all right"


def _sentences(result: CheckResult) -> list[str]:
    said = diagnosis(result)
    own = f"Your value: {result.own}" if result.own and result.outcome == "failed" else ""
    return [line for line in (said, own) if line]


def _possible(results: Sequence[CheckResult]) -> float:
    return round(sum(one.check.points for one in results), 9)


def _notes(cell: GradedCell) -> list[dict[str, Any]]:
    notes = [cell.note] if cell.note else []
    if cell.restored:
        notes.append("This cell was missing from your submission and was put back for grading.")
    if cell.doubt:
        notes.append(cell.doubt)
    return [{"output_type": "stream", "name": "stdout", "text": note + "\n"} for note in notes]


def _display(text: str, html: str) -> dict[str, Any]:
    data = {"text/plain": text, "text/html": html}
    return {"output_type": "display_data", "metadata": {}, "data": data}


def _explanation(why: str) -> GradedCell:
    text = (
        f"**This notebook could not be graded.** {why}\n\n"
        "It earned no automatic points so far, and a person will look at it. Please submit again, "
        "or ask your instructor. The cells below are the tasks of the assignment."
    )
    return GradedCell("markdown", text, {}, {})
