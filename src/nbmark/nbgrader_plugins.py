"""The names for a course's ``nbgrader_config.py``; they stay, wherever the code behind them moves.

Each name is loaded only when nbgrader asks for it, because no nbgrader command needs all of them.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

HOMES = {
    "GradingExporter": "nbmark.grading.autograde:GradingExporter",
    "SafeCollect": "nbmark.intake.collect:SafeCollect",
    "GradesCsv": "nbmark.export.csv:GradesCsv",
    "CountedGrades": "nbmark.export.feedback:CountedGrades",
    "clean_html": "nbmark.untrusted.html:clean",
    "markdown2html": "nbmark.untrusted.html:markdown",
}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute {name!r}")
    module, attribute = HOMES[name].split(":")
    return getattr(import_module(module), attribute)


def renamed(module: str, names: dict[str, str]) -> Callable[[str], Any]:
    """Return a module's ``__getattr__`` that serves old names and prints the new ones.

    Parameters
    ----------
    names
        Old name in the module → new name in this one.
    """

    @functools.cache  # nbconvert looks its filters up for every page; one line is enough
    def attribute(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module '{module}' has no attribute {name!r}")
        new = f"{__name__}.{names[name]}"
        print(
            f"nbmark: nbgrader_config.py uses {module}.{name}; write {new} instead, because the "
            "next release will not know the old name",
            file=sys.stderr,
        )
        return __getattr__(names[name])

    return attribute
