"""Sentences for students about limits, ended processes and names without a value."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nbmark.limits import Limits
from nbmark.notebooks import Cell
from nbmark.sandbox.replies import CellRun

HEADING = re.compile(r"^#{1,4}\s+(?:task\s+)?(\d+)\b", re.I | re.M)
# The names in braces are fields of `Limits`. `place` is a cell or a check's question about it.
MESSAGES = {
    # Why a process ended; the keys are the values of `Session.ended`.
    "memory": "{place} used more than {memory_mib} MiB of memory and was stopped.",
    "cpu": (
        "{place} was stopped because the submission had used {cpu_s:g} s of computing time in "
        "total."
    ),
    "cell cpu": (
        "{place} used more than {cell_cpu_s:g} s of computing time and was stopped: is there a "
        "loop that never ends?"
    ),
    "question cpu": (
        "{place} used more than {question_cpu_s:g} s of computing time and was stopped: is there "
        "a loop that never ends?"
    ),
    "clock": (
        "{place} was stopped because the submission had spent {submission_timeout_s:g} s in total "
        "without computing."
    ),
    "cell clock": (
        "{place} spent more than {cell_timeout_s:g} s without computing and was stopped: does it "
        "sleep, or wait for something that never comes?"
    ),
    "question clock": (
        "{place} spent more than {question_timeout_s:g} s without computing and was stopped: does "
        "it sleep, or wait for something that never comes?"
    ),
    "files": "{place} created more than {files} files and was stopped.",
    "sockets": "{place} opened more than {sockets} sockets and was stopped.",
    "died": "{place} ended the whole Python process.",
    "garbage": "{place} made the Python process send unreadable data, so it was stopped.",
    # What happened to the notebook after that.
    "resumed": (
        "The notebook was run again without it in a new process, so later tasks still count."
    ),
    "not resumed": "Later tasks could not be checked.",
    "no budget": (
        "This notebook was not run because the notebooks before it had used up the {cpu_s:g} s of "
        "computing time, or spent the {submission_timeout_s:g} s without computing, that all "
        "notebooks share."
    ),
    # Why a cell ended in an error, although its process goes on.
    "memory refused": "{place} asked for more than the {memory_mib} MiB of memory allowed.",
    "disk full": "{place} wrote more than the {disk_mib} MiB that a folder may hold.",
    "open files": "{place} had more than {open_files} files open at once.",
    "processes": "{place} started more than {processes} processes and threads.",
    # Why a name has no value.
    "missing": "{cause} So {name} does not exist.",
    "later": (
        "{name} gets its value only further down, in {place}. Cells run from top to bottom: move "
        "the line up."
    ),
}
# A limit makes an ordinary call fail. The exception does not name the limit, but its text shows
# which one it was.
LIMIT_SIGNS = {
    "MemoryError": "memory refused",
    "No space left on device": "disk full",
    "Too many open files": "open files",
    "can't start new thread": "processes",
    "Resource temporarily unavailable": "processes",
}


def place_of(cells: Sequence[Cell], index: int) -> str:
    """Return ``Task 4 (cell 17 of the notebook)`` below a numbered heading, else ``Cell 17 …``."""
    for cell in reversed(cells[: index + 1]):
        numbers = HEADING.findall(cell.source) if cell.kind == "markdown" else []
        if numbers:
            # A student may write a heading with a number of any length.
            return f"Task {numbers[-1][:9]} (cell {index + 1} of the notebook)"
    return f"Cell {index + 1} of the notebook"


def no_budget(limits: Limits) -> str:
    """Return the sentence for a notebook that is not run because others used up the budget."""
    return _message("no budget", limits)


def stopped(place: str, reason: str, limits: Limits) -> str:
    """Return the sentence for a cell or question that was interrupted at a time limit."""
    return _message(reason, limits, place)


def limit_reached(place: str, run: CellRun, limits: Limits) -> str:
    """Return the sentence for a cell that failed at a limit, empty if it failed otherwise."""
    error = f"{run.error_name} {run.error_message}"
    for sign, key in LIMIT_SIGNS.items():
        if run.status == "error" and sign in error:
            return _message(key, limits, place)
    return ""


def process_ended(place: str, reason: str | None, limits: Limits, *, resumed: bool) -> str:
    """Return the sentences for a cell, or a question about it, that ended the whole process.

    Parameters
    ----------
    reason
        The value of `Session.ended`.
    resumed
        Whether a new process continues the notebook.
    """
    ending = _message(reason if reason in MESSAGES else "died", limits, place)
    return f"{ending} {_message('resumed' if resumed else 'not resumed', limits)}"


def missing(name: str, cause: str) -> str:
    """Return a cause, and that a name therefore does not exist."""
    return MESSAGES["missing"].format(cause=cause, name=name)


def later(name: str, place: str) -> str:
    """Return the sentence for a name that only a later cell gives a value."""
    return MESSAGES["later"].format(name=name, place=place)


def _message(key: str, limits: Limits, place: str = "") -> str:
    return MESSAGES[key].format(place=place, **vars(limits))
