"""Names that a stranger chose: which can be a student's id, and how to show any name.

An id is the name of a folder, exactly as the file system has it: under ``submitted/``, in
nbgrader's other folders and under ``evidence/``. It is never rewritten, so two ids that differ only
in case or in Unicode normalisation stay two.
"""

from __future__ import annotations

import re

from nbmark.untrusted.text import UNSAFE, escaped

MAX_ID_CHARS = 128  # the width of the column in nbgrader's gradebook
MAX_SHOWN_CHARS = 300  # the name of a file has at most 255 bytes
# nbgrader's converters look for a student's notebooks with `glob`, without escaping the folder.
PATTERN = re.compile(r"[*?\[]")


def unfit_as_id(name: str) -> str:
    """Return why a name cannot be a student's id, as the end of a sentence, or ``""``."""
    if not name:
        return "it is empty"
    if name.startswith("."):
        return "it begins with a dot, so nbgrader does not see the folder"
    if name != name.strip():
        return "it begins or ends with a space, which nbgrader strips"
    if "/" in name or not name.isprintable() or UNSAFE.search(name):
        return "it has a character that is invisible or cannot be printed"
    if PATTERN.search(name):
        return "it has one of the characters *?[, which nbgrader takes for a pattern"
    if len(name) > MAX_ID_CHARS:
        return f"it is longer than the {MAX_ID_CHARS} characters of nbgrader's gradebook"
    return ""


def printable_name(name: str) -> str:
    """Return a name fit for a message: one line, with everything escaped that has no shape."""
    shown = "".join(
        character if character.isprintable() and not UNSAFE.match(character) else escaped(character)
        for character in name
    )
    return shown if len(shown) <= MAX_SHOWN_CHARS else shown[: MAX_SHOWN_CHARS - 1] + "…"
