"""Sentences for students about the run of their notebook."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

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
    # Why a cell, a visible test or a student's function ended in an error.
    "library": (
        "{place} imports {name}. This library is not there when your work is graded: use "
        "{libraries}."
    ),
    "input": (
        "{place} asks for an input, but nobody types while your work is graded: give the variable "
        "a value instead of asking for it."
    ),
    "network": (
        "{place} needs the internet, which is not there when your work is graded: use the data in "
        "the notebook."
    ),
    "file": "{place} needs the file '{name}', which is not there when your work is graded.",
    "syntax": (
        "{place} is not valid Python: {detail}. Check brackets, quotes, colons and indentation."
    ),
    "no value": "{place} uses {name}, but no cell before gives it a value.",
    "stub": "{place} {ended}: put your own code in place of 'raise NotImplementedError()'.",
    "error": "{place} {ended}: {detail}",
    # Why a name has no value.
    "missing": "{cause} So {name} does not exist.",
    "later": (
        "{name} gets its value only further down, in {place}. Cells run from top to bottom: move "
        "the line up."
    ),
}
# Patterns of "type: message", the first that fits counts.
ERROR_SIGNS = [
    (re.compile(r"ModuleNotFoundError: No module named '?(?P<name>[\w.]+)"), "library"),
    (re.compile(r"StdinNotImplementedError|EOFError: EOF when reading a line"), "input"),
    (
        re.compile(
            r"(?:URLError|gaierror|Connection\w*Error|ConnectTimeout|MaxRetryError)\b"
            r"|.*(?:name resolution|Network is unreachable)"
        ),
        "network",
    ),
    (
        re.compile(
            r"FileNotFoundError: (?:\[Errno 2\] No such file or directory: )?"
            r"'?(?P<name>[^']+?)'?(?: not found\.?)?$"
        ),
        "file",
    ),
    (
        re.compile(
            r"(?:Syntax|Indentation|Tab)Error: (?P<detail>.+?)(?: \(\S+, (?P<line>line \d+)\))?$"
        ),
        "syntax",
    ),
    (re.compile(r"NameError: name '(?P<name>\w+)' is not defined"), "no value"),
]
# Module → the name that the text of a notebook gives it, in the order of a sentence.
LIBRARIES = {
    "numpy": "NumPy",
    "scipy": "SciPy",
    "pandas": "pandas",
    "matplotlib": "Matplotlib",
    "tensorflow": "TensorFlow",
}
FRAME = re.compile(r"^(Cell In|File ).*$", re.M)  # in IPython's traceback
COLOURS = re.compile(r"\x1b\[[\d;]*m")
# Parts of an error's text that mean nothing to a student: TensorFlow's names of its own nodes,
# addresses in memory, and the folders of our machine.
NOISE = re.compile(r"\{\{[^{}]*\}\}|\[Op:\w+\].*| at 0x[0-9a-f]+| ?\(/[^()\s]*/[^()\s]*\)")
FOLDERS = re.compile(r"(?<![\w.~])/(?:[\w.+@-]+/)+(?=[\w.+@-])")
MAX_ERROR_CHARS = 200
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


def error(run: CellRun, place: str, libraries: str, *, ended: str = "ended in an error") -> str:
    """Return the sentence for a cell that ended in an error."""
    is_own = _is_raised_by_notebook(run)
    return explain(place, run.error_name, run.error_message, libraries, ended=ended, is_own=is_own)


def explain(
    place: str,
    error_name: str,
    message: str,
    libraries: str = "the libraries that the notebook imports",
    *,
    ended: str = "ended in an error",
    is_own: bool = False,
) -> str:
    """Return the sentence for an exception, in words of a beginner.

    Parameters
    ----------
    place
        The cell or the call that raised it.
    libraries
        The libraries that a student may use.
    ended
        The predicate of the sentence where the exception's own text is the best explanation.
    is_own
        Whether a line of the notebook raised it, not one of a library.
    """
    values = {"place": place, "libraries": libraries, "ended": ended}
    # nbgrader leaves this in place of each solution. Libraries raise the same, but elsewhere.
    if error_name == "NotImplementedError" and not message and is_own:
        return MESSAGES["stub"].format(**values)
    for pattern, key in ERROR_SIGNS:
        if match := pattern.match(f"{error_name}: {message}"):
            values |= {part: text[:120] for part, text in match.groupdict("").items()}
            values["detail"] = ", ".join(filter(None, (values.get("detail"), values.get("line"))))
            return MESSAGES[key].format(**values)
    # Students see the visible tests, whose messages are written for them; the type adds nothing.
    if error_name == "AssertionError" and message:
        detail = message
    else:
        detail = f"{error_name}: {_readable(message)}".rstrip(": ")
    stop = "" if detail.endswith((".", "!", "?", "…")) else "."  # another sentence may follow
    return MESSAGES["error"].format(**values, detail=detail + stop)


def missing_name(error_name: str, message: str) -> str:
    """Return the name whose absence raised an exception, empty for another exception."""
    match = ERROR_SIGNS[-1][0].match(f"{error_name}: {message}")
    return match["name"] if match else ""


def is_stub(run: CellRun) -> bool:
    """Return whether a cell ended at the line that nbgrader leaves in place of a solution."""
    is_empty = run.error_name == "NotImplementedError" and not run.error_message
    return is_empty and _is_raised_by_notebook(run)


def missing(name: str, cause: str) -> str:
    """Return a cause, and that a name therefore does not exist."""
    return MESSAGES["missing"].format(cause=cause, name=name)


def later(name: str, place: str) -> str:
    """Return the sentence for a name that only a later cell gives a value."""
    return MESSAGES["later"].format(name=name, place=place)


def library_names(modules: Iterable[str]) -> str:
    """Return the names of well-known libraries among dotted module names, for a sentence."""
    roots = {module.split(".")[0] for module in modules}
    *names, last = [title for root, title in LIBRARIES.items() if root in roots] or [
        "the libraries that the notebook imports"
    ]
    return f"{', '.join(names)} and {last}" if names else last


def _readable(message: str) -> str:
    """Return the meaningful part of an exception's text, cut at a word."""
    # TensorFlow quotes a student's code and its own before the error itself.
    if message.startswith("in user code:"):
        message = re.split(r"\b\w+(?:Error|Exception): ", message)[-1]
    text = " ".join(FOLDERS.sub("", NOISE.sub("", message)).split())
    if len(text) <= MAX_ERROR_CHARS:
        return text
    return text[:MAX_ERROR_CHARS].rpartition(" ")[0].rstrip(" ,;:") + " …"


def _is_raised_by_notebook(run: CellRun) -> bool:
    """Return whether the innermost frame of a cell's traceback is a line of the notebook."""
    for output in run.outputs:
        lines = output.get("traceback") if isinstance(output, dict) else None
        if isinstance(lines, list):
            text = COLOURS.sub("", "\n".join(line for line in lines if isinstance(line, str)))
            return bool(FRAME.findall(text)[-1:] == ["Cell In"])
    return False


def _message(key: str, limits: Limits, place: str = "") -> str:
    return MESSAGES[key].format(place=place, **vars(limits))
