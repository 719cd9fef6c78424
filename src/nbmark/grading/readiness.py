"""Looks at a machine and a course: what is missing for grading, and how to mend it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from nbmark.course.course import Course
from nbmark.errors import AssignmentError, InfrastructureError
from nbmark.limits import Limits
from nbmark.sandbox import walls
from nbmark.sandbox.supply import SessionSource

USERNS_LIMIT = Path("/proc/sys/user/max_user_namespaces")
USERNS_CLONE = Path("/proc/sys/kernel/unprivileged_userns_clone")
APPARMOR_LIMIT = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
APPARMOR_PROFILE = """\
sudo tee /etc/apparmor.d/bwrap <<'END' && sudo apparmor_parser -r /etc/apparmor.d/bwrap
abi <abi/4.0>,
include <tunables/global>
profile bwrap /usr/bin/bwrap flags=(unconfined) { userns, }
END"""


@dataclass(frozen=True)
class Finding:
    """One check of this machine; `fix` is empty if it is `ok`."""

    subject: str
    ok: bool
    found: str
    fix: str = ""


def examine(root: Path) -> list[Finding]:
    """Everything that grading in the course folder `root` needs."""
    return [
        _python(),
        _bubblewrap(),
        *_namespaces(),
        _wall(),
        _fork_server(),
        _course(root),
        _place(root),
        _libraries(root),
        *_limits(root),
    ]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(
        "Python",
        sys.version_info >= (3, 11),
        version,
        _unless(sys.version_info >= (3, 11), "install Python 3.11 or newer"),
    )


def _bubblewrap() -> Finding:
    path = shutil.which("bwrap")
    return Finding(
        "bubblewrap",
        path is not None,
        path or "not installed",
        _unless(path is not None, "apt-get install bubblewrap"),
    )


def _namespaces() -> Iterator[Finding]:
    """The three switches by which a kernel refuses user namespaces, where they exist."""
    if USERNS_LIMIT.exists():
        number = int(USERNS_LIMIT.read_text())
        yield Finding(
            "user namespaces",
            number > 0,
            f"at most {number}",
            _unless(number > 0, "sysctl user.max_user_namespaces=10000"),
        )
    if USERNS_CLONE.exists():
        allowed = USERNS_CLONE.read_text().strip() == "1"
        yield Finding(
            "user namespaces for everybody",
            allowed,
            "on" if allowed else "off",
            _unless(allowed, "sysctl kernel.unprivileged_userns_clone=1"),
        )
    if APPARMOR_LIMIT.exists() and APPARMOR_LIMIT.read_text().strip() == "1":
        profile = (
            Path("/etc/apparmor.d/bwrap").exists()
            or Path("/etc/apparmor.d/bwrap-userns-restrict").exists()
        )
        yield Finding(
            "AppArmor", profile, "restricts user namespaces", _unless(profile, APPARMOR_PROFILE)
        )


def _wall() -> Finding:
    """The proof: a real sandbox with a real kernel, and one cell in it."""
    try:
        walls.try_out(walls.DEFAULT)
    except InfrastructureError as error:
        fix = (
            "see the lines above; in Docker run with --security-opt seccomp=unconfined "
            "--security-opt systempaths=unconfined"
        )
        return Finding("sandbox", False, str(error), fix)
    return Finding("sandbox", True, "a kernel ran behind the wall")


def _fork_server() -> Finding:
    """Whether submissions can share their imports; without it grading is slower, not worse."""
    try:
        with contextlib.closing(SessionSource(walls.DEFAULT, Limits(), ["numpy"])) as supply:
            with contextlib.closing(supply.open()) as session:
                status = session.run_cell("1 + 1", 20).status
            found = f"{supply.wall}: {status}"
            if not supply.wall.endswith("forked"):
                found += f"; {supply.not_forked_because}: every submission imports anew"
            return Finding(
                "fork server", status == "ok", found, _unless(status == "ok", "see the lines above")
            )
    except InfrastructureError as error:
        return Finding("fork server", False, str(error), "see the lines above")


def _course(root: Path) -> Finding:
    missing = [
        name for name in ("nbgrader_config.py", "source", "graders") if not (root / name).exists()
    ]
    if missing:
        return Finding(
            "course",
            False,
            f"{root} lacks {', '.join(missing)}",
            "run nbmark in the course's folder, or give --course",
        )
    writable = os.access(root, os.W_OK)
    return Finding(
        "course",
        writable,
        str(root),
        _unless(writable, "make the folder writable for the grading user"),
    )


def _place(root: Path) -> Finding:
    """Whether students' code could read the course where it lies."""
    shown = walls.visible_above(walls.DEFAULT, root)
    found = "the sandbox does not show it" if shown is None else f"below {shown}"
    return Finding(
        "place of the course",
        shown is None,
        found,
        _unless(shown is None, f"move the course: students' code can read {shown}"),
    )


def _libraries(root: Path) -> Finding:
    """Whether what the course's notebooks import is installed; their code is not run."""
    course, missing = Course(root), set()
    for name in course.assignment_names:
        try:
            imported = {one.split(".")[0] for one in course.assignment(name).imports}
        except AssignmentError:
            continue  # said with its limits
        missing |= {f"{one} ({name})" for one in imported if find_spec(one) is None}
    return Finding(
        "libraries",
        not missing,
        ", ".join(sorted(missing)) or "all there",
        _unless(not missing, "install them beside nbmark with pip"),
    )


def _limits(root: Path) -> Iterator[Finding]:
    """The limits of one submission, and what each assignment changes of them."""
    standard = vars(Limits())
    yield Finding("limits", True, _listed(standard))
    course = Course(root)
    for name in course.assignment_names:
        try:
            limits = vars(course.assignment(name).limits)
        except AssignmentError as error:
            yield Finding(f"limits of {name}", False, str(error), "mend the file")
        else:
            changed = {key: one for key, one in limits.items() if one != standard[key]}
            yield Finding(f"limits of {name}", True, _listed(changed) or "as above")


def _listed(limits: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {amount:g}" for name, amount in limits.items())


def _unless(ok: bool, fix: str) -> str:
    return "" if ok else fix
