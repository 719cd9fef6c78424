"""The feedback for students: the result of each check, in the output of its grade cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from nbmark.checks.points import earned_by
from nbmark.models import CheckResult, Graded, GradedCell
from nbmark.notebooks import Cell, write_notebook
from nbmark.running.no_run import NOT_GRADED

RAISED = "This answer could not be graded automatically. A person will look at it."
PLAIN_FAILURE = "Your answer does not pass this check yet."
BY_CLOCK = (
    "The notebook was stopped for waiting too long, also when it ran again by itself. A person "
    "will look at this task."
)
RESTORED = "This cell was missing from your submission and was put back for grading."
UNREADABLE = """\
**This notebook could not be graded.** {}

It has earned no automatic points so far, and a person will look at it. Please submit it again, or \
ask your instructor. The cells below are the tasks of the assignment."""
ABOUT_FILES = "**About the files that you handed in**"
# Word, sign, text colour, background. Every colour has a contrast of at least 4.5 to 1, and the
# word and the sign tell the results apart for readers who see no colours.
STYLES = {
    "passed": ("passed", "✓", "#0b5a2a", "#e8f5ec"),
    "failed": ("not passed", "✗", "#8a1c12", "#fdecea"),
    "raised": ("needs review", "?", "#6b4e00", "#fff6dd"),
}
# Only properties that `untrusted.html` leaves in our own HTML.
BOX = "border-left:4px solid {0};background-color:{1};color:#1a1a1a;padding:6px 10px;margin:4px 0"


def autograded_notebook(graded: Graded, name: str) -> bytes:
    """Return the bytes of a graded notebook: the student's cells, their outputs, the feedback."""
    cells = [_text_cell(text) for text in _preface(graded, name)]
    outputs: dict[int, list[Any]] = {}
    counts: dict[int, int | None] = {}
    for cell in graded.notebooks[name]:
        index = len(cells)
        cells.append(Cell(cell.kind, cell.source, cell.nbgrader, cell.attachments, cell.restored))
        if cell.kind != "code":  # only code has outputs
            cells += [_text_cell(f"*{cell.doubt}*")] if cell.doubt else []
            continue
        results = graded.results_at(cell.grade_id)
        lost = earned_by(results) < _possible(results)
        notes = [*_notes(cell), BY_CLOCK if graded.stopped_by_clock and lost else ""]
        outputs[index] = [*cell.outputs, *map(_printed, filter(None, notes))]
        # An unreadable notebook has one explanation at its top. `verify` refuses checks at any
        # cell that is not autograded.
        if results and cell.is_test and name not in graded.unreadable:
            outputs[index].append(_display(as_text(results), as_html(results)))
        counts[index] = cell.execution_count
    return write_notebook(cells, outputs, counts)


def as_text(results: Sequence[CheckResult]) -> str:
    """Return the results at one grade cell as plain text."""
    lines = [f"{earned_by(results):g} of {_possible(results):g} points"]
    for result in results:
        word, sign, _, _ = STYLES[result.outcome]
        points = f"{result.earned:g} of {result.check.points:g}"
        lines.append(f"{sign} {result.check.title}: {word} ({points})")
        lines += [f"    {line}" for line in _sentences(result)]
    return "\n".join(lines)


def as_html(results: Sequence[CheckResult]) -> str:
    """Return the results at one grade cell as HTML, with everything a student wrote escaped."""
    parts = [f"<p><strong>{earned_by(results):g} of {_possible(results):g} points</strong></p>"]
    for result in results:
        word, sign, colour, background = STYLES[result.outcome]
        sentences = "".join(f"<br>{escape(line)}" for line in _sentences(result))
        parts.append(
            f'<div style="{BOX.format(colour, background)}">'
            f'<strong style="color:{colour}">{sign} {word}</strong>: {escape(result.check.title)} '
            f"({result.earned:g} of {result.check.points:g}){sentences}</div>"
        )
    return "".join(parts)


def diagnosis(result: CheckResult) -> str:
    """Return the sentence about a check that was not passed, empty for one that was."""
    if result.outcome == "passed":
        return ""
    # A check that raised may have broken halfway, so its own sentence could be wrong.
    return RAISED if result.outcome == "raised" else result.says or PLAIN_FAILURE


def sentences(graded: Graded) -> tuple[tuple[str, str], ...]:
    """Return the title and the sentence of each check that was not passed."""
    return tuple(
        (result.check.title, diagnosis(result))
        for result in graded.results
        if result.outcome != "passed"
    )


def summary(graded: Graded) -> str:
    """Return the most important sentence about a submission, for a line of a table."""
    # An error in one task often explains what is missing in others, so it comes first.
    first: list[str] = []
    others: list[str] = []
    for result in graded.results:
        state = graded.reached.get(result.check.cell)
        if result.says != NOT_GRADED:  # the reason of an unreadable notebook says it once
            (first if state and state.trouble else others).append(diagnosis(result))
    diagnoses = list(filter(None, [*first, *others]))
    notices = [notice for some in graded.notices.values() for notice in some]
    cells = [cell for cells in graded.notebooks.values() for cell in cells]
    texts = [
        *graded.unreadable.values(),
        *([BY_CLOCK] if graded.stopped_by_clock and diagnoses else []),
        *(notice.says for notice in notices if notice.needs_look),
        *(cell.doubt for cell in cells if cell.is_test and cell.doubt),
        # A file that was not there may be the cause, but only of points that were lost.
        *(notice.says for notice in notices if diagnoses and not notice.needs_look),
        *diagnoses,
    ]
    different = list(dict.fromkeys(texts))
    more = f" (and {len(different) - 1} more)" if len(different) > 1 else ""
    return different[0] + more if different else "all right"


def _sentences(result: CheckResult) -> list[str]:
    own = f"Your value: {result.own}" if result.own and result.outcome == "failed" else ""
    return [sentence for sentence in (diagnosis(result), own) if sentence]


def _possible(results: Sequence[CheckResult]) -> float:
    # Rounded, because 0.1 + 0.2 would show as 0.30000000000000004 points.
    return round(sum(result.check.points for result in results), 9)


def _notes(cell: GradedCell) -> list[str]:
    return [cell.note, RESTORED if cell.restored else "", cell.doubt]


def _printed(text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": text + "\n"}


def _display(text: str, html: str) -> dict[str, Any]:
    data = {"text/plain": text, "text/html": html}
    return {"output_type": "display_data", "metadata": {}, "data": data}


def _preface(graded: Graded, name: str) -> Iterator[str]:
    """Yield the texts at the top of a notebook's page."""
    if name in graded.unreadable:
        yield UNREADABLE.format(graded.unreadable[name])
    if notices := graded.notices.get(name):
        yield "\n".join([ABOUT_FILES, "", *(f"* {notice.says}" for notice in notices)])


def _text_cell(text: str) -> Cell:
    return Cell("markdown", text)
