"""Checks of a machine and a course: the needs of grading, the state of each, and the fixes."""

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

# Three switches by which a kernel refuses user namespaces. Few kernels have all of them.
USERNS_LIMIT = Path("/proc/sys/user/max_user_namespaces")
USERNS_CLONE = Path("/proc/sys/kernel/unprivileged_userns_clone")
APPARMOR_LIMIT = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
APPARMOR_PROFILES = (
    Path("/etc/apparmor.d/bwrap"),
    Path("/etc/apparmor.d/bwrap-userns-restrict"),  # the distribution's own
)
MAKE_PROFILE = """\
sudo tee /etc/apparmor.d/bwrap <<'END' && sudo apparmor_parser -r /etc/apparmor.d/bwrap
abi <abi/4.0>,
include <tunables/global>
profile bwrap /usr/bin/bwrap flags=(unconfined) { userns, }
END"""
IN_DOCKER = (
    "fix the checks above; in Docker run with --security-opt seccomp=unconfined "
    "--security-opt systempaths=unconfined"
)
COURSE_PARTS = ("nbgrader_config.py", "source", "graders")


@dataclass(frozen=True)
class Finding:
    """The result of one check of this machine.

    Parameters
    ----------
    found
        The state that the check found.
    fix
        What to do about it, empty if the check is `ok`.
    """

    subject: str
    ok: bool
    found: str
    fix: str = ""


def examine(root: Path) -> list[Finding]:
    """Return a finding for everything that grading in the course folder `root` needs."""
    # A finding may be the cause of a later one, and their fixes point to the checks above.
    return [
        _python(),
        _bubblewrap(),
        *_namespaces(),
        _sandbox(),
        _fork_server(),
        _course(root),
        _place(root),
        _libraries(root),
        *_limits(root),
    ]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return _finding(
        "Python", sys.version_info >= (3, 11), version, fix="install Python 3.11 or newer"
    )


def _bubblewrap() -> Finding:
    path = shutil.which("bwrap")
    return _finding(
        "bubblewrap", path is not None, path or "not installed", fix="apt-get install bubblewrap"
    )


def _namespaces() -> Iterator[Finding]:
    """Yield a finding for each switch that this kernel has."""
    if USERNS_LIMIT.exists():
        number = int(USERNS_LIMIT.read_text())
        fix = "sysctl user.max_user_namespaces=10000"
        yield _finding("user namespaces", number > 0, f"at most {number}", fix)
    if USERNS_CLONE.exists():
        allowed = USERNS_CLONE.read_text().strip() == "1"
        fix = "sysctl kernel.unprivileged_userns_clone=1"
        yield _finding(
            "user namespaces for ordinary users", allowed, "on" if allowed else "off", fix
        )
    if APPARMOR_LIMIT.exists() and APPARMOR_LIMIT.read_text().strip() == "1":
        # The restriction stays on for all other programs; a profile exempts bubblewrap from it.
        has_profile = any(profile.exists() for profile in APPARMOR_PROFILES)
        yield _finding("AppArmor", has_profile, "restricts user namespaces", MAKE_PROFILE)


def _sandbox() -> Finding:
    """Run one cell in a real sandbox, the proof for the checks above."""
    try:
        walls.try_out(walls.DEFAULT)
    except InfrastructureError as error:
        return Finding("sandbox", False, str(error), IN_DOCKER)
    return Finding("sandbox", True, "a kernel ran in it")


def _fork_server() -> Finding:
    """Return whether submissions can share their imports; without that, grading is slower."""
    try:
        with contextlib.closing(SessionSource(walls.DEFAULT, Limits(), ["numpy"])) as sessions:
            with contextlib.closing(sessions.open()) as session:
                status = session.run_cell("1 + 1", 20).status
            state = f"{sessions.label}: {status}"
            # Still ok: each submission then gets a process of its own and earns the same points.
            if not sessions.label.endswith("forked"):
                state += (
                    f"; {sessions.not_forked_because}: every submission imports its own modules"
                )
            return _finding("fork server", status == "ok", state, fix="fix the checks above")
    except InfrastructureError as error:
        return Finding("fork server", False, str(error), "fix the checks above")


def _course(root: Path) -> Finding:
    missing = [name for name in COURSE_PARTS if not (root / name).exists()]
    if missing:
        fix = "run nbmark in the course's folder, or give --course"
        return Finding("course", False, f"{root} has no {' and no '.join(missing)}", fix)
    return _finding(
        "course", os.access(root, os.W_OK), str(root), "let the user who grades write to the folder"
    )


def _place(root: Path) -> Finding:
    """Return whether the course lies where students' code cannot read it."""
    visible = walls.visible_above(walls.DEFAULT, root)
    return _finding(
        "place of the course",
        visible is None,
        "hidden from students' code" if visible is None else f"below {visible}",
        fix=f"move the course: students' code can read {visible}",
    )


def _libraries(root: Path) -> Finding:
    """Return whether the modules that the course's notebooks import are installed."""
    course, missing = Course(root), set()
    for assignment in course.assignment_names:
        try:
            imports = course.assignment(assignment).imports
        except AssignmentError:
            continue  # the check of its limits reports this
        # Only the top package is looked up, because `find_spec` imports the parents of a module.
        packages = {name.split(".")[0] for name in imports}
        missing |= {f"{name} ({assignment})" for name in packages if find_spec(name) is None}
    return _finding(
        "libraries",
        not missing,
        ", ".join(sorted(missing)) or "all installed",
        fix="install them beside nbmark with pip",
    )


def _limits(root: Path) -> Iterator[Finding]:
    """Yield the limits of one submission, and each assignment's changes to them."""
    defaults = vars(Limits())
    yield Finding("limits", True, _listed(defaults))
    course = Course(root)
    for name in course.assignment_names:
        try:
            limits = vars(course.assignment(name).limits)
        except AssignmentError as error:
            yield Finding(f"limits of {name}", False, str(error), "fix the file")
        else:
            changed = {key: limit for key, limit in limits.items() if limit != defaults[key]}
            yield Finding(f"limits of {name}", True, _listed(changed) or "the defaults")


def _listed(limits: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {amount:g}" for name, amount in limits.items())


def _finding(subject: str, ok: bool, state: str, fix: str) -> Finding:
    """Return a finding, with the fix only if the check is not `ok`."""
    return Finding(subject, ok, state, "" if ok else fix)
