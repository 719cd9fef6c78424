"""Exceptions of students' code, explained in the words of a beginner."""

from __future__ import annotations

import re
from collections.abc import Iterable

from nbmark.sandbox.replies import CellRun

# `place` is a cell, a visible test or a check's question, and `ended` its predicate.
SENTENCES = {
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
}
# Pattern of "type: message" → its sentence; the first that fits counts.
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
        return SENTENCES["stub"].format(**values)
    for pattern, key in ERROR_SIGNS:
        if match := pattern.match(f"{error_name}: {message}"):
            values |= {part: text[:120] for part, text in match.groupdict("").items()}
            values["detail"] = ", ".join(filter(None, (values.get("detail"), values.get("line"))))
            return SENTENCES[key].format(**values)
    # Students see the visible tests, whose messages are written for them; the type adds nothing.
    if error_name == "AssertionError" and message:
        detail = message
    else:
        detail = f"{error_name}: {_readable(message)}".rstrip(": ")
    stop = "" if detail.endswith((".", "!", "?", "…")) else "."  # another sentence may follow
    return SENTENCES["error"].format(**values, detail=detail + stop)


def missing_name(error_name: str, message: str) -> str:
    """Return the name whose absence raised an exception, empty for another exception."""
    match = ERROR_SIGNS[-1][0].match(f"{error_name}: {message}")
    return match["name"] if match else ""


def is_stub(run: CellRun) -> bool:
    """Return whether a cell ended at the line that nbgrader leaves in place of a solution."""
    is_empty = run.error_name == "NotImplementedError" and not run.error_message
    return is_empty and _is_raised_by_notebook(run)


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
