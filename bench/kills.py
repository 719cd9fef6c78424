"""Two hundred kills of the grader at random moments: ``python bench/kills.py [KILLS]``."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "hostile"), str(ROOT / "tests")]
import kills  # noqa: E402  # after its folder is known

BIN = Path(sys.executable).parent


def main() -> None:
    """Exit status 1 if a grade was lost, doubled or invented."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory(prefix="nbmark-kills-") as name:
        course = Path(name, "course")
        shutil.copytree(ROOT / "tests" / "toy", course)
        shutil.copy(ROOT / "nbgrader_config.py", course)
        for command in ("nbgrader generate_assignment toy", "nbmark verify toy"):
            program, *words = command.split()
            subprocess.run([BIN / program, *words], cwd=course, check=True, capture_output=True)
        began = time.monotonic()
        troubles = kills.kill_and_resume(course, number, start=int(time.time()))
    print(
        f"{number} kills in {time.monotonic() - began:.0f} s: "
        f"{len(troubles)} grades lost, doubled or invented"
    )
    for one in troubles:
        print(one)
    sys.exit(1 if troubles else 0)


if __name__ == "__main__":
    main()
