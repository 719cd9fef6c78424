"""A whole course in a few minutes: release, hand in, collect, grade, give feedback, export.

Everything runs in ``.demo/``, a course of its own, with nbgrader's real commands; a second run
finds all of it done and changes nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import classroom

COURSE = classroom.ROOT / ".demo" / "course"
EXCHANGE = classroom.ROOT / ".demo" / "exchange"
BIN = Path(sys.executable).parent
CONFIG = f"""
# The demonstration: an exchange of its own, and all students under one user account.
c.Exchange.root = {str(EXCHANGE)!r}
c.ExchangeCollect.check_owner = False
c.SafeCollect.check_owner = False
"""


def main() -> int:
    """Run every step; the exit status of grading."""
    set_up()
    cases = classroom.cases()
    for name in missing(EXCHANGE / "curve-fitting" / "outbound", "{0.assignment}", cases):
        nbgrader(f"Releasing {name}", "generate_assignment", name, "--force")
        nbgrader("", "release_assignment", name)
    say("The class hands in")
    for one in cases:
        classroom.hand_in(one, EXCHANGE, "curve-fitting")
    for name in missing(COURSE / "submitted", "{0.student}/{0.assignment}", cases):
        nbgrader(f"Collecting {name}", "collect", name)
    say("Grading")
    status = subprocess.run([BIN / "nbmark", "grade", "--all"], cwd=COURSE, check=False).returncode
    for name in missing(COURSE / "feedback", "{0.student}/{0.assignment}", cases):
        nbgrader(f"Writing and releasing feedback on {name}", "generate_feedback", name)
        nbgrader("", "release_feedback", name)
    nbgrader("Exporting grades", "export", "--to=grades.csv")
    print(f"A feedback page:  {COURSE / 'feedback' / 'emil' / 'mse' / 'mse.html'}")
    print(f"All grades:       {COURSE / 'grades.csv'}")
    return status


def set_up() -> None:
    """The course folder with today's material."""
    for folder in ("inbound", "outbound", "feedback"):
        (EXCHANGE / "curve-fitting" / folder).mkdir(parents=True, exist_ok=True)
    EXCHANGE.chmod(0o777)  # nbgrader insists: everybody may write to the exchange
    COURSE.mkdir(parents=True, exist_ok=True)
    for name in ("source", "graders", "release"):
        shutil.rmtree(COURSE / name, ignore_errors=True)
        shutil.copytree(classroom.ROOT / name, COURSE / name)
    config = (classroom.ROOT / "nbgrader_config.py").read_text()
    (COURSE / "nbgrader_config.py").write_text(config + CONFIG)


def missing(folder: Path, entry: str, cases: list[classroom.Case]) -> list[str]:
    """The assignments of which somebody's entry is not in the folder yet."""
    return sorted({one.assignment for one in cases if not (folder / entry.format(one)).exists()})


def nbgrader(what: str, *arguments: str) -> None:
    """Run one of nbgrader's own commands quietly; show its log if it fails."""
    if what:
        say(what)
    done = subprocess.run(
        [BIN / "nbgrader", *arguments],
        cwd=COURSE,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "JUPYTER_DATA_DIR": str(COURSE / ".nbmark" / "jupyter")},
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        sys.exit(f"demo: nbgrader {' '.join(arguments)} failed")


def say(what: str) -> None:
    print(f"── {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
