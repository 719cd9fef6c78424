"""One `mse` submission: ``nbmark grade`` with its sandbox beside stock ``nbgrader autograde``.

The two commands alternate in one run and their wall times are compared as a ratio; the stock course
has the same notebook, and nbgrader's own configuration.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
STOCK_CONFIG = """
import os, sys
os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
c = get_config()
c.CourseDirectory.course_id = "curve-fitting"
"""


def course(folder: Path, config: str) -> Path:
    """A course with one submission, its reference solution, ready to be graded."""
    for name in ("source", "graders", "release"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "nbgrader_config.py").write_text(config)
    run(folder, "nbgrader", "generate_assignment", "mse", "--force")
    shutil.copytree(folder / "source" / "mse", folder / "submitted" / "ada" / "mse")
    return folder


def run(folder: Path, command: str, *arguments: str) -> float:
    """Wall time of a command in seconds; its output is shown if it fails."""
    began = time.monotonic()
    done = subprocess.run(
        [BIN / command, *arguments], cwd=folder, check=False, text=True, capture_output=True
    )
    if done.returncode:
        sys.exit(f"bench: {command} {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return time.monotonic() - began


def main() -> None:
    """Print the times and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        ours = course(Path(name, "ours"), (ROOT / "nbgrader_config.py").read_text())
        stock = course(Path(name, "stock"), STOCK_CONFIG)
        run(ours, "nbmark", "grade", "mse", "--force")  # tries the assignment on itself, once
        run(stock, "nbgrader", "autograde", "mse", "--force")
        times: dict[str, list[float]] = {"nbmark": [], "stock": [], "nbgrader with nbmark": []}
        for _ in range(ROUNDS):
            times["nbmark"].append(run(ours, "nbmark", "grade", "mse", "--force"))
            times["stock"].append(run(stock, "nbgrader", "autograde", "mse", "--force"))
            times["nbgrader with nbmark"].append(
                run(ours, "nbgrader", "autograde", "mse", "--force")
            )
    middle = {what: statistics.median(found) for what, found in times.items()}
    for what, seconds in middle.items():
        print(f"{what:22} {seconds:5.2f} s   {seconds / middle['stock']:.2f} × stock")


if __name__ == "__main__":
    main()
