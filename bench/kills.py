"""Kill the grader at random moments, two hundred times: ``python bench/kills.py [KILLS]``."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "hostile"), str(ROOT / "tests")]
import kills  # noqa: E402  # in a folder that the line above adds

BIN = Path(sys.executable).parent


def main() -> None:
    """Exit with status 1 if a grade was lost, doubled or invented."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory(prefix="nbmark-kills-") as name:
        course = Path(name, "course")
        shutil.copytree(ROOT / "tests" / "toy", course)
        shutil.copy(ROOT / "nbgrader_config.py", course)
        # Verified beforehand, so that the kills hit gradings and not the assignment's own trial.
        for command in ("nbgrader generate_assignment toy", "nbmark verify toy"):
            program, *words = command.split()
            subprocess.run([BIN / program, *words], cwd=course, check=True, capture_output=True)
        began = time.monotonic()
        problems = kills.kill_and_resume(course, number, start=int(time.time()))
    print(
        f"{number} kills in {time.monotonic() - began:.0f} s: "
        f"{len(problems)} grades lost, doubled or invented"
    )
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
