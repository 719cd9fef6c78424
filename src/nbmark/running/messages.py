"""What befell a notebook while it ran, in words for its author."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nbmark.limits import Limits
from nbmark.notebooks import Cell
from nbmark.sandbox.session import CellRun

HEADING = re.compile(r"^#{1,4}\s+(?:task\s+)?(\d+)\b", re.I | re.M)
ENDED = {
    "memory": "used more than {memory_mib} MiB of memory and was stopped",
    "cpu": "was stopped because the notebook had used {cpu_s:g} s of computing time in all",
    "cell cpu": "used more than {cell_cpu_s:g} s of computing time and was stopped: is there a "
    "loop that never ends?",
    "files": "made more than {files} files and was stopped",
    "sockets": "opened more than {sockets} sockets and was stopped",
    "time": "was stopped because the notebook had run for {submission_timeout_s:g} s in all",
    "stuck": "was stopped after {cell_timeout_s:g} s: is there a loop that never ends?",
    "died": "ended the whole Python process",
    "garbage": "made the Python process answer nonsense; it was ended",
}
# What an exception says where a limit makes an ordinary call fail.
REFUSED = {
    "MemoryError": "asked for more than the {memory_mib} MiB of memory that are allowed",
    "No space left on device": "wrote more than the {disk_mib} MiB that a folder may hold",
    "Too many open files": "had more than {open_files} files open",
    "can't start new thread": "started more than {processes} processes and threads",
    "Resource temporarily unavailable": "started more than {processes} processes and threads",
}
ANEW = (
    "It was left out, and the cells before it were run again in a fresh process, so that later "
    "tasks still count."
)
NOTHING_LEFT = (
    "This notebook was not run: the notebooks before it had used up the "
    "{submission_timeout_s:g} s, or the {cpu_s:g} s of computing time, that all have together."
)
LOST = "Tasks after that could not be looked at."


def place(cells: Sequence[Cell], index: int) -> str:
    """``Task 4 (cell 17 of the notebook)`` below a numbered heading, else ``Cell 17 of …``."""
    for cell in reversed(cells[: index + 1]):
        found = HEADING.findall(cell.source) if cell.kind == "markdown" else []
        if found:
            return f"Task {found[-1][:9]} (cell {index + 1} of the notebook)"
    return f"Cell {index + 1} of the notebook"


def nothing_left(limits: Limits) -> str:
    """What is said of a notebook before which others have used up what the submission may use."""
    return NOTHING_LEFT.format(**vars(limits))


def too_long(where: str, limits: Limits) -> str:
    """What is said of a cell that was interrupted in time."""
    return f"{where} {ENDED['stuck'].format(**vars(limits))}"


def refused(where: str, run: CellRun, limits: Limits) -> str:
    """What is said of a cell that a limit made fail, empty if its error is another one."""
    for sign, what in REFUSED.items():
        if run.status == "error" and sign in f"{run.error_name} {run.error_message}":
            return f"{where} {what.format(**vars(limits))}."
    return ""


def ended(where: str, reason: str | None, limits: Limits, *, went_on: bool) -> str:
    """What is said of a cell, or of a question to it, that ended the whole process."""
    what = ENDED.get(reason or "", ENDED["died"]).format(**vars(limits))
    stop = "" if what.endswith("?") else "."
    return f"{where} {what}{stop} {ANEW if went_on else LOST}"


def said(run: CellRun) -> str:
    """What an exception said: an assertion's message is written for students, so it goes first."""
    if run.error_name == "AssertionError" and run.error_message:
        return run.error_message
    if run.error_name == "NotImplementedError":  # what nbgrader leaves where a solution stood
        return "put your own code in place of 'raise NotImplementedError()'."
    return f"{run.error_name}: {run.error_message}".rstrip(": ")
