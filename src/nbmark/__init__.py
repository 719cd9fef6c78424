"""The names that hidden checks import; the rest of this package belongs to the engine.

Each name is loaded on its first use. The coordinator imports this package too, and needs neither
NumPy nor pytest.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from nbmark._version import __version__

# Type checkers and editors cannot follow `__getattr__`, so they read the imports here.
if TYPE_CHECKING:
    import pytest

    from nbmark.checks.answer import Answer, close, fail
    from nbmark.checks.declare import check
    from nbmark.checks.questions import Expr, name
    from nbmark.checks.student import Student
    from nbmark.errors import CheckFailed

    approx = pytest.approx

__all__ = [
    "Answer",
    "CheckFailed",
    "Expr",
    "Student",
    "__version__",
    "approx",
    "check",
    "close",
    "fail",
    "name",
]
# Name → the module that defines it.
HOMES = {
    "Answer": "nbmark.checks.answer",
    "CheckFailed": "nbmark.errors",
    "Expr": "nbmark.checks.questions",
    "Student": "nbmark.checks.student",
    "approx": "pytest",
    "check": "nbmark.checks.declare",
    "close": "nbmark.checks.answer",
    "fail": "nbmark.checks.answer",
    "name": "nbmark.checks.questions",
}


def __getattr__(attribute: str) -> object:
    """Return a name of `HOMES` from the module that defines it."""
    if attribute not in HOMES:
        raise AttributeError(f"module 'nbmark' has no attribute {attribute!r}")
    return getattr(import_module(HOMES[attribute]), attribute)
