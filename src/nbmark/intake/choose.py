"""The choice of the file that is graded as each notebook of an assignment.

A student's work may lie in a copy beside the untouched notebook, or in the only file, under another
name. Runs in a check process, because it parses whatever students handed in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from nbmark.course.course import Assignment
from nbmark.errors import NotebookUnreadable, SubmissionError
from nbmark.intake.answers import added_code, edited_answers
from nbmark.intake.later import is_later_notebook, later_cells
from nbmark.intake.restore import restore
from nbmark.models import Notice, Submission
from nbmark.notebooks import Cell, read_notebook
from nbmark.untrusted.names import printable_name

# A file is taken for a notebook if it has more than this share of the notebook's own cells. Some
# grade ids, such as "written", occur in every assignment of a course.
SHARE = 0.5
MAX_NAMES = 5
# Files of these kinds may hold a student's answers, so a person looks at them.
DOCUMENTS = tuple(
    ".7z .bz2 .doc .docx .gz .htm .html .odt .pages .pdf .rar .rtf .tar .tgz .xz .zip".split()
)
OTHER_TASKS = "`{}` holds the tasks of another notebook."
NOT_SUBMITTED = "This notebook was not submitted."
TAKEN = (
    "{reason} {path} was graded instead, because it holds the tasks of this notebook. Keep the "
    "name `{right}` next time. A person will look at this."
)
SEVERAL = (
    "{reason} Several other files hold its tasks: {paths}. None of them was graded, because they "
    "differ. Hand in one of them under the name `{right}`; a person will look at this."
)
UNTOUCHED = (
    "`{right}` was graded, and it is as you received it. Work of yours is in {paths} beside it. If "
    "you want to hand that in, give it the name `{right}`. A person will look at this."
)
MORE_WORK = (
    "`{right}` was graded. Other answers of yours are in {paths} beside it. If you want to hand "
    "these in, give that file the name `{right}`. A person will look at this."
)
LESS_WORK = "`{right}` was graded, and not {paths} beside it."
UNOPENED = (
    "Your submission also holds {paths}. Only notebooks are graded automatically, so nobody has "
    "opened {them} yet. A person will look at this."
)
NOT_THERE = (
    "Your submission also holds {paths}. Only the notebook is graded: when it runs, {them} of "
    "yours {are} not there. Put what you need from {it} into a cell of the notebook."
)


@dataclass
class Chosen:
    """The notebooks to grade.

    Parameters
    ----------
    cells
        Notebook name → its restored cells; the instructor's own for an unreadable one.
    unreadable
        Notebook name → why there is nothing to grade.
    notices
        Notebook name → what student and instructor should know about the files.
    added_later
        Grade ids of cells that do not count, because they came after the student handed in.
    """

    cells: dict[str, list[Cell]] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    notices: dict[str, list[Notice]] = field(default_factory=dict)
    added_later: frozenset[str] = frozenset()


def choose(assignment: Assignment, submission: Submission) -> Chosen:
    """Return the notebooks of a submission, each from the file that the student meant.

    A file with a notebook's own name comes first. Without one, the only file with the notebook's
    tasks counts, or the only one of several that the student has worked on. Nothing is guessed.
    """
    files, reasons, strays = _parsed(assignment, submission)
    later = later_cells(assignment, submission.gained, files.values())
    for name, source in assignment.notebooks.items():
        if name in reasons and is_later_notebook(source, later):
            files[f"{name}.ipynb"] = []
    paths_of: dict[str, list[str]] = {name: [] for name in assignment.notebooks}
    for path, cells in files.items():
        resembled = _resembled(path, cells, assignment)
        if resembled is None:
            strays.append(path)
        else:
            paths_of[resembled].append(path)
    chosen = Chosen(added_later=later)
    for name, paths in paths_of.items():
        works = {path: _Work.of(assignment, later, name, files[path]) for path in paths}
        reason = reasons.get(name, OTHER_TASKS.format(f"{name}.ipynb"))
        _choose_one(chosen, name, works, reason)
        if name in chosen.unreadable:
            # The reason stands at the top of the notebook, so no task repeats it as its doubt.
            empty = restore([], assignment.notebooks[name], later)
            chosen.cells[name] = [replace(cell, doubt="") for cell in empty]
    first = next(iter(assignment.notebooks))
    chosen.notices[first] += [*submission.notices, *_about_strays(strays)]
    return chosen


@dataclass(frozen=True)
class _Work:
    """A file read as a certain notebook: its restored cells, and what of them is the student's.

    Parameters
    ----------
    has_answers
        Whether an answer cell was edited.
    own
        The edited answers; without any, the code that was added.
    """

    cells: list[Cell]
    has_answers: bool
    own: set[tuple[str, str]]

    @classmethod
    def of(
        cls, assignment: Assignment, later: Collection[str], name: str, submitted: Sequence[Cell]
    ) -> _Work:
        source, released = assignment.notebooks[name], assignment.released.get(name, [])
        cells = restore(submitted, source, later, released)
        texts = {cell.grade_id: cell.source for cell in released}
        answers = edited_answers(cells, texts)
        return cls(cells, bool(answers), answers or added_code(cells, source, texts))


def _parsed(
    assignment: Assignment, submission: Submission
) -> tuple[dict[str, list[Cell]], dict[str, str], list[str]]:
    """Return the files that are notebooks, why an expected one is not, and all other files."""
    files: dict[str, list[Cell]] = {}
    reasons: dict[str, str] = {}
    strays = list(submission.beside)
    for name in assignment.notebooks:
        data = submission.notebooks.get(name)
        try:
            if data is None:
                raise NotebookUnreadable(submission.refused.get(name, NOT_SUBMITTED))
            files[f"{name}.ipynb"] = read_notebook(data)
        except SubmissionError as error:
            reasons[name] = str(error)
    for path, data in submission.candidates.items():
        try:
            files[path] = read_notebook(data)
        except NotebookUnreadable:
            strays.append(path)
    return files, reasons, strays


def _resembled(path: str, cells: Sequence[Cell], assignment: Assignment) -> str | None:
    """Return the notebook whose tasks a file holds, or None if it holds no notebook's tasks."""
    own_name = path.removesuffix(".ipynb")
    # The ids come first: notebooks of one assignment may have cells with the same text.
    for share in (_share_of_ids, _share_of_locked_texts):
        shares = {name: share(cells, source) for name, source in assignment.notebooks.items()}
        best = max(shares, key=lambda name: shares[name])
        if shares.get(own_name, 0.0) > SHARE:
            return own_name
        if shares[best] > SHARE:
            return best
    return own_name if own_name in assignment.notebooks else None


