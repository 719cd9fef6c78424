"""The versions that a grade depends on."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import platform
from collections.abc import Mapping

PACKAGES = ("nbmark", "ipykernel", "numpy", "matplotlib", "tensorflow", "keras", "pytest")


@functools.cache
def versions() -> dict[str, str]:
    """The grading environment, as evidence records it."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def differences(theirs: Mapping[str, str]) -> str:
    """What another machine has in other versions, empty if it would give the same grades."""
    ours = versions()
    return ", ".join(
        f"{name} {theirs.get(name, 'none')} (here {ours.get(name, 'none')})"
        for name in sorted({*ours, *theirs})
        if _counts(name, ours) != _counts(name, theirs)
    )


def _counts(name: str, found: Mapping[str, str]) -> str:
    """A patch release of Python counts as the same."""
    version = found.get(name, "")
    return ".".join(version.split(".")[:2]) if name == "python" else version
