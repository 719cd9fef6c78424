"""Many made-up notebooks through the whole path, and many mutated answers through the decoder.

``python bench/fuzz.py [NOTEBOOKS [ANSWERS]]``, by default 2000 and 100 000; prints what went wrong.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "hostile"))
import attacks
import fuzzing  # after its folder is known

DEFAULTS = [2000, 100_000]
CLASS = 200  # notebooks graded at a time


def main() -> None:
    """Exit status 1 if anything ended otherwise than in a grade or a named error."""
    given = [int(one) for one in sys.argv[1:]]
    notebooks, answers = (given + DEFAULTS[len(given) :])[:2]
    began = time.monotonic()
    troubles = fuzzing.judge_answers(answers, start=int(time.time()))
    print(
        f"{answers} answers in {time.monotonic() - began:.0f} s, {len(troubles)} broke the decoder"
    )
    for start in range(0, notebooks, CLASS):
        with tempfile.TemporaryDirectory(prefix="nbmark-fuzz-") as name:
            course = Path(name, "course")
            attacks.make_course(course, "none", "target")
            troubles += fuzzing.grade_notebooks(course, min(CLASS, notebooks - start), start + 1)
        graded = min(start + CLASS, notebooks)
        print(
            f"{graded} of {notebooks} notebooks, {time.monotonic() - began:.0f} s, "
            f"{len(troubles)} troubles",
            flush=True,
        )
    for one in troubles:
        print(one)
    sys.exit(1 if troubles else 0)


if __name__ == "__main__":
    main()
