"""A whole course in a few minutes: release, submit, collect, grade, give feedback, export.

All of it runs in ``.demo/``, a separate course, with nbgrader's real commands. A second run finds
the work done and changes nothing.
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
# The demonstration has its own exchange, and all students share one user account. So a file's owner
# proves nothing here.
c.Exchange.root = {str(EXCHANGE)!r}
c.ExchangeCollect.check_owner = False
c.SafeCollect.check_owner = False
"""


def main() -> int:
    """Run every step; return the exit status of grading."""
    set_up()
    cases = classroom.cases()
    # Each step runs only where its result is missing, because nbgrader's commands take seconds.
    for name in missing(EXCHANGE / "curve-fitting" / "outbound", "{0.assignment}", cases):
        nbgrader(f"Releasing {name}", "generate_assignment", name, "--force")
        nbgrader("", "release_assignment", name)
    announce("The class submits")
    for case in cases:
        classroom.submit_to_exchange(case, EXCHANGE, "curve-fitting")
    for name in missing(COURSE / "submitted", "{0.student}/{0.assignment}", cases):
        nbgrader(f"Collecting {name}", "collect", name)
    announce("Grading")
    status = subprocess.run([BIN / "nbmark", "grade", "--all"], cwd=COURSE, check=False).returncode
    for name in missing(COURSE / "feedback", "{0.student}/{0.assignment}", cases):
        nbgrader(f"Writing and releasing feedback on {name}", "generate_feedback", name)
        nbgrader("", "release_feedback", name)
    nbgrader("Exporting grades", "export", "--to=grades.csv")
    print(f"A feedback page:  {COURSE / 'feedback' / 'emil' / 'mse' / 'mse.html'}")
    print(f"All grades:       {COURSE / 'grades.csv'}")
    return status


def set_up() -> None:
    """Make the exchange, and the course folder with today's material."""
    for folder in ("inbound", "outbound", "feedback"):
        (EXCHANGE / "curve-fitting" / folder).mkdir(parents=True, exist_ok=True)
    EXCHANGE.chmod(0o777)  # nbgrader refuses an exchange that only some users may write to
    COURSE.mkdir(parents=True, exist_ok=True)
    # Copied on every run, so that the demonstration always shows the repository's checks.
    for name in ("source", "graders", "release"):
        shutil.rmtree(COURSE / name, ignore_errors=True)
        shutil.copytree(classroom.ROOT / name, COURSE / name)
    config = (classroom.ROOT / "nbgrader_config.py").read_text()
    (COURSE / "nbgrader_config.py").write_text(config + CONFIG)


def missing(folder: Path, entry: str, cases: list[classroom.Case]) -> list[str]:
    """Return the assignments for which the folder lacks an entry of some case."""
    return sorted({case.assignment for case in cases if not (folder / entry.format(case)).exists()})


def nbgrader(step: str, *arguments: str) -> None:
    """Announce a step and run an nbgrader command quietly; show its log if it fails."""
    if step:
        announce(step)
    finished = subprocess.run(
        [BIN / "nbgrader", *arguments],
        cwd=COURSE,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # nbgrader's commands also write to this folder, and the user's own must stay as it is.
        env={**os.environ, "JUPYTER_DATA_DIR": str(COURSE / ".nbmark" / "jupyter")},
    )
    if finished.returncode:
        print(finished.stdout, file=sys.stderr)
        sys.exit(f"demo: nbgrader {' '.join(arguments)} failed")


def announce(step: str) -> None:
    """Print a step as a heading on standard error."""
    print(f"── {step}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