def _share_of_ids(cells: Iterable[Cell], source: Iterable[Cell]) -> float:
    ids = {cell.grade_id for cell in cells}
    return _share(cell.grade_id in ids for cell in source if cell.grade_id)


def _share_of_locked_texts(cells: Iterable[Cell], source: Iterable[Cell]) -> float:
    texts = {cell.source.strip() for cell in cells}
    return _share(cell.source.strip() in texts for cell in source if cell.is_locked)


def _share(present: Iterable[bool]) -> float:
    """Return how many of a notebook's own cells are present in a file."""
    values = list(present)
    return sum(values) / len(values) if values else 0.0


def _choose_one(chosen: Chosen, name: str, works: dict[str, _Work], reason: str) -> None:
    """Add the notebook of this name to `chosen`, or why it cannot be graded.

    Parameters
    ----------
    works
        Path → work of every file that holds the notebook's tasks.
    reason
        Why there is no such notebook under its own name, if there is none.
    """
    right = f"{name}.ipynb"
    path = right if right in works else _only_one(works)
    chosen.notices[name] = []
    if path is None:
        if works:
            reason = SEVERAL.format(reason=reason, paths=_listed(works), right=right)
        chosen.unreadable[name] = reason
        return
    chosen.cells[name] = works[path].cells
    if path == right:
        chosen.notices[name] += _about_copies(right, works)
    else:
        says = TAKEN.format(reason=reason, path=_listed([path]), right=right)
        chosen.notices[name].append(Notice(says, needs_look=True))


def _only_one(works: dict[str, _Work]) -> str | None:
    """Return the only file, or the only one with work; equal work in several files counts once."""
    with_work = [path for path, work in works.items() if work.own] or list(works)
    differ = any(works[path].own != works[with_work[0]].own for path in with_work)
    return with_work[0] if with_work and not differ else None


def _about_copies(right: str, works: dict[str, _Work]) -> Iterable[Notice]:
    """Yield what to say about other files with the tasks of a notebook that was graded."""
    graded = works[right].own
    differing = [path for path, work in works.items() if work.own and work.own != graded]
    more = [path for path in differing if len(works[path].own) >= len(graded)]
    less = [path for path in differing if path not in more]
    if more:
        sentence = MORE_WORK if works[right].has_answers else UNTOUCHED
        yield Notice(sentence.format(right=right, paths=_listed(more)), needs_look=True)
    if less:
        yield Notice(LESS_WORK.format(right=right, paths=_listed(less)))


def _about_strays(strays: Collection[str]) -> Iterable[Notice]:
    """Yield what to say about files that are none of the assignment's notebooks."""
    documents = [path for path in strays if _is_document(path)]
    others = [path for path in strays if not _is_document(path)]
    if documents:
        them = "it" if len(documents) == 1 else "them"
        yield Notice(UNOPENED.format(paths=_listed(documents), them=them), needs_look=True)
    if others:
        words = ("this file", "is", "it") if len(others) == 1 else ("these files", "are", "them")
        them, are, it = words
        yield Notice(NOT_THERE.format(paths=_listed(others), them=them, are=are, it=it))


def _is_document(path: str) -> bool:
    name = path.lower()
    return name.endswith(DOCUMENTS) or ".ipynb" in name


def _listed(paths: Collection[str]) -> str:
    """Return file names as code, the first ones if there are many."""
    names = ["`" + printable_name(path).replace("`", "'") + "`" for path in sorted(paths)]
    if len(names) > MAX_NAMES:
        names[MAX_NAMES:] = [f"{len(names) - MAX_NAMES} more"]
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
