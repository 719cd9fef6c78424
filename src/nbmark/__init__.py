"""What hidden checks import: everything else in this package is the engine's own.

The names are loaded when they are asked for: the coordinator imports this package too, and needs
neither NumPy nor pytest.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from nbmark._version import __version__

if TYPE_CHECKING:
    import pytest

    from nbmark.checks.declare import check
    from nbmark.checks.questions import Expr, name
    from nbmark.checks.student import Answer, Student, fail
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
    "fail",
    "name",
]
HOMES = {
    "Answer": "nbmark.checks.student",
    "CheckFailed": "nbmark.errors",
    "Expr": "nbmark.checks.questions",
    "Student": "nbmark.checks.student",
    "approx": "pytest",
    "check": "nbmark.checks.declare",
    "fail": "nbmark.checks.student",
    "name": "nbmark.checks.questions",
}


def __getattr__(attribute: str) -> object:
    """One of `HOMES`, from where it is defined."""
    if attribute not in HOMES:
        raise AttributeError(f"module 'nbmark' has no attribute {attribute!r}")
    return getattr(import_module(HOMES[attribute]), attribute)
