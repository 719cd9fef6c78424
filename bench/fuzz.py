"""Grade many made-up notebooks, and decode many mutated answers.

``python bench/fuzz.py [NOTEBOOKS [ANSWERS]]``, by default 2000 and 100 000, prints each failure.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "hostile"))
import attacks
import fuzzing  # in the folder that the line above adds

DEFAULTS = [2000, 100_000]
# One grading takes this many notebooks, so that the first failures show within a minute.
CLASS = 200


def main() -> None:
    """Exit with status 1 if any input led to something else than a grade or a named error."""
    numbers = [int(word) for word in sys.argv[1:]]
    notebooks, answers = (numbers + DEFAULTS[len(numbers) :])[:2]
    began = time.monotonic()
    # A new start each time, so that repeated runs try different input; a failure names its number.
    failures = fuzzing.judge_answers(answers, start=int(time.time()))
    print(
        f"{answers} answers in {time.monotonic() - began:.0f} s, {len(failures)} broke the decoder"
    )
    for start in range(0, notebooks, CLASS):
        with tempfile.TemporaryDirectory(prefix="nbmark-fuzz-") as name:
            course = Path(name, "course")
            attacks.make_course(course, "none", "target")
            failures += fuzzing.grade_notebooks(course, min(CLASS, notebooks - start), start + 1)
        graded = min(start + CLASS, notebooks)
        print(
            f"{graded} of {notebooks} notebooks, {time.monotonic() - began:.0f} s, "
            f"{len(failures)} failures",
            flush=True,
        )
    for failure in failures:
        print(failure)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
