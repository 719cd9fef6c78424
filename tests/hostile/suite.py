"""Run the hostile suite: grade attackers, with an honest student between any two of them.

``python tests/hostile/suite.py`` prints a table by family, and with ``--json`` the result of every
case. The exit status is 1 if anything leaked, was scored wrongly or was left behind. Each case is a
folder ``<family>/<case>/`` with a ``case.toml`` (see `attacks.Case`). Some also have a ``make.py``,
whose function ``make(folder, notebook)`` writes what a TOML file cannot express.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from attacks import BIN, Case, cases, make_course
from leftovers import leftovers, traces
from listeners import Listeners
from rich.console import Console
from rich.table import Table
from verdicts import HONEST_WORDS, Family, Verdict, is_unhurt, judge

PR_SET_CHILD_SUBREAPER = 36


def run(folder: Path, workers: int, chosen: list[Case], settings: str = "") -> list[Family]:
    """Grade one family after the other in one course, and return the results.

    `settings` is added to each ``assignment.toml``.
    """
    canary = "nbmark-canary-" + secrets.token_hex(16)
    course, private = folder / "course", folder / "tmp"
    private.mkdir(parents=True)
    assignments = {"target", *(case.assignment for case in chosen)}
    make_course(course, canary, *assignments, settings=settings)
    families = []
    with Listeners(folder, canary) as listeners:
        places = {"@COURSE@": str(course), "@CANARY@": canary[:14], **listeners.places}
        for name in dict.fromkeys(case.family for case in chosen):
            shutil.rmtree(course / "submitted", ignore_errors=True)
            family_cases = [case for case in chosen if case.family == name]
            verdicts, honest = submit_in_turns(course, family_cases, places)
            before, hits = traces(), listeners.hits
            rows, log = _grade(course, private, canary, workers)
            for verdict in verdicts:
                judge(verdict, course, rows, canary)
            family = Family(
                name,
                verdicts,
                honest=len(honest),
                hurt=[student for student in honest if not is_unhurt(course, rows, student)],
                leftovers=leftovers(course, private, before),
                reached_listeners=listeners.hits - hits,
                canary_in_log=canary in log,
            )
            families.append(family)
    return families


def submit_in_turns(
    course: Path, chosen: list[Case], places: Mapping[str, str]
) -> tuple[list[Verdict], list[str]]:
    """Submit the work of attackers and honest students by turns.

    Return an empty verdict for each case, and the honest students. The number in front of each
    name keeps this order when they are graded.
    """
    attackers = [case for case in chosen for _ in range(case.copies)]
    verdicts, honest = [], []
    for number, case in enumerate(attackers):
        student = case.folder or f"s{number:03}-{case.name}"
        case.submit(course / "submitted" / student / case.assignment, course, places)
        if not verdicts or verdicts[-1].case is not case:
            verdicts.append(Verdict(case, []))
        verdicts[-1].students.append(student)
        if case.assignment == "target":
            honest.append(f"s{number:03}-zhonest")
            words = {"words": HONEST_WORDS.format(number)}
            _honest(words).submit(course / "submitted" / honest[-1] / "target", course, places)
    return verdicts, honest


def _honest(answers: dict[str, str]) -> Case:
    return Case("honest", "honest", "", "", base="reference", answers=answers)


def _grade(
    course: Path, private: Path, canary: str, workers: int
) -> tuple[dict[str, dict[str, Any]], str]:
    """Grade everything that was submitted; return the rows by student, and all that was printed."""
    completed = subprocess.run(
        [BIN / "nbmark", "grade", "--all", "--json", "--workers", str(workers)],
        cwd=course,
        text=True,
        capture_output=True,
        check=False,
        timeout=1200,
        env={**os.environ, "NBMARK_CANARY": canary, "TMPDIR": str(private)},
    )
    if "Traceback" in completed.stderr or not completed.stdout:
        sys.exit(f"the batch was stopped:\n{completed.stderr}")
    rows = {
        row["student"]: row
        for assignment in json.loads(completed.stdout)["assignments"]
        for row in assignment["students"]
    }
    return rows, completed.stdout + completed.stderr


def print_table(families: list[Family]) -> None:
    """Print a row for each family, then each problem; all columns after "contained" should be 0."""
    table = Table(
        "family", "cases", "contained", "leaked", "wrongly scored", "leftovers", "honest hurt"
    )
    rows = [_counts(family) for family in families]
    for family, row in zip(families, rows, strict=True):
        table.add_row(family.name, *map(str, row))
    table.add_row("all", *(str(sum(column)) for column in zip(*rows, strict=True)))
    Console(width=100).print(table)
    print(f"{sum(family.honest for family in families)} honest students sat between them")
    for family in families:
        for verdict in family.verdicts:
            for problem in (*verdict.leaked, *verdict.wrongly_scored):
                print(f"{family.name}/{verdict.case.name}: {problem}")
        for problem in (*family.leftovers, *family.hurt):
            print(f"{family.name}: {problem}")


def _counts(family: Family) -> list[int]:
    """Return the numbers in a family's row of the table."""
    leaks = sum(bool(verdict.leaked) for verdict in family.verdicts)
    return [
        len(family.verdicts),
        sum(verdict.contained for verdict in family.verdicts),
        leaks + family.reached_listeners + family.canary_in_log,
        sum(bool(verdict.wrongly_scored) for verdict in family.verdicts),
        len(family.leftovers),
        len(family.hurt),
    ]


def main() -> None:
    """Run the suite, or the cases whose names contain one of the given words."""
    parser = argparse.ArgumentParser(description=__doc__, add_help=True)
    parser.add_argument("words", nargs="*", default=[""])
    parser.add_argument(
        "--started",
        action="store_true",
        help="start a process for each submission instead of forking one from a server",
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--workers", type=int, default=4)
    options = parser.parse_args()
    # A process that outlives the grader becomes a child of this one, where it can be counted.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    chosen = [
        case
        for case in cases()
        if any(word in f"{case.family}/{case.name}" for word in options.words)
    ]
    with tempfile.TemporaryDirectory(prefix="nbmark-hostile-") as folder:
        settings = "\n[fork_server]\nuse = false\n" if options.started else ""
        families = run(Path(folder), options.workers, chosen, settings)
    if options.json:
        print(json.dumps([asdict(family) for family in families]))
    else:
        print_table(families)
    sys.exit(0 if all(family.clean for family in families) else 1)


if __name__ == "__main__":
    main()
