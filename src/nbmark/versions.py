"""The versions that a grade depends on."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import platform
from collections.abc import Mapping

PACKAGES = (
    "nbmark",
    "ipykernel",
    "numpy",
    "matplotlib",
    "tensorflow",
    "keras",
    "autograd",
    "pytest",
)


@functools.cache
def versions() -> dict[str, str]:
    """The grading environment, as evidence records it."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def comparable(found: Mapping[str, str]) -> dict[str, str]:
    """Versions as far as a grade depends on them: a patch release of Python is the same."""
    return {
        name: ".".join(version.split(".")[:2]) if name == "python" else version
        for name, version in found.items()
    }


def differences(theirs: Mapping[str, str]) -> str:
    """What another machine has in other versions, empty if it would give the same grades."""
    ours = versions()
    here, there = comparable(ours), comparable(theirs)
    return ", ".join(
        f"{name} {theirs.get(name, 'none')} (here {ours.get(name, 'none')})"
        for name in sorted({*here, *there})
        if here.get(name) != there.get(name)
    )
