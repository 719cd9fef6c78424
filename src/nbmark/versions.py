"""The versions that a grade depends on."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import platform
from collections.abc import Mapping

PACKAGES = "nbmark ipykernel numpy matplotlib tensorflow keras autograd pytest".split()


@functools.cache  # looking a package up reads files, and every grade records the versions
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages, as evidence records them.

    A package that is not installed has no entry.
    """
    found_versions = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found_versions[package] = importlib.metadata.version(package)
    return found_versions


def comparable(recorded: Mapping[str, str]) -> dict[str, str]:
    """Return the versions as far as a grade depends on them."""
    # A patch release of Python changes no grade, so a verification stays valid across an update.
    return {
        name: ".".join(version.split(".")[:2]) if name == "python" else version
        for name, version in recorded.items()
    }


def differences(theirs: Mapping[str, str]) -> str:
    """Return the versions in which another machine differs, empty if its grades are the same."""
    ours = versions()
    here, there = comparable(ours), comparable(theirs)
    return ", ".join(
        f"{name} {theirs.get(name, 'none')} (here {ours.get(name, 'none')})"
        for name in sorted({*here, *there})
        if here.get(name) != there.get(name)
    )
