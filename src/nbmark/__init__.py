"""What hidden checks import: everything else in this package is the engine's own."""

from nbmark._version import __version__
from nbmark.checks import check
from nbmark.errors import CheckFailed
from nbmark.questions import Expr, name
from nbmark.student import Answer, Student, fail

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


def __getattr__(attribute: str) -> object:
    """`approx` is pytest's, imported only when a check asks for it."""
    if attribute == "approx":
        import pytest

        return pytest.approx
    raise AttributeError(f"module 'nbmark' has no attribute {attribute!r}")
