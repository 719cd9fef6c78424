"""The versions that a grade depends on."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import platform

PACKAGES = ("nbmark", "ipykernel", "numpy", "matplotlib", "tensorflow", "keras", "pytest")


@functools.cache
def versions() -> dict[str, str]:
    """The grading environment, as evidence records it."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
